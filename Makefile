# On a fresh machine `make demo` and `make test` need Python 3.10 to 3.13 with venv, and a package index; nothing else.
# `make PYTHON=python3.11 demo` chooses the interpreter of the environment.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo test lint format

help:
	@echo "make demo     install, train, evaluate and segment a photograph: report in runs/demo/"
	@echo "make test     install, lint, types, tests"
	@echo "make lint     ruff and mypy"
	@echo "make format   rewrite the files as ruff wants them"

demo: $(VENV)/.installed
	$(BIN)/python -m pixgraph demo

test: lint
	$(BIN)/python -m pytest -q -m "not slow" -n auto --dist loadfile

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# A half-made environment is removed: the next attempt must not take it for a whole one.
$(BIN)/pip:
	@echo "creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "no environment: on Debian and Ubuntu run 'apt install python3-venv', then make again" >&2; exit 1; }

# The stamps are younger than pyproject.toml only after an installation that went through. Python compiles what it imports
# anyway; to compile everything at once, as pip would, takes longer than the rest of the installation.
$(VENV)/.installed: pyproject.toml | $(BIN)/pip
	@echo "installing pixgraph and what it needs into $(VENV); once, a few minutes"
	$(PIP) install --quiet --no-compile --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/pip
	@echo "installing pixgraph with the tools of its developers into $(VENV); once, a few minutes"
	$(PIP) install --quiet --no-compile --editable ".[dev]"
	@touch $@ $(VENV)/.installed
