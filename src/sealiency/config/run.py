"""The whole configuration of a run, read from YAML."""

import copy
import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import BaseModel, Field, TypeAdapter, ValidationError, field_validator, model_validator

from sealiency.config.attention import Attention
from sealiency.config.attribution import (
    PAPER_BOX,
    PAPER_COAST,
    PAPER_GROUP,
    PAPER_REGION,
    Ablation,
    Attribution,
    Instance,
    SignCheck,
)
from sealiency.config.base import LONGEST_NAME, WILDCARD, Section
from sealiency.config.consistency import find_conflicts
from sealiency.config.data import Data, Samples
from sealiency.config.emulator import Lead, Training
from sealiency.config.figures import Figures
from sealiency.config.findings import Control, Findings
from sealiency.config.networks import KINDS, DenseNetwork, Network, OwnNetwork
from sealiency.config.sufficiency import Sufficiency
from sealiency.config.training_size import TrainingSize
from sealiency.errors import SealiencyError

_UNION_MEMBER = re.compile(rf"[\[(]|^(int|float|str|dict|constrained-int|constrained-float|{'|'.join(KINDS)})$")


class Run(Section):
    """Where results go."""

    name: str = Field(default="run", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=LONGEST_NAME)
    """Name of the run; everything it makes lies in folder/name."""
    folder: str = "results"
    """Folder of all runs, relative to the working directory."""
    dask_scheduler: str | None = None
    """Address of a Dask scheduler that is already there, such as tcp://host:8786, on which records are prepared; null
    starts one for the job."""

    @field_validator("folder")
    @classmethod
    def _check_folder(cls, folder: str) -> str:
        if found := WILDCARD.search(folder):
            raise ValueError(f"Snakemake takes {found[0]} for a wildcard; take the braces out of the name")
        return folder


class Configuration(Section):
    """All settings of a run."""

    run: Run = Run()
    """Where results go."""
    leads: Annotated[list[Lead], Field(min_length=1)] = [1, 6, 9]
    """Lead times, months: lead i forecasts month k+i-1 from months k-36..k-1."""
    data: Data = Data()
    """The record and its preparation."""
    samples: Samples = Samples()
    """How the record is cut into samples."""
    network: Network = DenseNetwork()
    """The emulator's network."""
    training: Training = Training()
    """The training of the emulators."""
    attribution: Attribution = Attribution()
    """The mean heatmaps over the training samples."""
    instance: Instance = Instance()
    """The explanation of single forecasts."""
    ablation: Ablation = Ablation()
    """The ablation experiment."""
    sign_check: SignCheck = SignCheck()
    """The test of what the sign of an attribution means."""
    findings: Findings = Findings()
    """The paper's claims as numbers beside their nulls."""
    training_size: TrainingSize = TrainingSize()
    """Skill and fidelity against the number of training samples."""
    sufficiency: Sufficiency = Sufficiency()
    """Which months and neighbours suffice."""
    attention: Attention = Attention()
    """Emulators that attend to a map of their own."""
    figures: Figures = Figures()
    """Appearance of the figures."""

    def find_controls(self) -> list[Control]:
        """Return the controls that can be made and differ from the run's own emulators."""
        trained = self.training.enabled
        left_out = {
            "shuffled": not trained,
            "unfiltered": not trained or self.data.filter == "none",
            "bottleneck": isinstance(self.network, OwnNetwork) or self.network.linear_bottleneck,
        }
        return [control for control in self.findings.controls if not left_out.get(control, False)]

    @model_validator(mode="after")
    def _check_across_sections(self) -> Self:
        if problems := find_conflicts(dict(self)):
            raise ValueError("\n".join(problems))
        return self


def parse_configuration(settings: dict[str, Any], origin: str) -> Configuration:
    """Check settings, as read from YAML, and return the configuration.

    Parameters
    ----------
    settings
        Nested settings by section.
    origin
        Name of the file they come from, for the error.

    Raises
    ------
    SealiencyError
        If any setting is unknown or impossible; the message lists every problem, one a line.
    """
    try:
        return _take_paper_places(Configuration.model_validate(settings))
    except ValidationError as error:
        details = error.errors()
    problems = describe_problems(details, Configuration, "docs/configuration.md lists every key")
    if details[0]["loc"]:
        # Within sections something is wrong; what the sound sections say of each other is found all the same.
        problems += [f"- {conflict}" for conflict in find_conflicts(_read_sound_sections(settings, details))]
    raise SealiencyError("\n".join([f"{origin}: {len(problems)} problem(s)", *problems]))


def _take_paper_places(configuration: Configuration) -> Configuration:
    """Return the configuration with the paper's own places where its region is the paper's and they are left out."""
    if configuration.data.region != PAPER_REGION:
        return configuration
    places = {
        "attribution": ("pixels", [PAPER_GROUP]),
        "instance": ("compared", PAPER_COAST),
        "ablation": ("region", PAPER_BOX),
    }
    update = {}
    for name, (key, place) in places.items():
        section = getattr(configuration, name)
        if key not in section.model_fields_set:
            update[name] = section.model_copy(update={key: place})
    return configuration.model_copy(update=update)


def _read_sound_sections(settings: dict[str, Any], details: Sequence[Any]) -> dict[str, Any]:
    # An unknown key does no harm to the rest of its section.
    remaining = copy.deepcopy(settings)
    for detail in details:
        if detail["type"] == "extra_forbidden":
            _remove(remaining, detail["loc"])
    sound = dict(Configuration())
    for name, field in Configuration.model_fields.items():
        if name in remaining:
            try:
                sound[name] = TypeAdapter[Any](field.rebuild_annotation()).validate_python(remaining[name])
            except ValidationError:
                del sound[name]
    return sound


def read_configuration(path: str | Path) -> Configuration:
    """Read and check a YAML file; see `parse_configuration` for the errors."""
    return parse_configuration(read_settings(path, "sections such as `data:`"), str(path))


class _OnceLoader(yaml.SafeLoader):
    """PyYAML's safe loader, which refuses a key that stands twice in a mapping instead of taking the last one."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Return the mapping of a node."""
        lines: dict[str, int] = {}
        for key, _ in node.value:
            # A merge key brings in what the mapping itself may say again.
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                line = key.start_mark.line + 1
                if key.value in lines:
                    raise SealiencyError(
                        f"the key {key.value!r} stands twice, in lines {lines[key.value]} and {line}; leave one of them out"
                    )
                lines[key.value] = line
        return super().construct_mapping(node, deep)


def read_settings(path: str | Path, expected: str) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Parameters
    ----------
    path
        File to read.
    expected
        What it should hold, in words, for the error.

    Raises
    ------
    SealiencyError
        If it cannot be read, is no YAML, holds something else or the same key twice.
    """
    try:
        settings = yaml.load(Path(path).read_text(encoding="utf-8"), _OnceLoader) or {}
    except SealiencyError as error:
        raise SealiencyError(f"{path}: {error}") from None
    except OSError as error:
        raise SealiencyError(f"{path}: {error.strerror}; name a readable configuration file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SealiencyError(f"{path}: not valid YAML ({error}); mend the file") from None
    if not isinstance(settings, dict):
        raise SealiencyError(f"{path}: holds a {type(settings).__name__}, not {expected}; mend the file")
    return settings


def describe_problems(details: Sequence[Any], model: type[BaseModel], reference: str) -> list[str]:
    """Return what a model found wrong, one line a problem, with key, value and mend.

    Parameters
    ----------
    details
        Errors of pydantic's `ValidationError`.
    model
        The model that found them; its keys are proposed for unknown ones.
    reference
        Where every key is listed, in words.
    """
    found: dict[str, tuple[Any, list[str]]] = {}
    for detail in details:
        # pydantic adds the kind of a union's member, such as list[...], to the path; it is no key.
        key = ".".join(str(part) for part in detail["loc"] if not _UNION_MEMBER.search(str(part)))
        if detail["type"] == "extra_forbidden":
            close = difflib.get_close_matches(str(detail["loc"][-1]), _list_keys(model), n=1, cutoff=0.75)
            # A key of another kind of network is its own closest match.
            likely = close and close[0] != detail["loc"][-1]
            mend = f"did you mean `{close[0]}`?" if likely else f"remove it; {reference}"
            messages = [f"unknown key; {mend}"]
        elif detail["type"] == "value_error":
            messages = str(detail["ctx"]["error"]).split("\n")
        else:
            messages = [detail["msg"][0].lower() + detail["msg"][1:]]
        found.setdefault(key, (detail["input"], []))[1].extend(messages)
    problems = []
    for key, (value, messages) in found.items():
        # A union reports every member that does not fit; the deeper problem is the one to mend.
        if any(other.startswith(f"{key}.") for other in found if key):
            continue
        if isinstance(value, dict | list) or not key:
            problems += [f"- {key}: {message}" if key else f"- {message}" for message in messages]
        else:
            problems.append(f"- {key} = {value!r}: {' or '.join(messages)}")
    return problems


def _remove(settings: Any, location: tuple[int | str, ...]) -> None:
    for part in location[:-1]:
        if not _UNION_MEMBER.search(str(part)):
            settings = settings[part]
    settings.pop(location[-1], None)


def _list_keys(model: type[BaseModel]) -> list[str]:
    definitions = model.model_json_schema()
    sections = [definitions, *definitions["$defs"].values()]
    return [name for section in sections for name in section.get("properties", {})]
