"""Work spread over the processes of a Dask cluster, handed back in order and without piling up."""

import logging
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Executor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, TypeVar

from sealiency.errors import SealiencyError

if TYPE_CHECKING:
    from distributed import Client

LOGGER = logging.getLogger(__name__)
SECONDS_TO_ANSWER = 10
# By default workers give back every freed byte and profile what they run: a third of the time of reading.
WITHOUT_DELAY = {
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None,
    "distributed.worker.profile.enabled": False,
}

T = TypeVar("T")


@contextmanager
def open_cluster(address: str | None, workers: int) -> Iterator["Client"]:
    """Connect to a Dask cluster, or start one on this machine that ends with the block.

    Parameters
    ----------
    address
        Address of a scheduler that is already there, such as tcp://host:8786, or None to start a cluster.
    workers
        Processes to start: HDF5 reads one file at a time within a process. An existing cluster has its own.

    Raises
    ------
    SealiencyError
        If no scheduler answers at the address, a worker keeps dying or the cluster is lost.
    """
    # Half a second that small records need not wait.
    import dask
    from distributed import Client, KilledWorker, LocalCluster

    place = f"run.dask_scheduler = {address}" if address else "the Dask cluster of this job"
    with ExitStack() as stack:
        if address is None:
            scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="sealiency-dask-"))
            with dask.config.set(WITHOUT_DELAY | {"temporary-directory": scratch}):
                cluster = LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    host="127.0.0.1",
                    dashboard_address=None,
                    # Even without a dashboard it listens, and by default on a port that may be taken.
                    scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
                    # The blocks in flight bound the memory; a limit would only make workers spill to disk.
                    memory_limit=None,
                    silence_logs=logging.CRITICAL,
                )
            client = Client(stack.enter_context(cluster), set_as_default=False)
        else:
            try:
                client = Client(address, timeout=SECONDS_TO_ANSWER, set_as_default=False)
            except (OSError, ValueError) as error:
                raise SealiencyError(
                    f"{place}: no Dask scheduler answers there ({error}); correct the address, start the scheduler, or "
                    "leave it out to start one for the job"
                ) from None
            if not client.ncores():
                LOGGER.warning("%s has no worker yet; waiting for one", place)
        try:
            yield stack.enter_context(client)
        except KilledWorker as error:
            raise SealiencyError(
                f"{place}: workers died again and again ({error}); give the job more memory or fewer threads"
            ) from None
        except CancelledError:
            raise SealiencyError(f"{place}: the connection was lost; see the scheduler's log and run again") from None


def compute_in_order(executor: Executor, tasks: Iterable[Callable[[], T]], ahead: int) -> Iterator[T]:
    """Yield the result of each task in order, with no more than `ahead` of them started and not yet handed over."""
    waiting: deque = deque()
    try:
        for task in tasks:
            waiting.append(executor.submit(task))
            if len(waiting) == ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
