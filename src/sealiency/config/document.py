"""The commented default file, the schema and the table of settings, all generated from the configuration's classes."""

import json
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sealiency.config.run import Configuration


def generate_documents(root: str | Path) -> dict[Path, str]:
    """Return the content of each generated file, by its path below a checkout.

    Parameters
    ----------
    root
        Top folder of the checkout.
    """
    root = Path(root)
    return {
        root / "config" / "default.yaml": describe_defaults(),
        root / "config" / "schema.json": json.dumps(Configuration.model_json_schema(), indent=1) + "\n",
        root / "docs" / "configuration.md": describe_table(),
    }


def describe_defaults() -> str:
    """Return every setting with its default as YAML, each below a comment with its description."""
    lines = ["# Every setting with its default; made by `sealiency document`, so edit the classes in sealiency.config."]
    lines += list(_describe_section(Configuration(), 0))
    return "\n".join(lines) + "\n"


def describe_table() -> str:
    """Return a Markdown table of every setting: key, values, default, description."""
    lines = [
        "# Configuration",
        "",
        "Made by `sealiency document` from the classes in `sealiency.config`. Lists hold entries of the keys with `[]`.",
        "",
        "| key | values | default | meaning |",
        "|---|---|---|---|",
    ]
    for key, fields, default in _walk(Configuration, ""):
        values = " or ".join(dict.fromkeys(map(_name_type, fields)))
        cells = (f"`{key}`", values, f"`{default}`", fields[0].description or "")
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _describe_section(section: BaseModel, depth: int) -> Iterator[str]:
    pad = "  " * depth
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        description = (field.description or "").replace("\n", " ")
        if isinstance(value, BaseModel) and name != "compared":
            yield from (["", f"# {description}"] if depth == 0 else [f"{pad}# {description}"])
            yield f"{pad}{name}:"
            yield from _describe_section(value, depth + 1)
            continue
        yield f"{pad}# {description} ({_name_type(field)})"
        plain = section.model_dump(include={name}, exclude_none=value is not None)[name]
        yield f"{pad}{name}: {_inline(plain)}"


def _inline(value: Any) -> str:
    return (
        yaml.safe_dump(
            list(value) if isinstance(value, tuple) else value, default_flow_style=True, sort_keys=False, width=10_000
        )
        .replace("\n...", "")
        .strip()
    )


def _walk(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, list[FieldInfo], str]]:
    """Yield each key with its field, one a kind where a section has several, and its default."""
    for name, field in model.model_fields.items():
        key = f"{prefix}{name}"
        models, listed = _find_models(field.annotation)
        default = "required" if field.is_required() else None
        if models and not listed:
            if default is None and field.default is None:
                yield key, [field], "null"
            # Kinds of one section share keys; each is told once.
            found: dict[str, tuple[list[FieldInfo], str]] = {}
            for model in models:
                for own, fields, value in _walk(model, f"{key}."):
                    found.setdefault(own, ([], value))[0].extend(fields)
            yield from ((own, *told) for own, told in found.items())
            continue
        if default is None:
            value = field.get_default(call_default_factory=True)
            plain = [v.model_dump(exclude_none=True) for v in value] if listed and isinstance(value, list) else value
            default = _inline(plain)
        yield key, [field], default
        for model in models:
            yield from _walk(model, f"{key}[].")


def _find_models(annotation: Any) -> tuple[list[type[BaseModel]], bool]:
    """Return the sections that an annotation can hold, and whether in a list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation], False
    found: list[type[BaseModel]] = []
    in_list = get_origin(annotation) is list
    for part in get_args(annotation):
        models, listed = _find_models(part)
        found += models
        in_list = in_list or listed
    return found, in_list and bool(found)


def _name_type(field: FieldInfo) -> str:
    bounds = []
    for constraint in field.metadata:
        for sign, attribute in ((">=", "ge"), (">", "gt"), ("<=", "le"), ("<", "lt")):
            if (limit := getattr(constraint, attribute, None)) is not None:
                bounds.append(f"{sign} {limit:g}")
    return ", ".join([_name_annotation(field.annotation), *bounds])


def _name_annotation(annotation: Any) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(str(part) for part in parts)
    if origin in (Union, types.UnionType):
        return " or ".join("null" if part is type(None) else _name_annotation(part) for part in parts)
    if origin is list:
        return f"list of {_name_annotation(parts[0])}"
    if origin is tuple:
        return f"{len(parts)} of {_name_annotation(parts[0])}"
    if origin is dict:
        return f"{_name_annotation(parts[1])} by lead"
    if hasattr(annotation, "__metadata__"):
        return _name_annotation(parts[0])
    names = {"int": "whole number", "float": "number", "str": "text", "bool": "true or false"}
    return names.get(getattr(annotation, "__name__", ""), getattr(annotation, "__name__", str(annotation)).lower())
