"""The server under load and at its end: full, failing, stopping, killed."""

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import psutil
import pytest
from film_bytes import dicom, film, jpeg, png
from onnx import TensorProto, helper, numpy_helper
from running_server import PATIENCE_S, Running, answer_of, begin_serving, serving

from pacx.cli.main import main
from pacx.core.preprocessing import Preprocessing
from pacx.inference.export_folder import GraphInput, GraphOutput, Precision, describe_graph, write_about
from pacx.models.encoders.folder import save_encoder
from pacx.models.vit import Pooling, ViTConfig, random_vit

GREY = film(4)
SIDE = 32


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export whose graph looks a film's first pixel up in a table of 255 rows: white fails its batch."""
    folder = tmp_path_factory.mktemp("exports") / "fragile"
    vit = random_vit(ViTConfig(img_size=SIDE, embed_dim=8, depth=1, num_heads=2), seed=0)
    contract = Preprocessing(image_size_px=SIDE)
    save_encoder(vit, folder, preprocessing=contract, pooling=Pooling.CLASS_TOKEN, card="#", provenance={})
    table = np.tile(np.arange(255, dtype=np.float32)[:, None], (1, 8))
    index = np.array([[0, 0]], np.int64)
    nodes = [
        helper.make_node("Transpose", ["pixels"], ["turned"], perm=[1, 2, 0]),
        helper.make_node("GatherND", ["turned", "corner"], ["first"]),
        helper.make_node("Cast", ["first"], ["row"], to=TensorProto.INT64),
        helper.make_node("Squeeze", ["row"], ["rows"]),
        helper.make_node("Reshape", ["rows", "flat"], ["places"]),
        helper.make_node("Gather", ["table", "places"], ["embedding"], axis=0),
    ]
    graph = helper.make_graph(
        nodes,
        "fragile",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", SIDE, SIDE])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", 8])],
        [
            numpy_helper.from_array(table, "table"),
            numpy_helper.from_array(index, "corner"),
            numpy_helper.from_array(np.array([-1]), "flat"),
        ],
    )
    (folder / "onnx").mkdir()
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, folder / "onnx" / "fp32.onnx")
    kept = describe_graph(
        folder, "onnx/fp32.onnx", precision=Precision.FP32, takes=GraphInput.PIXELS, gives=GraphOutput.EMBEDDING
    )
    write_about(folder, name="fragile", embedding_dim=8, graphs=(kept,), provenance={})
    return folder


def flat(value: int) -> bytes:
    film = np.full((SIDE, SIDE), value, np.uint8)
    film[-1, -1] ^= 1  # or it would be one grey, which is no film
    return png(film)


def test_an_inference_error_fails_its_request_only(fragile: Path, tmp_path: Path) -> None:
    with serving([str(fragile), "--limits.max-delay-ms", "50"], tmp_path) as server:
        values = [*range(30), 255, *range(30, 60)]
        with ThreadPoolExecutor(16) as threads:
            answers = list(threads.map(lambda value: server.post(flat(value)), values))
        for value, answer in zip(values, answers, strict=True):
            assert answer.status_code == (500 if value == 255 else 200), answer.text
            if value != 255:
                assert answer.json()["models"]["fragile"]["embedding"] == [value] * 8
        assert server.metric("pacx_batch_films_count") < len(values)  # there were batches
        assert server.metric("pacx_waiting_requests ") == 0
        failures = [line for line in server.lines() if line["event"] == "failed"]
        assert len(failures) == 1
        assert set(failures[0]) == {"time", "level", "event", "request_id", "route", "error", "places"}
        assert server.post(flat(7)).status_code == 200
        assert server.stop() == 0


def test_above_the_bound_there_is_429_and_below_it_an_answer(export: Path, tmp_path: Path) -> None:
    with serving([str(export), "--limits.max-waiting", "3", "--limits.body-grace-s", "60"], tmp_path) as server:
        body = png(GREY)
        begun = [server.begin(body[:10], of=len(body)) for _ in range(3)]
        while server.metric("pacx_waiting_requests ") < 3:
            time.sleep(0.02)
        refused = server.post(body)
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
        for connection in begun:
            with connection:
                connection.sendall(body[10:])
                assert answer_of(connection)[0] == 200
        assert server.post(body).status_code == 200
        with ThreadPoolExecutor(24) as threads:
            statuses = list(threads.map(lambda _: server.post(body).status_code, range(200)))
        assert set(statuses) <= {200, 429}
        assert 200 in statuses
        assert server.metric("pacx_waiting_requests_most ") == 3


def test_clients_that_go_away_leave_nothing_behind(export: Path, tmp_path: Path) -> None:
    with serving([str(export), "--limits.body-grace-s", "60"], tmp_path) as server:
        body = dicom(GREY)
        for cut in (0, 10, len(body)):
            server.begin(body[:cut], of=len(body)).close()
        until = time.monotonic() + PATIENCE_S
        while server.metric("pacx_waiting_requests ") and time.monotonic() < until:
            time.sleep(0.05)
        assert server.metric("pacx_waiting_requests ") == 0
        assert server.metric("pacx_held_bytes ") == 0
        assert server.post(body).status_code == 200


def test_a_deadline_stands_over_everything(export: Path, tmp_path: Path) -> None:
    with serving([str(export), "--limits.deadline-s", "2", "--limits.body-grace-s", "60"], tmp_path) as server:
        with server.begin(b"x", of=100) as connection:
            status, text = answer_of(connection)
        assert (status, "more than 2 s" in text) == (503, True)
        assert server.post(png(GREY)).status_code == 200


def test_a_stop_finishes_what_was_accepted(export: Path, tmp_path: Path) -> None:
    with serving([str(export), "--limits.body-grace-s", "60"], tmp_path) as server:
        body = jpeg(GREY)
        with server.begin(body[:10], of=len(body)) as connection:
            while server.metric("pacx_waiting_requests ") < 1:
                time.sleep(0.02)
            server.process.send_signal(signal.SIGTERM)
            with server.client() as client:
                until = time.monotonic() + PATIENCE_S
                while client.get("/health/ready").status_code != 503 and time.monotonic() < until:
                    time.sleep(0.02)
                assert client.get("/health/live").status_code == 200
            assert server.post(body).status_code == 503
            connection.sendall(body[10:])
            assert answer_of(connection)[0] == 200
        assert server.process.wait(timeout=PATIENCE_S) == 0
        assert "everything accepted was answered" in (tmp_path / "said.txt").read_text()


def workers_of(server: Running) -> list[psutil.Process]:
    return [process for process in server.tree() if process.pid != server.process.pid]


def test_a_killed_server_leaves_nothing_and_starts_again(export: Path, tmp_path: Path) -> None:
    server = begin_serving([str(export)], tmp_path)
    before = server.post(png(GREY)).json()
    files = {path: path.stat().st_mtime_ns for path in export.rglob("*")}
    is_over = threading.Event()

    def load() -> None:
        while not is_over.is_set():
            try:
                server.post(dicom(GREY))
            except OSError:
                return
            except Exception:  # the connection was cut in the middle, which is the point
                return

    clients = [threading.Thread(target=load) for _ in range(4)]
    for client in clients:
        client.start()
    time.sleep(0.5)
    workers = workers_of(server)
    server.process.kill()
    server.process.wait()
    is_over.set()
    for client in clients:
        client.join(PATIENCE_S)
        assert not client.is_alive()
    _, alive = psutil.wait_procs(workers, timeout=PATIENCE_S)
    assert workers
    assert not alive
    assert {path: path.stat().st_mtime_ns for path in export.rglob("*")} == files
    with serving([str(export)], tmp_path) as again:
        assert again.post(png(GREY)).json() == before


def test_a_killed_worker_is_replaced(server: Running) -> None:
    before = server.metric("pacx_decode_workers_replaced_total")
    for worker in workers_of(server):
        worker.kill()
    statuses = [server.post(png(GREY)).status_code for _ in range(8)]
    assert set(statuses) <= {200, 413}
    assert statuses[-1] == 200
    assert server.metric("pacx_decode_workers_replaced_total") > before


def test_wrong_calls_are_answered_in_a_sentence(
    export: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = {
        ("--no-auth", "--host", "0.0.0.0"): "only",
        ("--precision", "int8"): "no int8 graph",
        (f"x/y={export}",): "no name for a model",
        (str(tmp_path / "nothing"),): "pacx export",
        (str(export),): "not all different",
        ("--limits.max-waiting", "0"): "has to be positive",
    }
    for words, sentence in cases.items():
        with pytest.raises(SystemExit) as ended:
            main(["serve", str(export), *words])
        assert ended.value.code in (1, 2), words
        assert sentence in capsys.readouterr().err
