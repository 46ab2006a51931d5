"""What every section of the configuration shares."""

import re

from pydantic import BaseModel, ConfigDict

# Letters of a name that becomes part of file names, of which a file system takes 255.
LONGEST_NAME = 60
# What Snakemake takes for a wildcard, wherever in a path it stands; it knows no way to write it literally.
WILDCARD = re.compile(r"\{\s*[.\w]+\s*(,[^{}]*)?\}")


class Section(BaseModel):
    """A section: unknown keys are refused, values are fixed once read, a field's docstring is its description."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True, allow_inf_nan=False
    )
