"""A real server under test: a small model that knows the UCI digits, and the process that serves it."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from accelstack_workloads.model_format import ModelDescription, build, save
from PIL import Image, ImageDraw
from sklearn.datasets import load_digits

NAME = "digits"
VERSION = "7"
READY_SECONDS = 60

# How a person draws each digit: strokes as points of a 100x100 board.
STROKES: dict[str, list[list[tuple[int, int]]]] = {
    "0": [[(50, 12), (32, 20), (25, 50), (32, 80), (50, 88), (68, 80), (75, 50), (68, 20), (50, 12)]],
    "1": [[(36, 28), (54, 12), (54, 88)]],
    "2": [[(28, 28), (38, 14), (60, 14), (70, 30), (60, 52), (26, 86), (76, 86)]],
    "3": [[(28, 16), (58, 12), (70, 28), (48, 48), (72, 66), (60, 86), (28, 84)]],
    "4": [[(48, 10), (24, 58), (78, 58)], [(62, 34), (58, 90)]],
    "5": [[(72, 12), (34, 12), (32, 46), (60, 44), (72, 64), (60, 86), (28, 84)]],
    "6": [[(56, 10), (36, 40), (30, 68), (44, 88), (66, 80), (66, 60), (46, 54), (32, 66)]],
    "7": [[(26, 14), (74, 14), (54, 50), (44, 90)], [(34, 52), (68, 52)]],
    "8": [[(50, 48), (32, 30), (50, 12), (66, 28), (50, 48), (30, 70), (50, 88), (70, 70), (50, 48)]],
    "9": [[(66, 40), (46, 46), (32, 30), (48, 12), (66, 22), (66, 44), (60, 88)]],
}


@dataclass(frozen=True)
class Served:
    """A server that answers, and what it was made from."""

    rest: str
    grpc: str
    process: subprocess.Popen[str]
    model: Path


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Pictures FP32 [n, 1, 8, 8] with values in 0..1, and their digits."""
    data = load_digits()
    return (data.images[:, None] / 16).astype(np.float32), data.target


def train_model(folder: Path) -> Path:
    """A model directory that classifies digits well, trained on all but the last 297 pictures in a few seconds."""
    torch.set_num_threads(1)  # several threads fight for the cores of a busy machine, and this model is small
    torch.manual_seed(0)
    images, labels = (torch.from_numpy(part)[:1500] for part in digits())
    description = ModelDescription(
        workload="vision",
        architecture="cnn",
        facts={
            "classes": [str(digit) for digit in range(10)],
            "shape": [1, 8, 8],
            "mean": [float(images.mean())],
            "std": [float(images.std())],
        },
    )
    model = build(description)
    optimizer = torch.optim.AdamW(model.parameters(), lr=6e-3)
    for _ in range(8):
        for batch in torch.randperm(len(images)).split(100):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model.logits(images[batch]), labels[batch]).backward()
            optimizer.step()
    save(model, folder)
    return folder


def start(
    model: Path, *, rest_port: int = 0, grpc_port: int = 0, host: str = "127.0.0.1", shares: bool = False, **env: str
) -> subprocess.Popen[str]:
    """The server's process, not waited for."""
    named = {"model": model, "name": NAME, "version": VERSION, "host": host}
    ports = {"rest-port": rest_port, "grpc-port": grpc_port}
    options = [f"--{n}={v}" for n, v in (named | ports).items()] + ["--share-ports"] * shares
    return subprocess.Popen(
        [sys.executable, "-m", "accelstack_workloads", "serve", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | env,
    )


def wait_ready(process: subprocess.Popen[str], model: Path) -> Served:
    """The addresses that the server prints, once its health answers."""
    lines = [process.stdout.readline(), process.stdout.readline()]
    found = re.search(r"http://(\S+)\n.* gRPC at (\S+)\n", "".join(lines))
    assert found, f"no addresses in {lines}; {process.stderr.read() if process.poll() is not None else ''}"
    served = Served(f"http://{found[1]}", found[2], process, model)
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{served.rest}/v2/health/ready").status_code == 200:
                return served
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError("the server did not get ready in time")


@contextmanager
def serving(model: Path, **options: Any) -> Iterator[Served]:
    """A server that is ready, ended again."""
    process = start(model, **options)
    try:
        yield wait_ready(process, model)
    finally:
        end(process)


def end(process: subprocess.Popen[str]) -> None:
    """Ends a server's process and lets go of its pipes."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()
    process.stderr.close()


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained model directory; modules share it, since training takes seconds."""
    folder = tmp_path_factory.getbasetemp() / "digits-model"
    return folder if folder.exists() else train_model(folder)


@pytest.fixture(scope="module")
def served(model: Path) -> Iterator[Served]:
    """One server for a module's tests, which must outlive them all."""
    with serving(model) as served:
        yield served
        assert served.process.poll() is None, "the server did not survive the tests"


def eventually(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Waits until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)


def metric(served: Served, name: str) -> float:
    """The sum of a metric over its labels."""
    lines = httpx.get(f"{served.rest}/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((name + "{", name + " ")))


def infer_body(images: np.ndarray, **more: Any) -> dict[str, Any]:
    """An infer request in JSON."""
    tensor = {"name": "image", "datatype": "FP32", "shape": list(images.shape), "data": images.ravel().tolist()}
    return {"inputs": [tensor], **more}


def half_sent(served: Served, images: np.ndarray) -> tuple[socket.socket, bytes]:
    """A connection with an infer request whose body is only half there, and the other half."""
    body = json.dumps(infer_body(images)).encode()
    address = served.rest.removeprefix("http://")
    host, _, port = address.rpartition(":")
    connection = socket.create_connection((host, int(port)), timeout=10)
    head = f"POST /v2/models/{NAME}/infer HTTP/1.1\r\nHost: {address}\r\nContent-Length: {len(body)}\r\n\r\n"
    half = len(body) // 2
    connection.sendall(head.encode() + body[:half])
    return connection, body[half:]


def drawing(
    digit: str, *, size: int = 280, pen: int = 26, shrink: float = 1.0, shift: tuple[int, int] = (0, 0)
) -> Image.Image:
    """A digit as drawn on the page: dark strokes of a round pen on white paper."""
    image = Image.new("L", (size, size), 255)
    pencil = ImageDraw.Draw(image)
    for stroke in STROKES[digit]:
        points = [
            (size / 2 + (x - 50) * shrink * size / 100 + shift[0], size / 2 + (y - 50) * shrink * size / 100 + shift[1])
            for x, y in stroke
        ]
        pencil.line(points, fill=17, width=pen, joint="curve")
        for x, y in points:
            pencil.ellipse((x - pen / 2, y - pen / 2, x + pen / 2, y + pen / 2), fill=17)
    return image
