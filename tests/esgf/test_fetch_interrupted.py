"""A killed run goes on where it was, two runs share one folder, and a full disk is told."""

import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable

import pytest
from small_archive import Run, name_file

pytestmark = [pytest.mark.esgf, pytest.mark.workflow]

FIRST, MIDDLE, LAST = (name_file(first, first + 9) for first in (1, 11, 21))
CHUNK = 1 << 16


def start(run: Run, **options) -> subprocess.Popen:
    said = open(run.folder / "said.txt", "w")  # noqa: SIM115  the process writes it
    return subprocess.Popen(
        run.command("fetch_dataset"),
        env=run.environment,
        stdout=said,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        **options,
    )


def wait_for(condition: Callable[[], bool], process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, "the run ended too early"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_killed_run_goes_on_where_it_was(run, archive):
    slow = archive.fault("slow", MIDDLE, rate=150e3)
    process = start(run)
    part = run.part(MIDDLE)
    wait_for(lambda: part.exists() and part.stat().st_size >= 2 * CHUNK, process)
    wait_for(lambda: run.is_whole(FIRST) and run.is_whole(LAST), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    arrived = part.stat().st_size
    assert not run.place(MIDDLE).exists()
    archive.faults.remove(slow)
    assert run.run("--unlock").returncode == 0
    answer = run.fetch()
    assert answer.returncode == 0, answer.stdout
    killed, resumed = archive.asked(MIDDLE)
    assert killed.asked_range is None
    assert resumed.asked_range == f"bytes={arrived}-"
    assert resumed.sent == archive.path(MIDDLE).stat().st_size - arrived
    assert [len(archive.asked(name)) for name in (FIRST, LAST)] == [1, 1]
    assert all(run.is_whole(name) for name in (FIRST, MIDDLE, LAST))


def test_two_runs_share_one_folder(archive, tmp_path):
    archive.fault("slow", rate=300e3)
    runs = [Run(tmp_path / name, archive, esgf={"folder": str(tmp_path / "shared")}) for name in ("one", "other")]
    processes = [start(run) for run in runs]
    statuses = [process.wait(timeout=120) for process in processes]
    said = [(run.folder / "said.txt").read_text() for run in runs]
    assert statuses == [0, 0], said
    for name in (FIRST, MIDDLE, LAST):
        assert runs[0].is_whole(name)
        (request,) = archive.asked(name)
        assert request.sent == archive.path(name).stat().st_size
    # They did meet: one waited for the other.
    assert any("another run is fetching it" in text for text in said)


# --- The disk is full ---


def can_mount() -> bool:
    command = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"]
    return shutil.which("unshare") is not None and subprocess.run(command, capture_output=True).returncode == 0


def test_a_full_disk_is_told_and_what_arrived_is_kept(archive, tmp_path):
    if not can_mount():
        pytest.skip("no right to mount a small file system; the limit on the size of a file is tested in its place")
    # Both have room when they begin, and not when they end.
    archive.fault("slow", rate=250e3)
    run = Run(tmp_path / "work", archive, last_month="0020-12")
    run.store.mkdir()
    script = f"mount -t tmpfs -o size=700k none {run.store} && " + (
        f'{{ "$@"; status=$?; find {run.store} -type f -printf "%s %f\\n" > {run.folder}/kept.txt; exit $status; }}'
    )
    answer = subprocess.run(
        ["unshare", "-rm", "bash", "-c", script, "-", *run.command("fetch_dataset", "--keep-going")],
        env=run.environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert answer.returncode != 0
    kept = {
        name: int(size) for size, name in (line.split() for line in (run.folder / "kept.txt").read_text().splitlines())
    }
    assert "Traceback" not in answer.stdout
    for name in (FIRST, MIDDLE):
        if name not in kept:
            assert f"{run.place(name).parent.relative_to(run.folder)}: no room for {name}" in answer.stdout
            assert kept[f".{name}.part"] >= CHUNK
    assert not {FIRST, MIDDLE} <= kept.keys()


def test_a_file_that_may_not_grow_is_told_and_what_arrived_is_kept(archive, tmp_path):
    run = Run(tmp_path / "work", archive, last_month="0010-12")
    most = archive.path(FIRST).stat().st_size - CHUNK
    process = start(run, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)))
    assert process.wait(timeout=60) != 0
    said = (run.folder / "said.txt").read_text()
    assert "Traceback" not in said
    assert f"{run.place(FIRST).parent.relative_to(run.folder)}: no room for {FIRST}" in said
    arrived = run.part(FIRST).stat().st_size
    assert most - CHUNK <= arrived <= most
    answer = run.fetch()
    assert answer.returncode == 0, answer.stdout
    assert [request.start for request in archive.asked(FIRST)] == [0, arrived]
    assert run.is_whole(FIRST)


def test_a_folder_that_cannot_be_made_is_told(archive, tmp_path):
    (tmp_path / "file").write_text("")
    run = Run(tmp_path / "work", archive, last_month="0010-12", esgf={"folder": str(tmp_path / "file" / "archive")})
    answer = run.fetch()
    assert answer.returncode != 0
    assert str(tmp_path / "file") in answer.stdout
    assert "Traceback" not in answer.stdout
    assert not archive.asked()
