"""Which device and arithmetic a job gets."""

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
