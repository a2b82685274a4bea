# Everything that is run, here or in CI, is one of these targets. A bare `make` lists them.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev run test check test-all proto proto-check examples docs bench bench-node clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# The stamps make a second `make run` start at once; they are older than pyproject.toml after a change.
$(VENV)/.run: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[data,plots]'
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --group dev
	@touch $@

setup: $(VENV)/.run  ## make .venv and install p2pdo in it

setup-dev: $(VENV)/.dev  ## the same with what tests and checks need

run: setup  ## the main job: logistic regression on real data over 8 node processes in a ring
	$(BIN)/p2pdo run breast-cancer

# Files go to a process a core; what one file's tests share stays in one of them.
test: setup-dev  ## the test suite
	$(BIN)/python -m pytest -n auto --dist loadfile -m 'not full'

test-all: setup-dev  ## the test suite with the long runs
	$(BIN)/python -m pytest -n auto --dist loadfile -m 'not full'
	$(BIN)/python -m pytest -m full

check: setup-dev  ## style, types, layers, lazy imports, generated code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/cli/test_imports.py
	$(MAKE) --no-print-directory proto-check

# The peer streams carry raw bytes by generic handlers, so only the coordinator has a service.
PROTOS   := $(wildcard protos/p2pdo/wire/v1/*.proto)
SERVICES := protos/p2pdo/wire/v1/coordinator.proto
PROTOC   := $(BIN)/python -m grpc_tools.protoc -Iprotos \
	--plugin=protoc-gen-mypy=$(BIN)/protoc-gen-mypy \
	--plugin=protoc-gen-mypy_grpc=$(BIN)/protoc-gen-mypy_grpc

proto: setup-dev  ## regenerate p2pdo/wire/v1 from protos/
	$(PROTOC) --python_out=. --mypy_out=quiet:. $(PROTOS)
	$(PROTOC) --grpc_python_out=. --mypy_grpc_out=quiet:. $(SERVICES)

proto-check: proto  ## the generated code is what protos/ says
	git diff --exit-code -- p2pdo/wire/v1
	@test -z "$$(git ls-files --others --exclude-standard -- p2pdo/wire/v1)"

# PyTorch, which two of them learn with, comes with the dev group.
examples: setup-dev  ## run the examples; each asserts what it states
	@set -e; for example in examples/*.py; do echo "== $$example"; $(BIN)/python $$example; done

docs: setup-dev  ## the documentation as a site in build/site, with a page an algorithm
	$(BIN)/python -m pip install --quiet --group docs
	$(BIN)/python docs/make_pages.py build/docs
	$(BIN)/zensical build

# BENCH_ARGS=--quick is for a look; benchmarks/compare.py --help lists the rest.
bench: setup-dev  ## measure p2pdo beside its peers, and write docs/benchmarks.md
	$(BIN)/python benchmarks/compare.py --write docs/benchmarks.md $(BENCH_ARGS)

bench-node: setup-dev  ## measure a node: the Lead Client's delays, stops and waits, isolation
	$(BIN)/python benchmarks/lead_client.py
	$(BIN)/python benchmarks/abort.py
	$(BIN)/python benchmarks/isolation.py

clean:  ## remove what was made
	rm -rf $(VENV) runs dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
