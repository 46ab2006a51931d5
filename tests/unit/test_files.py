import errno
import hashlib
import json
import os
import re
import socket
import stat
import subprocess
import sys
import time
from contextlib import suppress

import h5py
import numpy as np
import pytest
import torch
import xarray as xr

from sealiency.emulators.emulator import save_torch
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


# --- what killed jobs leave ---


@pytest.fixture
def ended() -> int:
    """Return the id of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_partial_files_of_two_machines_have_two_names(tmp_path, monkeypatch):
    found = []
    for host in ("node1", "node2.cluster_a"):
        monkeypatch.setattr(socket, "gethostname", lambda name=host: name)
        with write_whole(tmp_path / "a.h5") as partial:
            partial.write_text(host)
            assert partial in tmp_path.glob(".*.part.h5")
            found.append(partial.name)
    assert found == [f".a.node1.{os.getpid()}.part.h5", f".a.node2-cluster-a.{os.getpid()}.part.h5"]


def test_leftovers_of_the_same_target_are_removed(tmp_path, monkeypatch, ended):
    monkeypatch.setattr(socket, "gethostname", lambda: "here")
    kept = [
        f".a.here.{os.getppid()}.part.h5",
        f".a.there.{ended}.part.h5",
        f".b.here.{ended}.part.h5",
        f".a.b.here.{ended}.part.h5",
        f".a.here.{ended}.part.nc",
        "a.here.h5",
    ]
    old = [f".a.there.{os.getpid()}.part.h5", f".a.other.{ended}.part.h5"]
    for name in (*kept, *old, f".a.here.{ended}.part.h5"):
        (tmp_path / name).write_text("left")
    for name in old:
        os.utime(tmp_path / name, (time.time(), time.time() - 2.1 * 86400))
    with write_whole(tmp_path / "a.h5") as partial:
        assert names(tmp_path) == sorted(kept)
        partial.write_text("new")
    assert names(tmp_path) == sorted([*kept, "a.h5"])


def test_names_are_taken_as_they_are(tmp_path, ended):
    host = re.sub("[^A-Za-z0-9-]", "-", socket.gethostname())
    for stem in ("a[1]", "a1", "a+", "aa"):
        (tmp_path / f".{stem}.{host}.{ended}.part.h5").write_text("left")
    for stem in ("a[1]", "a+"):
        with write_whole(tmp_path / f"{stem}.h5") as partial:
            partial.write_text("new")
    assert names(tmp_path) == sorted(
        [f".{stem}.{host}.{ended}.part.h5" for stem in ("a1", "aa")] + ["a+.h5", "a[1].h5"]
    )


def test_process_of_another_user_counts_as_running(tmp_path, monkeypatch, ended):
    def refuse(process, number):
        raise PermissionError

    monkeypatch.setattr(socket, "gethostname", lambda: "here")
    monkeypatch.setattr(os, "kill", refuse)
    (tmp_path / f".a.here.{ended}.part.h5").write_text("left")
    with write_whole(tmp_path / "a.h5") as partial:
        partial.write_text("new")
    assert names(tmp_path) == [f".a.here.{ended}.part.h5", "a.h5"]


# --- a full disk ---

FULL = (
    r"no space left on the file system, or in its quota \([0-9.]+ GB free in .*\); make room or move run.folder, then"
)


@pytest.fixture
def tiny(tmp_path):
    """Return an empty file system of 1 MB."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("only root can mount a file system")
    yield folder
    # NetCDF does not close a file that it failed to write.
    subprocess.run(["umount", "--lazy", folder], check=True)


NOISE = np.random.default_rng(0).normal(size=(40, 10_000))


def write_hdf5(path):
    with write_whole(path) as partial, h5py.File(partial, "w", rdcc_nbytes=0) as file:
        file.create_dataset("a", data=NOISE, chunks=(1, 10_000), compression="gzip")


def write_chunks(path):
    # As the reduction does: the metadata by one library, compressed chunks by another.
    with write_whole(path) as partial:
        xr.Dataset({"a": (("row", "column"), np.zeros((40, 10_000)))}).to_netcdf(
            partial, encoding={"a": {"zlib": True, "chunksizes": (1, 10_000)}}
        )
        with h5py.File(partial, "r+") as file:
            for row in range(40):
                file["a"].id.write_direct_chunk((row, 0), deflate(NOISE[row]))


WRITERS = {
    "text": lambda path: write_text(path, "x" * NOISE.nbytes),
    "netcdf": lambda path: write_netcdf(xr.Dataset({"a": (("row", "column"), NOISE)}), path),
    "hdf5": write_hdf5,
    "chunks": write_chunks,
    "torch": lambda path: save_torch({"a": torch.from_numpy(NOISE)}, path),
    "torch, many": lambda path: save_torch({str(n): torch.zeros(300) for n in range(2000)}, path),
}


def write_text(path, text):
    with write_whole(path) as partial:
        partial.write_text(text)


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("filled", [0, 900_000, 2_000_000])
def test_full_disk_is_one_clear_error(tiny, writer, filled, capfd):
    with open(tiny / "other", "wb", buffering=0) as other, suppress(OSError):
        # What does not fit any more is left out.
        other.write(bytes(filled))
    before = names(tiny)
    with pytest.raises(SealiencyError, match=rf"{tiny}/a.x: {FULL}"):
        WRITERS[writer](tiny / "a.x")
    assert names(tiny) == before
    assert capfd.readouterr().err == ""


def test_full_disk_keeps_what_was_finished(tiny):
    write_text(tiny / "a.x", "old")
    with pytest.raises(SealiencyError, match=FULL):
        WRITERS["netcdf"](tiny / "a.x")
    assert names(tiny) == ["a.x"]
    assert (tiny / "a.x").read_text() == "old"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("form", ["number", "text", "silent"])
def test_full_disk_in_any_words(tmp_path, monkeypatch, number, form):
    errors = {
        "number": OSError(number, "the same in other words"),
        "text": RuntimeError(f"Can't decrement id ref count (error message = '{os.strerror(number)}')"),
        "silent": RuntimeError("NetCDF: HDF error"),
    }

    def refuse(descriptor):
        raise OSError(number, os.strerror(number))

    def write():
        with write_whole(tmp_path / "a.x") as partial:
            partial.write_text("half")
            raise errors[form]

    if form == "silent":
        with pytest.raises(RuntimeError, match="HDF error"):
            write()
        monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(SealiencyError, match=FULL):
        write()
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


def test_labels_are_characters_and_bounds_are_never_missing(tmp_path):
    dataset = xr.Dataset(
        {"depth_bounds": (("depth", "bounds"), [[0.0, 2.0], [2.0, 4.0]])},
        coords={"pixel": ["Ålesund", "b"], "depth": ("depth", [1.0, 3.0], {"bounds": "depth_bounds"})},
    )
    write_netcdf(dataset, tmp_path / "a.nc")
    xr.testing.assert_identical(read_netcdf(tmp_path / "a.nc"), dataset)
    with h5py.File(tmp_path / "a.nc") as file:
        # A string would count as a coordinate, which CF takes for a number.
        assert (file["pixel"].dtype, file["pixel"].shape) == (np.dtype("S1"), (2, 8))
        assert "_FillValue" not in file["depth_bounds"].attrs


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
    write_analysis(
        dataset, tmp_path / "a.nc", "measure_it", {"b": 1, "a": [2]}, {"model": str(tmp_path / "input")}, seed=3
    )
    attributes = read_netcdf(tmp_path / "a.nc").attrs
    assert attributes["title"] == "a field"
    assert json.loads(attributes["settings"]) == {"a": [2], "b": 1}
    assert json.loads(attributes["inputs_sha256"]) == {"model": hashlib.sha256(b"abc").hexdigest()}
    assert attributes["seed"] == 3
    assert {"sealiency_version", "sealiency_commit", "settings_sha256", "Conventions"} <= set(attributes)
    assert attributes["history"].endswith(": measure_it")
