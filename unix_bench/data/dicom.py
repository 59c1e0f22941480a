"""Chest X-rays in DICOM files, as a viewer would first show them (DICOM PS3.3 C.7.6.3, C.11.1, C.11.2)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.float64]
NOT_INSTALLED = "needs pydicom: pip install 'unix-bench[dicom]'"


def read_dicom(path: Path) -> Image.Image:
    """The picture of a single-frame DICOM file, 8-bit grey or RGB.

    Stored values pass the modality LUT or rescale, then the first VOI LUT or window; without either, their own range
    from least to greatest becomes black to white, 8-bit files staying as they are. MONOCHROME1 is turned round, so
    that bone is white.

    Raises:
        ValueError: No DICOM, no or several pictures, or a compression without its decoder; says what to install.
    """
    try:
        import pydicom
        from pydicom.errors import InvalidDicomError
    except ImportError as error:
        raise ValueError(NOT_INSTALLED) from error
    try:
        dataset = pydicom.dcmread(path)
    except (InvalidDicomError, EOFError) as error:
        raise ValueError(f"not a whole DICOM file ({error})") from error
    if "PixelData" not in dataset:
        raise ValueError("it holds no picture")
    if int(dataset.get("NumberOfFrames") or 1) > 1:
        raise ValueError(f"it holds {dataset.NumberOfFrames} pictures, where one is expected")
    stored = _stored(dataset)
    photometric = str(dataset.get("PhotometricInterpretation", ""))
    if photometric in ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT") and stored.ndim == 3:
        if int(dataset.BitsAllocated) != 8:
            raise ValueError(f"colour of {dataset.BitsAllocated} bits is not supported")
        return Image.fromarray(stored.astype(np.uint8))  # pydicom turns YBR into RGB
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise ValueError(f"its photometric interpretation {photometric or '(none)'} is not supported")
    shares = _display(stored, dataset)
    if photometric == "MONOCHROME1":
        shares = 1.0 - shares
    return Image.fromarray(np.round(255.0 * shares).astype(np.uint8))


def _stored(dataset: Any) -> NDArray[Any]:
    try:
        pixels: NDArray[Any] = dataset.pixel_array
    except (RuntimeError, NotImplementedError, AttributeError, ValueError, TypeError) as error:
        syntax = dataset.file_meta.TransferSyntaxUID.name if "TransferSyntaxUID" in dataset.file_meta else "not stated"
        first = str(error).strip().splitlines()[0]
        raise ValueError(
            f"its pixels ({syntax}) cannot be decoded ({first}): RLE, JPEG-LS and JPEG 2000 need "
            "pip install 'unix-bench[dicom]', lossless JPEG also pylibjpeg-libjpeg"
        ) from error
    return pixels


def _display(stored: NDArray[Any], dataset: Any) -> Pixels:
    """Stored values to shares of full brightness, 0 to 1."""
    from pydicom.pixels.processing import apply_modality_lut, apply_voi

    values = np.asarray(apply_modality_lut(stored, dataset), dtype=np.float64)
    if dataset.get("VOILUTSequence"):
        try:
            top = 2.0 ** int(dataset.VOILUTSequence[0].LUTDescriptor[2]) - 1.0
            return np.asarray(apply_voi(values.astype(np.int64), dataset, index=0), dtype=np.float64) / top
        except (NotImplementedError, TypeError, IndexError, AttributeError, ZeroDivisionError) as error:
            raise ValueError(f"its VOI LUT cannot be read ({error})") from error
    if dataset.get("WindowWidth") is not None and dataset.get("WindowCenter") is not None:
        centre, width = _first(dataset.WindowCenter), _first(dataset.WindowWidth)
        return window(values, centre, width, str(dataset.get("VOILUTFunction") or "LINEAR"))
    if int(dataset.BitsStored) <= 8 and values.min() >= 0.0 and values.max() <= 255.0:
        return values / 255.0
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.zeros_like(values)


def window(values: Pixels, centre: float, width: float, function: str = "LINEAR") -> Pixels:
    """Shares of full brightness through a window (DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3).

    >>> window(np.array([0.0, 2047.5, 4095.0]), 2048, 4096).tolist()
    [0.0, 0.5, 1.0]
    """
    if width <= 0.0 or (width < 1.0 and function == "LINEAR"):
        raise ValueError(f"its window has the impossible width {width:g}")
    if function == "SIGMOID":
        return 1.0 / (1.0 + np.exp(-4.0 * (values - centre) / width))
    if function == "LINEAR_EXACT":
        return np.clip((values - centre) / width + 0.5, 0.0, 1.0)
    if width == 1.0:  # a step
        return (values > centre - 0.5).astype(np.float64)
    return np.clip((values - (centre - 0.5)) / (width - 1.0) + 0.5, 0.0, 1.0)


def _first(value: Any) -> float:
    return float(value if isinstance(value, int | float | str) or not hasattr(value, "__getitem__") else value[0])
