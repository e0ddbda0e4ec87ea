# The eight things a person does here. Every target sets the environment up if it is not there yet.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TRAINS := $(VENV)/.trains
PAGE := $(BIN)/python -m studies.page docs/results/simulated-hospital.json docs/results/illness.json docs/results/real-films.json --out docs/results.md
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt

.PHONY: setup demo study illness test check docs bench
.DEFAULT_GOAL := help

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/'

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "PaCX needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(READY): pyproject.toml constraints.txt | $(BIN)/pip
	$(INSTALL) -e ".[dev]"
	@touch $(TRAINS) $@

# What the demo needs, and no more; an environment with everything has it too.
$(TRAINS): pyproject.toml constraints.txt | $(BIN)/pip
	$(INSTALL) -e ".[train]"
	@touch $@

setup: $(READY)  ## create .venv with the pinned versions

demo: $(TRAINS)  ## the whole method on a simulated hospital -> runs/demo/report.html
	$(BIN)/pacx demo --out runs/demo

study: $(READY)  ## does the method do what it claims? -> runs/study/tiny/results.json and docs/results.md; goes on after a kill
	$(BIN)/python -m studies.simulated_hospital
	cp runs/study/tiny/results.json docs/results/simulated-hospital.json
	$(PAGE) --picture docs/images/study-gains.png

illness: $(READY)  ## does it teach what an illness is, or how ill somebody is? -> runs/illness/results.json and docs/results.md
	$(BIN)/python -m studies.illness
	cp runs/illness/results.json docs/results/illness.json
	$(PAGE) --illness-picture docs/images/beyond-acuity.png

test: $(READY)  ## all tests
	$(BIN)/pytest

check: $(READY)  ## format, lint, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

docs: $(READY)  ## the site -> build/site/index.html; a warning is an error
	$(BIN)/python -m sphinx -E -W --keep-going -n -q -b html -d build/doctrees docs build/site

bench: $(READY)  ## this machine's row for docs/performance.md, in about five minutes
	$(BIN)/python benchmarks/pretrain.py --size base --batch-size 8 --rounds 5
	$(BIN)/python benchmarks/distill.py
