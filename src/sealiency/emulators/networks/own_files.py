"""Which files an own network rests on: its code and its weights; Snakemake reads this at every start, so without PyTorch."""

import hashlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import PathFinder
from pathlib import Path

from sealiency.config.networks import Network, OwnNetwork
from sealiency.errors import SealiencyError
from sealiency.naming import expand_path


@contextmanager
def look_in_working_directory() -> Iterator[None]:
    """Let Python find modules of the working directory, as it does for `python -m`."""
    sys.path.insert(0, str(Path.cwd()))
    try:
        yield
    finally:
        sys.path.remove(str(Path.cwd()))


def list_code(build: str) -> list[Path]:
    """Return the Python files of the user's package that hold a network's code; nothing of it is executed.

    Parameters
    ----------
    build
        Module and function, as `network.build`.

    Raises
    ------
    SealiencyError
        If there is no such module.
    """
    first, *others = build.split(":")[0].split(".")
    with look_in_working_directory():
        top = PathFinder.find_spec(first)
        spec = top
        for at, _name in enumerate(others):
            places = spec.submodule_search_locations if spec else None
            spec = PathFinder.find_spec(".".join([first, *others[: at + 1]]), places) if places else None
    if top is None or spec is None:
        raise SealiencyError(
            f"network.build = {build!r}: no module {build.split(':')[0]!r} in {Path.cwd()} or among the installed packages; "
            "start Snakemake where the code lies, or install it"
        )
    if places := top.submodule_search_locations:
        # Of a package all files, because modules import each other.
        return sorted(path for place in places for path in Path(place).rglob("*.py"))
    return [Path(str(top.origin))]


def hash_code_of(network: Network) -> str | None:
    """Return the SHA-256 of an own network's code, None for the project's networks."""
    if not isinstance(network, OwnNetwork):
        return None
    digest = hashlib.sha256()
    for path in list_code(network.build):
        digest.update(b"\0" + path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def hash_weights_of(network: Network) -> str | None:
    """Return the SHA-256 of the file of an own network's weights, None where there is none.

    Raises
    ------
    SealiencyError
        If the file cannot be read.
    """
    if not isinstance(network, OwnNetwork) or not isinstance(network.weights, str):
        return None
    try:
        with open(expand_path(network.weights), "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SealiencyError(
            f"network.weights = {network.weights!r}: {error.strerror}; name a file that is there"
        ) from None
