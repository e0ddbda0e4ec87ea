"""``pacx serve`` as a process of its own, as users run it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

TOKEN = "a-token-of-the-tests-0123456789"
ANY = "application/octet-stream"

PATIENCE_S = 120.0


@dataclass
class Running:
    process: subprocess.Popen[str]
    port: int
    log: Path
    said: str
    token: str | None = TOKEN

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", headers=self.headers, timeout=PATIENCE_S)

    def post(self, body: bytes, media_type: str = ANY, **params: object) -> httpx.Response:
        with self.client() as client:
            return client.post("/v1/predict", content=body, params=params, headers={"Content-Type": media_type})

    def begin(self, body: bytes, *, of: int, more_headers: str = "", token: str = TOKEN) -> socket.socket:
        """A request whose body has only begun."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)
        head = f"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: {ANY}\r\nContent-Length: {of}\r\n"
        head += f"Authorization: Bearer {token}\r\n{more_headers}\r\n"
        connection.sendall(head.encode() + body)
        return connection

    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def tree(self) -> list[psutil.Process]:
        server = psutil.Process(self.process.pid)
        return [server, *server.children(recursive=True)]

    def resident_bytes(self) -> int:
        total = 0
        for process in self.tree():
            try:
                total += process.memory_info().rss
            except psutil.NoSuchProcess:  # replaced meanwhile
                continue
        return total

    def cpu_seconds(self) -> float:
        """Of the server and of those who decode for it, as long as none of them is replaced."""
        return sum(sum(process.cpu_times()[:2]) for process in self.tree())

    def metric(self, name: str) -> float:
        with self.client() as client:
            lines = client.get("/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=PATIENCE_S)


def answer_of(connection: socket.socket) -> tuple[int, str]:
    """Status and body of the answer on a raw connection; 0 where it was closed without one."""
    received = b""
    while True:
        piece = connection.recv(65536)
        received += piece
        head, _, body = received.partition(b"\r\n\r\n")
        lengths = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
        is_whole = bool(lengths) and len(body) >= int(lengths[0].split(b":")[1])
        if not piece or is_whole:
            return int(head.split(b" ")[1]) if head else 0, body.decode()


def begin_serving(
    arguments: list[str], folder: Path, *, token: str | None = TOKEN, python: Path | None = None
) -> Running:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(folder), "XDG_CACHE_HOME": str(folder / "cache")}
    environment.pop("PACX_TOKEN", None)
    if python is not None:
        environment.pop("PYTHONPATH", None)
    if token:
        environment["PACX_TOKEN"] = token
    log, said = folder / "log.txt", folder / "said.txt"
    with log.open("w") as errors, said.open("w") as output:
        process = subprocess.Popen(
            [python or sys.executable, "-m", "pacx.cli.main", "serve", "--port", "0", *arguments],
            stdout=output,
            stderr=errors,
            env=environment,
            cwd=folder,
            text=True,
        )
    until = time.monotonic() + PATIENCE_S
    while " at http://" not in said.read_text():
        if process.poll() is not None or time.monotonic() > until:
            process.kill()
            raise AssertionError(f"the server did not start: {said.read_text()} {log.read_text()}")
        time.sleep(0.05)
    port = int(said.read_text().partition(" at http://")[2].split("/")[0].rpartition(":")[2])
    return Running(process, port, log, said.read_text(), token)


@contextmanager
def serving(
    arguments: list[str], folder: Path, *, token: str | None = TOKEN, python: Path | None = None
) -> Iterator[Running]:
    running = begin_serving(arguments, folder, token=token, python=python)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.kill()
        running.process.wait()
