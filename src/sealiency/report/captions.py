"""Captions of figures: plain-text templates filled with what they state."""

import re
from collections.abc import Mapping
from pathlib import Path

import jinja2

from sealiency.errors import SealiencyError


def render_caption(template: str | Path, values: Mapping[str, object]) -> str:
    """Fill a caption's Jinja2 template.

    Parameters
    ----------
    template
        Plain text whose first paragraph, one sentence, says what the figure is; empty lines part its paragraphs.
    values
        What the template may state, by name.

    Returns
    -------
    str
        The caption, one line a paragraph and an empty line between, so that breaking lines elsewhere changes nothing.

    Raises
    ------
    SealiencyError
        If the template is missing or damaged, or states something that has no value.
    """
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)
    environment.filters["months"] = _count_months
    try:
        text = environment.from_string(Path(template).read_text(encoding="utf-8")).render(values)
    except OSError as error:
        raise SealiencyError(f"{template}: cannot be read ({error.strerror}); every figure needs a caption") from None
    except jinja2.TemplateError as error:
        known = ", ".join(sorted(values))
        raise SealiencyError(f"{template}: {error.message}; a caption can state {known}") from None
    return "\n\n".join(split_paragraphs(text))


def split_paragraphs(text: str) -> list[str]:
    """Return the paragraphs of a text, each on one line."""
    return [" ".join(part.split()) for part in re.split(r"\n\s*\n", text) if part.strip()]


def _count_months(number: object) -> str:
    return f"{number} month{'' if str(number) == '1' else 's'}"
