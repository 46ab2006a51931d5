"""A plan needs no network, a run fetches what it needs and no more, and a pinned manifest stays as it is."""

import os

import numpy as np
import pytest
from archive import Archive
from small_archive import MANIFEST, Run, copy_root, name_file, state_of, write_files

from sealiency.config.data import Region
from small_world import open_files

pytestmark = [pytest.mark.esgf, pytest.mark.workflow]

FIRST, MIDDLE, LAST = (name_file(first, first + 9) for first in (1, 11, 21))
PREPARED = "results/small/prepare_record/prepared.nc"


def failed(run: Run, *arguments: str) -> str:
    answer = run.run(*arguments)
    assert answer.returncode != 0
    assert "Traceback" not in answer.stdout
    return answer.stdout


def test_a_plan_with_manifest_names_every_file_and_asks_nobody(run, archive):
    run.pin()
    archive.heal()
    answer = run.run("--dry-run")
    assert answer.returncode == 0, answer.stdout
    for name in (FIRST, MIDDLE, LAST):
        assert f"fetching and verifying {name}" in answer.stdout
    assert not archive.log
    assert not run.store.exists()


def test_only_the_months_of_the_run_are_fetched(decades, tmp_path):
    root = copy_root(decades, tmp_path)
    with Archive(root) as archive:
        run = Run(tmp_path / "work", archive, first_month="0011-07", last_month="0018-12")
        answer = run.fetch()
        assert answer.returncode == 0, answer.stdout
        assert run.names() == [MIDDLE]
        assert [request.name for request in archive.asked()] == [MIDDLE]
        # Meanwhile a newer version appears and the old one is retracted: a run neither asks nor follows.
        write_files(root, files=3, years=10, version="v20200101", seed=1)
        archive.retracted.add(run.pinned()["version"])
        archive.heal()
        before = state_of(run.store)
        pinned = (run.folder / MANIFEST).read_bytes()
        again = run.fetch()
        assert again.returncode == 0, again.stdout
        assert not archive.log
        assert state_of(run.store) == before
        run.settings["data"]["last_month"] = "0021-01"
        wider = run.fetch()
        assert wider.returncode == 0, wider.stdout
        assert run.names() == [MIDDLE, LAST]
        assert [(request.name, "v20190320" in request.path) for request in archive.log] == [(LAST, True)]
        assert (run.folder / MANIFEST).read_bytes() == pinned


@pytest.mark.parametrize(
    ("months", "shown"),
    [({"first_month": "0000-12"}, "first_month = 0000-12"), ({"last_month": "0031-01"}, "last_month = 0031-01")],
)
def test_a_data_set_that_does_not_reach_so_far_is_an_error(archive, tmp_path, months, shown):
    run = Run(tmp_path / "work", archive, **months)
    run.pin()
    said = failed(run, PREPARED)
    for words in (shown, "0001-01..0030-12"):
        assert words in said
    assert not archive.asked()


def test_without_manifest_and_index_there_is_a_plan_and_a_run_is_one_clear_error(run, archive):
    plan = run.run("--dry-run")
    assert plan.returncode == 0, plan.stdout
    assert "resolve_dataset" in plan.stdout
    assert not archive.log
    for index in ("globus", "solr"):
        archive.fault("503", index)
    said = failed(run, "fetch_dataset")
    for words in ("no index answered", archive.globus, archive.solr):
        assert words in said
    assert not (run.folder / MANIFEST).exists()
    assert not run.store.exists()


def test_a_century_missing_from_the_index_stops_the_run_before_anything_is_fetched(run, archive):
    archive.hide(name=MIDDLE)
    said = failed(run, PREPARED)
    assert "counts 3 files and lists 2" in said
    assert not (run.folder / MANIFEST).exists()
    assert not archive.asked()


def test_a_garbled_manifest_stops_the_run_and_stays(run, archive):
    run.pin()
    archive.heal()
    path = run.folder / MANIFEST
    path.write_text(path.read_text()[:500])
    said = failed(run, "fetch_dataset")
    assert MANIFEST in said
    assert len(path.read_text()) == 500
    assert not archive.log


def test_a_pinned_manifest_is_never_replaced_by_a_run(archive, tmp_path):
    run = Run(tmp_path / "work", archive, last_month="0010-12")
    answer = run.fetch()
    assert answer.returncode == 0, answer.stdout
    path = run.folder / MANIFEST
    pinned, changed = path.read_bytes(), path.stat().st_mtime_ns
    # What the rule is told has changed, which makes Snakemake want to run it again.
    run.settings["data"]["esgf"]["timeout"] = 2.0
    archive.state({"tracking_id": ["hdl:21.14100/other"]})
    for arguments in (["--forceall", "fetch_dataset"], ["--force", "resolve_dataset"]):
        run.run(*arguments)
        assert path.exists(), arguments
        assert (path.read_bytes(), path.stat().st_mtime_ns) == (pinned, changed), arguments


def test_damage_between_two_stages_is_mended(archive, tmp_path):
    run = Run(tmp_path / "work", archive, last_month="0010-12")
    # Asked for by name, the link to the file stays, as it does when a run is killed later on.
    run.pin()
    answer = run.run(f"results/small/fetch_file/{FIRST}")
    assert answer.returncode == 0, answer.stdout
    place = run.place(FIRST)
    times = place.stat().st_atime_ns, place.stat().st_mtime_ns
    true = place.read_bytes()
    middle = len(true) // 2
    place.write_bytes(true[:middle] + bytes([true[middle] ^ 0xFF]) + true[middle + 1 :])
    os.utime(place, ns=times)
    answer = run.run(PREPARED)
    # It may be mended at once, or the run may stop and say how: what it must not do is go on with the damage.
    if answer.returncode:
        assert "Traceback" not in answer.stdout
        assert f"fetch_file/{FIRST}: its SHA-256" in answer.stdout
        assert "delete it and run again" in answer.stdout
        assert not (run.folder / PREPARED).exists()
        (run.results / "fetch_file" / FIRST).unlink()
        answer = run.fetch()
    assert answer.returncode == 0, answer.stdout
    assert run.is_whole(FIRST)


def test_a_link_to_a_file_that_is_gone_does_no_harm(archive, tmp_path):
    run = Run(tmp_path / "work", archive, last_month="0010-12")
    link = run.results / "fetch_file" / FIRST
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "gone.nc")
    answer = run.fetch()
    assert answer.returncode == 0, answer.stdout
    assert run.is_whole(FIRST)


def test_a_mirror_spares_every_request_and_a_new_version_once_taken_prepares_anew(decades, tmp_path):
    root = copy_root(decades, tmp_path)
    with Archive(root) as archive:
        run = Run(tmp_path / "work", archive, last_month="0020-12", esgf={"mirrors": ["$MIRROR"]})
        run.environment["MIRROR"] = str(root)
        run.pin()
        archive.heal()
        before = state_of(root)
        answer = run.run(PREPARED)
        assert answer.returncode == 0, answer.stdout
        assert not archive.log
        assert not list(run.store.rglob("*.nc"))
        assert state_of(root) == before
        old = (run.folder / PREPARED).read_bytes()
        write_files(root, files=3, years=10, version="v20200101", seed=1)
        assert run.resolve("--replace").returncode == 0
        assert run.pinned()["version"] == "v20200101"
        answer = run.run(PREPARED)
        assert answer.returncode == 0, answer.stdout
        assert (run.folder / PREPARED).read_bytes() != old


def test_a_real_file_on_the_models_own_grid(shared_data, tmp_path):
    facets = {"source_id": "CESM2-FV2", "experiment_id": "historical", "grid_label": "gn"}
    real = shared_data / "cmip6_samples" / "tos_Omon_CESM2-FV2_historical_r1i1p1f1_gn_200001.nc"
    name = "tos_Omon_CESM2-FV2_historical_r1i1p1f1_gn_200001-200001.nc"
    with Archive(tmp_path / "root") as archive:
        run = Run(tmp_path / "work", archive, facets=facets)
        folder = archive.root.joinpath(
            *["CMIP6", "CMIP", "NCAR", "CESM2-FV2", "historical", "r1i1p1f1", "Omon", "tos", "gn", "v20191120"]
        )
        run.put(folder / name, real.read_bytes())
        archive.fault("cut", times=1)
        assert run.resolve().returncode == 0
        answer = run.fetch()
        assert answer.returncode == 0, answer.stdout
        assert run.is_whole(name)
        assert [bool(request.asked_range) for request in archive.asked()] == [False, True]
    record = open_files([str(run.place(name))], Region(**run.settings["data"]["region"]), "tos")
    assert record.dims == ("time", "lat", "lon")
    assert 0 < float(np.nanmean(record)) < 25
