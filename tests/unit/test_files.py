import hashlib
import json
import os
import stat

import h5py
import numpy as np
import pytest
import xarray as xr

from sealiency.errors import SealiencyError
from sealiency.files import deflate, read_netcdf, sha256, write_analysis, write_netcdf, write_whole


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def dataset() -> xr.Dataset:
    values = np.random.default_rng(0).normal(size=(3, 4))
    values[1, 2] = np.nan
    return xr.Dataset(
        {
            "sst": (("lat", "lon"), values.astype(np.float32), {"units": "degC"}),
            "count": (("lat", "lon"), np.arange(12, dtype=np.int32).reshape(3, 4)),
            "scale": 0.25,
        },
        coords={"lat": [1.0, 2.0, 3.0], "lon": [0.5, 1.5, 2.5, 3.5], "name": ("lat", ["a", "b", "c"])},
        attrs={"title": "a field"},
    )


def test_file_appears_whole_at_the_end(tmp_path):
    target = tmp_path / "deep" / "er" / "a.txt"
    with write_whole(target) as partial:
        partial.write_text("half")
        assert partial.parent == target.parent
        assert partial.suffix == ".txt"
        assert not target.exists()
    assert target.read_text() == "half"
    assert names(target.parent) == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("old", [None, "old"])
def test_error_leaves_nothing_new_and_keeps_what_was(tmp_path, error, old):
    target = tmp_path / "a.txt"
    if old:
        target.write_text(old)

    def write() -> None:
        with write_whole(target) as partial:
            partial.write_text("half")
            raise error

    with pytest.raises(error):
        write()
    assert names(tmp_path) == (["a.txt"] if old else [])
    assert not old or target.read_text() == old


def test_file_is_replaced_not_written_over(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with open(target) as reader, write_whole(target) as partial:
        partial.write_text("new")
        assert target.read_text() == "old"
        reader.seek(0)
        assert reader.read() == "old"
    assert target.read_text() == "new"


def test_nothing_written_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), write_whole(tmp_path / "a.txt"):
        pass
    assert names(tmp_path) == []


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_permissions_follow_the_umask(tmp_path, dataset, umask):
    before = os.umask(umask)
    try:
        write_netcdf(dataset, tmp_path / "a.nc")
        with write_whole(tmp_path / "a.txt") as partial:
            partial.write_text("x")
    finally:
        os.umask(before)
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def test_netcdf_comes_back_as_it_was(tmp_path, dataset):
    write_netcdf(dataset, tmp_path / "a.nc")
    xr.testing.assert_identical(read_netcdf(tmp_path / "a.nc"), dataset)
    with xr.open_dataset(tmp_path / "a.nc") as file:
        assert file["sst"].encoding["zlib"]
        assert file["sst"].dtype == np.float32
        # CF forbids missing values in coordinates.
        assert "_FillValue" not in file["lat"].encoding


def test_options_join_the_encoding(tmp_path, dataset):
    write_netcdf(dataset, tmp_path / "a.nc", encoding={"sst": {"chunksizes": (1, 4)}}, unlimited_dims=["lat"])
    with xr.open_dataset(tmp_path / "a.nc") as file:
        assert file["sst"].encoding["chunksizes"] == (1, 4)
        assert file["sst"].encoding["zlib"]
        assert file.encoding["unlimited_dims"] == {"lat"}


def test_failed_netcdf_keeps_the_old_one(tmp_path, dataset):
    write_netcdf(dataset, tmp_path / "a.nc")
    with pytest.raises(TypeError):
        write_netcdf(dataset.assign_attrs(bad={"no": "mapping"}), tmp_path / "a.nc")
    assert names(tmp_path) == ["a.nc"]
    xr.testing.assert_identical(read_netcdf(tmp_path / "a.nc"), dataset)


@pytest.mark.parametrize("dtype", ["<f4", "<f8", "<i2"])
def test_deflated_values_are_what_hdf5_reads(tmp_path, dtype):
    values = np.random.default_rng(0).normal(size=(6, 5, 4)).astype(dtype)
    values[:, 2] = 0
    with h5py.File(tmp_path / "a.h5", "w") as file:
        options = {"compression": "gzip", "shuffle": True}
        stored = file.create_dataset("whole", values.shape, dtype, chunks=values.shape, **options)
        stored.id.write_direct_chunk((0, 0, 0), deflate(values))
        # Values that do not lie on end are stored in their order all the same.
        turned = file.create_dataset("turned", values.T.shape, dtype, chunks=values.T.shape, **options)
        turned.id.write_direct_chunk((0, 0, 0), deflate(values.T))
    with h5py.File(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(file["whole"][:], values)
        np.testing.assert_array_equal(file["turned"][:], values.T)


@pytest.mark.parametrize("damage", ["half", "empty", "missing"])
def test_damaged_file_is_named(tmp_path, dataset, damage):
    path = tmp_path / "a.nc"
    write_netcdf(dataset, path)
    content = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(content[: len(content) // 2] if damage == "half" else b"")
    with pytest.raises(SealiencyError, match=r"a.nc: cannot be read .* delete it and run again"):
        read_netcdf(path)


def test_hash_of_content(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()


def test_analysis_carries_its_provenance(tmp_path, dataset):
    (tmp_path / "input").write_bytes(b"abc")
    write_analysis(dataset, tmp_path / "a.nc", {"b": 1, "a": [2]}, {"model": str(tmp_path / "input")}, seed=3)
    attributes = read_netcdf(tmp_path / "a.nc").attrs
    assert attributes["title"] == "a field"
    assert json.loads(attributes["settings"]) == {"a": [2], "b": 1}
    assert json.loads(attributes["inputs_sha256"]) == {"model": hashlib.sha256(b"abc").hexdigest()}
    assert attributes["seed"] == 3
    assert {"sealiency_version", "sealiency_commit", "settings_sha256"} <= set(attributes)
