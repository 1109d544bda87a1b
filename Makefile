# Set-up, checks and the first experiment. `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: setup ## Install if needed, then compare models before and after adaptation, offline
	@$(BIN)/tiltyard experiment=adaptation $(ARGS)

test: setup ## Install if needed, then run the tests; those that start servers and clusters come last
	@$(BIN)/python -m pytest -n auto $(or $(ARGS),--ignore=tests/integration)
	@$(if $(ARGS),,$(BIN)/python -m pytest -n 4 --dist loadfile tests/integration)

lint: setup ## Check style, types, import layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: setup ## Format the code and sort its imports
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

setup: $(INSTALLED) ## Create .venv and install the pinned versions

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("error: Tiltyard needs Python 3.11 or newer; set PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	@echo "Installing into $(VENV): a few minutes the first time ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

wheel: setup ## Build the wheel into dist/
	@$(BIN)/python -m build --wheel

clean: ## Remove the virtual environment and build products; results stay
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

.PHONY: help run test lint format setup wheel clean
