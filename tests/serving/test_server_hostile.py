"""Files and connections made to hurt: each is refused with the right status, quickly, and nothing of it stays."""

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
import pytest
from film_bytes import PATIENT, dicom, film, jpeg, png
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless
from running_server import ANY, TOKEN, Running, answer_of, serving

GREY = film(3)
MOST_EXTRA_BYTES = 700 * 2**20
"""Over the server at rest: two decoders at work on films of 100 megapixels would take about this."""


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_of(height: int, width: int, pixels: bytes, *between: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(between) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def inflated(megabytes: int) -> bytes:
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(2**20)) for _ in range(megabytes)) + packer.flush()


def png_declaring_gigapixels() -> bytes:
    return png_of(60_000, 60_000, inflated(64))


def png_with_a_bomb_beside_the_pixels() -> bytes:
    return png_of(64, 64, zlib.compress(bytes(64 * 65)), chunk(b"zTXt", b"Comment\0\0" + inflated(150)))


def png_whose_pixels_go_on() -> bytes:
    return png_of(64, 64, inflated(150), chunk(b"tEXt", b"a\0b"))[:-1]


def jpeg_declaring_gigapixels() -> bytes:
    data = bytearray(jpeg(GREY))
    place = data.find(b"\xff\xc0") + 5
    data[place : place + 4] = b"\xff\xdc\xff\xdc"
    return bytes(data)


def jpeg_of_a_thousand_scans() -> bytes:
    data = jpeg(film(3, 500, 500), progressive=True)
    last = data.rfind(b"\xff\xda")
    return data[:-2] + data[last:-2] * 1000 + data[-2:]


def dicom_deflated() -> bytes:
    plain = dicom(GREY)
    syntax = b"1.2.840.10008.1.2.1\0"
    data = plain.replace(syntax, b"1.2.840.10008.1.2.1.99", 1)
    at = data.find(b"1.2.840.10008.1.2.1.99") - 2
    data = data[:at] + struct.pack("<H", 22) + data[at + 2 :]
    length_at = 128 + 4 + 8
    (length,) = struct.unpack_from("<I", data, length_at)
    body_at = length_at + 4 + length + 2
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = packer.compress(data[body_at:]) + packer.compress(bytes(2**27)) + packer.flush()
    return data[:length_at] + struct.pack("<I", length + 2) + data[length_at + 4 : body_at] + body


def dicom_of_gigapixels() -> bytes:
    return dicom(GREY, Rows=65535, Columns=65535)


def dicom_whose_codestream_is_larger() -> bytes:
    file = io.BytesIO()
    Image.fromarray(GREY).save(file, "JPEG2000")
    stream = bytearray(file.getvalue()[file.getvalue().find(b"\xff\x4f\xff\x51") :])
    struct.pack_into(">2I", stream, 8, 2**31, 2**31)
    return dicom(GREY, syntax=JPEG2000Lossless, PixelData=encapsulate([bytes(stream)]), BitsAllocated=8, BitsStored=8)


FILES: dict[str, tuple[Callable[[], bytes], set[int]]] = {
    "a PNG that declares gigapixels": (png_declaring_gigapixels, {413}),
    "a PNG with a bomb in a comment": (png_with_a_bomb_beside_the_pixels, {400}),
    "a PNG whose pixels inflate without end": (png_whose_pixels_go_on, {400}),
    "a JPEG that declares gigapixels": (jpeg_declaring_gigapixels, {413}),
    "a JPEG of a thousand scans": (jpeg_of_a_thousand_scans, {400}),
    "a deflated DICOM file": (dicom_deflated, {422}),
    "a DICOM file of gigapixels": (dicom_of_gigapixels, {413}),
    "a DICOM file whose codestream is larger": (dicom_whose_codestream_is_larger, {413, 422}),
    "a DICOM file that begins as a program": (lambda: dicom(GREY, preamble=b"MZ" + bytes(126)), {422}),
    "a DICOM file that begins as a JPEG": (lambda: dicom(GREY, preamble=b"\xff\xd8\xff\xe0" + bytes(124)), {422}),
    "a PNG with an archive behind it": (lambda: png(GREY) + b"PK\x03\x04archive", {400}),
    "a JPEG with an archive behind it": (lambda: jpeg(GREY) + b"PK\x03\x04archive", {400}),
    "a truncated PNG": (lambda: png(GREY)[:-40], {400}),
    "a truncated JPEG": (lambda: jpeg(GREY)[:-40], {400}),
    "a truncated DICOM file": (lambda: dicom(GREY)[:-4000], {422, 400}),
    "a DICOM file cut in its header": (lambda: dicom(GREY)[:300], {400, 422}),
    "a page": (lambda: b"<html><script>alert(1)</script></html>", {400}),
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
def test_a_hostile_file_is_refused_quickly(server: Running, name: str) -> None:
    make, statuses = FILES[name]
    body = make()
    began, replaced = time.monotonic(), server.metric("pacx_decode_workers_replaced_total")
    answer = server.post(body)
    assert time.monotonic() - began < 2
    assert answer.status_code in statuses, answer.text
    assert set(answer.json()) == {"error"}
    assert server.metric("pacx_decode_workers_replaced_total") == replaced
    assert server.post(png(GREY)).status_code == 200


def test_the_content_type_has_to_agree(server: Running) -> None:
    for media_type in ("text/html", "image/tiff", "multipart/form-data; boundary=x", "", "image/*"):
        assert server.post(png(GREY), media_type).status_code == 415, media_type
    assert server.post(png(GREY), "image/jpeg").status_code == 415
    assert server.post(jpeg(GREY), "application/dicom").status_code == 415
    assert server.post(dicom(GREY), "image/png").status_code == 415
    assert server.post(dicom(GREY), "Application/DICOM; charset=x").status_code == 200


def test_a_large_body_is_refused_whether_or_not_it_says_so(server: Running) -> None:
    began = time.monotonic()
    with server.begin(b"x", of=10**12) as connection:
        status, text = answer_of(connection)
    assert (status, "32 MiB" in text) == (413, True)
    assert time.monotonic() - began < 2

    def endless() -> Iterator[bytes]:
        while True:
            yield bytes(2**20)

    with server.client() as client:
        try:
            status = client.post("/v1/predict", content=endless(), headers={"Content-Type": ANY}).status_code
        except httpx.TransportError:  # still sending when the connection was closed on it
            status = 413
    assert status == 413
    assert server.metric("pacx_held_bytes ") == 0


def test_slow_bodies_are_not_waited_for(server: Running) -> None:
    def drip(connection: socket.socket) -> None:
        try:
            for _ in range(100):
                connection.sendall(b"x")
                time.sleep(0.1)
        except OSError:
            pass

    silent, dripping = server.begin(b"x", of=10**6), server.begin(b"x", of=10**6)
    with silent, dripping:
        began = time.monotonic()
        threading.Thread(target=drip, args=(dripping,), daemon=True).start()
        for connection in (silent, dripping):
            status, text = answer_of(connection)
            assert (status, "slowly" in text) == (408, True)
        assert time.monotonic() - began < 3
    assert server.post(png(GREY)).status_code == 200


def test_slow_and_large_headers_are_not_waited_for(export: Path, tmp_path: Path) -> None:
    with serving([str(export), "--limits.header-s", "0.5"], tmp_path) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            began = time.monotonic()
            for _ in range(100):
                try:
                    connection.sendall(b"G")
                    time.sleep(0.05)
                except OSError:
                    break
            assert answer_of(connection)[0] in (0, 400)
            assert time.monotonic() - began < 3
        with server.begin(b"", of=0, more_headers="X-Large: " + "y" * 70_000 + "\r\n") as connection:
            assert answer_of(connection)[0] in (0, 400, 431)
        time.sleep(0.7)  # a connection kept alive is not closed by the clock of its first request
        assert server.post(png(GREY)).status_code == 200


def test_an_early_refusal_does_not_hold_the_connection(server: Running) -> None:
    with server.begin(b"x", of=10**6, token="wrong") as connection:
        began = time.monotonic()
        assert answer_of(connection)[0] == 401
        connection.settimeout(3)
        try:
            while connection.recv(1024):
                pass
        except ConnectionError:
            pass
        assert time.monotonic() - began < 2


def test_a_film_that_takes_too_much_costs_a_worker_and_no_more(export: Path, tmp_path: Path) -> None:
    large = png_of(10_000, 10_000, zlib.compress(bytes(10_000 * 10_001), 1))
    with serving(
        [
            str(export),
            "--limits.decode-cpu-s",
            "0.2",
            "--limits.decode-cpu-s-per-mib",
            "0.1",
            "--limits.decode-memory-mib",
            "1024",
        ],
        tmp_path,
    ) as server:
        assert server.post(png(GREY)).status_code == 200
        answer = server.post(large)
        assert (answer.status_code, "more memory or time" in answer.json()["error"]) == (413, True)
        assert server.post(png(GREY)).status_code == 200
        assert server.metric('pacx_decode_workers_replaced_total{end="time"}') == 1


def test_nothing_is_written_logged_or_kept(export: Path, tmp_path: Path) -> None:
    names = {"Content-Disposition": 'attachment; filename="../../etc/Secretname.dcm"', "X-Request-ID": "Secretname"}
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
                client.post("/v1/predict?file=../../Secretname.dcm", content=body, headers=headers)
                client.post("/..%2f..%2fSecretname", content=body[:100], headers=headers)
            client.post("/v1/predict", headers={"Authorization": "Bearer Secretname"})
        is_over.set()
        watcher.join()
        assert sorted(tmp_path.rglob("*")) == before
        assert max(peak) - resting < MOST_EXTRA_BYTES
        assert server.stop() == 0
    written = server.log.read_text() + (tmp_path / "said.txt").read_text()
    assert len(server.lines()) >= 2 * len(bodies)
    for secret in (PATIENT, "Secretname", "etc", TOKEN, "attachment"):
        assert secret not in written


def test_without_a_token_only_this_machine_by_its_own_name_is_answered(export: Path, tmp_path: Path) -> None:
    with serving([str(export), "--no-auth"], tmp_path, token=None) as server, server.client() as client:
        assert client.get("/v1/models").status_code == 200
        assert client.get("/v1/models", headers={"Host": "localhost:80"}).status_code == 200
        for name in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8080", ""):
            assert client.get("/v1/models", headers={"Host": name}).status_code in (400, 403), name


def test_random_bytes_after_each_magic_are_refused(server: Running) -> None:
    random = np.random.default_rng(5)
    for start in (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", bytes(128) + b"DICM"):
        assert 400 <= server.post(start + random.bytes(2000)).status_code < 500
