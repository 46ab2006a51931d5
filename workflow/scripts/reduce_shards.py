"""Reduce the shards of one emulator to mean attributions; run under mpiexec or srun."""

import argparse
import json
import time
from pathlib import Path

from mpi4py import MPI

from sealiency.attribution.reduction import reduce_attributions
from sealiency.logs import log_job


def main():
    """Reduce, and end every rank if one fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", type=int, required=True)
    parser.add_argument("--prepared", type=Path, required=True)
    parser.add_argument("--emulator", type=Path, required=True)
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument("--target", type=Path, required=True)
    parser.add_argument("--log", type=Path, required=True)
    a = parser.parse_args()
    world = MPI.COMM_WORLD
    try:
        with log_job(a.log if world.rank == 0 else a.log.with_suffix(f".rank{world.rank}.log")):
            plan = json.loads(a.plan.read_text(encoding="utf-8"))
            blocks = plan.pop("blocks")
            reduce_attributions(a.prepared, a.emulator, a.shards, blocks, plan, a.target, a.ranks, world)
    except SystemExit:
        # mpiexec drops what it has not passed on yet when it ends the ranks.
        time.sleep(1)
        # The others would wait for this rank for ever.
        world.Abort(1)


if __name__ == "__main__":
    main()
