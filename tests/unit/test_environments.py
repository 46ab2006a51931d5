"""The conda environments hold what pyproject.toml asks for, and sealiency itself can be put into them offline."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = ROOT / "envs"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
# Names that differ between PyPI and conda-forge.
NAMES = {
    "cf-xarray": ["cf_xarray"],
    "dask[distributed]": ["dask-core", "distributed"],
    "matplotlib": ["matplotlib-base"],
    "netCDF4": ["netcdf4"],
    "PyYAML": ["pyyaml"],
}
NAMES_IN = {
    "cpu": {"torch": ["pytorch-cpu"], "snakemake": []},
    "gpu": {"torch": ["pytorch-gpu"], "snakemake": []},
}
INSTALLERS = {"pip": "", "setuptools": PYPROJECT["build-system"]["requires"][0].removeprefix("setuptools")}
ADDED = {
    "cpu": {"mpich": PYPROJECT["project"]["optional-dependencies"]["mpich"][0].removeprefix("mpich")},
    "gpu": {},
}
SPECIFICATION = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9_.-]*)(?: (?P<bounds>(?:[<>]=?|[!=]=|~=)[0-9.]+(?:,(?:[<>]=?|!=)[0-9.]+)*))?"
)
REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+(?:\[[a-z]+\])?)(.*)")


def parse_specifications(lines):
    matches = {line: SPECIFICATION.fullmatch(line) for line in lines}
    assert all(matches.values()), [line for line, match in matches.items() if match is None]
    assert len({match["name"] for match in matches.values()}) == len(lines), "a package is named twice"
    return {match["name"]: match["bounds"] or "" for match in matches.values()}


@pytest.fixture(params=["cpu", "gpu"])
def name(request):
    return request.param


@pytest.fixture
def environment(name):
    return yaml.safe_load((ENVIRONMENTS / f"{name}.yaml").read_text(encoding="utf-8"))


def test_packages_and_bounds_are_those_of_pyproject(name, environment):
    expected = {"python": PYPROJECT["project"]["requires-python"], **INSTALLERS, **ADDED[name]}
    for requirement in PYPROJECT["project"]["dependencies"]:
        project, bounds = REQUIREMENT.fullmatch(requirement).groups()
        for package in (NAMES | NAMES_IN[name]).get(project, [project]):
            expected[package] = bounds
    assert parse_specifications(environment["dependencies"]) == expected


def test_channels_are_the_free_ones(environment):
    assert environment["channels"] == ["conda-forge", "nodefaults"]


def test_no_further_file_is_an_environment():
    assert {path.stem for path in ENVIRONMENTS.glob("*.y*ml")} == {"cpu", "gpu"}


@pytest.fixture
def checkout(tmp_path):
    """A copy, because an editable installation leaves a folder in its source."""
    copy = tmp_path / "checkout"
    shutil.copytree(ROOT / "src", copy / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__", "*.nc"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, copy)
    return copy


def deploy(name, prefix, folder, **variables):
    """Run a post-deploy script as Snakemake does: a copy, in the folder where Snakemake was started."""
    python = prefix / "bin" / "python"
    python.parent.mkdir(parents=True)
    # This Python stands for the environment's; what it installs goes into the prefix.
    python.write_text(f'#!/bin/sh\nPIP_TARGET={prefix}/site exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    script = shutil.copy(ENVIRONMENTS / f"{name}.post-deploy.sh", prefix)
    environment = {**os.environ, "CONDA_PREFIX": str(prefix), **variables}
    environment.pop("PYTHONPATH", None)
    return subprocess.run(["bash", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.skipif(
    int(version("setuptools").split(".")[0]) < 77, reason="needs setuptools 77 or later beside the tests"
)
@pytest.mark.parametrize(("name", "elsewhere"), [("cpu", False), ("gpu", True)])
def test_the_checkout_is_importable_after_the_post_deploy_script(name, checkout, tmp_path, elsewhere):
    variables = {"SEALIENCY_CHECKOUT": "checkout"} if elsewhere else {}
    answer = deploy(name, tmp_path / "prefix", tmp_path if elsewhere else checkout, **variables)
    assert answer.returncode == 0, answer.stderr
    # The link names the checkout, so changed code counts without a new environment.
    (link,) = (tmp_path / "prefix" / "site").glob("*sealiency*.pth")
    assert Path(link.read_text().strip()) == checkout / "src"


def test_a_post_deploy_script_outside_the_checkout_says_what_to_do(name, tmp_path):
    answer = deploy(name, tmp_path / "prefix", tmp_path)
    assert answer.returncode != 0
    assert "SEALIENCY_CHECKOUT" in answer.stderr
