"""Writing files whole or not at all, and knowing them by their content."""

import errno
import hashlib
import os
import re
import shutil
import socket
import tempfile
import time
import zlib
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from sealiency.errors import SealiencyError
from sealiency.provenance import describe_file

FULL = (errno.ENOSPC, errno.EDQUOT)
HEADROOM = 2**24
"""Bytes that a file system must take to count as not full; HDF5 may give some back before its error is seen."""
ABANDONED = 2 * 86400
"""Seconds after which another machine's partial file is taken for a leftover."""


@contextmanager
def write_whole(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside the target that becomes the target when the block ends without an error.

    What killed jobs left of the same target is removed first.

    Raises
    ------
    SealiencyError
        If the file system is full or a quota used up, whatever the writer makes of it.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    host = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())
    _remove_leftovers(target, host)
    # The suffix stays last, because some writers choose the format by it; two nodes may count the same process id.
    partial = target.with_name(f".{target.stem}.{host}.{os.getpid()}.part{target.suffix}")
    try:
        yield partial
        with open(partial, "rb") as written:
            os.fsync(written.fileno())
        partial.replace(target)
    except (OSError, RuntimeError) as error:
        if not _is_full(error, target.parent):
            raise
        raise SealiencyError(f"{target}: {_describe_full(target.parent)}") from error
    finally:
        partial.unlink(missing_ok=True)


def _remove_leftovers(target: Path, host: str) -> None:
    name = re.compile(rf"\.{re.escape(target.stem)}\.([A-Za-z0-9-]+)\.([0-9]+)\.part{re.escape(target.suffix)}")
    for path in target.parent.iterdir():
        found = name.fullmatch(path.name)
        # Another job may remove it first, or another user own it.
        with suppress(OSError):
            if found and (
                (found[1] == host and not _is_running(int(found[2]))) or time.time() - path.stat().st_mtime > ABANDONED
            ):
                path.unlink()


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _is_full(error: BaseException, folder: Path) -> bool:
    if getattr(error, "errno", None) in FULL or any(os.strerror(number) in str(error) for number in FULL):
        return True
    # NetCDF and PyTorch do not say why a write failed.
    return find_full_disk(folder) is not None


def find_full_disk(folder: Path) -> str | None:
    """Return what to tell a user whose folder cannot take any more, or None where it can."""
    # Of a quota only writing tells.
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(HEADROOM))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as refused:
        return _describe_full(folder) if refused.errno in FULL else None
    return None


def _describe_full(folder: Path) -> str:
    free = shutil.disk_usage(folder).free / 1e9
    return (
        f"no space left on the file system, or in its quota ({free:.1f} GB free in {folder}); make room or move "
        "run.folder, then start the same command again: what is finished is kept"
    )


def write_netcdf(dataset: xr.Dataset, path: str | Path, **options: Any) -> None:
    """Write a dataset as compressed NetCDF-4, whole or not at all.

    Parameters
    ----------
    dataset
        Dataset with CF attributes; floating-point data variables are compressed.
    path
        File to write.
    options
        Passed on to `xarray.Dataset.to_netcdf`.
    """
    # Coordinates and their bounds are never missing.
    whole = {*dataset.coords, *(variable.attrs.get("bounds") for variable in dataset.variables.values())}
    encoding: dict[Hashable, dict[str, Any]] = {}
    for name, variable in dataset.variables.items():
        if variable.size and isinstance(variable.values.flat[0], str):
            # Characters, as CF's labels are: strings in a variable named like its dimension are taken for numbers.
            encoding[name] = {"dtype": "S1"}
        elif name in whole:
            encoding[name] = {"_FillValue": None}
        elif variable.ndim and np.issubdtype(variable.dtype, np.floating):
            missing = variable.dtype.type(np.nan)
            encoding[name] = {"zlib": True, "complevel": 1, "shuffle": True, "_FillValue": missing}
    for name, given in options.pop("encoding", {}).items():
        encoding.setdefault(name, {}).update(given)
    with write_whole(path) as partial:
        dataset.to_netcdf(partial, engine="netcdf4", format="NETCDF4", encoding=encoding, **options)


def write_analysis(
    dataset: xr.Dataset, path: str | Path, stage: str, settings: Mapping[str, Any], inputs: Mapping[str, str], seed: int
) -> None:
    """Write the result of a stage with its provenance: settings, SHA-256 of each input by name, and seed."""
    dataset.attrs |= describe_file(
        stage, dict(settings.items()), {name: sha256(input_path) for name, input_path in inputs.items()}, seed=seed
    )
    write_netcdf(dataset, path)


def deflate(values: np.ndarray) -> bytes:
    """Return values as HDF5's filters shuffle and deflate store them: a whole chunk, for `write_direct_chunk`."""
    shuffled = np.ascontiguousarray(values).view(np.uint8).reshape(-1, values.itemsize).T.tobytes()
    # Noise repeats itself only where it is missing: to look for more takes twice as long and packs no better.
    packer = zlib.compressobj(1, strategy=zlib.Z_RLE)
    return packer.compress(shuffled) + packer.flush()


def read_netcdf(path: str | Path) -> xr.Dataset:
    """Read one of the pipeline's own NetCDF files into memory.

    Raises
    ------
    SealiencyError
        If the file is missing or damaged.
    """
    try:
        return xr.load_dataset(path, engine="netcdf4")
    except (OSError, RuntimeError, ValueError) as error:
        raise SealiencyError(f"{path}: cannot be read ({error}); delete it and run again to make it anew") from None


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal; of a folder's, the names and the content of all its files."""
    if Path(path).is_dir():
        digest = hashlib.sha256()
        for file in _list_folder(path):
            digest.update(f"{file.relative_to(path).as_posix()}\0{sha256(file)}\n".encode())
        return digest.hexdigest()
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def measure_size(path: str | Path) -> int:
    """Return the bytes of a file, or of all files in a folder; 0 where there is nothing."""
    if Path(path).is_dir():
        return sum(file.stat().st_size for file in _list_folder(path))
    return Path(path).stat().st_size if Path(path).exists() else 0


def _list_folder(path: str | Path) -> list[Path]:
    return sorted(file for file in Path(path).rglob("*") if file.is_file())
