"""What the bits of a pixel mean: which of them are its value, which values are padding, and where the pixels end."""

import imagecodecs
import numpy as np
import pytest
from dicom_files import LOSSLESS, dicom
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from pacx.data.file_kinds import FileKind, kind_of
from pacx.data.images.codestreams import declared
from pacx.data.images.decode import UnreadableImage, grey_from_bytes
from pacx.data.images.unreadable import DAMAGED

RAMP = np.add.outer(np.arange(40) * 50, np.arange(48) * 45).astype(np.uint16)  # 0 ... 4065: twelve bits
PLAIN = np.floor(RAMP / 4095 * 255 + 0.5).astype(np.uint8)
NATIVE = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]


def shown(pixels: np.ndarray, bits_stored: int = 12, **header: object) -> np.ndarray:
    return grey_from_bytes(dicom(pixels, bits_stored=bits_stored, **header))


@pytest.mark.parametrize("syntax", [*NATIVE, RLELossless, "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.90"])
@pytest.mark.parametrize("num_below", [1, 2, 4])
@pytest.mark.parametrize("signed", [False, True])
def test_the_value_lies_below_the_high_bit(signed: bool, num_below: int, syntax: str) -> None:
    below = (np.indices(RAMP.shape).sum(axis=0) % 2**num_below).astype(np.uint16)  # an overlay, which is not the film's
    stored = RAMP.astype(int) - 2048 if signed else RAMP.astype(int)
    cells = ((stored << num_below) & 0xFFFF).astype(np.uint16) | below
    header = {"BitsStored": 12, "HighBit": 11 + num_below, "PixelRepresentation": int(signed)}
    assert np.array_equal(shown(cells, bits_stored=16, syntax=syntax, **header), PLAIN)


@pytest.mark.parametrize("high_bit", [None, 0, 10, 16, 40000])
def test_a_high_bit_that_there_is_no_room_for_is_not_believed(high_bit: int | None) -> None:
    assert np.array_equal(shown(RAMP, HighBit=high_bit), PLAIN)


@pytest.mark.parametrize("syntax", [syntax for syntax in LOSSLESS if syntax.rpartition(".")[2] in ("70", "90", "110")])
def test_a_decoder_that_gives_the_value_alone_is_not_shifted(syntax: str) -> None:
    assert np.array_equal(shown(RAMP, syntax=syntax, HighBit=15), PLAIN)


def test_overlays_and_spread_signs_above_the_value_are_not_taken() -> None:
    overlay = (np.indices(RAMP.shape).sum(axis=0) % 2 << 15).astype(np.uint16)
    assert np.array_equal(shown(RAMP | overlay), PLAIN)
    signed = (RAMP.astype(int) - 2048).astype(np.int16)
    for cells in (signed, signed & 0x0FFF):
        assert np.array_equal(shown(cells), PLAIN)


@pytest.mark.parametrize("syntax", NATIVE)
@pytest.mark.parametrize("bits_stored", [12, 13, 16])
def test_signed_pixels_without_a_negative_one_look_like_unsigned_ones(bits_stored: int, syntax: str) -> None:
    film = RAMP // 2 if bits_stored == 12 else RAMP
    expected = shown(film, bits_stored=16) if bits_stored > 12 else np.floor(film / 2047 * 255 + 0.5)
    assert np.array_equal(shown(film.astype(np.int16), bits_stored=bits_stored, syntax=syntax), expected)


@pytest.mark.parametrize("bits", [9, 11, 13, 15])
def test_white_is_no_brighter_than_the_header_says_that_pixels_can_be(bits: int) -> None:
    film = np.rint(np.linspace(0, 2**bits - 1, 40 * 48)).reshape(40, 48).astype(np.uint16)
    assert np.array_equal(shown(film, bits_stored=bits), np.floor(film / (2**bits - 1) * 255 + 0.5))


def test_a_burnt_in_marker_is_white_and_darkens_nothing() -> None:
    film = RAMP.copy()
    film[2:10, 2:6] = 65535
    grey = shown(film, bits_stored=16)
    assert (grey[2:10, 2:6] == 255).all()
    grey[2:10, 2:6] = PLAIN[2:10, 2:6]
    assert np.array_equal(grey, PLAIN)


PADDINGS = {
    "greatest": ({"PixelPaddingValue": 65535}, 65535, False),
    "unsigned and above the film": ({"PixelPaddingValue": 40000}, 40000, False),
    "signed": ({"PixelPaddingValue": -2000}, -2000, True),
    "range upwards": ({"PixelPaddingValue": 60000, "PixelPaddingRangeLimit": 65535}, 61111, False),
    "range downwards": ({"PixelPaddingValue": 65535, "PixelPaddingRangeLimit": 60000}, 61111, False),
    "signed range": ({"PixelPaddingValue": -2000, "PixelPaddingRangeLimit": -1000}, -1500, True),
}


@pytest.mark.parametrize("syntax", NATIVE)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("name", PADDINGS)
def test_padding_is_black_and_no_part_of_the_scale(name: str, photometric: str, syntax: str) -> None:
    header, padding, is_signed = PADDINGS[name]
    film = RAMP.astype(np.int16 if is_signed else np.uint16)
    header = header | {"PhotometricInterpretation": photometric, "syntax": syntax}
    unpadded = shown(film, bits_stored=16, **header)
    film[:, :15] = padding
    grey = shown(film, bits_stored=16, **header)
    assert (grey[:, :15] == 0).all()
    assert np.array_equal(grey[:, 15:], unpadded[:, 15:])
    plain = PLAIN.astype(int)
    assert np.abs(grey[:, 15:] - (255 - plain if photometric == "MONOCHROME1" else plain)[:, 15:]).max() <= 1


def with_other_sign(data: bytes, written: bytes, meant: bytes) -> bytes:
    assert data.count(written) == 1
    return data.replace(written, meant)


def test_the_sign_of_padding_is_that_of_the_pixels_whatever_it_is_called() -> None:
    film = (RAMP.astype(int) - 500).astype(np.int16)
    film[:, :15] = -2000
    expected = shown(film, bits_stored=16, PixelPaddingValue=-2000)
    data = dicom(film, bits_stored=16, PixelPaddingValue=-2000)
    tag = b"\x28\x00\x20\x01"
    assert np.array_equal(grey_from_bytes(with_other_sign(data, tag + b"SS", tag + b"US")), expected)
    unsigned = RAMP.copy()
    unsigned[:, :15] = 63536
    data = dicom(unsigned, bits_stored=16, PixelPaddingValue=63536)
    grey = grey_from_bytes(with_other_sign(data, tag + b"US", tag + b"SS"))
    assert (grey[:, :15] == 0).all()
    assert np.array_equal(grey[:, 15:], PLAIN[:, 15:])


def test_padding_that_no_pixel_can_hold_is_looked_for_in_the_whole_cell() -> None:
    film = np.minimum(RAMP, 4000) + 95  # has pixels of 4095, whose bits 65535 has too
    film[:, :15] = 65535
    grey = shown(film, PixelPaddingValue=65535)
    assert (grey[:, :15] == 0).all()
    assert grey[:, 15:].max() == 255


def test_padding_that_the_film_does_not_have_changes_nothing() -> None:
    for value in (5000, 60000):
        assert np.array_equal(shown(RAMP, bits_stored=16, PixelPaddingValue=value), PLAIN)


@pytest.mark.parametrize("syntax", NATIVE)
@pytest.mark.parametrize("num_bytes", [2, 4, 128, 510, 512, 1024, 3000])
def test_what_fills_a_block_behind_the_pixels_is_passed_over(num_bytes: int, syntax: str) -> None:
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    pixels = RAMP.astype(f"{order}u2").tobytes() + b"\7" * num_bytes
    assert np.array_equal(shown(RAMP, syntax=syntax, PixelData=pixels), PLAIN)


def test_fewer_pixels_or_as_many_again_are_refused() -> None:
    whole = RAMP.tobytes()
    for pixels in (whole[:-2], whole[:100]):
        with pytest.raises(UnreadableImage, match="it holds fewer pixels than its header says"):
            shown(RAMP, PixelData=pixels)
    for pixels in (whole * 2, whole * 3):
        with pytest.raises(UnreadableImage, match="it holds more pixels than its header says"):
            shown(RAMP, PixelData=pixels)


@pytest.mark.parametrize("vr", ["OB", "OW"])
@pytest.mark.parametrize("syntax", NATIVE)
@pytest.mark.parametrize("width", [48, 47])
def test_pixels_of_8_bits_may_come_in_words(width: int, syntax: str, vr: str) -> None:
    film = (RAMP[:39, :width] >> 4).astype(np.uint8)
    pixels = film.tobytes() + b"\0" * (film.size % 2)
    if vr == "OW" and syntax == ExplicitVRBigEndian:
        pixels = np.frombuffer(pixels, "<u2").astype(">u2").tobytes()
    data = dicom(film, bits_stored=8, syntax=syntax, PixelData=pixels)
    written, meant = b"\xe0\x7f\x10\x00OB", b"\xe0\x7f\x10\x00" + vr.encode()
    if syntax == ExplicitVRBigEndian:
        written, meant = b"\x7f\xe0\x00\x10OB", b"\x7f\xe0\x00\x10" + vr.encode()
    assert np.array_equal(grey_from_bytes(data.replace(written, meant)), film)


@pytest.mark.parametrize(("header", "reason"), [
    ({"Rows": None}, "does not say how many pixels it has"),
    ({"BitsStored": None}, "does not say how many pixels it has, or of how many bits"),
    ({"BitsStored": 17}, "more bits than there is room for"),
    ({"BitsStored": 0}, "more bits than there is room for, or none"),
    ({"BitsAllocated": 32, "BitsStored": 32}, "neither 8 nor 16 bits"),
    ({"BitsAllocated": 1, "BitsStored": 1}, "neither 8 nor 16 bits"),
    ({"SamplesPerPixel": 3}, "is not grey"),
    ({"PhotometricInterpretation": None}, "is not grey"),
    ({"Columns": 0}, "0 x 40 pixels, expected at least 16"),
])  # fmt: skip
def test_a_header_that_does_not_add_up_is_not_called_damage(header: dict[str, object], reason: str) -> None:
    with pytest.raises(UnreadableImage, match=reason) as raised:
        shown(RAMP, **header)
    assert raised.value.reason != DAMAGED


@pytest.mark.parametrize("header", [
    {"NumberOfFrames": 1}, {"NumberOfFrames": ""}, {"NumberOfFrames": "0"}, {"SamplesPerPixel": None},
    {"PixelRepresentation": None}, {"VOILUTSequence": []}, {"ModalityLUTSequence": []},
    {"PresentationLUTShape": "IDENTITY"}, {"BitsStored": 16, "HighBit": 15},
])  # fmt: skip
def test_what_may_be_missing_or_empty_is_not_asked_for(header: dict[str, object]) -> None:
    assert np.array_equal(shown(RAMP, **header), PLAIN)


@pytest.mark.parametrize(
    "syntax", ["1.2.840.10008.1.2.8.1", "1.2.840.10008.1.2.4.205", "1.2.840.10008.1.2.4.100", "1.2.3"]
)
def test_a_compression_that_is_not_read_is_told_as_such(syntax: str) -> None:
    data = dicom(RAMP, bits_stored=12, syntax="1.2.840.10008.1.2.4.80").replace(
        b"UI\x16\x001.2.840.10008.1.2.4.80", b"UI\x16\x00" + syntax.encode()[:22].ljust(22, b"\0")
    )
    with pytest.raises(UnreadableImage, match="compressed in a way that is not read"):
        grey_from_bytes(data)


JPEG_XL = "1.2.840.10008.1.2.4.110"


@pytest.mark.parametrize("shape", [(16, 16), (40, 48), (64, 80), (100, 100), (120, 100), (300, 400), (20, 700)])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("in_boxes", [False, True])
def test_jpeg_xl_declares_what_it_decodes_to(in_boxes: bool, bits: int, shape: tuple[int, int]) -> None:
    film = np.random.default_rng(0).integers(0, 2**bits, shape).astype(np.uint8 if bits == 8 else np.uint16)
    stream = imagecodecs.jpegxl_encode(film, lossless=True, bitspersample=bits, usecontainer=in_boxes)
    assert declared(stream) == (*shape, 1, bits)
    data = dicom(film, bits_stored=bits, syntax=JPEG_XL, PixelData=encapsulate([stream]))
    assert np.array_equal(grey_from_bytes(data), grey_from_bytes(dicom(film, bits_stored=bits)))


def test_a_jpeg_recompressed_as_jpeg_xl_gives_its_film() -> None:
    film = (RAMP >> 4).astype(np.uint8)
    jpeg = imagecodecs.jpeg8_encode(film, level=95)
    stream = imagecodecs.jpegxl_encode_jpeg(jpeg)
    assert declared(stream) == (40, 48, 1, 8)
    data = dicom(film, bits_stored=8, syntax="1.2.840.10008.1.2.4.112", PixelData=encapsulate([stream]))
    data = data.replace(b"1.2.840.10008.1.2.4.112", b"1.2.840.10008.1.2.4.111")
    assert np.abs(grey_from_bytes(data).astype(int) - imagecodecs.jpeg8_decode(jpeg)).max() <= 1


def test_jpeg_xl_of_more_than_one_grey_film_is_refused_before_it_is_decoded() -> None:
    film = (RAMP >> 4).astype(np.uint8)
    pictures = {
        "several frames": np.stack([film, film]), "further channels": np.stack([film, film], -1),
        "not whole numbers": film.astype(np.float32) / 255,
    }  # fmt: skip
    streams = {why: imagecodecs.jpegxl_encode(picture, lossless=True) for why, picture in pictures.items()}
    streams["damaged"] = imagecodecs.jpegxl_encode(film, lossless=True)[:3]
    for why, stream in streams.items():
        with pytest.raises(UnreadableImage, match=why):
            declared(stream)


@pytest.mark.parametrize("encode", [imagecodecs.jpeg8_encode, imagecodecs.jpeg2k_encode, imagecodecs.jpegls_encode])
def test_a_codestream_in_colour_is_refused_before_it_is_decoded(encode: object) -> None:
    colour = np.repeat((RAMP >> 4).astype(np.uint8)[..., None], 3, axis=-1)
    syntax = {"jpeg8_encode": "50", "jpeg2k_encode": "90", "jpegls_encode": "80"}[encode.__name__]
    stream = encode(colour, **({"codecformat": "j2k"} if syntax == "90" else {}))
    assert declared(stream).samples == 3
    syntax = f"1.2.840.10008.1.2.4.{syntax}"
    with pytest.raises(UnreadableImage, match="not single grey values"):
        grey_from_bytes(dicom(colour[..., 0].copy(), bits_stored=8, syntax=syntax, PixelData=encapsulate([stream])))


@pytest.mark.parametrize("with_meta", [True, False])
@pytest.mark.parametrize("syntax", NATIVE)
def test_a_film_without_preamble_or_meta_header_is_read(syntax: str, with_meta: bool) -> None:
    if with_meta:
        data = dicom(RAMP, bits_stored=12, syntax=syntax)[132:]
    else:
        whole = dicom(RAMP, bits_stored=12, syntax=syntax)
        data = whole[144 + int.from_bytes(whole[140:144], "little") :]
    assert kind_of(data) is FileKind.DICOM
    assert np.array_equal(grey_from_bytes(data), PLAIN)


def test_no_picture_or_text_is_taken_for_a_film_without_preamble() -> None:
    for data in (b"", b"\x08\x00", bytes(200), b"\x08\x00\x08\x00" + bytes(100), b"\x02\x00\x10\x00" * 40, b"UI" * 99):
        assert kind_of(data) is None
