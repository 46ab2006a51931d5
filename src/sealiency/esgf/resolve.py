"""From the facets of a data set to its pinned manifest, and what has changed in the index since."""

import logging
import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from sealiency.config.esgf import Esgf
from sealiency.errors import SealiencyError
from sealiency.esgf.manifest import ArchivedFile, Manifest, Replica, describe_problem, name_manifest, read_manifest
from sealiency.esgf.search import Answers, Record, ask_indices
from sealiency.files import write_whole

LOGGER = logging.getLogger(__name__)
T = TypeVar("T")


def resolve_dataset(settings: Esgf, replace: bool = False) -> Manifest:
    """Ask the indices for the data set and write its manifest.

    Parameters
    ----------
    settings
        The data set, its version and the indices.
    replace
        Whether a manifest that is already there is replaced.

    Raises
    ------
    SealiencyError
        If the manifest is there already, no index answers, the data set or version is unknown, replicas disagree, or
        files are missing or overlap.
    """
    path = name_manifest(settings)
    _check_absent(path, replace)
    manifest = build_manifest(ask_indices(settings), settings)
    # Somebody may have put one into place while the indices were asked.
    _check_absent(path, replace)
    try:
        with write_whole(path) as partial:
            partial.write_text(manifest.to_json(), encoding="utf-8")
    except OSError as error:
        raise SealiencyError(
            f"{path}: cannot be written ({error.strerror}); name another file in data.esgf.manifest"
        ) from None
    LOGGER.info("%s: written", path)
    return manifest


def _check_absent(path: Path, replace: bool) -> None:
    if path.exists() and not replace:
        raise SealiencyError(
            f"{path}: is there already and stays as it is; compare it with the index by --check, or replace it by "
            "--replace"
        )


def check_manifest(settings: Esgf) -> list[str]:
    """Return what the index says now that the pinned manifest does not, in words; nothing is changed.

    Raises
    ------
    SealiencyError
        If the manifest cannot be read or no index answers.
    """
    pinned = read_manifest(settings)
    answers = ask_indices(settings)
    retracted = _find_retracted(answers)
    versions = {record.version for record in answers.datasets}
    changes = [
        f"new version {version}" + (" (retracted)" if version in retracted else "")
        for version in sorted(versions, key=_order)
        if _order(version) > _order(pinned.version)
    ]
    # What a silent index knows may be there still.
    silent = ", ".join(answers.silent)
    if silent:
        LOGGER.warning("%s did not answer, so what may be there still is not told as missing", silent)
    if pinned.version not in versions:
        unknown = f"{pinned.version} is unknown to those that answered, and {silent} did not"
        return [*changes, unknown if silent else f"{pinned.version} is no longer in the index"]
    if pinned.version in retracted and not pinned.retracted:
        changes.append(f"{pinned.version} is retracted, says {', '.join(sorted(retracted[pinned.version]))}")
    try:
        now = _merge(answers, pinned.version)
    except SealiencyError as error:
        return [*changes, str(error)]
    before = {file.name: file for file in pinned.files}
    after = {file.name: file for file in now}
    for name in sorted(before.keys() | after.keys()):
        if name not in after:
            changes += [] if silent else [f"{name} is no longer in the index"]
        elif name not in before:
            changes.append(f"{name} is new in the index")
        else:
            for key in ("size", "checksum"):
                old, new = getattr(before[name], key), getattr(after[name], key)
                if old != new:
                    changes.append(f"{name}: {key} is now {new}, pinned {old}")
    return changes


def build_manifest(answers: Answers, settings: Esgf) -> Manifest:
    """Choose the version and merge its replicas into a manifest; see `resolve_dataset` for the errors."""
    retracted = _find_retracted(answers)
    version = _choose_version(answers, set(retracted), settings)
    files = _merge(answers, version)
    counts = [_read_number(r.first("number_of_files")) or 0 for r in answers.datasets if r.version == version]
    if len(files) < max(counts, default=0):
        raise SealiencyError(
            f"{settings.facets.dataset} {version}: the index counts {max(counts)} files and lists {len(files)}; try "
            "again later, or name another version in data.esgf.version"
        )
    try:
        return Manifest(
            dataset=settings.facets.dataset,
            version=version,
            retracted=version in retracted,
            resolved=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            indices=answers.indices,
            files=files,
        )
    except ValidationError as error:
        raise SealiencyError(
            f"{settings.facets.dataset} {version}: {describe_problem(error)} in the index; try again later, or name "
            "another version in data.esgf.version"
        ) from None


def _find_retracted(answers: Answers) -> dict[str, set[str]]:
    """Return the nodes that say so, by version: a retraction spreads slowly, so one word is enough."""
    nodes: dict[str, set[str]] = defaultdict(set)
    for record in answers.datasets + answers.files:
        if record.retracted:
            nodes[record.version].add(record.data_node)
    return dict(nodes)


def _choose_version(answers: Answers, retracted: set[str], settings: Esgf) -> str:
    dataset, wanted = settings.facets.dataset, settings.version
    versions = sorted({record.version for record in answers.datasets}, key=_order)
    if not versions:
        raise SealiencyError(f"{dataset}: unknown to the index; correct data.esgf.facets")
    known = ", ".join(f"{v} (retracted)" if v in retracted else v for v in versions)
    if wanted != "latest":
        if wanted not in versions:
            raise SealiencyError(f"data.esgf.version = {wanted}: {dataset} has {known}; name one of them")
        if wanted in retracted:
            LOGGER.warning("%s %s is retracted and taken because it is named", dataset, wanted)
        return wanted
    standing = [version for version in versions if version not in retracted]
    if not standing:
        raise SealiencyError(f"{dataset}: every version is retracted ({known}); name one in data.esgf.version")
    for address in answers.silent:
        LOGGER.warning("%s did not answer: a version that it alone knows is passed over", address)
    LOGGER.info("%s: taking %s of %s", dataset, standing[-1], known)
    return standing[-1]


def _merge(answers: Answers, version: str) -> list[ArchivedFile]:
    by_name: dict[str, list[Record]] = defaultdict(list)
    for record in answers.files:
        name = str(record.first("title"))
        # Other records of a data set, such as aggregations, are no files.
        if record.version == version and name.endswith(".nc"):
            by_name[name].append(record)
    if not by_name:
        raise SealiencyError(f"version {version}: the index lists no file; name another in data.esgf.version")
    try:
        files = [_merge_replicas(name, records) for name, records in by_name.items()]
    except ValidationError as error:
        raise SealiencyError(
            f"version {version}: a file of the index is unusable ({describe_problem(error)})"
        ) from None
    return sorted(files, key=lambda file: (file.months.start, file.name))


def _merge_replicas(name: str, records: list[Record]) -> ArchivedFile:
    checksums = [(r.data_node, checksum) for r in records if (checksum := _read_checksum(r))]
    sizes = [(r.data_node, size) for r in records if (size := _read_number(r.first("size")))]
    for what, values in (("SHA256 checksum", checksums), ("size", sizes)):
        if not values:
            raise SealiencyError(
                f"{name}: the index gives no {what}, so a download could not be verified; name another version in "
                "data.esgf.version"
            )
    replicas = {(r.data_node, url) for r in records for url in _find_addresses(r)}
    if not replicas:
        raise SealiencyError(f"{name}: no node serves it by HTTP; name another version in data.esgf.version")
    return ArchivedFile(
        name=name,
        size=_agree(name, "size", sizes),
        checksum=_agree(name, "checksum", checksums),
        tracking_id=next((str(r.first("tracking_id")) for r in records if r.first("tracking_id")), None),
        replicas=[Replica(data_node=node, url=url) for node, url in sorted(replicas)],
    )


def _agree(name: str, what: str, values: list[tuple[str, T]]) -> T:
    """Return the value that all nodes give."""
    if len({value for _, value in values}) > 1:
        said = ", ".join(sorted({f"{node} says {value}" for node, value in values}))
        raise SealiencyError(
            f"{name}: its replicas disagree in {what}: {said}; name another version in data.esgf.version, or write the "
            "right one into a manifest of your own after asking the data's publisher"
        )
    return values[0][1]


def _read_checksum(record: Record) -> str | None:
    """Return the SHA-256 that a record gives, if it does: CMIP6 asks for that kind."""
    checksum = str(record.first("checksum")).lower()
    known = str(record.first("checksum_type")).upper().replace("-", "") == "SHA256"
    return checksum if known and re.fullmatch("[0-9a-f]{64}", checksum) else None


def _read_number(value: Any) -> int | None:
    try:
        return int(float(value))
    except (TypeError, ValueError):
        return None


def _find_addresses(record: Record) -> Iterator[str]:
    # "URL|application/netcdf|HTTPServer": the service stands last.
    entries = record.content.get("url") or []
    for entry in [entries] if isinstance(entries, str) else entries:
        address, *more = str(entry).split("|")
        if more and more[-1].lower() == "httpserver" and re.match("https?://[^/]+/", address):
            yield address


def _order(version: str) -> int:
    return int(version.removeprefix("v"))
