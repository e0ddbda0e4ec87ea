"""Tables and windows as they are found in files, against the standard written out pixel by pixel."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_files import dicom
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from pacx.data.images.decode import UnreadableImage, decode_grey, decode_mask, grey_from_bytes

RAMP = np.add.outer(np.arange(40) * 50, np.arange(48) * 45).astype(np.uint16)  # 0 ... 4065: twelve bits
SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]
GAMMA_12 = [round(4095 * (index / 4095) ** 0.6) for index in range(4096)]
GAMMA_8 = [round(255 * (index / 4095) ** 0.6) for index in range(4096)]


def grey_of(share: float) -> int:
    return math.floor(min(max(share, 0.0), 1.0) * 255 + 0.5)


def through(table: Sequence[int], first: int, value: float) -> int:
    """PS3.3 C.11.1.1 and C.11.2.1.1: below the first value the first entry, above the last the last."""
    return table[min(max(round(value) - first, 0), len(table) - 1)]


def greys_through(table: Sequence[int], first: int, white: int, values: np.ndarray) -> np.ndarray:
    return np.array([[grey_of(through(table, first, value) / white) for value in row] for row in values.tolist()])


def windowed(centre: float, width: float, function: str, values: np.ndarray) -> np.ndarray:
    """PS3.3 C.11.2.1.2.1, C.11.2.1.3.1 and C.11.2.1.3.2."""
    formulas = {
        "LINEAR": lambda x: (x - (centre - 0.5)) / (width - 1) + 0.5,
        "LINEAR_EXACT": lambda x: (x - centre) / width + 0.5,
        "SIGMOID": lambda x: 1 / (1 + math.exp(-4 * (x - centre) / width)),
    }
    return np.array([[grey_of(formulas[function](value)) for value in row] for row in values.tolist()])


def table_item(
    entries: Sequence[int],
    *,
    first: int = 0,
    bits: int = 16,
    vr: str = "US",
    descriptor_vr: str = "US",
    packed: bool = False,
    syntax: str = ExplicitVRLittleEndian,
    num_declared: int | None = None,
) -> Dataset:
    """An item of a table's sequence as some writer may have made it."""
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    words = np.asarray(entries, np.uint16)
    if packed:  # the first of two entries in the low byte of a word, PS3.5 8.1.1
        both = np.append(words, np.zeros(len(words) % 2, np.uint16)).reshape(-1, 2)
        words = both[:, 0] | both[:, 1] << 8
    item = Dataset()
    num = (len(entries) if num_declared is None else num_declared) % 2**16
    numbers = [num, first % 2**16, bits]
    signed = [number - 2**16 if number >= 2**15 else number for number in numbers]
    item.add_new("LUTDescriptor", descriptor_vr, signed if descriptor_vr == "SS" else numbers)
    if vr == "OB":
        data = words.astype("<u2").tobytes()
    elif vr == "OW":
        data = words.astype(f"{order}u2").tobytes()
    else:
        data = words.astype(np.int16 if vr == "SS" else np.uint16).tolist()
    item.add_new("LUTData", vr, data)
    item.ModalityLUTType = "US"
    return item


def shown(values: np.ndarray = RAMP, *, bits_stored: int = 12, **header: object) -> np.ndarray:
    return grey_from_bytes(dicom(values, bits_stored=bits_stored, **header))


@pytest.mark.parametrize(
    ("vr", "syntax"),
    [*((vr, syntax) for vr in ("US", "SS", "OW") for syntax in SYNTAXES), *(("OB", syntax) for syntax in SYNTAXES[:2])],
)
@pytest.mark.parametrize("sequence", ["VOILUTSequence", "ModalityLUTSequence"])
def test_a_table_is_read_whatever_its_entries_are_called(sequence: str, vr: str, syntax: str) -> None:
    item = table_item(GAMMA_12, bits=12, vr=vr, syntax=syntax)
    assert np.array_equal(shown(syntax=syntax, **{sequence: [item]}), greys_through(GAMMA_12, 0, 4095, RAMP))


@pytest.mark.parametrize("syntax", SYNTAXES, ids=["explicit", "implicit", "big endian"])
@pytest.mark.parametrize("vr", ["US", "SS", "OW"])
@pytest.mark.parametrize("num_entries", [4096, 4095])
@pytest.mark.parametrize("bits", [8, 0])
@pytest.mark.parametrize("sequence", ["VOILUTSequence", "ModalityLUTSequence"])
def test_entries_of_8_bits_may_share_a_word(sequence: str, bits: int, num_entries: int, vr: str, syntax: str) -> None:
    table = GAMMA_8[:num_entries]
    item = table_item(table, bits=bits, vr=vr, packed=True, syntax=syntax)
    assert np.array_equal(shown(syntax=syntax, **{sequence: [item]}), greys_through(table, 0, 255, RAMP))


def test_entries_of_8_bits_in_bytes_keep_their_order_in_every_syntax() -> None:
    for syntax in SYNTAXES:
        item = table_item(GAMMA_8, bits=8, vr="OB", packed=True)
        assert np.array_equal(shown(syntax=syntax, VOILUTSequence=[item]), greys_through(GAMMA_8, 0, 255, RAMP))


def test_a_table_of_8_bit_entries_does_not_wrap_beyond_its_256() -> None:
    table = list(range(255, -1, -1))
    item = table_item(table, bits=8, first=1000)
    assert np.array_equal(shown(VOILUTSequence=[item]), greys_through(table, 1000, 255, RAMP))


@pytest.mark.parametrize("syntax", SYNTAXES, ids=["explicit", "implicit", "big endian"])
@pytest.mark.parametrize("descriptor_vr", ["US", "SS"])
def test_a_table_may_start_below_zero_whatever_its_descriptor_is_called(descriptor_vr: str, syntax: str) -> None:
    item = table_item(GAMMA_12, first=-1024, bits=12, descriptor_vr=descriptor_vr, syntax=syntax)
    header = {"RescaleSlope": 1, "RescaleIntercept": -1024, "VOILUTSequence": [item]}
    expected = greys_through(GAMMA_12, -1024, 4095, RAMP.astype(int) - 1024)
    assert np.array_equal(shown(syntax=syntax, **header), expected)
    signed = (RAMP.astype(int) - 1024).astype(np.int16)
    assert np.array_equal(shown(signed, bits_stored=16, syntax=syntax, VOILUTSequence=[item]), expected)


@pytest.mark.parametrize("descriptor_vr", ["US", "SS"])
def test_a_table_may_start_above_32767_whatever_its_descriptor_is_called(descriptor_vr: str) -> None:
    values = (RAMP.astype(int) + 40000).astype(np.uint16)
    item = table_item(GAMMA_12, first=40000, bits=12, descriptor_vr=descriptor_vr)
    expected = greys_through(GAMMA_12, 40000, 4095, values)
    assert np.array_equal(shown(values, bits_stored=16, VOILUTSequence=[item]), expected)


def test_a_table_of_65536_entries_says_0() -> None:
    table = [65535 - index for index in range(65536)]
    values = RAMP * 16
    assert np.array_equal(
        shown(values, bits_stored=16, VOILUTSequence=[table_item(table, vr="OW")]),
        greys_through(table, 0, 65535, values),
    )


@pytest.mark.parametrize(
    ("largest", "declared", "white"),
    [
        (255, 16, 255), (255, 12, 255), (255, 8, 255), (255, 0, 255), (1000, 16, 1023), (4000, 16, 4095),
        (4000, 8, 4095), (4000, 200, 4095), (16383, 14, 16383), (65535, 16, 65535), (40000, 16, 65535),
        (511, 9, 511), (2047, 11, 2047), (2047, 16, 4095), (30000, 15, 32767),
    ],
)  # fmt: skip
def test_white_is_what_the_entries_reach_and_not_what_they_might(largest: int, declared: int, white: int) -> None:
    table = [round(largest * index / 4095) for index in range(4096)]
    for sequence in (["VOILUTSequence"], ["ModalityLUTSequence", "VOILUTSequence"]):
        header = {name: [table_item(table, bits=declared)] for name in sequence[-1:]}
        header |= {name: [table_item(list(range(4096)), bits=12)] for name in sequence[:-1]}
        assert np.array_equal(shown(**header), greys_through(table, 0, white, RAMP))


def test_of_several_tables_and_windows_the_first_that_is_one_counts() -> None:
    good, other = table_item(GAMMA_12, bits=12), table_item(GAMMA_12[::-1], bits=12)
    short = table_item(GAMMA_12[:100], bits=12, num_declared=4096)
    window = {"WindowCenter": [9, 1000], "WindowWidth": [0, 3000, 50]}
    by_table, by_window = greys_through(GAMMA_12, 0, 4095, RAMP), windowed(1000, 3000, "LINEAR", RAMP)
    assert np.array_equal(shown(VOILUTSequence=[good, other], **window), by_table)
    assert np.array_equal(shown(VOILUTSequence=[short, good], **window), by_table)
    assert np.array_equal(shown(VOILUTSequence=[short], **window), by_window)
    assert np.array_equal(shown(VOILUTSequence=[], **window), by_window)
    flat = table_item([700] * 4096, bits=12)
    assert np.array_equal(shown(VOILUTSequence=[flat], **window), by_window)


def test_a_modality_table_that_is_cut_off_is_told_as_such() -> None:
    item = table_item(GAMMA_12[:4000], bits=12, num_declared=4096)
    with pytest.raises(UnreadableImage, match="modality look-up table has fewer entries than it says"):
        shown(ModalityLUTSequence=[item])


PLAIN = windowed(2047.5, 4095, "LINEAR_EXACT", RAMP)
NO_WINDOWS = {
    "0 wide": ("2048", "0"), "negative": ("2048", "-4096"), "half a value wide": ("2048", "0.5"),
    "nan": ("2048", "nan"), "infinite": ("2048", "inf"), "decimal comma": ("2048,5", "4096"),
    "words": ("auto", "auto"), "empty": ("", ""), "no width": ("2048", ""), "no centre": ("", "4096"),
    "centre at infinity": ("-inf", "4096"), "absurdly wide": ("2048", "1e300"), "off the film": ("60000", "100"),
    "below the film": ("-5000", "100"), "blank": (" ", " "), "first empty": ("\\", "\\"),
}  # fmt: skip


def with_window(centre: str, width: str, **header: object) -> bytes:
    """The texts as they are, which pydicom would not write."""
    data = dicom(RAMP, bits_stored=12, WindowCenter="1111.125", WindowWidth="2222.125", **header)
    return data.replace(b"1111.125", centre.encode().ljust(8)).replace(b"2222.125", width.encode().ljust(8))


@pytest.mark.parametrize("name", NO_WINDOWS)
def test_a_window_that_is_none_is_absent(name: str) -> None:
    assert np.array_equal(grey_from_bytes(with_window(*NO_WINDOWS[name])), PLAIN)


@pytest.mark.parametrize("function", ["LINEAR_EXACT", "SIGMOID"])
def test_a_narrow_window_is_one_where_it_is_not_linear(function: str) -> None:
    header = {"RescaleSlope": "0.0001", "RescaleIntercept": 0, "VOILUTFunction": function}
    expected = windowed(0.2, 0.3, function, RAMP * 0.0001)
    assert np.abs(grey_from_bytes(with_window("0.2", "0.3", **header)) - expected).max() <= 1
    assert np.array_equal(grey_from_bytes(with_window("0.2", "0", **header)), PLAIN)


@pytest.mark.parametrize("word", ["", " ", "LINEAR", "linear ", "LOGARITHMIC", "2"])
def test_a_window_without_a_known_function_is_linear(word: str) -> None:
    data = dicom(RAMP, bits_stored=12, WindowCenter=1800, WindowWidth=1500, VOILUTFunction="XXXXXXXXXXXX")
    data = data.replace(b"XXXXXXXXXXXX", word.encode().ljust(12))
    assert np.array_equal(grey_from_bytes(data), windowed(1800, 1500, "LINEAR", RAMP))


def test_a_linear_window_of_width_1_is_a_threshold() -> None:
    assert np.array_equal(shown(WindowCenter=2000.5, WindowWidth=1), np.where(RAMP > 2000, 255, 0))


@pytest.mark.parametrize(
    ("slope", "intercept"),
    [("", ""), ("0", "5"), ("nan", "nan"), ("1,5", "0"), ("inf", "0"), ("auto", ""), ("1e300", "")],
)
def test_a_rescaling_that_is_none_changes_nothing(slope: str, intercept: str) -> None:
    data = dicom(RAMP, bits_stored=12, RescaleSlope="1111.125", RescaleIntercept="2222.125")
    data = data.replace(b"1111.125", slope.encode().ljust(8)).replace(b"2222.125", intercept.encode().ljust(8))
    assert np.array_equal(grey_from_bytes(data), PLAIN)


def test_a_slope_or_an_intercept_alone_counts() -> None:
    header = {"WindowCenter": 0, "WindowWidth": 3000}
    assert np.array_equal(shown(RescaleIntercept=-2000, **header), windowed(0, 3000, "LINEAR", RAMP - 2000.0))
    assert np.array_equal(shown(RescaleSlope=0.5, **header), windowed(0, 3000, "LINEAR", RAMP * 0.5))


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(("centre", "width"), [(32768, 65536), (65536, 131072), (0, 100000), (20000, 60000)])
def test_a_window_for_another_depth_is_passed_over(photometric: str, centre: int, width: int) -> None:
    plain = shown(PhotometricInterpretation=photometric)
    assert plain.max() - plain.min() > 200
    assert np.array_equal(shown(WindowCenter=centre, WindowWidth=width, PhotometricInterpretation=photometric), plain)
    header = {"WindowCenter": [centre, 1800], "WindowWidth": [width, 1500]}
    assert np.array_equal(shown(**header), windowed(1800, 1500, "LINEAR", RAMP))


def test_a_window_that_leaves_a_quarter_of_the_greys_is_believed() -> None:
    assert np.array_equal(shown(WindowCenter=8192, WindowWidth=16384), windowed(8192, 16384, "LINEAR", RAMP))
    assert np.array_equal(shown(WindowCenter=0, WindowWidth=16384), windowed(0, 16384, "LINEAR", RAMP))


def test_a_window_that_shows_next_to_nothing_is_passed_over() -> None:
    film = RAMP.copy() + 300
    film[film > 4095] = 4095
    film[0, :3] = 0  # dead pixels, which alone such a window would show
    plain = windowed(2047.5, 4095, "LINEAR_EXACT", film)
    assert np.array_equal(shown(film, WindowCenter=128, WindowWidth=256), plain)
    film[:4] = 0  # a tenth of the film is more than that
    assert set(np.unique(shown(film, WindowCenter=128, WindowWidth=256))) == {0, 255}


def test_a_film_of_one_grey_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "film.dcm"
    for header in ({}, {"WindowCenter": 7, "WindowWidth": 20}, {"PixelPaddingValue": 3}, {"PixelPaddingValue": 7}):
        film = np.full((40, 48), 7, np.uint16)
        film[:, :20] = header.get("PixelPaddingValue", 7)
        path.write_bytes(dicom(film, bits_stored=12, **header))
        with pytest.raises(UnreadableImage, match="it shows one grey only"):
            decode_grey(path)


def test_an_empty_mask_is_right(tmp_path: Path) -> None:
    path = tmp_path / "mask.dcm"
    path.write_bytes(dicom(np.zeros((40, 48), np.uint8), bits_stored=8))
    assert not decode_mask(path).any()


def test_nearly_one_grey_is_still_a_film() -> None:
    film = np.zeros((40, 48), np.uint16)
    film[3, 3] = 4095
    assert shown(film)[3, 3] == 255
    assert shown(film, WindowCenter=1000, WindowWidth=500)[3, 3] == 255


def test_an_inverting_table_and_monochrome1_make_a_positive() -> None:
    item = table_item([4095 - index for index in range(4096)], bits=12)
    grey = shown(VOILUTSequence=[item], PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE")
    assert np.abs(grey.astype(int) - PLAIN).max() <= 1
    assert grey[0, 0] == 0


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_windows_agree_with_pydicom(function: str) -> None:
    rng = np.random.default_rng(5)
    for _ in range(20):
        centre, width = rng.integers(500, 3500) / 2, float(rng.integers(300, 5000))
        header = {"WindowCenter": centre, "WindowWidth": width, "VOILUTFunction": function}
        data = dicom(RAMP, bits_stored=12, **header)
        shares = pydicom.pixels.apply_windowing(RAMP, pydicom.dcmread(pydicom.filebase.DicomBytesIO(data))) / 4095
        assert np.array_equal(grey_from_bytes(data), np.floor(shares * 255 + 0.5))
