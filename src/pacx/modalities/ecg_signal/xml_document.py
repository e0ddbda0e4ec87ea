"""XML as carts export it, read within bounds: no entities, nothing fetched, neither too long, too deep nor too full.

Many exports of GE MUSE name a document type, so that alone is no fault; what it stands for is never opened, and a
document that declares an entity is refused, since by entities a few lines become gigabytes.
"""

import codecs
import re
import warnings
import xml.etree.ElementTree as ET
from base64 import b64decode
from binascii import Error as Base64Error
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from xml.parsers import expat

import numpy as np
from numpy.typing import NDArray

from pacx.modalities.ecg_signal.facts import UnusableError
from pacx.modalities.ecg_signal.record import MILLIVOLTS

_INVALID_TOKEN = expat.errors.codes[expat.errors.XML_ERROR_INVALID_TOKEN]
_COMMENT = re.compile(r"<!--.*?(?:-->|$)", re.DOTALL)
_ELEMENT = re.compile(r"<(?:[^\s<>/!?:]+:)?([^\s<>/!?:]+)")


@dataclass(frozen=True)
class XmlBounds:
    """How much of a document is read; ten seconds have a megabyte or less, some thousand elements, a depth of 12."""

    num_bytes: int = 2**25
    num_elements: int = 200_000
    depth: int = 64
    num_attributes: int = 64
    """Of one element."""


BOUNDS = XmlBounds()


def root_of(head: bytes) -> str:
    """The name of a document's outermost element, without its namespace, by its first bytes; "" where there is none."""
    wide = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be", b"<\0": "utf-16-le", b"\0<": "utf-16-be"}
    text = head.decode(wide.get(head[:2], "latin-1"), errors="replace").lstrip("\ufeffï»¿ \t\r\n")
    found = _ELEMENT.search(_COMMENT.sub("", text)) if text.startswith("<") else None
    return found[1] if found else ""


def read_xml(path: Path, bounds: XmlBounds = BOUNDS) -> ET.Element:
    """The outermost element of a document; names of elements and attributes without their namespaces.

    Raises:
        UnusableError: it declares an entity, goes beyond a bound, or is no whole document.
    """
    if path.stat().st_size > bounds.num_bytes:
        raise UnusableError(f"is XML of more than {bounds.num_bytes >> 20} MB; export a shorter recording")
    data = path.read_bytes()
    parser = expat.ParserCreate(_encoding(data), " ")
    tree = _BoundedTree(bounds)
    parser.buffer_text = parser.ordered_attributes = True
    parser.StartElementHandler, parser.EndElementHandler = tree.start, tree.end
    parser.CharacterDataHandler, parser.EntityDeclHandler = tree.builder.data, _refuse_entity
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        if error.code == _INVALID_TOKEN and _is_misspelt(data):
            raise UnusableError("is XML with letters that are not of its encoding; save it again as UTF-8") from None
        raise UnusableError("is no whole XML document; copy it again") from None
    return tree.builder.close()


def _encoding(data: bytes) -> str | None:
    """The encoding of a document where it is not the one that it says, or None.

    Some exports say UTF-16 and were saved as UTF-8 since, or the other way round: a byte order mark knows better.
    """
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if data.startswith(mark):
            return encoding
    return "utf-8" if data.startswith(b"<?xml") and b"utf-16" in data[:100].lower() else None


def _is_misspelt(data: bytes) -> bool:
    """Whether a document is no UTF-8, which it is held for."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return True
    return False


class _BoundedTree:
    """Makes elements of what the parser meets, as many as the bounds allow."""

    def __init__(self, bounds: XmlBounds) -> None:
        self.builder = ET.TreeBuilder()
        self._bounds = bounds
        self._num_elements = self._depth = 0

    def start(self, tag: str, attributes: list[str]) -> None:
        """An element begins; its attributes are a name, a value, a name and so on."""
        self._num_elements += 1
        self._depth += 1
        if self._num_elements > self._bounds.num_elements:
            raise UnusableError(f"is XML of more than {self._bounds.num_elements} elements; leave it out")
        if self._depth > self._bounds.depth:
            raise UnusableError(f"is XML of more than {self._bounds.depth} elements in each other; leave it out")
        if len(attributes) > 2 * self._bounds.num_attributes:
            raise UnusableError(f"is XML with more than {self._bounds.num_attributes} attributes at once; leave it out")
        self.builder.start(_local(tag), dict(zip(map(_local, attributes[::2]), attributes[1::2], strict=True)))

    def end(self, tag: str) -> None:
        """It ends."""
        self._depth -= 1
        self.builder.end(_local(tag))


def _local(name: str) -> str:
    return name.rpartition(" ")[2]


def _refuse_entity(*_: object) -> NoReturn:
    raise UnusableError("is XML that declares an entity, which no cart does; leave it out")


def text_of(element: ET.Element | None, path: str = ".") -> str:
    """The text of an element, or of one below it, without blanks around it; "" where there is none."""
    found = element.find(path) if element is not None else None
    return (found.text or "").strip() if found is not None else ""


def number(text: str, what: str) -> float:
    """A number from a document.

    Raises:
        UnusableError: it is none, or not finite.
    """
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise UnusableError(f"does not say {what} as a number; export it again")
    return value


def millivolts_of(unit: str) -> float:
    """Millivolts in a unit, by its short name or its English one.

    Raises:
        UnusableError: it is no voltage.
    """
    millivolts = MILLIVOLTS.get(unit.casefold())
    if millivolts is None:
        raise UnusableError("has samples in a unit that is no voltage; leave it out")
    return millivolts


def stored_bytes(text: str) -> bytes:
    """What base64 stands for.

    Raises:
        UnusableError: it was cut off, is empty, or is none.
    """
    try:
        stored = b64decode("".join(text.split()), validate=True)
    except (Base64Error, ValueError):
        raise UnusableError("has samples in damaged or cut off base64; export it again") from None
    if not stored:
        raise UnusableError("holds no samples")
    return stored


def stored_numbers(text: str) -> NDArray[np.float64]:
    """Numbers with blanks between them.

    Raises:
        UnusableError: there is none, or something else among them.
    """
    try:
        with warnings.catch_warnings(action="error", category=DeprecationWarning):  # numpy before 2.3 warns alone
            numbers = np.fromstring(text, np.float64, sep=" ")
    except (ValueError, DeprecationWarning):
        raise UnusableError("has samples that are no numbers; export it again") from None
    if not len(numbers):
        raise UnusableError("holds no samples")
    return numbers
