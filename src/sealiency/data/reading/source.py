"""Opening what a path holds, nothing decoded, or saying in its own words what stands in the way."""

import errno
from pathlib import Path

import h5py
import scipy.io
import xarray as xr

from sealiency.errors import SealiencyError

# How a file begins, what it is then, and the mend.
FOREIGN = (
    (b"\x1f\x8b", "compressed with gzip; unpack it with gunzip"),
    (b"BZh", "compressed with bzip2; unpack it with bunzip2"),
    (b"\xfd7zXZ", "compressed with xz; unpack it with unxz"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd; unpack it with unzstd"),
    (b"PK\x03\x04", "a zip archive; unpack it with unzip"),
    (b"GRIB", "a GRIB file; convert it to NetCDF, for example with cdo -f nc4 copy"),
    (b"\x0e\x03\x13\x01", "an HDF4 file; convert it to NetCDF, for example with ncks or h4toh5"),
    (b"CDF\x05", "a CDF-5 file, whose length cannot be checked; convert it to NetCDF-4 with nccopy -k nc4"),
)
PAGE = (b"<!doctype", b"<html", b"<?xml")
HDF5, CLASSIC = b"\x89HDF", (b"CDF\x01", b"CDF\x02")
# What a folder holds that is a Zarr store, of version 2 or 3.
ZARR = (".zgroup", ".zmetadata", "zarr.json")


def open_source(path: str) -> xr.Dataset:
    """Open a NetCDF file or a Zarr store lazily, its values as stored: neither unpacked nor masked, times as numbers.

    Parameters
    ----------
    path
        A NetCDF file (classic, 64-bit offset or NetCDF-4) or the folder of a Zarr store (version 2 or 3).

    Raises
    ------
    SealiencyError
        If there is nothing, or nothing that can be read; the message says what there is instead.
    """
    if not Path(path).exists():
        raise SealiencyError(f"{path}: no such file; correct its path or get it again")
    try:
        engine = _open_zarr if Path(path).is_dir() else _open_netcdf
        return engine(path)
    except PermissionError:
        raise SealiencyError(f"{path}: you may not read it; have its permissions changed") from None
    except (OSError, RuntimeError, TypeError, ValueError, OverflowError, KeyError) as error:
        raise SealiencyError(f"{path}: {_explain_failure(path, error)}") from None


def is_zarr(path: str | Path) -> bool:
    """Tell whether a path is the folder of a Zarr store."""
    return any((Path(path) / name).is_file() for name in ZARR)


def _open_netcdf(path: str) -> xr.Dataset:
    with open(path, "rb") as stream:
        start = stream.read(16)
    if not start:
        raise SealiencyError(f"{path}: empty (0 bytes); get it again")
    for magic, words in FOREIGN:
        if start.startswith(magic):
            raise SealiencyError(f"{path}: {words}")
    if start.lstrip().lower().startswith(PAGE):
        raise SealiencyError(
            f"{path}: a web page or XML, not a readable NetCDF file; a server sent it in place of the data, so get it again"
        )
    if not start.startswith((HDF5, *CLASSIC)):
        raise SealiencyError(
            f"{path}: not a readable NetCDF file (it begins with {start[:8]!r}); name a NetCDF file or a Zarr store"
        )
    if start.startswith(CLASSIC):
        # netCDF-C reads zeros beyond the end. Mapping every variable needs the file's full length, and reads none of it.
        scipy.io.netcdf_file(path, "r", mmap=True)
    # Chunks are chosen later, of whole chunks of the file.
    return xr.open_dataset(path, engine="netcdf4", decode_times=False, mask_and_scale=False, chunks=None, cache=False)


def _open_zarr(path: str) -> xr.Dataset:
    if not is_zarr(path):
        raise SealiencyError(f"{path}: a folder; name the files in it, such as {Path(path) / '*.nc'}")
    try:
        import zarr  # noqa: F401
    except ImportError:
        raise SealiencyError(
            f"{path}: a Zarr store, which needs a package more: pip install 'sealiency[zarr]'"
        ) from None
    return xr.open_dataset(
        path, engine="zarr", consolidated=False, decode_times=False, mask_and_scale=False, chunks=None, cache=False
    )


def _explain_failure(path: str, error: Exception) -> str:
    if Path(path).is_dir():
        return f"a Zarr store that cannot be read ({error}); copy it again"
    try:
        with open(path, "rb") as stream:
            is_hdf5 = stream.read(4) == HDF5
        if is_hdf5:
            h5py.File(path, "r").close()
    except OSError as refused:
        # netCDF-C calls this "HDF error" alone.
        if refused.errno in (errno.EAGAIN, errno.EACCES):
            return (
                "another process holds it open for writing; wait until that is done, or copy the file "
                "(HDF5_USE_FILE_LOCKING=FALSE reads it all the same)"
            )
        return f"not a readable NetCDF file ({refused}); it is truncated or damaged, get it again"
    return f"not a readable NetCDF file ({error}); it may be truncated or damaged, get it again"
