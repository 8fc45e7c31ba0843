# Needs Python 3.11 or newer; everything else goes into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check
# Of what pip says, what takes time; the rest only where it fails (that goes to stderr).
SHORT := awk '/\.metadata/ {next} /Downloading|Using cached|Installing|Successfully/ {print; fflush()}'

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

.PHONY: run test lint clean

run: $(VENV)/.installed
	$(BIN)/fedmend run run-dir="$(CURDIR)/runs"

test: lint
	$(BIN)/python -m pytest -q

lint: $(VENV)/.installed-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# A stamp is written last, so what broke off is done again; a change of pyproject.toml too.
$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "fedmend needs Python 3.11 or newer; say which with: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.made pyproject.toml
	@echo "installing fedmend and what it needs into $(VENV) (some minutes and 6 GB the first time)"
	$(PIP) -e . | $(SHORT)
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	@echo "installing what the tests need"
	$(PIP) -e ".[test]" | $(SHORT)
	@touch $@

# Leaves runs/ alone.
clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
