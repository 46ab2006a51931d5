"""Fixtures of the workflow tests."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from small_run import SETTINGS, SHARED_DATA, YEARS, Workflow, link_years, merge


@pytest.fixture(scope="session")
def sst_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of yearly files sst_YYYY.nc, one more than the runs use."""
    folder = tmp_path_factory.mktemp("sst")
    for year in (*YEARS, YEARS.stop):
        real = SHARED_DATA / "cobesst2" / f"cobesst2_sst_{year}.nc"
        if real.exists():
            shutil.copy(real, folder / f"sst_{year}.nc")
        else:
            _write_synthetic_year(folder / f"sst_{year}.nc", year)
    return folder


def _write_synthetic_year(path: Path, year: int) -> None:
    rng = np.random.default_rng(year)
    lat, lon = np.arange(-89.5, 90), np.arange(0.5, 360)
    field = 15 + rng.normal(size=(12, lat.size, lon.size)).cumsum(axis=0)
    field[:, :, (lon > 320) & (lon < 326)] = np.nan
    time = xr.date_range(f"{year}-01-01", periods=12, freq="MS", use_cftime=True)
    sst = xr.DataArray(field.astype("f4"), dims=("time", "lat", "lon"), coords={"time": time, "lat": lat, "lon": lon})
    sst["lat"].attrs, sst["lon"].attrs = {"units": "degrees_north"}, {"units": "degrees_east"}
    sst.attrs = {"units": "degC"}
    sst.to_dataset(name="sst").to_netcdf(path)


@pytest.fixture
def workflow(sst_files: Path, tmp_path: Path) -> Workflow:
    """Return a fresh working directory with its own files."""
    pattern = link_years(sst_files, tmp_path / "sst")
    return Workflow(tmp_path / "work", merge(SETTINGS, {"data": {"files": {"paths": [pattern]}}}))


@pytest.fixture(scope="session")
def finished(sst_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    """Return a working directory in which the whole workflow has run, from the files to the report."""
    folder = tmp_path_factory.mktemp("finished")
    pattern = link_years(sst_files, folder / "sst")
    workflow = Workflow(folder / "work", merge(SETTINGS, {"data": {"files": {"paths": [pattern]}}}))
    answer = workflow.run()
    assert answer.returncode == 0, answer.stdout
    (workflow.folder / "said.txt").write_text(answer.stdout)
    return workflow
