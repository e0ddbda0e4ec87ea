"""DICOM files of every syntax and depth against the standard's formulas; and what never gets out of them."""

import logging
import struct
import traceback
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_files import LOSSLESS, LOSSY, SECRET, dicom, lut
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless

from pacx.data.images.decode import Decoding, UnreadableImage, decode_grey, grey_from_bytes
from pacx.data.images.dicom import grey_from_dicom
from pacx.data.images.headers import read_object

RAMP = np.add.outer(np.arange(40) * 50, np.arange(48) * 45)  # 0 ... 4065: twelve bits


def rounded(share: np.ndarray) -> np.ndarray:
    return np.floor(np.clip(share, 0, 1) * 255 + 0.5)


def ramp(bits: int, *, signed: bool = False) -> np.ndarray:
    """From the darkest to the brightest value of this depth."""
    values = np.rint(np.linspace(0, 2**bits - 1, 40 * 48)).reshape(40, 48).astype(np.int64)
    kind = np.dtype(f"{'i' if signed else 'u'}{1 if bits <= 8 else 2}")
    return (values - (2 ** (bits - 1) if signed else 0)).astype(kind)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("signed", [False, True])
def test_full_scale_is_black_to_white(bits: int, signed: bool) -> None:
    pixels = ramp(bits, signed=signed)
    expected = rounded((pixels.astype(float) - pixels.min()) / (2.0**bits - 1))
    assert np.array_equal(grey_from_bytes(dicom(pixels, bits_stored=bits)), expected)


def test_a_12_bit_film_that_claims_16_bits_is_not_dark() -> None:
    grey = grey_from_bytes(dicom(RAMP.astype(np.uint16), bits_stored=16))
    assert np.array_equal(grey, rounded(RAMP / 4095))


@pytest.mark.parametrize(
    "syntax", [*LOSSLESS, RLELossless, ImplicitVRLittleEndian, ExplicitVRBigEndian], ids=lambda uid: uid
)
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_every_lossless_syntax_gives_the_same_film(syntax: str, bits: int) -> None:
    rng = np.random.default_rng(0)
    pixels = ramp(bits) ^ rng.integers(0, 8, (40, 48)).astype(ramp(bits).dtype)
    assert np.array_equal(
        grey_from_bytes(dicom(pixels, bits_stored=bits, syntax=syntax)),
        grey_from_bytes(dicom(pixels, bits_stored=bits)),
    )


@pytest.mark.parametrize(
    ("syntax", "bits"),
    [(syntax, bits) for syntax in LOSSY for bits in (8, 12) if not (syntax.endswith(".50") and bits > 8)],
)
def test_every_lossy_syntax_gives_nearly_the_same_film(syntax: str, bits: int) -> None:
    pixels = ramp(bits)
    grey = grey_from_bytes(dicom(pixels, bits_stored=bits, syntax=syntax))
    assert np.abs(grey.astype(int) - grey_from_bytes(dicom(pixels, bits_stored=bits))).max() <= 2


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("slope", "intercept"), [(1, 0), (2.5, -300), (-1, 4000)])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_rescale_window_and_inversion_follow_the_standard(
    function: str, slope: float, intercept: float, photometric: str
) -> None:
    center, width = 1800.0, 1500.0
    header = {
        "RescaleSlope": slope, "RescaleIntercept": intercept, "WindowCenter": center, "WindowWidth": width,
        "VOILUTFunction": function, "PhotometricInterpretation": photometric,
    }  # fmt: skip
    grey = grey_from_bytes(dicom(RAMP.astype(np.uint16), bits_stored=12, **header))
    x = RAMP * slope + intercept
    share = {  # PS3.3 C.11.2.1.2.1 and C.11.2.1.3, written out
        "LINEAR": (x - (center - 0.5)) / (width - 1) + 0.5,
        "LINEAR_EXACT": (x - center) / width + 0.5,
        "SIGMOID": 1 / (1 + np.exp(-4 * (x - center) / width)),
    }[function]
    expected = rounded(1 - np.clip(share, 0, 1) if photometric == "MONOCHROME1" else share)
    assert np.abs(grey - expected).max() <= 1  # a half may round either way
    assert np.mean(grey != expected) < 0.02
    assert grey.max() - grey.min() > 240


def test_monochrome1_is_inverted() -> None:
    pixels = RAMP.astype(np.uint16)
    plain = grey_from_bytes(dicom(pixels, bits_stored=12)).astype(int)
    inverted = grey_from_bytes(dicom(pixels, bits_stored=12, PhotometricInterpretation="MONOCHROME1")).astype(int)
    assert inverted[0, 0] == 255
    assert np.abs(plain + inverted - 255).max() <= 1


def test_look_up_tables_are_applied_in_order_and_before_any_window() -> None:
    pixels = (RAMP // 256).astype(np.uint16)  # 0 ... 15
    squares = [value * value for value in range(16)]
    descending = list(range(255, -1, -1))
    header = {"ModalityLUTSequence": [lut(0, squares, 8)], "WindowCenter": 3, "WindowWidth": 2}
    voi = {"VOILUTSequence": [lut(0, descending, 8)]}
    grey = grey_from_bytes(dicom(pixels, bits_stored=12, **header, **voi))
    assert np.array_equal(grey, 255 - pixels.astype(int) ** 2)


def test_unused_high_bits_and_signed_values_in_few_bits_do_no_harm() -> None:
    overlay = RAMP.astype(np.uint16) | (np.indices(RAMP.shape).sum(axis=0) % 2 * 0x8000).astype(np.uint16)
    assert np.array_equal(grey_from_bytes(dicom(overlay, bits_stored=12)), rounded(RAMP / 4095))
    twos_complement = ((RAMP - 2048) & 0x0FFF).astype(np.int16)  # not sign-extended
    assert np.array_equal(grey_from_bytes(dicom(twos_complement, bits_stored=12)), rounded(RAMP / 4095))


BAD_HEADERS = {
    "holds no pixel data": {"PixelData": None},
    "more than one frame": {"NumberOfFrames": 3},
    "is not grey": {"PhotometricInterpretation": "PALETTE COLOR"},
    "neither 8 nor 16 bits": {"BitsAllocated": 32, "BitsStored": 32},
    "more than 100 megapixels": {"Rows": 10_001, "Columns": 10_000},
    "10 x 40 pixels, expected at least 16": {"Columns": 10},
    "fewer pixels": {"Rows": 4000},
    "does not say how many pixels it has": {"Rows": None},
    "text is burned into the film": {"BurnedInAnnotation": "YES"},
}


@pytest.mark.parametrize("reason", BAD_HEADERS)
def test_what_is_no_film_is_refused_by_name(reason: str, tmp_path: Path) -> None:
    path = tmp_path / "film.dicom"
    path.write_bytes(dicom(RAMP.astype(np.uint16), bits_stored=12, **BAD_HEADERS[reason]))
    with pytest.raises(UnreadableImage, match=reason) as raised:
        decode_grey(path)
    assert str(raised.value).startswith(str(path))


def test_burned_in_text_is_let_in_only_by_name() -> None:
    data = dicom(RAMP.astype(np.uint16), bits_stored=12, BurnedInAnnotation="YES")
    assert np.array_equal(grey_from_bytes(data, Decoding(allow_burned_in=True)), rounded(RAMP / 4095))
    assert grey_from_bytes(dicom(RAMP.astype(np.uint16), bits_stored=12, BurnedInAnnotation="NO")).shape == RAMP.shape


@pytest.mark.parametrize("syntax", [*LOSSLESS, *LOSSY])
def test_a_codestream_of_another_size_is_refused_before_it_is_decoded(syntax: str) -> None:
    pixels = ramp(8)
    data = dicom(pixels, bits_stored=8, syntax=syntax, Rows=41)
    with pytest.raises(UnreadableImage, match="another size than its header says"):
        grey_from_bytes(data)
    whole = dicom(pixels, bits_stored=8, syntax=syntax)
    is_jpeg_2000 = syntax.rpartition(".")[2] in ("90", "91", "201")
    swapped = "1.2.840.10008.1.2.4.70" if is_jpeg_2000 else "1.2.840.10008.1.2.4.90"
    mislabelled = dicom(pixels, bits_stored=8, syntax=swapped, PixelData=_pixel_data(whole))
    with pytest.raises(UnreadableImage):
        grey_from_bytes(mislabelled)


def _pixel_data(data: bytes) -> bytes:
    start = data.index(b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff") + 12
    return data[start : data.rindex(b"\xfe\xff\xdd\xe0")]


def test_a_deflated_file_is_refused_unopened_wherever_its_header_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    for reader in ("pydicom.dcmread", "pacx.data.images.headers.read_partial"):
        monkeypatch.setattr(reader, lambda *arguments, **_: opened.append(arguments))
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    deflated = packer.compress(b"an honest film's header and pixels") + packer.flush()
    syntax = DeflatedExplicitVRLittleEndian.encode()
    element = struct.pack("<HH2sH", 2, 0x10, b"UI", len(syntax)) + syntax
    more = struct.pack("<HH2sH", 2, 0x12, b"UI", 4) + b"1.2\0"  # an even length has no padding: the next tag follows
    for length in (len(element + more), 0, 12):
        group = struct.pack("<HH2sHI", 2, 0, b"UL", 4, length)
        data = bytes(128) + b"DICM" + group + element + more + deflated
        with pytest.raises(UnreadableImage, match="deflated DICOM files are not read"):
            grey_from_bytes(data)
        (tmp_path / "film.dcm").write_bytes(data)
        assert read_object(tmp_path / "film.dcm").patient == ""
        assert not opened


def test_header_values_never_leave_the_reader(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture) -> None:
    broken = dict(BAD_HEADERS, odd={"StudyDate": SECRET, "WindowCenter": SECRET, "WindowWidth": SECRET})
    with caplog.at_level(logging.DEBUG, logger="pydicom"), caplog.at_level(logging.DEBUG):
        for header in broken.values():
            data = dicom(RAMP.astype(np.uint16), bits_stored=12, **{k: v for k, v in header.items() if v != SECRET})
            for number in range(0, len(data) - 200, 97):
                damaged = bytearray(data)
                damaged[150 + number % 400] ^= 0xFF
                try:
                    grey_from_dicom(bytes(damaged))
                except UnreadableImage as error:
                    story = "".join(traceback.format_exception(error))
                    assert SECRET not in story
                    assert "Doe" not in story
    assert "Doe" not in caplog.text
    assert "Doe" not in "".join(capfd.readouterr())


def test_the_loggers_of_others_speak_again_afterwards(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(UnreadableImage):
        grey_from_dicom(b"\0" * 128 + b"DICM" + b"\0" * 40)
    with caplog.at_level(logging.INFO, logger="pydicom"):
        logging.getLogger("pydicom").info("mine")
    assert "mine" in caplog.text


def test_a_value_that_breaks_the_standard_is_neither_logged_nor_warned_of(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    valid = dicom(RAMP.astype(np.uint16), bits_stored=12, BurnedInAnnotation="DOEJANES", StudyInstanceUID="1.2.3.44")
    data = valid.replace(b"DOEJANES", b"Doe^Jane").replace(b"1.2.3.44", b"Doe^Jane")
    path = tmp_path / "film.dcm"
    path.write_bytes(data)
    with caplog.at_level(logging.DEBUG, logger="pydicom"):
        assert np.array_equal(grey_from_bytes(data), rounded(RAMP / 4095))
        assert read_object(path).study == "Doe^Jane"
        assert caplog.text == ""
        with pytest.warns(UserWarning, match="Doe"):  # what others would see of this file
            _ = pydicom.dcmread(path).StudyInstanceUID
        assert "Doe" in caplog.text
