"""Where a result comes from: versions, settings, inputs and the code that made it."""

import ast
import hashlib
import json
import os
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import sealiency
from sealiency.conventions import CONVENTIONS

PACKAGE = Path(sealiency.__file__).parent


def hash_settings(settings: Any) -> str:
    """Return the SHA-256 of settings written as canonical JSON."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()


def hash_code(script: str | Path) -> str:
    """Return the SHA-256 of a script and of every module of the library that it imports, directly or not.

    A rule that has it among its parameters runs again when any of that code changes, and not otherwise.

    Parameters
    ----------
    script
        Path of a Python file that imports from the library.
    """
    found = {Path(script)}
    left = [Path(script)]
    while left:
        for module in _imported_modules(left.pop()):
            if module not in found:
                found.add(module)
                left.append(module)
    # Known by their place in the library, so that the hash is the same wherever the library lies. The version string
    # alone must not rerun anything: it is recorded, not depended on.
    modules = {path.relative_to(PACKAGE).as_posix(): path for path in found - {Path(script), PACKAGE / "__init__.py"}}
    digest = hashlib.sha256(Path(script).read_bytes())
    for place in sorted(modules):
        digest.update(b"\0" + place.encode() + b"\0" + modules[place].read_bytes())
    return digest.hexdigest()


def _imported_modules(path: Path) -> list[Path]:
    modules: list[Path] = []
    if path == PACKAGE / "__init__.py":
        # It imports the notebook's functions only when they are asked for, and no stage asks.
        return modules
    for name in _imported_names(path):
        parts = name.split(".")
        if parts[0] == "sealiency":
            modules += [file for n in range(1, len(parts) + 1) if (file := _find_module(parts[1:n])) is not None]
    return modules


@cache
def _imported_names(path: Path) -> tuple[str, ...]:
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(names)


def _find_module(parts: list[str]) -> Path | None:
    base = PACKAGE.joinpath(*parts)
    for candidate in (base / "__init__.py", base.with_suffix(".py")):
        if candidate.is_file():
            return candidate
    return None


@cache
def find_commit() -> str:
    """Return the commit of the checkout the library runs from, "-dirty" if changed, or "unknown" outside one."""
    command = ["git", "-C", str(PACKAGE), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return answer.stdout.strip()


def name_processor() -> str:
    """Return the name of this machine's processor and the number of its cores."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def describe_provenance(
    settings: Any, inputs: dict[str, str], **more: str | int | float
) -> dict[str, str | int | float]:
    """Return flat attributes for an output file.

    Parameters
    ----------
    settings
        The settings that the file depends on.
    inputs
        SHA-256 of each input, by name.
    more
        Further attributes, such as the seed.
    """
    return {
        "sealiency_version": sealiency.__version__,
        "sealiency_commit": find_commit(),
        "settings": json.dumps(settings, sort_keys=True, default=str),
        "settings_sha256": hash_settings(settings),
        "inputs_sha256": json.dumps(inputs, sort_keys=True),
        **more,
    }


def describe_file(
    stage: str, settings: Any, inputs: dict[str, str], **more: str | int | float
) -> dict[str, str | int | float]:
    """Return the global attributes that every NetCDF file of the pipeline has: conventions, history and provenance.

    Parameters
    ----------
    stage
        Name of the stage that makes the file.
    settings, inputs, more
        See `describe_provenance`.
    """
    return {
        "Conventions": CONVENTIONS,
        # Without the time of day that CF recommends: the same settings, inputs and code give the same bytes.
        "history": f"sealiency {sealiency.__version__} (commit {find_commit()}): {stage}",
        **describe_provenance(settings, inputs, **more),
    }
