"""Fixtures of the workflow tests."""

from pathlib import Path

import pytest

from small_run import SETTINGS, Workflow, link_years, merge


@pytest.fixture
def workflow(sst_files: Path, tmp_path: Path) -> Workflow:
    """Return a fresh working directory with its own files."""
    pattern = link_years(sst_files, tmp_path / "sst")
    return Workflow(tmp_path / "work", merge(SETTINGS, {"data": {"files": {"paths": [pattern]}}}))


@pytest.fixture(scope="session")
def finished(sst_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    """Return a working directory in which the whole workflow has run, from the files to the report.

    Every path in it holds what a shell, a glob, Python's formatting or Snakemake could take for something else.
    """
    folder = tmp_path_factory.mktemp("finished") / "a {folder} of [$HOME] and 'more'"
    pattern = link_years(sst_files, folder / "sst {year} [1]")
    changes = {"run": {"folder": "results {of a 'run' for $HOME"}, "data": {"files": {"paths": [pattern]}}}
    workflow = Workflow(folder / "work", merge(SETTINGS, changes))
    answer = workflow.run()
    assert answer.returncode == 0, answer.stdout
    (workflow.folder / "said.txt").write_text(answer.stdout)
    return workflow
