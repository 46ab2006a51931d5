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
    """Return a working directory in which the whole workflow has run, from the files to the report."""
    folder = tmp_path_factory.mktemp("finished")
    pattern = link_years(sst_files, folder / "sst")
    workflow = Workflow(folder / "work", merge(SETTINGS, {"data": {"files": {"paths": [pattern]}}}))
    answer = workflow.run()
    assert answer.returncode == 0, answer.stdout
    (workflow.folder / "said.txt").write_text(answer.stdout)
    return workflow
