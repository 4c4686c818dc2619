# make demo    install, start the service, explain two real inputs, show the results
# make test    install, then every check and every test
# make soak    20,000 mixed jobs through the real service: does memory stay flat? some minutes
# make chaos   ten minutes, 2,000 jobs, processes killed and frozen at random: is anything lost, or done twice?
# make away    the store goes away under a running service, for a minute each time
# make check   format, lint, types, import contracts, and the fast tests
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check soak chaos away format serve openapi train clean

demo: $(VENV)/.demo
	@$(BIN)/python docs/demo.py

test: check
	@echo "== every test: real processes, real HTTP, real Valkey"
	@$(BIN)/python -m pytest -q -m e2e -n 4 --dist loadfile

check: $(VENV)/.dev
	@echo "== format and lint"
	@$(BIN)/ruff format --check . && $(BIN)/ruff check .
	@echo "== types"
	@$(BIN)/mypy
	@echo "== import contracts"
	@$(BIN)/lint-imports
	@echo "== bundles"
	@$(BIN)/attributor models check
	@echo "== tests without the whole service"
	@$(BIN)/python -m pytest -q -m "not e2e" -n auto --maxprocesses 4 --dist loadfile

format: $(VENV)/.dev
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

serve: $(VENV)/.demo
	@$(BIN)/attributor serve

soak: $(VENV)/.dev
	@$(BIN)/python -m benchmarks.soak

chaos: $(VENV)/.dev
	@$(BIN)/python tests/e2e/chaos.py

away: $(VENV)/.dev
	@ATTRIBUTOR_TEST_AWAY_S=60 $(BIN)/python -m pytest -q -m e2e tests/e2e/test_store_away.py

openapi: $(VENV)/.dev
	@$(BIN)/attributor openapi

# Trains both bundles anew; their files change, so look at the differences before you commit them.
train: $(VENV)/.dev
	@$(BIN)/python models/breast-cancer/train.py
	@$(BIN)/python models/digits/train.py

$(VENV)/bin/python:
	@echo "== creating $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "attributor needs Python 3.11 or newer; pass PYTHON=python3.11")'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(VENV)/bin/python
	@echo "== installing the service (torch is the largest part: a minute or two)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	@echo "== installing the service and its development tools (a minute or two)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) demo-output attributor-data .mypy_cache .ruff_cache .pytest_cache .hypothesis
