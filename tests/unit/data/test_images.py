"""Every kind of file a hospital can hand over, and what becomes of it."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pacx.data.images.decode import UnreadableImage, decode_grey, decode_mask, to_square, to_square_mask

GRADIENT = np.add.outer(np.arange(40) * 3, np.arange(48) * 2).astype(np.uint8)


def saved(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize("name", ["film.png", "film.bmp", "film.tif"])
def test_grey_files_come_back_pixel_for_pixel(tmp_path: Path, name: str) -> None:
    assert np.array_equal(decode_grey(saved(Image.fromarray(GRADIENT), tmp_path / name)), GRADIENT)


def test_the_suffix_does_not_decide(tmp_path: Path) -> None:
    path = saved(Image.fromarray(GRADIENT), tmp_path / "film.png")
    assert np.array_equal(decode_grey(path.rename(tmp_path / "film.jpg")), GRADIENT)


@pytest.mark.parametrize("mode", ["RGB", "P", "RGBA", "LA"])
def test_colour_files_with_equal_channels_are_exact(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(GRADIENT).convert(mode)
    assert np.array_equal(decode_grey(saved(image, tmp_path / "film.png")), GRADIENT)


def test_luma_weighs_green_most(tmp_path: Path) -> None:
    rgb = np.zeros((20, 20, 3), np.uint8)
    rgb[:10, :, 1] = 255
    rgb[10:, :, 2] = 255
    grey = decode_grey(saved(Image.fromarray(rgb), tmp_path / "film.png"))
    assert grey[0, 0] == round(0.587 * 255)
    assert grey[19, 0] == round(0.114 * 255)


def test_transparency_is_laid_on_black(tmp_path: Path) -> None:
    rgba = np.full((20, 20, 4), 200, np.uint8)
    rgba[..., 3] = 0
    rgba[:, 10:, 3] = 255
    grey = decode_grey(saved(Image.fromarray(rgba), tmp_path / "film.png"))
    assert (grey[:, :10] == 0).all()
    assert (grey[:, 10:] == 200).all()


def test_a_transparent_palette_entry_is_laid_on_black(tmp_path: Path) -> None:
    palette = Image.fromarray((np.arange(400).reshape(20, 20) % 2).astype(np.uint8)).convert("P")
    palette.putpalette([250, 250, 250, 90, 90, 90])
    grey = decode_grey(saved(palette, tmp_path / "film.png", transparency=0))
    assert set(np.unique(grey)) == {0, 90}


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_16_bit_is_scaled_linearly_to_the_bits_in_use(tmp_path: Path, bits: int) -> None:
    pixels = np.linspace(0, 2**bits - 1, 400).astype(np.uint16).reshape(20, 20)
    grey = decode_grey(saved(Image.fromarray(pixels), tmp_path / "film.png"))
    assert np.array_equal(grey, np.floor(pixels.astype(float) * 255 / (2**bits - 1) + 0.5).astype(np.uint8))


def test_1_bit_becomes_black_and_white(tmp_path: Path) -> None:
    image = Image.fromarray(GRADIENT > 100)
    assert np.array_equal(decode_grey(saved(image, tmp_path / "film.png")), np.where(GRADIENT > 100, 255, 0))


def test_jpeg_agrees_with_pillow(tmp_path: Path) -> None:
    path = saved(Image.fromarray(GRADIENT), tmp_path / "film.jpg", quality=80)
    with Image.open(path) as image:
        assert np.array_equal(decode_grey(path), np.asarray(image))


def test_grey_stored_as_colour_jpeg_is_its_luma(tmp_path: Path) -> None:
    smooth = np.asarray(Image.fromarray(GRADIENT).resize((64, 64)))
    path = saved(Image.fromarray(smooth).convert("RGB"), tmp_path / "film.jpg", quality=100)
    assert np.abs(decode_grey(path).astype(int) - smooth).max() <= 2


def test_cmyk_jpeg_and_tiff(tmp_path: Path) -> None:
    grey = np.repeat(np.linspace(0, 255, 32).astype(np.uint8)[None], 32, axis=0)
    cmyk = Image.merge("CMYK", [Image.new("L", (32, 32))] * 3 + [Image.fromarray(255 - grey)])
    for name, tolerance in [("film.tif", 1), ("film.jpg", 4)]:
        decoded = decode_grey(saved(cmyk, tmp_path / name))
        assert np.abs(decoded.astype(int) - grey).max() <= tolerance


def png_claiming(width: int, height: int) -> bytes:
    """A valid PNG header for a film of any size, with a few bytes of pixels."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 9)) + chunk(b"IEND", b"")
    )


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def bad_files() -> dict[str, tuple[bytes, str]]:
    film = Image.fromarray(GRADIENT)
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8))
    return {
        "empty": (b"", "empty"),
        "text": (b"PatientName: Doe^Jane", "not a PNG"),
        "jpeg magic only": (b"\xff\xd8\xff", "damaged"),
        "truncated jpeg": (encoded(noise, "JPEG")[:-600], "damaged"),
        "truncated colour jpeg": (encoded(noise.convert("RGB"), "JPEG")[:-600], "damaged"),
        "truncated cmyk jpeg": (encoded(noise.convert("CMYK"), "JPEG")[:-600], "damaged"),
        "truncated png": (encoded(noise, "PNG")[:-600], "damaged"),
        "truncated tiff": (encoded(noise, "TIFF")[:-600], "damaged"),
        "truncated bmp": (encoded(noise, "BMP")[:-600], "damaged"),
        "flipped bits": (encoded(noise, "PNG")[:200] + b"\xa5" * 40 + encoded(noise, "PNG")[240:], "damaged"),
        "1x1": (encoded(film.resize((1, 1)), "PNG"), "1 x 1 pixels"),
        "1x1 jpeg": (encoded(film.resize((1, 1)), "JPEG"), "1 x 1 pixels"),
        "one strip": (encoded(film.resize((400, 15)), "PNG"), "400 x 15 pixels"),
        "too many pixels": (png_claiming(10_001, 10_000), "100 megapixels"),
        "gif": (encoded(film, "GIF"), "not a PNG"),
        "animated png": (encoded(film, "PNG", save_all=True, append_images=[film.rotate(90)]), "more than one image"),
        "pages": (encoded(film, "TIFF", save_all=True, append_images=[film]), "more than one image"),
    }


@pytest.mark.parametrize("case", sorted(bad_files()))
def test_bad_files_are_refused_with_a_reason(tmp_path: Path, case: str) -> None:
    content, reason = bad_files()[case]
    path = tmp_path / "film.bin"
    path.write_bytes(content)
    with pytest.raises(UnreadableImage, match=reason) as caught:
        decode_grey(path)
    assert str(caught.value) == f"{path}: {caught.value.reason}"
    assert "Doe" not in str(caught.value)


def test_a_film_between_pillows_limit_and_ours_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(Image.fromarray(GRADIENT), tmp_path / "film.bmp")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", GRADIENT.size - 1)  # Pillow warns, as of any film beyond its limit
    assert np.array_equal(decode_grey(path), GRADIENT)


def test_what_pillow_takes_for_an_attack_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(Image.fromarray(GRADIENT), tmp_path / "film.bmp")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", GRADIENT.size // 3)  # Pillow refuses from twice its limit on
    with pytest.raises(UnreadableImage, match="has more than 100 megapixels"):
        decode_grey(path)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImage, match=r"nowhere\.png: the file cannot be opened \(No such file"):
        decode_grey(tmp_path / "nowhere.png")
    with pytest.raises(UnreadableImage, match="cannot be opened"):
        decode_grey(tmp_path)


def test_masks_of_every_convention(tmp_path: Path) -> None:
    structure = GRADIENT > 120
    expected = structure.astype(np.uint8)
    assert np.array_equal(decode_mask(saved(Image.fromarray(expected), tmp_path / "unit.png")), expected)
    assert np.array_equal(decode_mask(saved(Image.fromarray(expected * 255), tmp_path / "full.png")), expected)
    assert np.array_equal(decode_mask(saved(Image.fromarray(structure), tmp_path / "bit.png")), expected)
    lossy = decode_mask(saved(Image.fromarray(expected * 255), tmp_path / "lossy.jpg", quality=75))
    assert (lossy == expected).mean() > 0.99
    with_ignore = expected * 255
    with_ignore[:4] = 127
    expected[:4] = 255
    assert np.array_equal(decode_mask(saved(Image.fromarray(with_ignore), tmp_path / "ignore.png")), expected)
    assert not decode_mask(saved(Image.new("L", (20, 20)), tmp_path / "none.png")).any()


def test_a_label_map_is_not_taken_for_a_mask(tmp_path: Path) -> None:
    path = saved(Image.fromarray((GRADIENT > 90).astype(np.uint8) * 2), tmp_path / "labels.png")
    with pytest.raises(UnreadableImage, match="brightest value is 2"):
        decode_mask(path)


def test_squares_are_antialiased_and_keep_the_mean() -> None:
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 64))  # (64, 128): finer than 32 px can show
    assert np.abs(to_square(stripes, 32).astype(int)[:, 1:-1] - 127).max() <= 2
    assert to_square(stripes, 32).shape == (32, 32)
    same = np.zeros((32, 32), np.uint8)
    assert to_square(same, 32) is same


def test_mask_squares_bring_no_new_values() -> None:
    mask = np.kron(np.array([[0, 1], [255, 0]], np.uint8), np.ones((17, 23), np.uint8))
    assert set(np.unique(to_square_mask(mask, 20))) == {0, 1, 255}


def test_a_tall_transparent_film_is_the_same_in_strips(tmp_path: Path) -> None:
    rgba = np.random.default_rng(0).integers(0, 256, (1100, 20, 4), dtype=np.uint8)
    whole = Image.alpha_composite(Image.new("RGBA", (20, 1100), (0, 0, 0, 255)), Image.fromarray(rgba))
    grey = decode_grey(saved(Image.fromarray(rgba), tmp_path / "film.png"))
    assert np.array_equal(grey, np.asarray(whole.convert("RGB").convert("L")))


def test_a_png_cut_in_its_last_bytes_is_refused(tmp_path: Path) -> None:
    path = saved(Image.fromarray(np.zeros((64, 64), np.uint8)), tmp_path / "film.png")
    whole = path.read_bytes()
    for missing in (1, 8, 12, 16):  # the last chunk, then the checksum of the pixels, which themselves are all there
        path.write_bytes(whole[:-missing])
        with pytest.raises(UnreadableImage, match="damaged or truncated"):
            decode_grey(path)
