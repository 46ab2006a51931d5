"""Writing files whole or not at all, and knowing them by their content."""

import hashlib
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from sealiency.errors import SealiencyError
from sealiency.provenance import describe_provenance


@contextmanager
def write_whole(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside the target that becomes the target when the block ends without an error."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays last, because some writers choose the format by it.
    partial = target.with_name(f".{target.stem}.{os.getpid()}.part{target.suffix}")
    try:
        yield partial
        with open(partial, "rb") as written:
            os.fsync(written.fileno())
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


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
    encoding = {
        name: {"zlib": True, "complevel": 1, "shuffle": True, "_FillValue": variable.dtype.type(np.nan)}
        for name, variable in dataset.data_vars.items()
        if variable.ndim and np.issubdtype(variable.dtype, np.floating)
    }
    for name, extra in options.pop("encoding", {}).items():
        encoding.setdefault(name, {}).update(extra)
    for name in dataset.coords:
        encoding.setdefault(name, {}).setdefault("_FillValue", None)
    with write_whole(path) as partial:
        dataset.to_netcdf(partial, engine="netcdf4", format="NETCDF4", encoding=encoding, **options)


def write_analysis(
    dataset: xr.Dataset, path: str | Path, settings: Mapping[str, Any], inputs: Mapping[str, str], seed: int
) -> None:
    """Write the result of a stage with its provenance: settings, SHA-256 of each input by name, and seed."""
    dataset.attrs |= describe_provenance(
        dict(settings.items()), {name: sha256(input_path) for name, input_path in inputs.items()}, seed=seed
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
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
