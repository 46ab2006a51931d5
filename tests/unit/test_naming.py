"""Names of files, whatever characters they hold."""

import os

import pytest
from snakemake.io import expand

from sealiency.errors import SealiencyError
from sealiency.naming import describe_unnamed, fill, find_files


def test_patterns_name_each_file_once(tmp_path, monkeypatch):
    for name in ("b.nc", "a.nc", "c.txt"):
        (tmp_path / name).touch()
    monkeypatch.setenv("SST_FOLDER", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert find_files(["*.nc"]) == ["a.nc", "b.nc"]
    assert find_files(["b.nc", "*.nc"]) == ["b.nc", "a.nc"]
    assert find_files(["$SST_FOLDER/a.*"]) == [str(tmp_path / "a.nc")]
    with pytest.raises(SealiencyError, match=r"data.files.paths: 'd\*.nc' names no file \(working directory"):
        find_files(["a.nc", "d*.nc"])


@pytest.mark.parametrize("name", ["a {year}.nc", "b [1].nc", "c $HOME.nc", "d 'quoted'.nc", "e*.nc", "~f.nc", "g?.nc"])
def test_path_that_exists_is_taken_as_it_is(tmp_path, monkeypatch, name):
    monkeypatch.setenv("HOME", "elsewhere")
    folder = tmp_path / "a [folder] of {it}"
    folder.mkdir()
    (folder / name).touch()
    (folder / "eins.nc").touch()
    assert find_files([str(folder / name)]) == [str(folder / name)]
    # In such a folder a pattern still is one.
    assert find_files([str(folder / "eins.n?")]) == [str(folder / "eins.nc")]
    monkeypatch.chdir(folder)
    assert find_files([name]) == [name]


def test_filling_is_that_of_snakemake_where_there_are_no_other_braces():
    pattern = "results/{lead}_seed{seed}/{lead}/{chunk:04d}.nc"
    values = {"lead": [1, 6], "seed": 3, "chunk": range(2)}
    assert fill(pattern, **values) == expand(pattern, **values)
    assert fill("a/{control}b{lead}", control="", lead=[1]) == ["a/b1"]
    assert fill("a", lead=[1, 6]) == ["a", "a"]


def test_filling_leaves_other_braces_alone():
    assert fill("res {of/{{x} {lead}/{file}", lead=[1, 2]) == ["res {of/{{x} 1/{file}", "res {of/{{x} 2/{file}"]


def test_inputs_that_snakemake_cannot_follow_are_described(tmp_path):
    plain, braces, store = tmp_path / "a {b.nc", tmp_path / "{year}.nc", tmp_path / "sst.zarr"
    (store / "c").mkdir(parents=True)
    for path in (plain, braces, store / "zarr.json", store / "c" / "0"):
        path.write_text("12345")
    paths = [str(plain), str(braces), str(store)]
    described = describe_unnamed(paths)
    assert list(described) == paths[1:]
    assert [size for size, _ in described.values()] == [5, 10]
    os.utime(store / "c" / "0", (0, 2e9))
    (store / "zarr.json").write_text("123456")
    assert describe_unnamed(paths)[str(store)] == [11, 2e9]
