"""What the jobs of `sealiency check-site` run on a compute node: `python -m sealiency.site.probe NAME FOLDER`.

Each process prints one line of JSON behind a mark. Nothing is imported before it is needed: a failure is a finding.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import sealiency

MARK = "SEALIENCY_CHECK "
MODULES = ("mpi4py.MPI", "torch", "h5py")
WRITTEN_MB = 256


def describe_software(folder: Path) -> dict[str, Any]:
    """Return the Python, the version of sealiency and why modules cannot be imported."""
    failures = {}
    os.environ["MPI4PY_RC_INITIALIZE"] = "false"
    for module in MODULES:
        try:
            import_module(module)
        except Exception as error:  # a shared library can fail in any way
            failures[module] = f"{type(error).__name__}: {error}"
    return {
        "python": platform.python_version(),
        "sealiency": sealiency.__version__,
        "file": sealiency.__file__,
        "failures": failures,
    }


def describe_gpu(folder: Path) -> dict[str, Any]:
    """Return the GPUs that Slurm, the driver and PyTorch show."""
    import torch

    driver = None
    if shutil.which("nvidia-smi"):
        driver = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True).stdout.strip()
    available = torch.cuda.is_available()
    return {
        "visible": os.environ.get("CUDA_VISIBLE_DEVICES") or os.environ.get("ROCR_VISIBLE_DEVICES"),
        "driver": driver,
        "torch": torch.__version__,
        "name": torch.cuda.get_device_name(0) if available else None,
    }


def describe_mpi(folder: Path) -> dict[str, Any]:
    """Return the number of ranks as this one sees it."""
    from mpi4py import MPI

    library = " ".join(MPI.Get_library_version().splitlines()[0].strip("\0").split())
    return {"size": MPI.COMM_WORLD.Get_size(), "library": library}


def try_folder(folder: Path) -> dict[str, Any]:
    """Return what the login node wrote, and how fast a large file is written, MB/s."""
    login = folder / "from_login"
    received = login.read_text() if login.exists() else None
    block = os.urandom(1 << 23)
    start = time.monotonic()
    with open(folder / "large", "wb") as stream:
        for _ in range(WRITTEN_MB * 1_000_000 // len(block)):
            stream.write(block)
        stream.flush()
        os.fsync(stream.fileno())
    speed = WRITTEN_MB / (time.monotonic() - start)
    (folder / "large").unlink()
    return {"received": received, "speed": speed}


PROBES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "software": describe_software,
    "gpu": describe_gpu,
    "mpi": describe_mpi,
    "folder": try_folder,
}

if __name__ == "__main__":
    found = PROBES[sys.argv[1]](Path(sys.argv[2]))
    # One write a line, so that ranks do not cut into each other's.
    sys.stdout.write(f"{MARK}{json.dumps(found)}\n")
