# The main verbs. On a fresh machine with Python 3.11 and the package registries, `make demo` and `make test` are enough.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BUF := node_modules/.bin/buf
AXE := node_modules/axe-core/axe.min.js

export PIP_DISABLE_PIP_VERSION_CHECK = 1

.DEFAULT_GOAL := help
.PHONY: help setup check format test test-fast coverage fuzz demo bench attacks proto constraints audit images wordnet redis browser deploy-tools clean

help:
	@echo "make setup   a virtual environment in .venv with all that demo, check and test need"
	@echo "make demo    judge a real model on real photographs"
	@echo "make test    all tests, in parallel, with branch coverage"
	@echo "make test-fast   the tests that start no process and no browser: under two minutes"
	@echo "make check   format, lint, types, import rules, proto lint, Dockerfiles, docker-compose.yml"
	@echo "make fuzz    the fuzz tests, longer: FUZZ_EXAMPLES=5000 a property; the heavy hostile uploads too"
	@echo "make bench   measure, print a table and write build/bench.json"
	@echo "make attacks hostile uploads against a service: answers, seconds and memory, as build/attacks.json"
	@echo "make audit   known holes in what is installed"
	@echo "make images  build both images and try them; BUILD_IMAGES names the builder"
	@echo "make proto   generate client/errata/v1 again after a change of the proto"
	@echo "make constraints   the versions that the images install, anew"

setup: $(STAMP)

$(STAMP): pyproject.toml client/pyproject.toml client/generate.py protos/errata/v1/errata.proto
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ./client --editable '.[dev]'
	touch $(STAMP)

proto: setup
	$(BIN)/python client/generate.py

# The demo's own environment: without the development tools.
DEMO := build/demo-environment
DEMO_STAMP := $(DEMO)/.installed

$(DEMO_STAMP): pyproject.toml client/pyproject.toml
	@echo "Installing Errata and the demo's model into $(DEMO)"
	test -x $(DEMO)/bin/python || $(PYTHON) -m venv $(DEMO)
	$(DEMO)/bin/python -m pip install --quiet ./client '.[demo]'
	@touch $(DEMO_STAMP)

demo: $(DEMO_STAMP)
	$(DEMO)/bin/errata demo --output out/demo

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

# Workers: two for each core, since tests of processes mostly wait.
test: setup wordnet redis browser deploy-tools
	$(BIN)/python -m pytest --numprocesses $$(( $$(nproc) < 4 ? 3 : $$(nproc) )) --cov --cov-report=term

test-fast: setup wordnet
	$(BIN)/python -m pytest --numprocesses logical -m "not processes and not browser and not containers and not slow"

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

# Builds both images and runs them as their own user; not part of `make test`: it takes minutes and 10 GB of disk.
images: setup
	$(BIN)/python tests/scripts/try_images.py

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

# kubectl, promtool, prometheus and docker-compose, which the tests of deploy/ run.
deploy-tools:
	tests/scripts/install-deploy-tools

clean:
	rm -rf build out dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
