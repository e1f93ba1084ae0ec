"""Turns people's pictures into the model's input: its channels, its size, and the look it was trained on."""

from __future__ import annotations

import io
from http import HTTPStatus
from typing import Any

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from accelstack_workloads.serve.form import Form, ranked
from accelstack_workloads.serve.protocol import RequestError
from accelstack_workloads.tensors import Arrays

MAX_PIXELS = 40_000_000
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")

# Larger pictures are scaled down first: finer detail than this cannot reach a small input, and costs time.
_MAX_SIDE = 1024
# A drawing is told from a photo by its border: this share of it lies this close to the border's median.
_EVEN_SHARE = 0.9
_EVEN_WITHIN = 0.15
# A stroke is what stands out from the background by this share of the strongest stroke.
_STROKE = 0.3
# Below this contrast, of 1 at most, there is nothing but noise.
_MIN_CONTRAST = 0.1
# MNIST centres its digits in a 20-pixel box of 28 (http://yann.lecun.com/exdb/mnist/); pictures as small as the 8x8 UCI
# digits are filled from edge to edge.
_MARGIN = 4 / 28
_SMALLEST_WITH_MARGIN = 20
# Strokes are prepared at this multiple of the model's size.
_FINENESS = 8
# A drawing has at least this share of the ink of an average training picture.
_LEAST_INK = 0.8


class PictureForm(Form):
    """A picture file in, its class out."""

    media_types = ("image/*",)
    noun = "a picture"
    largest = 16 * 2**20
    page = "picture"

    def warm_up(self) -> None:
        Image.init()  # loads the decoders

    def read(self, content: bytes) -> Arrays:
        """`image`: FP32 [1, channels, height, width] with values in 0..1."""
        facts = self.description.facts
        channels, height, width = facts["shape"]
        if channels == 1:
            image = _grey_input(_grey(_open(content)), height, width, facts["mean"][0])[np.newaxis]
        elif channels == 3:
            fitted = ImageOps.fit(_open(content).convert("RGB"), (width, height), Image.Resampling.BILINEAR)
            image = (np.asarray(fitted, np.float32) / 255).transpose(2, 0, 1)
        else:
            raise RequestError(
                f"picture: the model takes {channels} channels, and pictures become 1 or 3; send the tensor to …/infer",
                HTTPStatus.NOT_IMPLEMENTED,
            )
        return {"image": image[np.newaxis]}

    def answer(self, outputs: Arrays) -> dict[str, Any]:
        return ranked(self.description.facts["classes"], outputs["probabilities"][0])


def _open(content: bytes) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
        # Checked before decoding: a small file can hold a picture that fills the memory.
        if image.width * image.height > MAX_PIXELS:
            raise RequestError(
                f"picture: {image.width}x{image.height} is above the limit of {MAX_PIXELS} pixels; scale it down",
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            )
        image.load()
        return ImageOps.exif_transpose(image)
    except (RequestError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise RequestError(f"picture: {error}; scale it down", HTTPStatus.REQUEST_ENTITY_TOO_LARGE) from error
    except Exception as error:  # the decoders raise many kinds on damaged files
        reason = "its format is not known" if isinstance(error, Image.UnidentifiedImageError) else str(error)
        raise RequestError(
            f"picture: cannot be decoded ({reason}); send a whole file of {', '.join(FORMATS)}"
        ) from error


def _grey(image: Image.Image) -> np.ndarray:
    """Brightness in 0..1, scaled down; what is transparent becomes a background that the rest stands out from."""
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    image = image.convert("LA" if image.has_transparency_data else "L")
    image.thumbnail((_MAX_SIDE, _MAX_SIDE), Image.Resampling.BOX)
    bands = [np.asarray(band, np.float32) / 255 for band in image.split()]
    if len(bands) == 1:
        return bands[0]
    grey, alpha = bands
    ink = float((grey * alpha).sum() / max(float(alpha.sum()), 1e-6))
    return grey * alpha + (1 - alpha) * (0.0 if ink > 0.5 else 1.0)


def _grey_input(grey: np.ndarray, height: int, width: int, mean: float) -> np.ndarray:
    dark_background = mean <= 0.5
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    background = float(np.median(border))
    if grey.shape == (height, width):  # already made for the model
        return grey if (background < 0.5) == dark_background else 1 - grey
    if np.mean(np.abs(border - background) < _EVEN_WITHIN) < _EVEN_SHARE:
        photo = Image.fromarray((grey * 255).astype(np.uint8))
        fitted = ImageOps.fit(photo, (width, height), Image.Resampling.BILINEAR)
        return np.asarray(fitted, np.float32) / 255
    strokes = _centred(_strokes(grey, background), height, width)
    ink = mean if dark_background else 1 - mean
    # A box filter averages the area under each pixel, as counting the set pixels of a bitmap does.
    small = _thickened(strokes, ink * _LEAST_INK).resize((width, height), Image.Resampling.BOX)
    drawn = np.asarray(small, np.float32) / 255
    return drawn if dark_background else 1 - drawn


def _strokes(grey: np.ndarray, background: float) -> np.ndarray:
    """What stands out from the background, white on black, cropped to it."""
    strokes = np.abs(grey - background)
    contrast = float(strokes.max())
    if contrast < _MIN_CONTRAST:
        raise RequestError("picture: is blank; draw something, or send a picture with more contrast")
    strokes /= contrast
    drawn = strokes >= _STROKE
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    return strokes[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _centred(crop: np.ndarray, height: int, width: int) -> Image.Image:
    """The crop with its aspect kept, in the middle of a black picture with `_FINENESS` times the model's size."""
    margin = round(_MARGIN * min(height, width)) if min(height, width) >= _SMALLEST_WITH_MARGIN else 0
    scale = min((height - 2 * margin) / crop.shape[0], (width - 2 * margin) / crop.shape[1])
    tall, wide = max(crop.shape[0], round(height / scale)), max(crop.shape[1], round(width / scale))
    canvas = np.zeros((tall, wide), np.uint8)
    top, left = (tall - crop.shape[0]) // 2, (wide - crop.shape[1]) // 2
    canvas[top : top + crop.shape[0], left : left + crop.shape[1]] = (crop * 255).round()
    return Image.fromarray(canvas).resize((width * _FINENESS, height * _FINENESS), Image.Resampling.BOX)


def _thickened(strokes: Image.Image, least: float) -> Image.Image:
    """The strokes, thicker while their mean is below `least` in 0..1, lest a thin pen fade when scaled down."""
    for _ in range(_FINENESS):
        if np.asarray(strokes).mean() / 255 >= least:
            break
        strokes = strokes.filter(ImageFilter.MaxFilter(3))
    return strokes
