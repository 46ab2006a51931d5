import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import psutil
import pytest

from sealiency.data import cluster
from sealiency.data.cluster import compute_in_order, open_cluster
from sealiency.errors import SealiencyError


def test_results_come_in_order_and_never_too_many_at_once():
    lock, started, handed, waiting = threading.Lock(), [], [], []

    def task(number):
        with lock:
            started.append(number)
        return number

    def tasks():
        for number in range(50):
            waiting.append(len(waiting) - len(handed))
            yield partial(task, number)

    with ThreadPoolExecutor(4) as executor:
        for result in compute_in_order(executor, tasks(), ahead=5):
            assert len(started) - len(handed) <= 5
            handed.append(result)
    assert handed == list(range(50))
    assert max(waiting) == 4


def test_error_of_a_task_is_raised_and_the_rest_is_left():
    done = []

    def task(number):
        if number == 3:
            raise OSError("three")
        done.append(number)

    with ThreadPoolExecutor(1) as executor:
        results = compute_in_order(executor, (partial(task, number) for number in range(100)), ahead=4)
        with pytest.raises(OSError, match="three"):
            list(results)
    assert len(done) <= 7


def test_cluster_ends_with_its_block_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(RuntimeError, match="in the block"), open_cluster(None, 2) as client:  # noqa: PT012
        pids = list(client.run(os.getpid).values())
        assert len(pids) == 2
        assert client.scheduler.address.startswith("tcp://127.0.0.1")
        raise RuntimeError("in the block")
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nowhere://x"])
def test_address_where_nobody_answers_is_named(monkeypatch, address):
    monkeypatch.setattr(cluster, "SECONDS_TO_ANSWER", 1)
    with (
        pytest.raises(SealiencyError, match=rf"run.dask_scheduler = {address}: .* correct the address"),
        open_cluster(address, 2),
    ):
        pass


def test_workers_that_keep_dying_end_the_work():
    with (
        pytest.raises(SealiencyError, match=r"workers died again and again .* more memory or fewer threads"),
        open_cluster(None, 1) as client,
    ):
        list(compute_in_order(client.get_executor(pure=False), [partial(os._exit, 1)], ahead=2))


def test_scheduler_that_goes_away_ends_the_work():
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    command += ["--no-dashboard", "--no-show"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        lines = iter(process.stderr.readline, "")
        address = next(line for line in lines if "Scheduler at:" in line).split()[-1]
        with (  # noqa: PT012
            pytest.raises(SealiencyError, match=rf"run.dask_scheduler = {address}: the connection was lost"),
            open_cluster(address, 2) as client,
        ):
            # No worker: the work waits for one until the scheduler is gone.
            threading.Timer(1, process.kill).start()
            list(compute_in_order(client.get_executor(pure=False), [os.getpid], ahead=2))


def test_script_with_a_main_guard_works_and_is_quiet(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import os\n"
        "from sealiency.data.cluster import compute_in_order, open_cluster\n"
        "if __name__ == '__main__':\n"
        "    with open_cluster(None, 2) as client:\n"
        "        pids = set(compute_in_order(client.get_executor(pure=False), [os.getpid] * 8, ahead=8))\n"
        "    print(os.getpid() not in pids)\n"
    )
    answer = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (answer.stdout, answer.stderr, answer.returncode) == ("True\n", "", 0)
    assert list(tmp_path.iterdir()) == [script]
