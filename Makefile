# Two commands: `make demo` runs the whole pipeline on the embedded data set, `make test` runs the tests.
PYTHON ?= python3
# An empty CONSTRAINTS lets pip take your own versions, for example a build of PyTorch installed beforehand.
CONSTRAINTS ?= envs/constraints.txt
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

.PHONY: demo test test-fast test-slurm bench lint document clean

demo: $(READY)
	$(BIN)/snakemake --configfile config/demo.yaml
	@echo "The report of the demo is results/demo/report.html"

test: $(READY)
	$(BIN)/python -m pytest

test-fast: $(READY)
	$(BIN)/python -m pytest -m "not workflow and not esgf and not slurm"

# Starts a cluster of its own on this machine; installs Slurm if need be, so it wants root on Debian or Ubuntu.
test-slurm: $(READY)
	$(BIN)/python -m pytest -m slurm

# On an idle machine; each prints a table and writes a file in results/benchmarks.
bench: $(READY)
	$(BIN)/python benchmarks/attribution.py
	$(BIN)/python benchmarks/reduction.py
	$(BIN)/python benchmarks/planning.py
	$(BIN)/python benchmarks/prepare.py
	$(BIN)/python benchmarks/training.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint
	$(BIN)/snakemake --lint --configfile config/paper.yaml

document: $(READY)
	$(BIN)/sealiency document

# The lock pins every package, so that a fresh machine gets what was tested.
$(READY): pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
		|| { echo "sealiency needs Python 3.11 to 3.13; name one with make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS)) --editable '.[mpich,slurm,zarr,safetensors,test,lint]'
	touch $@

clean:
	rm -rf $(VENV) .snakemake
