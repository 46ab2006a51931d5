"""The pinned manifest: one version of a data set, its files, their checksums and where copies lie."""

import itertools
import json
import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from sealiency.config.base import Section
from sealiency.config.esgf import Address, Esgf
from sealiency.errors import SealiencyError
from sealiency.naming import expand_path

_MONTHS = re.compile(r"_(\d{4})(0[1-9]|1[0-2])-(\d{4})(0[1-9]|1[0-2])\.nc$")


class Replica(Section):
    """A copy of a file."""

    data_node: str
    """Node that serves it."""
    url: Address
    """Address, by HTTP."""


class ArchivedFile(Section):
    """A file of the data set."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """Name, which ends with its first and last month."""
    size: Annotated[int, Field(gt=0)]
    """Size, bytes."""
    checksum_type: Literal["SHA256"] = "SHA256"
    """Kind of checksum: CMIP6's own."""
    checksum: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Checksum, hexadecimal."""
    tracking_id: str | None
    """Persistent identifier."""
    replicas: Annotated[list[Replica], Field(min_length=1)]
    """Copies, in the order in which they are tried."""

    @property
    def months(self) -> range:
        """Months in the file by its name, as 12 * year + month - 1; none if the name tells none."""
        match = _MONTHS.search(self.name)
        if match is None:
            return range(0)
        first_year, first, last_year, last = map(int, match.groups())
        return range(first_year * 12 + first - 1, last_year * 12 + last)

    @model_validator(mode="after")
    def _check_name(self) -> Self:
        if not self.months:
            raise ValueError(f"{self.name} does not end with its first and last month, as in _000101-009912.nc")
        return self


class Manifest(Section):
    """One version of a data set, as the index described it on one day."""

    dataset: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+$")]
    """Identifier, without version."""
    version: Annotated[str, Field(pattern=r"^v\d+$")]
    """Version, such as v20190320."""
    retracted: bool
    """Whether its publisher had withdrawn this version."""
    resolved: str
    """When the index was asked, UTC."""
    indices: dict[str, str]
    """What each index answered, by its address."""
    files: Annotated[list[ArchivedFile], Field(min_length=1)]
    """Files, in order of time."""

    @model_validator(mode="after")
    def _check_months(self) -> Self:
        for before, after in itertools.pairwise(self.files):
            gap = after.months.start - before.months.stop
            if gap:
                found = f"{gap} month(s) are missing between" if gap > 0 else f"{-gap} month(s) stand in both of"
                raise ValueError(f"{found} {before.name} and {after.name}")
        return self

    def locate(self, root: str | Path, file: ArchivedFile) -> Path:
        """Return where a file of this data set lies below a root of the archive."""
        return Path(root, *self.dataset.split("."), self.version, file.name)

    def find(self, name: str, checksum: str) -> ArchivedFile:
        """Return a file by name.

        Raises
        ------
        SealiencyError
            If the manifest does not hold it with this checksum, because it was exchanged meanwhile.
        """
        for file in self.files:
            if (file.name, file.checksum) == (name, checksum):
                return file
        raise SealiencyError(f"{name}: the manifest of {self.dataset} was exchanged during the run; run again")

    def select(self, first_month: str | None, last_month: str | None) -> list[ArchivedFile]:
        """Return the files that hold the months from first to last (YYYY-MM), or all.

        Raises
        ------
        SealiencyError
            If the data set does not reach that far.
        """
        first, last = self.files[0].months[0], self.files[-1].months[-1]
        bounds = []
        for key, month, whole in (("first_month", first_month, first), ("last_month", last_month, last)):
            number = whole if month is None else int(month[:4]) * 12 + int(month[5:]) - 1
            if not first <= number <= last:
                raise SealiencyError(
                    f"data.{key} = {month}: {self.dataset} {self.version} holds {_name_month(first)}.."
                    f"{_name_month(last)}; choose a month inside, or another version in data.esgf.version"
                )
            bounds.append(number)
        return [file for file in self.files if file.months[0] <= bounds[1] and file.months[-1] >= bounds[0]]

    def describe(self) -> str:
        """Return version, length, size and data nodes, in words."""
        nodes = sorted({replica.data_node for file in self.files for replica in file.replicas})
        silent = [f"; {index} {said}" for index, said in self.indices.items() if "records" not in said]
        return (
            f"{self.dataset} {self.version}: {len(self.files)} files, {_name_month(self.files[0].months[0])}.."
            f"{_name_month(self.files[-1].months[-1])}, {sum(file.size for file in self.files) / 1e9:.3g} GB, at "
            f"{', '.join(nodes)}{''.join(silent)}"
        )

    def to_json(self) -> str:
        """Return the manifest as JSON that reads well in a diff."""
        return json.dumps(self.model_dump(mode="json"), indent=1) + "\n"


def name_manifest(settings: Esgf) -> Path:
    """Return the path of the data set's manifest."""
    return expand_path(settings.manifest or f"config/manifests/{settings.facets.dataset}.json")


def read_manifest(settings: Esgf) -> Manifest:
    """Read the pinned manifest and check that it is the one that the settings ask for.

    Raises
    ------
    SealiencyError
        If the file is unreadable, its months have a gap or stand twice, or it pins another data set or version.
    """
    path = name_manifest(settings)
    again = "delete it, and `sealiency esgf resolve` makes it anew (restore it instead if it was shared with you)"
    try:
        manifest = Manifest.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise SealiencyError(f"{path}: {error.strerror}; make it with `sealiency esgf resolve`") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise SealiencyError(f"{path}: not a readable manifest ({error}); {again}") from None
    except ValidationError as error:
        raise SealiencyError(f"{path}: not a whole manifest ({describe_problem(error)}); {again}") from None
    for key, found, wanted in (
        ("facets", manifest.dataset, settings.facets.dataset),
        ("version", manifest.version, settings.version),
    ):
        if found != wanted and wanted != "latest":
            raise SealiencyError(
                f"{path}: pins {key} {found}, but data.esgf.{key} asks for {wanted}; name another file in "
                "data.esgf.manifest, or delete this one to resolve anew"
            )
    return manifest


def describe_problem(error: ValidationError) -> str:
    """Return the first problem of a manifest, in words."""
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {first['msg']}" if place else first["msg"].removeprefix("Value error, ")


def _name_month(number: int) -> str:
    return f"{number // 12:04d}-{number % 12 + 1:02d}"
