# Development commands. They need Python 3.11 and access to package registries.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BUF := node_modules/.bin/buf
AXE := node_modules/axe-core/axe.min.js

export PIP_DISABLE_PIP_VERSION_CHECK = 1

.DEFAULT_GOAL := help
.PHONY: help setup check format test fuzz demo bench attacks proto constraints audit images wordnet redis browser deploy-tools clean

help:
	@echo "make setup   create the virtual environment .venv for demo, check, and test"
	@echo "make demo    analyze a real model on real photographs"
	@echo "make test    run all tests"
	@echo "make check   check format, lint, types, import rules, the proto, Dockerfiles, and docker-compose.yml"
	@echo "make fuzz    run the fuzz tests with FUZZ_EXAMPLES=5000 per property, and the security tests"
	@echo "make bench   run the benchmarks; print a table and write build/bench.json"
	@echo "make attacks upload hostile files to a service; write responses, durations, and memory to build/attacks.json"
	@echo "make audit   check the images' dependencies for known vulnerabilities"
	@echo "make images  build and run both images; BUILD_IMAGES names the builder"
	@echo "make proto   generate client/errata/v1 after a change of the proto"
	@echo "make constraints   resolve the versions that the images install"

setup: $(STAMP)

$(STAMP): pyproject.toml client/pyproject.toml client/generate.py protos/errata/v1/errata.proto
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ./client --editable '.[dev]'
	touch $(STAMP)

proto: setup
	$(BIN)/python client/generate.py

demo: setup
	$(BIN)/errata demo --output out/demo

check: setup $(BUF) deploy-tools
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	cd protos && ../$(BUF) lint
	$(BIN)/hadolint deploy/api.Dockerfile deploy/worker.Dockerfile
	docker-compose --profile monitoring config --quiet

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: setup wordnet redis browser deploy-tools
	$(BIN)/python -m pytest

fuzz: setup redis
	FUZZ_EXAMPLES=$${FUZZ_EXAMPLES:-5000} $(BIN)/python -m pytest tests/fuzz tests/security

bench: setup browser
	PYTHONPATH=tests $(BIN)/python -m benchmarks

attacks: setup
	mkdir -p build
	PYTHONPATH=tests $(BIN)/python -m benchmarks.attacks --json build/attacks.json

constraints: setup
	$(BIN)/python deploy/constraints.py deploy/constraints.txt

audit: setup
	$(BIN)/pip-audit --requirement deploy/constraints.txt --no-deps --disable-pip --strict --progress-spinner off

# Builds both images and runs them as an unprivileged user. Not part of `make test`, since it takes minutes and 10 GB of disk space.
images: setup
	$(BIN)/python tests/scripts/try_images.py

# In one command, since npm removes packages that the command does not name.
$(BUF) $(AXE) &:
	npm install --silent --no-save --no-package-lock @bufbuild/buf axe-core

# WordNet 3.0; a test compares the compiled taxonomy with it.
wordnet: build/wordnet/data.noun

build/wordnet/data.noun:
	tests/scripts/fetch-wordnet build/wordnet

# Redis, which the tests start and stop.
redis:
	tests/scripts/install-redis

# Chromium for the tests of the report and the pages, and axe-core for accessibility checks.
browser: $(AXE)
	tests/scripts/install-chromium

# kubectl, promtool, prometheus, and docker-compose for the tests of deploy/.
deploy-tools:
	tests/scripts/install-deploy-tools

clean:
	rm -rf build out dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
