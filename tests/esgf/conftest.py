"""Fixtures: files of the archive, and a server of them with a configured run."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "workflow"))

from archive import Archive
from small_archive import Run, write_files


@pytest.fixture(scope="session")
def decades(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Root of an archive with one data set of three files of ten years."""
    root = tmp_path_factory.mktemp("decades")
    write_files(root, files=3, years=10)
    return root


@pytest.fixture
def archive(decades: Path) -> Iterator[Archive]:
    with Archive(decades) as archive:
        yield archive


@pytest.fixture
def run(archive: Archive, tmp_path: Path) -> Run:
    return Run(tmp_path / "work", archive)
