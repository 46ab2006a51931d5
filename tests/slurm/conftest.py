"""One cluster for all tests, and one undisturbed run that every disturbed one must equal."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from cluster import ACCOUNT, FOLDER, Cluster

from small_run import REPOSITORY, SETTINGS, Workflow, link_years, merge

PROFILE = REPOSITORY / "profiles" / "slurm"
# What waits for a machine of minutes waits here for one of seconds.
OPTIONS = ("--profile", str(PROFILE), "--slurm-init-seconds-before-status-checks", "3", "--latency-wait", "10")
LEAD = 6


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Return a cluster that has just been started; it is stopped at the end."""
    cluster = Cluster(FOLDER)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def site(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the shipped site file for a machine like the cluster."""
    shipped = yaml.safe_load((PROFILE / "site.pmi2.yaml").read_text())
    assert shipped["account"] == ACCOUNT
    path = tmp_path_factory.mktemp("site") / "site.yaml"
    path.write_text(yaml.safe_dump(shipped))
    return path


@pytest.fixture(scope="session")
def undisturbed(cluster: Cluster, site: Path, sst_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    """Return a run of the whole workflow through the shipped profile, from the files to the report."""
    folder = tmp_path_factory.mktemp("undisturbed")
    settings = merge(
        SETTINGS,
        {
            "leads": [LEAD],
            "data": {"files": {"paths": [link_years(sst_files, folder / "sst")]}},
            # Epochs of a tenth of a second, so many that a test finds the training still at it.
            "training": {"epochs": 40, "patience": 40, "batch_size": 4},
            # Six shards of one pixel: a second pixel would be one more figure to wait for.
            "findings": {"controls": []},
            "attribution": {"pixels": SETTINGS["attribution"]["pixels"][:1], "sample_chunks": 6, "bootstrap_block": 2},
        },
    )
    environment = {**cluster.environment, "SEALIENCY_SITE": str(site)}
    workflow = Workflow(folder / "work", settings, environment, OPTIONS)
    answer = workflow.run()
    assert answer.returncode == 0, answer.stdout
    (workflow.folder / "said.txt").write_text(answer.stdout)
    return workflow


@pytest.fixture
def copy_run(undisturbed: Workflow, tmp_path: Path) -> Callable[..., Workflow]:
    """Return a function that copies the undisturbed run without some of its results."""

    def copy(*removed: str) -> Workflow:
        run = replace(undisturbed, folder=tmp_path / "work")
        shutil.copytree(undisturbed.folder, run.folder, symlinks=True)
        for name in removed:
            shutil.rmtree(run.results / name)
        os.unlink(run.folder / "said.txt")
        return run

    return copy
