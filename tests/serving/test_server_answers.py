"""What the server says of a film is what the library says of it, whatever door and format it came in by."""

import base64
import io
import socket
from pathlib import Path

import numpy as np
import pytest
from film_bytes import dicom, film, jpeg, png
from PIL import Image
from running_server import Running

import pacx
from pacx.data.images.decode import grey_from_bytes, to_square
from pacx.models.heads.classifier import load_classifier
from pacx.models.heads.readouts import load_readouts
from pacx.models.heads.reference import load_reference

GREY = film(1)
READOUTS = ("Sodium", "QRS")
FILES = {
    "film.png": (png(GREY), "image/png"),
    "film.jpg": (jpeg(GREY), "image/jpeg"),
    "film.dcm": (dicom(GREY), "application/dicom"),
    "inverted.dcm": (dicom(GREY, "MONOCHROME1"), "application/dicom"),
    "wide.png": (png(film(2, 300, 64).astype(np.uint16) * 257), "image/png"),
}


@pytest.mark.parametrize("name", FILES)
def test_the_server_and_the_library_agree(server: Running, export: Path, tmp_path: Path, name: str) -> None:
    body, media_type = FILES[name]
    (tmp_path / name).write_bytes(body)
    expected = pacx.load_encoder(export).embed([tmp_path / name])[0]
    for said in (media_type, "application/octet-stream"):
        answer = server.post(body, said)
        assert answer.status_code == 200, answer.text
        assert np.abs(np.array(answer.json()["models"]["mae"]["embedding"]) - expected).max() < 1e-4
    assert np.abs(expected).max() > 0.1


def test_monochrome1_is_the_negative(server: Running) -> None:
    inverted, negative = (
        server.post(body).json()["models"]["mae"]["embedding"]
        for body in (dicom(GREY, "MONOCHROME1"), dicom(255 - GREY, WindowWidth=4081, WindowCenter=2041))
    )
    assert np.abs(np.subtract(inverted, negative)).max() < 0.05
    assert np.abs(np.subtract(inverted, server.post(dicom(GREY)).json()["models"]["mae"]["embedding"])).max() > 0.05


def test_attention_and_film_come_when_asked_for(server: Running, export: Path) -> None:
    body = png(GREY)
    plain = server.post(body).json()
    assert plain["film"] is None
    assert plain["models"]["mae"]["attention"] is None
    full = server.post(body, models="mae", attention=True, film=True, embedding=False).json()
    (name,) = full["models"]
    assert (name, full["models"]["mae"]["embedding"]) == ("mae", None)
    square = to_square(grey_from_bytes(body), 64)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(full["film"]["png_base64"])))), square)
    attention = np.array(full["models"]["mae"]["attention"], np.float32)
    assert attention.shape == (4, 4)
    assert (attention.min(), attention.max()) == (0, 1)
    enlarged = np.asarray(Image.fromarray(attention).resize((64, 64), Image.Resampling.BILINEAR))
    enlarged = (enlarged - enlarged.min()) / (enlarged.max() - enlarged.min())
    assert np.abs(enlarged - pacx.load_encoder(export).attention_rollout(square)).max() < 1e-3


def test_heads_are_applied_to_the_embedding(server: Running, export: Path) -> None:
    answer = server.post(png(GREY)).json()["models"]["mae"]
    embedding = np.array([answer["embedding"]])
    (low, middle, high), (open_low, _, open_high) = (load_readouts(export)[n].predict(embedding)[0] for n in READOUTS)
    sodium, qrs = answer["readouts"]
    assert [sodium[part] for part in ("low", "value", "high")] == pytest.approx([low, middle, high], rel=1e-5)
    assert (sodium["name"], sodium["abstains"], sodium["level"]) == ("Sodium", False, 0.9)
    assert (np.isinf([open_low, open_high]).all(), qrs["low"], qrs["high"], qrs["abstains"]) == (True, None, None, True)
    for finding, expected in zip(answer["findings"], load_classifier(export).predict(embedding)[0], strict=True):
        found = [finding[part] for part in ("low", "probability", "high")]
        assert found == pytest.approx(expected.tolist(), rel=1e-5)
        assert 0 <= found[0] <= found[1] <= found[2] <= 1
    reference = load_reference(export)
    distances = reference.distances(embedding)
    assert answer["out_of_distribution"] == {
        "distance": pytest.approx(distances[0], rel=1e-5),
        "percentile": pytest.approx(reference.percentiles(distances)[0], abs=0.6),
        "is_unusual": bool(reference.is_unusual(distances)[0]),
    }


def test_models_says_what_is_served(server: Running) -> None:
    with server.client() as client:
        about = client.get("/v1/models").json()
    assert "not a medical device" in about["research_use"]
    assert [model["name"] for model in about["models"]] == ["mae", "pacx"]
    model, answer = about["models"][0], server.post(png(GREY)).json()["models"]["mae"]
    assert (model["image_size_px"], model["embedding_dim"], model["has_attention"]) == (64, 32, True)
    assert (model["labels"], model["readouts"], model["has_reference"]) == (["Edema", "Effusion"], list(READOUTS), True)
    assert any("QRS" in sentence for sentence in model["not_learnt"])
    for field in ("weights_sha256", "preprocessing_sha256", "precision"):
        assert model[field] == answer[field]


def test_unknown_models_and_parameters_are_refused(server: Running) -> None:
    body = png(GREY)
    assert server.post(body, models="mae,unknown").status_code == 404
    assert server.post(body, attention="perhaps").status_code == 400
    with server.client() as client:
        assert client.get("/v1/predict").status_code == 405
        assert client.get("/unknown").status_code == 404


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/metrics", "/v1/models", "/", "/page.js"])
def test_what_can_be_got_says_its_status_alone_when_asked_so(server: Running, path: str) -> None:
    with server.client() as client:
        got, head = client.get(path), client.head(path)
    assert (got.status_code, head.status_code, head.content) == (200, 200, b"")
    assert head.headers["content-type"] == got.headers["content-type"]
    assert int(head.headers["content-length"]) > 0
    raw = b"HEAD %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(raw % (path.encode(), str(server.token).encode()))
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert received.startswith(b"HTTP/1.1 200")
    assert received.endswith(b"\r\n\r\n"), "a body would be taken for the next answer"


def test_a_wrong_method_names_the_right_ones(server: Running) -> None:
    with server.client() as client:
        assert client.head("/v1/predict").headers["Allow"] == "POST"
        assert set(client.post("/health/live").headers["Allow"].split(", ")) == {"GET", "HEAD"}
        assert client.head("/v1/models", headers={"Authorization": "Bearer wrong"}).status_code == 401


def test_health_needs_no_token_and_the_rest_does(server: Running) -> None:
    with server.client() as client:
        client.headers.pop("Authorization")
        assert client.get("/health/live").status_code == client.get("/health/ready").status_code == 200
        for wrong in ("", "Bearer", "Bearer wrong", f"Basic {server.token}", f"Bearer {server.token}x"):
            for path in ("/v1/models", "/metrics"):
                answer = client.get(path, headers={"Authorization": wrong} if wrong else {})
                assert answer.status_code == 401, wrong
                assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert (
                client.post("/v1/predict", content=png(GREY), headers={"Content-Type": "image/png"}).status_code == 401
            )


def test_metrics_count_requests(server: Running) -> None:
    before = server.metric('pacx_requests_total{route="/v1/predict",status="200"}')
    server.post(png(GREY))
    assert server.metric('pacx_requests_total{route="/v1/predict",status="200"}') == before + 1
    assert server.metric("pacx_waiting_requests ") == 0
    assert server.metric("pacx_held_bytes ") == 0
