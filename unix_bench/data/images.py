"""Opening chest X-rays: 8 bits a channel, grey or RGB, whatever way the file stores them."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from unix_bench.data.dicom import read_dicom

# Said as an error below; and once for the process, since changing filters around each call is not safe in threads.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)


class UnreadableImage(ValueError):
    """An image file that cannot be used; the message names it and says why."""


def open_image(path: Path) -> Image.Image:
    """Decode an image file wholly.

    16-bit grey keeps its full range, scaled to 8 bits; transparency is laid over black, as film is; CMYK and
    palettes become RGB.

    Args:
        path: A file Pillow can read.

    Returns:
        An image of mode L (grey) or RGB.

    Raises:
        UnreadableImage: The file is absent, empty, truncated, no image, or larger than Pillow's pixel limit.
    """
    if path.exists() and not path.is_file():
        raise UnreadableImage(f"{path} is not a file")
    if path.suffix.lower() in (".dcm", ".dicom"):
        return _open_dicom(path)
    try:
        with Image.open(path) as stored:
            if stored.width * stored.height > (Image.MAX_IMAGE_PIXELS or math.inf):
                raise Image.DecompressionBombError
            stored.load()
            return _to_8_bit(stored)
    except FileNotFoundError as error:
        raise UnreadableImage(f"{path} is missing") from error
    except Image.DecompressionBombError as error:
        limit = (Image.MAX_IMAGE_PIXELS or 0) // 10**6
        raise UnreadableImage(f"{path} has more than {limit} million pixels, which no chest X-ray has") from error
    except UnidentifiedImageError as error:
        empty = path.stat().st_size == 0
        raise UnreadableImage(f"{path} is {'empty (0 bytes)' if empty else 'not an image'}") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise UnreadableImage(f"{path} is damaged or truncated ({error})") from error


def _open_dicom(path: Path) -> Image.Image:
    try:
        return read_dicom(path)
    except FileNotFoundError as error:
        raise UnreadableImage(f"{path} is missing") from error
    except (OSError, ValueError) as error:
        raise UnreadableImage(f"{path}: {error}") from error


def _to_8_bit(image: Image.Image) -> Image.Image:
    if image.mode in ("L", "RGB") and "transparency" not in image.info:
        return image.copy()
    if image.mode.startswith("I"):  # 16-bit grey; Pillow calls some of it 32-bit
        values = np.asarray(image, dtype=np.float64)
        if values.max() > 65_535 or values.min() < 0:
            raise ValueError(f"mode {image.mode} with values outside 0..65535 is not supported")
        return Image.fromarray(np.round(values / 257.0).astype(np.uint8))
    if image.mode == "F":
        raise ValueError("floating-point pixels are not supported")
    if image.mode in ("LA", "RGBA", "PA", "La", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        canvas = Image.new("RGBA", layer.size, (0, 0, 0, 255))
        flat = Image.alpha_composite(canvas, layer).convert("RGB")
        return flat.convert("L") if image.mode in ("L", "LA", "La") else flat
    return image.convert("L" if image.mode == "1" else "RGB")
