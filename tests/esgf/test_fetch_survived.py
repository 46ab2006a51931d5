"""Every fault that a replica can recover from, one a file, in one run: the bytes are the archive's and nothing is lost.

`asked` writes down the requests that a file takes: A, B and C are its replicas in the manifest's order, and + says that
the download went on from where it was.
"""

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from archive import NODES, Archive, find_dead_address
from small_archive import VERSION, Run, name_file, write_files

from sealiency.config.data import Region
from small_world import open_files

pytestmark = [pytest.mark.esgf, pytest.mark.workflow]

# What the client may hold back and lose when a connection breaks.
CHUNK = 1 << 16


@dataclass
class Case:
    asked: str
    """Requests; see above."""
    faults: tuple[dict, ...] = ()
    """What the replica that is asked first does, one after another."""
    before: Callable[[Run, str], None] | None = None
    """What has happened before."""
    resumed: bool = False
    """Whether no request may ask for what another has brought."""


def once(kind: str, times: int = 1, **options) -> dict:
    return {"kind": kind, "times": times, "node": "first", **options}


def always(kind: str) -> dict:
    return once(kind, times=99)


def die(run: Run, name: str) -> None:
    # The manifest lists replicas by the name of their node.
    dead = f"{find_dead_address()}/{name}|application/netcdf|HTTPServer"
    run.archive.state({"url": [dead]}, name=name, node=NODES[0])


def leave_part(begin: float, damage: bool = False, extra: int = 0) -> Callable[[Run, str], None]:
    def leave(run: Run, name: str) -> None:
        true = run.archive.path(name).read_bytes()
        part = true[: int(begin * len(true))]
        run.put(run.part(name), (part[:-9] + b"poisoned!" if damage else part) + b"x" * extra)

    return leave


def leave_file(damage: bool, root: str = "store") -> Callable[[Run, str], None]:
    def leave(run: Run, name: str) -> None:
        true = run.archive.path(name).read_bytes()
        place = run.place(name)
        if root == "mirror":
            place = run.folder / "mirror" / place.relative_to(run.store)
        run.put(place, true[:-9] + b"poisoned!" if damage else true)

    return leave


CASES = {
    "nothing": Case("A"),
    "dead": Case("B", before=die),
    "404": Case("A B", (always("404"),)),
    "503 twice": Case("A A A", (once("503", 2),)),
    "503 for ever": Case("A A A B", (always("503"),)),
    "503 and how long": Case("A A", (once("503", retry_after=0),)),
    "429": Case("A A", (once("429"),)),
    "redirected": Case("A A", (once("redirect"),)),
    "HTML": Case("A B", (always("html"),)),
    "HTML said to be NetCDF": Case("A B", (always("html_as_netcdf"),)),
    "cut": Case("A A+", (once("cut"),), resumed=True),
    "cut, length unknown": Case("A A+", (once("cut_unannounced"),), resumed=True),
    "cut at once, length unknown": Case("A A", (once("cut_unannounced", at=0),), resumed=True),
    # As many breaks as attempts, but each brings something new.
    "cut three times": Case("A A+ A+ A+", (once("cut", 3, at=0.25),), resumed=True),
    "length unknown": Case("A", (once("no_length"),), resumed=True),
    "reset": Case("A A+", (once("reset"),), resumed=True),
    "stalled": Case("A A", (once("stall"),)),
    "stalled midway": Case("A A+", (once("stall_midway"),), resumed=True),
    "wrong checksum": Case("A B", (always("corrupt"),)),
    "wrong checksum after a resume": Case("A A+ A", (once("cut"), once("corrupt", at=0.9))),
    "wrong checksum, always": Case("A A+ A B", (once("cut"), always("corrupt"))),
    "cut, then dead": Case("A A+ B+", (once("cut"), always("404")), resumed=True),
    "cut, range ignored": Case("A A+", (once("cut"), once("no_range"))),
    "cut, range refused": Case("A A+ A", (once("cut"), once("416"))),
    "cut, another range": Case("A A+ B+", (once("cut"), always("wrong_range"))),
    "wrong length": Case("A B", (always("wrong_size"),)),
    "part of before": Case("A+", before=leave_part(0.3)),
    "empty part": Case("A", before=leave_part(0)),
    "whole part": Case("", before=leave_part(1)),
    "poisoned part": Case("A+ A", before=leave_part(0.3, damage=True)),
    "poisoned part, range ignored": Case("A+", (once("no_range"),), before=leave_part(0.3, damage=True)),
    "poisoned whole part": Case("A", before=leave_part(1, damage=True)),
    "longer part": Case("A", before=leave_part(1, extra=1000)),
    "damaged in place": Case("A", before=leave_file(damage=True)),
    "damaged in place, first replica down": Case("A B", (always("404"),), before=leave_file(damage=True)),
    "good in place": Case("", before=leave_file(damage=False)),
    "good on a mirror": Case("", before=leave_file(damage=False, root="mirror")),
    "damaged on a mirror": Case("A", before=leave_file(damage=True, root="mirror")),
}
NAMES = {case: name_file(7 * number + 1, 7 * number + 7) for number, case in enumerate(CASES)}


@dataclass
class Survived:
    run: Run
    archive: Archive
    answer: CompletedProcess
    replicas: dict[str, list[str]]
    kept: dict[str, int]


@pytest.fixture(scope="module")
def survived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Survived]:
    """Return what came of one run over all cases, from the manifest to the prepared record."""
    folder = tmp_path_factory.mktemp("survived")
    write_files(folder / "root", files=len(CASES), years=7)
    with Archive(folder / "root") as archive:
        run = Run(folder / "work", archive, esgf={"mirrors": [str(folder / "nowhere"), str(folder / "work/mirror")]})
        die(run, NAMES["dead"])
        manifest = run.pin()
        archive.heal()
        # The manifest is all that a run needs.
        for index in ("globus", "solr"):
            archive.fault("503", index)
        for case, name in NAMES.items():
            if CASES[case].before and case != "dead":
                CASES[case].before(run, name)
            for fault in CASES[case].faults:
                archive.fault(**{**fault, "name": name})
        good = run.place(NAMES["good in place"])
        os.utime(good, ns=(10**18, 10**18))
        umask = os.umask(0o027)
        answer = run.run("results/small/prepare_record/prepared.nc")
        os.umask(umask)
        replicas = {file["name"]: [r["data_node"] for r in file["replicas"]] for file in manifest["files"]}
        yield Survived(run, archive, answer, replicas, {good.name: good.stat().st_mtime_ns})


def describe_requests(survived: Survived, name: str) -> str:
    letters = dict(zip(survived.replicas[name], "ABC", strict=True))
    return " ".join(letters[r.node] + "+" * bool(r.asked_range) for r in survived.archive.asked(name))


@pytest.mark.parametrize("case", CASES)
def test_a_file_survives(survived, case):
    run, name = survived.run, NAMES[case]
    assert describe_requests(survived, name) == CASES[case].asked
    if case == "good on a mirror":
        assert not run.place(name).exists()
    else:
        assert run.is_whole(name)


@pytest.mark.parametrize("case", [case for case in CASES if CASES[case].resumed])
def test_a_resumed_download_begins_where_the_last_broke_off(survived, case):
    arrived = 0
    for request in survived.archive.asked(NAMES[case]):
        if request.status in (200, 206):
            assert arrived - CHUNK < request.start <= arrived
            arrived = request.start + request.sent
    assert arrived == survived.archive.path(NAMES[case]).stat().st_size


def test_the_run_succeeds_without_any_index(survived):
    assert survived.answer.returncode == 0, survived.answer.stdout
    # The index was asked while the manifest was made, and that log is forgotten.
    assert not survived.archive.asked_indices()


def test_the_prepared_record_has_no_hole(survived, tmp_path):
    run = survived.run
    assert (run.results / "prepare_record" / "prepared.nc").exists()
    box = Region(**run.settings["data"]["region"])
    true = open_files([str(path) for path in sorted(survived.archive.root.rglob("*.nc"))], box, "tos")
    places = [run.place(name) for case, name in NAMES.items() if case != "good on a mirror"]
    mirrored = run.folder / "mirror" / run.place(NAMES["good on a mirror"]).relative_to(run.store)
    got = open_files([str(path) for path in [*places, mirrored]], box, "tos")
    assert got.sizes["time"] == 84 * len(CASES)
    assert got.drop_vars("path").equals(true.drop_vars("path"))


def test_a_good_file_in_place_is_not_touched(survived):
    assert list(survived.kept.values()) == [10**18]


def test_nothing_is_left_over(survived):
    assert not [path for path in survived.run.store.rglob("*") if path.name.endswith(".part")]
    mirrored = [path for path in (survived.run.folder / "mirror").rglob("*") if path.is_file()]
    assert sorted(path.name for path in mirrored) == sorted(
        NAMES[f"{kind} on a mirror"] for kind in ("good", "damaged")
    )


def test_the_mask_of_the_user_is_respected(survived):
    place = survived.run.place(NAMES["cut"])
    assert stat.S_IMODE(place.stat().st_mode) == 0o640


def test_files_lie_as_in_the_archive(survived):
    place = survived.run.place(NAMES["nothing"])
    inside = Path("CMIP6/CMIP/NCAR/CESM2/piControl/r1i1p1f1/Omon/tos/gr", VERSION, NAMES["nothing"])
    assert place.relative_to(survived.run.folder / "archive") == inside


def test_damage_that_was_mended_is_told(survived):
    for case in ("damaged in place", "damaged on a mirror", "wrong checksum", "wrong checksum after a resume"):
        log = survived.run.results / "logs" / "fetch_file" / f"{NAMES[case]}.log"
        assert "SHA256" in log.read_text()


def test_a_rerun_has_nothing_to_do(survived):
    survived.archive.log.clear()
    answer = survived.run.run("results/small/prepare_record/prepared.nc")
    assert answer.returncode == 0, answer.stdout
    assert "Nothing to be done" in answer.stdout
    assert not survived.archive.log
