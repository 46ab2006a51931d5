#!/usr/bin/env bash
# Snakemake runs a copy of this in the environment that it has just made, in the folder where it was started. Elsewhere
# than in the checkout, say where that is: SEALIENCY_CHECKOUT=/path/to/checkout snakemake --snakefile ...
set -euo pipefail

checkout=${SEALIENCY_CHECKOUT:-$PWD}
if [ ! -f "$checkout/src/sealiency/__init__.py" ]; then
    echo "$checkout is no checkout of sealiency; set SEALIENCY_CHECKOUT to the folder of its pyproject.toml" >&2
    exit 1
fi
# Editable, so that changed code counts at once: checkouts must not share a --conda-prefix. Nothing is downloaded.
"$CONDA_PREFIX/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
    --no-index --no-deps --no-build-isolation --editable "$checkout"
