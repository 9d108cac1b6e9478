# Two commands: `make run` trains the default model, `make test` checks everything.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: setup run test check bench docs printed dist campaign

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

run: setup
	$(BIN)/recurra train

# One thread in each of the workers: more threads than cores slow every test down.
test: check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# `make campaign NAME`: the whole of a property, sweep or table; the result is kept.
ifeq (campaign,$(firstword $(MAKECMDGOALS)))
NAME := $(word 2,$(MAKECMDGOALS))
$(eval $(NAME):;@:)
endif
campaign: setup
	OMP_NUM_THREADS=1 $(BIN)/python tests/campaigns $(NAME) $(SEED)

bench: setup
	$(BIN)/python benchmarks/train_step.py

# Prints anew what the documentation prints, then compares all that it says.
printed: setup
	OMP_NUM_THREADS=1 $(BIN)/python tests/tables.py
	OMP_NUM_THREADS=1 $(BIN)/python tests/printed.py
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/test_docs.py

# Wheel and source archive into dist/, looked through, installed where nothing else is, and run there.
dist: setup
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dist]'
	OMP_NUM_THREADS=1 $(BIN)/python tests/dist.py

# Builds the site of all that is said: begin at build/site/index.html.
SITE := $(VENV)/.site

$(SITE): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@

docs: $(SITE)
	$(BIN)/python docs/site build/source
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going --jobs 2 \
	  --conf-dir docs/site --doctree-dir build/doctrees build/source build/site
	$(BIN)/python -m pytest tests/test_site.py
