"""Which device and arithmetic a job gets."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from sealiency.errors import SealiencyError


def choose_device(wanted: str) -> torch.device:
    """Return the device of a `device` setting.

    Raises
    ------
    SealiencyError
        If a GPU is asked for and PyTorch sees none.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise SealiencyError("device = cuda: PyTorch sees no GPU here; set device: auto, or run where there is one")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def choose_precision(wanted: str, device: torch.device) -> torch.dtype:
    """Return the arithmetic of a `precision` setting: torch.float32, torch.float64 or torch.bfloat16."""
    if wanted != "auto":
        return {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}[wanted]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    # Emulated bfloat16 is slower than float32 and no better.
    in_hardware = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
    return torch.bfloat16 if in_hardware else torch.float32


def set_up_process(threads: int) -> None:
    """Get this process ready to run a network: so many processor threads, and memory that it keeps, where it can.

    By default glibc gives blocks of tens of MB back to the system at once, and getting them anew, page by page, takes as
    long as the arithmetic done in them.
    """
    torch.set_num_threads(threads)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        # No mappings, rather than of larger blocks alone: older versions of glibc refuse a threshold above 32 MB.
        trim_threshold, most_mappings = -1, -4
        mallopt(trim_threshold, -1)
        mallopt(most_mappings, 0)


@contextmanager
def arithmetic(precision: str) -> Iterator[None]:
    """Let a GPU round float32 products to TF32 if `precision` is tf32, and only then: for convolutions it would by itself."""
    cudnn: Any = torch.backends.cudnn
    backends = (cudnn.conv, torch.backends.cuda.matmul)
    before = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "tf32" if precision == "tf32" else "ieee"
        yield
    finally:
        for backend, setting in zip(backends, before, strict=True):
            backend.fp32_precision = setting
