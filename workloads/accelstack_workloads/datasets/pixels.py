"""From a picture to an array of pixels."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageOps

GREY_MODES = ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L")


def to_pixels(image: Image.Image, shape: tuple[int, int, int]) -> np.ndarray:
    """The picture as uint8 of `shape` (channels, height, width): upright, converted, scaled, centred."""
    channels, height, width = shape
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bits of grey; Pillow would clip them to 8 instead of scaling
        image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        image = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(image)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)
