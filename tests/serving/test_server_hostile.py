"""Files and connections that a server must not take: each is refused with the right status, and nothing of it stays.

Every file here is small and harmless wherever else it is opened: it stands a little beyond a limit of ours (or beyond a
limit that the test sets low), and only as far as the guard needs to see.
"""

import contextlib
import io
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pydicom
import pytest
from film_bytes import PATIENT, dicom, film, jpeg, png
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless
from running_server import ANY, PATIENCE_S, TOKEN, Running, answer_of, serving

from pacx.serving.decoding.film_format import _MAX_SCANS

GREY = film(3)
_WAITING = ("--limits.body-grace-s", "1000", "--limits.deadline-s", "1000")
"""A server that would wait for the rest of a body longer than anybody here waits for its answer."""
MOST_EXTRA_BYTES = 300 * 2**20
"""Over the server at rest: none of these films is large, so that anything more was allocated on a file's word."""
JUST_TOO_LARGE_PX = (10_001, 10_000)
"""Height and width, barely over the 100 megapixels that a film may have."""


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_of(height: int, width: int, pixels: bytes, *between: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(between) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def png_with_a_long_comment() -> bytes:
    """One that would take a MiB, were it read."""
    comment = zlib.compress(bytes(2**20 + 2**16))
    return png_of(64, 64, zlib.compress(bytes(range(65)) * 64), chunk(b"zTXt", b"Comment\0\0" + comment))


def jpeg_declaring(height: int, width: int) -> bytes:
    data = bytearray(jpeg(GREY))
    struct.pack_into(">HH", data, data.find(b"\xff\xc0") + 5, height, width)
    return bytes(data)


def jpeg_of_more_scans_than_any() -> bytes:
    """A tiny film, one scan over the limit."""
    data = jpeg(film(3, 16, 16), progressive=True)
    last = data.rfind(b"\xff\xda")
    more = _MAX_SCANS + 1 - data.count(b"\xff\xda")
    return data[:-2] + data[last:-2] * more + data[-2:]


def dicom_deflated() -> bytes:
    """An honest film in the syntax that is not read."""
    plain = pydicom.dcmread(io.BytesIO(dicom(GREY)))
    plain.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    file = io.BytesIO()
    plain.save_as(file, enforce_file_format=True)
    return file.getvalue()


def dicom_whose_codestream_is_larger() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.pad(GREY, ((0, 1), (0, 0)))).save(file, "JPEG2000")
    stream = file.getvalue()[file.getvalue().find(b"\xff\x4f\xff\x51") :]
    return dicom(GREY, syntax=JPEG2000Lossless, PixelData=encapsulate([stream]), BitsAllocated=8, BitsStored=8)


FILES: dict[str, tuple[Callable[[], bytes], set[int]]] = {
    "a PNG that declares too many pixels": (lambda: png_of(*JUST_TOO_LARGE_PX, zlib.compress(bytes(9))), {413}),
    "a JPEG that declares too many pixels": (lambda: jpeg_declaring(*JUST_TOO_LARGE_PX), {413}),
    "a JPEG of too many scans": (jpeg_of_more_scans_than_any, {400}),
    "a deflated DICOM file": (dicom_deflated, {422}),
    "a DICOM file that declares too many pixels": (
        lambda: dicom(GREY, Rows=JUST_TOO_LARGE_PX[0], Columns=JUST_TOO_LARGE_PX[1]),
        {413},
    ),
    "a DICOM file whose codestream is larger": (dicom_whose_codestream_is_larger, {422}),
    "a DICOM file that begins as another kind": (lambda: dicom(GREY, preamble=b"RIFF" + bytes(124)), {422}),
    "a PNG with more behind it": (lambda: png(GREY) + b"behind the end", {400}),
    "a JPEG with more behind it": (lambda: jpeg(GREY) + b"behind the end", {400}),
    "a truncated PNG": (lambda: png(GREY)[:-40], {400}),
    "a truncated JPEG": (lambda: jpeg(GREY)[:-40], {400}),
    "a truncated DICOM file": (lambda: dicom(GREY)[:-4000], {422, 400}),
    "a DICOM file cut in its header": (lambda: dicom(GREY)[:300], {400, 422}),
    "a page": (lambda: b"<html><p>no film</p></html>", {400}),
    "a TIFF file": (lambda: _tiff(), {400}),
    "a GIF": (lambda: b"GIF89a" + bytes(100), {400}),
    "one byte": (lambda: b"x", {400}),
    "nothing": (lambda: b"", {400}),
    "a colour DICOM file": (lambda: dicom(GREY, PhotometricInterpretation="RGB", SamplesPerPixel=3), {422}),
    "a DICOM file with text in it": (lambda: dicom(GREY, BurnedInAnnotation="YES"), {422}),
    "a DICOM file of many frames": (lambda: dicom(GREY, NumberOfFrames=1000), {422}),
    "a tiny picture": (lambda: png(GREY[:8, :8]), {400}),
}


def _tiff() -> bytes:
    file = io.BytesIO()
    Image.fromarray(GREY).save(file, "TIFF")
    return file.getvalue()


@pytest.mark.parametrize("name", FILES)
def test_a_hostile_file_is_refused_with_little_work(server: Running, name: str) -> None:
    make, statuses = FILES[name]
    body = make()
    began, replaced = server.cpu_seconds(), server.metric("pacx_decode_workers_replaced_total")
    answer = server.post(body)
    assert server.cpu_seconds() - began < 2
    assert answer.status_code in statuses, answer.text
    assert set(answer.json()) == {"error"}
    assert server.metric("pacx_decode_workers_replaced_total") == replaced
    assert server.post(png(GREY)).status_code == 200


def test_a_long_comment_beside_the_pixels_is_not_read(server: Running) -> None:
    assert server.post(png_with_a_long_comment()).status_code == 200


def test_the_content_type_has_to_agree(server: Running) -> None:
    for media_type in ("text/html", "image/tiff", "multipart/form-data; boundary=x", "", "image/*"):
        assert server.post(png(GREY), media_type).status_code == 415, media_type
    assert server.post(png(GREY), "image/jpeg").status_code == 415
    assert server.post(jpeg(GREY), "application/dicom").status_code == 415
    assert server.post(dicom(GREY), "image/png").status_code == 415
    assert server.post(dicom(GREY), "Application/DICOM; charset=x").status_code == 200


def test_a_large_body_is_refused_whether_or_not_it_says_so(export: Path, tmp_path: Path) -> None:
    def in_pieces() -> Iterator[bytes]:
        for _ in range(64):
            yield bytes(2**18)

    with serving([str(export), "--limits.max-body-mib", "1", *_WAITING], tmp_path) as server:
        with server.begin(b"x", of=2**20 + 1) as connection:
            status, text = answer_of(connection)
        assert (status, "1 MiB" in text) == (413, True)
        with server.client() as client:
            try:
                status = client.post("/v1/predict", content=in_pieces(), headers={"Content-Type": ANY}).status_code
            except httpx.TransportError:  # still sending when the connection was closed on it
                status = 413
        assert status == 413
        assert server.metric("pacx_held_bytes ") == 0
        assert server.post(png(GREY)).status_code == 200


def test_slow_bodies_are_not_waited_for(server: Running) -> None:
    def drip(connection: socket.socket) -> None:
        try:
            while not is_over.wait(0.1):
                connection.sendall(b"x")
        except OSError:
            pass

    is_over = threading.Event()
    silent, dripping = server.begin(b"x", of=10**6), server.begin(b"x", of=10**6)
    with silent, dripping:
        threading.Thread(target=drip, args=(dripping,), daemon=True).start()
        for connection in (silent, dripping):
            status, text = answer_of(connection)
            assert (status, "slowly" in text) == (408, True)
        is_over.set()
    assert server.post(png(GREY)).status_code == 200


def test_slow_and_large_headers_are_not_waited_for(export: Path, tmp_path: Path) -> None:
    with serving([str(export), "--limits.header-s", "1.5"], tmp_path) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as connection:
            until = time.monotonic() + PATIENCE_S
            with contextlib.suppress(OSError):  # closed
                while time.monotonic() < until:
                    connection.sendall(b"G")
                    time.sleep(0.05)
            assert time.monotonic() < until
            assert answer_of(connection)[0] in (0, 400)
        with server.begin(b"", of=0, more_headers="X-Large: " + "y" * 70_000 + "\r\n") as connection:
            assert answer_of(connection)[0] in (0, 400, 431)
        time.sleep(1.7)  # a connection kept alive is not closed by the clock of its first request
        assert server.post(png(GREY)).status_code == 200


def test_an_early_refusal_does_not_hold_the_connection(export: Path, tmp_path: Path) -> None:
    with (
        serving([str(export), *_WAITING], tmp_path) as server,
        server.begin(b"x", of=10**6, token="wrong") as connection,
    ):
        assert answer_of(connection)[0] == 401
        with contextlib.suppress(ConnectionError):
            while connection.recv(1024):
                pass


def test_a_film_that_takes_too_much_costs_a_worker_and_no_more(export: Path, tmp_path: Path) -> None:
    low = {"decode-cpu-s": "0.03", "decode-cpu-s-per-mib": "0.001", "decode-memory-mib": "1024"}
    words = [word for name, value in low.items() for word in (f"--limits.{name}", value)]
    with serving([str(export), *words], tmp_path) as server:
        assert server.post(png(GREY)).status_code == 200
        answer = server.post(png(film(3, 5000, 4000)))  # an honest film, for which so little is not enough
        assert (answer.status_code, "more memory or time" in answer.json()["error"]) == (413, True)
        assert server.post(png(GREY)).status_code == 200
        assert server.metric('pacx_decode_workers_replaced_total{end="time"}') == 1


def test_nothing_is_written_logged_or_kept(export: Path, tmp_path: Path) -> None:
    names = {"Content-Disposition": 'attachment; filename="folder/Secretname.dcm"', "X-Request-ID": "Secretname"}
    with serving([str(export)], tmp_path) as server:
        server.post(png(GREY))
        before, resting = sorted(tmp_path.rglob("*")), server.resident_bytes()
        peak, is_over = [resting], threading.Event()

        def watch() -> None:
            while not is_over.wait(0.02):
                peak.append(server.resident_bytes())

        watcher = threading.Thread(target=watch)
        watcher.start()
        bodies = [make() for make, _ in FILES.values()] + [dicom(GREY, PatientID="Secretname")]
        with server.client() as client:
            for body in bodies:
                headers = {"Content-Type": ANY, **names}
                client.post("/v1/predict?file=folder/Secretname.dcm", content=body, headers=headers)
                client.post("/folder/Secretname", content=body[:100], headers=headers)
            client.post("/v1/predict", headers={"Authorization": "Bearer Secretname"})
        is_over.set()
        watcher.join()
        assert sorted(tmp_path.rglob("*")) == before
        assert max(peak) - resting < MOST_EXTRA_BYTES
        assert server.stop() == 0
    written = server.log.read_text() + (tmp_path / "said.txt").read_text()
    assert len(server.lines()) >= 2 * len(bodies)
    for secret in (PATIENT, "Secretname", "folder", TOKEN, "attachment"):
        assert secret not in written


def test_without_a_token_only_this_machine_by_its_own_name_is_answered(export: Path, tmp_path: Path) -> None:
    with serving([str(export), "--no-auth"], tmp_path, token=None) as server, server.client() as client:
        assert client.get("/v1/models").status_code == 200
        assert client.get("/v1/models", headers={"Host": "localhost:80"}).status_code == 200
        for name in ("other.example", "localhost.example:8080", ""):
            assert client.get("/v1/models", headers={"Host": name}).status_code in (400, 403), name


def test_random_bytes_after_each_magic_are_refused(server: Running) -> None:
    random = np.random.default_rng(5)
    for start in (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", bytes(128) + b"DICM"):
        assert 400 <= server.post(start + random.bytes(2000)).status_code < 500
