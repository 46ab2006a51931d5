"""What no replica can give ends the run with the file, the replicas and their reasons; the rest is kept."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from subprocess import CompletedProcess

import pytest
from archive import NODES, Archive, find_dead_address, sha256
from small_archive import MANIFEST, Run, name_file, write_files

pytestmark = [pytest.mark.esgf, pytest.mark.workflow]

PREPARED = "results/small/prepare_record/prepared.nc"
# What every replica does, and the reason that must stand beside each.
CASES = {
    "good": None,
    "404": ("404", r"HTTP 404"),
    "503": ("503", r"HTTP 503.*3 time"),
    "HTML": ("html", r"HTML"),
    "HTML said to be NetCDF": ("html_as_netcdf", r"announces \d+ bytes"),
    "cut at once": ("cut", r"broke off.*3 time"),
    "reset at once": ("reset", r"broke off.*3 time"),
    "stalled": ("stall", r"broke off.*3 time"),
    "wrong checksum": ("corrupt", r"SHA256 is [0-9a-f]{64}"),
    "wrong length": ("wrong_size", r"announces \d+ bytes"),
    "wrong size in the index": (None, r"announces \d+ bytes"),
    "dead": (None, r"no connection"),
    "damaged in place": ("404", r"HTTP 404"),
    "also good": None,
}
NAMES = {case: name_file(2 * number + 1, 2 * number + 2) for number, case in enumerate(CASES)}
BAD = [case for case in CASES if CASES[case]]
GOOD = [case for case in CASES if not CASES[case]]
DAMAGED = b"no data at all"


@dataclass
class Exhausted:
    run: Run
    archive: Archive
    answer: CompletedProcess


@pytest.fixture(scope="module")
def exhausted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exhausted]:
    """Return what came of one run over all cases, which begins without a manifest."""
    folder = tmp_path_factory.mktemp("exhausted")
    write_files(folder / "root", files=len(CASES), years=2)
    with Archive(folder / "root") as archive:
        run = Run(folder / "work", archive, esgf={"timeout": 0.5})
        true = archive.path(NAMES["wrong size in the index"]).stat().st_size
        archive.state({"size": true + 100}, name=NAMES["wrong size in the index"])
        dead = f"{find_dead_address()}/{NAMES['dead']}|application/netcdf|HTTPServer"
        archive.state({"url": [dead]}, name=NAMES["dead"])
        run.put(run.place(NAMES["damaged in place"]), DAMAGED)
        for case in BAD:
            if CASES[case][0]:
                archive.fault(CASES[case][0], NAMES[case], at=0 if "at once" in case else 0.5)
        yield Exhausted(run, archive, run.run(PREPARED, "--keep-going"))


@pytest.mark.parametrize("case", BAD)
def test_the_error_names_the_file_and_the_reason_of_each_replica(exhausted, case):
    said = exhausted.answer.stdout
    name, reason = NAMES[case], CASES[case][1]
    begin = said.index(f"error: {name}")
    lines = said[begin:].splitlines()
    replicas = next(file["replicas"] for file in exhausted.run.pinned()["files"] if file["name"] == name)
    assert len(replicas) == 3
    for line, replica in zip(lines[1:4], replicas, strict=True):
        assert replica["url"] in line
        assert re.search(reason, line.replace(replica["url"], ""))


@pytest.mark.parametrize("case", [case for case in BAD if case not in ("dead", "wrong size in the index")])
def test_every_replica_was_tried(exhausted, case):
    tried = [request.node for request in exhausted.archive.asked(NAMES[case])]
    assert set(tried) == set(NODES)
    times = 3 if "3 time" in CASES[case][1] else 1
    assert [tried.count(node) for node in NODES] == [times] * 3


@pytest.mark.parametrize("case", BAD)
def test_no_bad_file_comes_into_place(exhausted, case):
    place = exhausted.run.place(NAMES[case])
    if case == "damaged in place":
        # What is there is replaced only by something better.
        assert place.read_bytes() == DAMAGED
    else:
        assert not place.exists()


@pytest.mark.parametrize("case", GOOD)
def test_the_other_files_are_kept(exhausted, case):
    assert exhausted.run.is_whole(NAMES[case])


def test_the_run_fails_without_a_traceback_and_prepares_nothing(exhausted):
    assert exhausted.answer.returncode != 0
    assert "Traceback" not in exhausted.answer.stdout
    assert not (exhausted.run.folder / PREPARED).exists()


def test_when_the_archive_is_well_again_only_the_missing_files_are_fetched(exhausted):
    run, archive = exhausted.run, exhausted.archive
    archive.heal()
    # Two errors are the index's own: the check names them, and a person takes the index's new word.
    checked = run.resolve("--check")
    assert checked.returncode == 1, checked.stdout
    assert f"{NAMES['wrong size in the index']}: size" in checked.stdout
    replaced = run.resolve("--replace")
    assert replaced.returncode == 0, replaced.stdout
    pinned = (run.folder / MANIFEST).read_bytes()
    archive.heal()
    answer = run.run(PREPARED)
    assert answer.returncode == 0, answer.stdout
    assert all(run.is_whole(name) for name in NAMES.values())
    assert sorted(request.name for request in archive.asked()) == sorted(NAMES[case] for case in BAD)
    assert (run.folder / PREPARED).exists()
    assert not archive.asked_indices()
    assert (run.folder / MANIFEST).read_bytes() == pinned
    leftovers = [path.name for path in run.store.rglob("*") if path.is_file() and not path.name.endswith(".lock")]
    assert sorted(leftovers) == sorted(NAMES.values())


def test_the_manifest_agrees_with_the_files(exhausted):
    files = exhausted.run.pinned()["files"]
    assert {file["name"]: file["checksum"] for file in files} == {
        name: sha256(exhausted.archive.path(name)) for name in NAMES.values()
    }
