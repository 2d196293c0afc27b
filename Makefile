# The main verbs. On a fresh machine with Python 3.11 and the package registries, `make demo` and `make test` are enough.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BUF := node_modules/.bin/buf
AXE := node_modules/axe-core/axe.min.js

export PIP_DISABLE_PIP_VERSION_CHECK = 1

.DEFAULT_GOAL := help
.PHONY: help setup check format test demo bench proto wordnet redis browser clean

help:
	@echo "make setup   a virtual environment in .venv with all that demo, check and test need"
	@echo "make demo    judge a real model on real photographs"
	@echo "make test    all tests"
	@echo "make check   format, lint, types, import rules, proto lint"
	@echo "make bench   measure, print a table and write build/bench.json"
	@echo "make proto   generate service/pb again after a change of the proto"

setup: $(STAMP)

$(STAMP): pyproject.toml protos/errata/v1/errata.proto protos/generate.py protos/hatch_build.py
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $(STAMP)

proto: setup
	$(BIN)/python protos/generate.py

demo: setup
	$(BIN)/errata demo --output out/demo

check: setup $(BUF)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	cd protos && ../$(BUF) lint

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: setup wordnet redis browser
	$(BIN)/python -m pytest

bench: setup browser
	PYTHONPATH=tests $(BIN)/python -m benchmarks

# Both at once: npm takes away what it isn't asked for.
$(BUF) $(AXE) &:
	npm install --silent --no-save --no-package-lock @bufbuild/buf axe-core

# WordNet 3.0, which a test holds the compiled taxonomy to.
wordnet: build/wordnet/data.noun

build/wordnet/data.noun:
	tests/scripts/fetch-wordnet build/wordnet

# A real Redis, which the tests start and kill themselves.
redis:
	tests/scripts/install-redis

# A real browser, for the report and the pages, and axe-core, which looks for what keeps people out.
browser: $(AXE)
	tests/scripts/install-chromium

clean:
	rm -rf build out dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
