"""People's pictures are classified as they mean them, and foreign web pages are kept out."""

from __future__ import annotations

import io
import struct
import zlib

import httpx
import numpy as np
import pytest
from accelstack_workloads.model_format import ModelDescription
from accelstack_workloads.serve.picture import PictureForm
from accelstack_workloads.serve.protocol import RequestError
from PIL import Image, ImageOps

from tests.workloads.serving import NAME, STROKES, VERSION, Served, digits, drawing, model, served

__all__ = ["model", "served"]


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def predict(served: Served, content: bytes, kind: str = "image/png", **headers: str) -> httpx.Response:
    return httpx.post(f"{served.rest}/predict", content=content, headers={"Content-Type": kind} | headers)


def digit(served: Served, image: Image.Image, kind: str = "PNG", **options: object) -> str:
    answer = predict(served, encoded(image, kind, **options), f"image/{kind.lower()}")
    assert answer.status_code == 200, answer.text
    return answer.json()["classes"][0]["label"]


@pytest.mark.parametrize("label", STROKES)
@pytest.mark.parametrize(("pen", "shrink", "shift"), [(26, 1.0, (0, 0)), (26, 0.6, (30, -40)), (16, 0.8, (-20, 10))])
def test_drawn_digits(served: Served, label: str, pen: int, shrink: float, shift: tuple[int, int]) -> None:
    assert digit(served, drawing(label, pen=pen, shrink=shrink, shift=shift)) == label


def test_digits_of_the_data_set_on_paper(served: Served) -> None:
    images, labels = (part[1500:1560] for part in digits())
    right = 0
    for image, label in zip(images, labels, strict=True):
        ink = Image.fromarray((255 - image[0] * 255).astype(np.uint8)).resize((280, 280), Image.Resampling.BICUBIC)
        paper = Image.new("L", (400, 420), 250)
        paper.paste(ink, (90, 30))
        right += digit(served, paper) == str(label)
    assert right >= 54


def test_a_picture_of_the_models_own_size_is_taken_as_it_is(served: Served) -> None:
    image = digits()[0][0, 0]
    answer = predict(served, encoded(Image.fromarray((image * 255).astype(np.uint8)))).json()
    assert answer["classes"][0]["label"] == "0"
    assert (answer["model"], answer["version"]) == (NAME, VERSION)
    probabilities = [one["probability"] for one in answer["classes"]]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1, abs=1e-5)
    assert answer["latency_ms"] > 0


def test_the_same_drawing_in_other_guises(served: Served) -> None:
    plain = drawing("4")
    assert digit(served, ImageOps.invert(plain)) == "4"
    assert digit(served, plain.convert("RGB"), "JPEG") == "4"
    transparent = Image.merge("LA", [Image.new("L", plain.size, 0), ImageOps.invert(plain)])
    assert digit(served, transparent) == "4"
    light = Image.merge("LA", [Image.new("L", plain.size, 255), ImageOps.invert(plain)])
    assert digit(served, light) == "4"
    deep = Image.fromarray(np.asarray(plain).astype(np.uint16) * 257)
    assert digit(served, deep) == "4"
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned; viewers turn it back by 90 degrees clockwise
    assert digit(served, plain.convert("RGB").rotate(90), "JPEG", exif=exif) == "4"


def test_a_form_with_a_file(served: Served) -> None:
    answer = httpx.post(f"{served.rest}/predict", files={"file": ("three.png", encoded(drawing("3")), "image/png")})
    assert answer.json()["classes"][0]["label"] == "3"


def bomb() -> bytes:
    """A tiny PNG that claims 100000 x 100000 pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "kind", "status", "reason"),
    [
        (b"text", "text/plain", 415, "Content-Type"),
        (b"nothing like a picture", "image/png", 400, "cannot be decoded"),
        (encoded(drawing("3"))[:300], "image/png", 400, "cannot be decoded"),
        (bomb(), "image/png", 413, "scale it down"),
        (bytes(17 * 2**20), "image/png", 413, "limit"),
        (encoded(Image.new("L", (280, 280), 255)), "image/png", 400, "blank"),
        (b"--x\r\nno form", "multipart/form-data; boundary=x", 400, "file"),
        (b"", "multipart/form-data", 400, "form"),
        (b"", "image/png", 400, "cannot be decoded"),
    ],
    ids=["text", "no picture", "truncated", "bomb", "oversized", "blank", "no form", "no boundary", "empty"],
)
def test_bad_pictures_get_a_reason(served: Served, content: bytes, kind: str, status: int, reason: str) -> None:
    answer = predict(served, content, kind)
    assert answer.status_code == status
    assert reason in answer.json()["error"]
    assert digit(served, drawing("3")) == "3"


def test_foreign_web_pages_are_refused(served: Served) -> None:
    picture = encoded(drawing("3"))
    own = {"Origin": served.rest}
    assert predict(served, picture, **own).status_code == 200
    for origin in ("https://foreign.example", "null"):
        answer = predict(served, picture, Origin=origin)
        assert answer.status_code == 403
        assert "Origin" in answer.json()["error"]


@pytest.mark.parametrize(
    "host", ["foreign.example", "foreign.example:80", "127.0.0.1.foreign.example", "localhost.x", ""]
)
def test_foreign_names_of_this_machine_are_refused(served: Served, host: str) -> None:
    answer = httpx.get(f"{served.rest}/", headers={"Host": host})
    assert answer.status_code == 421
    assert "Host" in answer.json()["error"]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:1", "[::1]:8000", "[::1]"])
def test_own_names_of_this_machine_are_served(served: Served, host: str) -> None:
    assert httpx.get(f"{served.rest}/v2", headers={"Host": host}).status_code == 200


def test_the_page_may_load_nothing_foreign(served: Served) -> None:
    answer = httpx.get(served.rest)
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert NAME in answer.text
    assert "//" not in answer.text


def form(*shape: int) -> PictureForm:
    statistics = {"mean": [0.4] * shape[0], "std": [0.2] * shape[0]}
    return PictureForm(ModelDescription("vision", "cnn", {"classes": ["a", "b"], "shape": [*shape], **statistics}))


def test_colour_pictures_are_cropped_to_the_models_aspect() -> None:
    image = Image.new("RGB", (300, 100), (255, 0, 0))
    image.paste((0, 255, 0), (100, 0, 200, 100))
    tensor = form(3, 16, 16).read(encoded(image))["image"]
    assert tensor.shape == (1, 3, 16, 16)
    np.testing.assert_allclose(tensor[0, :, 8, 8], [0, 1, 0])
    np.testing.assert_allclose(tensor[0, 1, :, 2:-2], 1, atol=0.01)


def test_grey_photos_keep_their_tones() -> None:
    ramp = Image.fromarray(np.tile(np.arange(256, dtype=np.uint8), (256, 1)))
    tensor = form(1, 16, 16).read(encoded(ramp))["image"]
    assert np.all(np.diff(tensor[0, 0, 8]) > 0)


def test_other_channels_are_refused_by_name() -> None:
    with pytest.raises(RequestError, match="4 channels"):
        form(4, 8, 8).read(encoded(drawing("3")))["image"]


def test_a_very_long_picture_takes_no_memory_for_its_square() -> None:
    line = Image.new("L", (4_000_000, 3), 255)
    line.paste(0, (1000, 1, 3_000_000, 2))
    assert form(1, 8, 8).read(encoded(line))["image"].shape == (1, 1, 8, 8)
