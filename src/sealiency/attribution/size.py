"""How large a network is, read off its graph: its weights, its work, what it holds.

Snakemake asks at every start, so answers are kept in files, and PyTorch is imported only where there is none yet.
"""

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from sealiency.config.networks import BuiltNetwork, Network, OwnNetwork
from sealiency.emulators.networks.own_files import hash_code_of
from sealiency.errors import SealiencyError
from sealiency.provenance import hash_code, hash_settings

# No machine trains more: the largest nodes have a few TB.
MOST_PARAMETERS = 1e9


@dataclass(frozen=True)
class NetworkSize:
    """What a network takes; numbers are those of one sample."""

    parameters: int
    """Trained numbers."""
    multiplications: int
    """Multiplications with additions of one forecast."""
    values: int
    """Numbers that go into and come out of the operations that multiply."""
    activations: int
    """Numbers that go into activations."""
    functions: tuple[str, ...]
    """Names of its activations."""


def find_size(network: Network, history: int, grid: tuple[int, int]) -> NetworkSize:
    """Return how large a network is, from a file if it was asked before.

    Parameters
    ----------
    network
        The network's settings.
    history
        Months of input.
    grid
        Rows and columns of the region.

    Raises
    ------
    SealiencyError
        If it cannot be built or explained, or has more parameters than can be trained.
    """
    # Weights are no matter of size.
    plain = network.model_dump(mode="json", exclude={"weights"})
    return _find_size(
        network, hash_settings([plain, hash_code_of(network), history, grid, _hash_own_code()]), history, grid
    )


@cache
def _hash_own_code() -> str:
    return hash_code(__file__)


@cache
def _find_size(network: Network, key: str, history: int, grid: tuple[int, int]) -> NetworkSize:
    # Jobs on a cluster share the working directory for certain, a home folder perhaps; runs on a laptop the home folder.
    folders = [Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "sealiency" / "sizes"]
    if Path(".snakemake").is_dir():
        folders.insert(0, Path(".snakemake/sealiency/sizes"))
    for folder in folders:
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            found = json.loads((folder / f"{key}.json").read_text(encoding="utf-8"))
            return NetworkSize(**(found | {"functions": tuple(found["functions"])}))
    size = measure_size(network, history, grid)
    # Here as well, because it takes a second to import.
    from sealiency.files import write_whole

    for folder in folders:
        # A place that cannot be written to costs time, no more.
        with contextlib.suppress(OSError, SealiencyError):
            folder.mkdir(parents=True, exist_ok=True)
            with write_whole(folder / f"{key}.json") as partial:
                partial.write_text(json.dumps(asdict(size)), encoding="utf-8")
    return size


def measure_size(network: Network, history: int, grid: tuple[int, int]) -> NetworkSize:
    """Build a network, trace it, and return how large it is; see `find_size`."""
    # Here, because it takes seconds to import.
    import torch

    from sealiency.attribution.graph.operations.pointwise import Activation
    from sealiency.attribution.graph.tracing import trace
    from sealiency.emulators.networks.registry import build_network

    if not isinstance(network, OwnNetwork):
        # Without memory for the weights, of which there may be too many.
        with torch.device("meta"):
            _refuse_too_large(network, sum(p.numel() for p in build_network(network, history, grid).parameters()))
    with torch.random.fork_rng(devices=[]):
        built = build_network(network, history, grid).eval()
    parameters = sum(values.numel() for values in built.parameters())
    _refuse_too_large(network, parameters)
    graph = trace(built, history, grid)
    multiplications = values = activations = 0
    functions = set()
    for node in graph.nodes.values():
        operation = node.operation
        size_in = sum(shape.size for shape in operation.inputs)
        multiplications += operation.multiplications
        if operation.multiplications:
            values += size_in + operation.output.size
        if isinstance(operation, Activation):
            activations += size_in
            functions.add(operation.name)
    return NetworkSize(parameters, multiplications, values, activations, tuple(sorted(functions)))


def _refuse_too_large(network: Network, parameters: int) -> None:
    if parameters > MOST_PARAMETERS:
        plain = network.model_dump(mode="json", exclude={*BuiltNetwork.model_fields, "build", "weights"})
        raise SealiencyError(
            f"network: {parameters:.3g} parameters, more than the {MOST_PARAMETERS:.0e} that can be trained; make it smaller: "
            + ", ".join(f"{key} = {value}" for key, value in plain.items())
        )
