.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.PHONY: help setup run test e2e soak mutants chaos growth bench scale check openapi contracts dashboards release lock clean

# The first of these that is new enough; `make setup PYTHON=/path/to/python` names another.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile
BYTECODE := $(BIN)/python -m compileall -q -j 0 .venv/lib service contracts/client/src >/dev/null || true # on all cores, which pip does not do
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-header --no-annotate --custom-compile-command 'make lock'
LOCK := $(COMPILE) pyproject.toml --extra video

help: ## print this help
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.run ## build .venv with .venv/bin/refkeep, from hashed requirements

run: .venv/.run ## set up and start Refkeep with everything it needs
	@exec $(BIN)/refkeep dev $(ARGS)

test: .venv/.dev ## set up and run every test, two workers a core, on a real PostgreSQL and a real S3 store (ARGS="-k slot")
	@$(BIN)/python -m pytest $(if $(ARGS),$(ARGS),--numprocesses auto --dist loadfile --no-loadscope-reorder --cov --cov-report=)
	@$(if $(ARGS),,$(BIN)/coverage report --include='service/domain/*,service/application/*' --fail-under=100)

# What `make test` has no time to do as often as it should be done.
SHORTENED := tests/machine tests/http/test_concurrent_rounds.py tests/adapters/test_postgres_lifecycle.py tests/e2e/test_crashes.py

e2e: .venv/.e2e ## callers through outages, in a browser, long runs, behind caches, as deploy/ says, seen by Prometheus (Debian's packages; says which)
	@missing=; for each in nginx varnishd chromium prometheus wget; do PATH="$$PATH:/usr/sbin" command -v $$each >/dev/null || missing="$$missing $${each%d}"; done; \
	test -d /usr/share/backgrounds/mate/nature || missing="$$missing mate-backgrounds"; \
	test -z "$$missing" || { echo "make e2e needs what is not installed: apt-get install$$missing" >&2; exit 1; }
	@THOROUGH=1 $(BIN)/python -m pytest -o faulthandler_timeout=3600 $(SHORTENED) tests/e2e/cdn tests/e2e/links tests/e2e/long tests/e2e/consumers tests/e2e/browser tests/e2e/pictures tests/e2e/deploy tests/e2e/scale tests/e2e/observability $(ARGS)

soak: .venv/.dev ## tell stories of other seeds against the model for MINUTES=10, on both stores
	@$(BIN)/python -m tests.machine $(or $(MINUTES),10) $(ARGS)

mutants: .venv/.dev ## take back what keeps data safe, piece by piece, and see the tests turn red
	@$(BIN)/python -m tests.mutants $(ARGS)

chaos: .venv/.dev ## kill four processes at random under 50 clients for three minutes (ARGS="--minutes 10 --store filesystem")
	@$(BIN)/python -m tests.chaos $(ARGS)

growth: .venv/.dev ## what each operation costs at 10^4, 10^5, 10^6 refs (LONG=1: 10^7, too)
	@$(BIN)/python -m tests.growth $(ARGS)

bench: .venv/.dev ## Refkeep, nginx, SeaweedFS, docker-registry side by side (ARGS="--only 'GET 1 MiB'"; --write: docs/benchmarks.md)
	@$(BIN)/python -m tests.bench $(ARGS)

scale: .venv/.dev ## what 1, 2, 4 processes answer behind nginx, and bytes of each table and index at 10^9 refs (docs/scaling.md)
	@$(BIN)/python -m tests.scale throughput $(ARGS)
	@$(BIN)/python -m tests.scale sizes

check: .venv/.dev ## what CI checks beside the tests: format, lint, types, layers, contracts
	@$(MAKE) --no-print-directory --jobs --keep-going --output-sync=target $(CHECKS)

CHECKS := check-types check-contracts check-openapi check-layers check-lint check-format
.PHONY: $(CHECKS)

check-format:
	@$(BIN)/ruff format --check .

check-lint:
	@$(BIN)/ruff check .

check-types:
	@$(BIN)/mypy

check-layers:
	@$(BIN)/lint-imports

check-openapi:
	@$(BIN)/refkeep openapi --check openapi.yaml

check-contracts:
	@$(BIN)/python -m tests.promises check
	@$(BIN)/python -m deploy.dashboards check

openapi: .venv/.run ## write openapi.yaml anew from the code
	@$(BIN)/refkeep openapi > .openapi.yaml.new && mv .openapi.yaml.new openapi.yaml

contracts: .venv/.dev ## write anew what of contracts/ and docs/cli.md the code says
	@$(BIN)/python -m tests.promises write
	@$(BIN)/python -m tests.cli_page > .cli.md.new && mv .cli.md.new docs/cli.md

dashboards: .venv/.dev ## write deploy/dashboards/json anew from the code beside it
	@$(BIN)/python -m deploy.dashboards write

release: .venv/.dev ## cut a release of contracts/: what stands there is what the next change is compared with
	@$(BIN)/python -m tests.promises release

lock: .venv/.dev ## write requirements/ anew from pyproject.toml (ARGS=--upgrade for newer releases)
	@$(LOCK) --group build $(ARGS) --output-file requirements/run.txt
	@$(LOCK) --group dev $(ARGS) --constraint requirements/run.txt --output-file requirements/dev.txt
	@$(COMPILE) --group e2e $(ARGS) --constraint requirements/dev.txt --output-file requirements/e2e.txt

clean: ## remove .venv and caches; the data in .refkeep stays
	@rm -rf .venv build dist ./*.egg-info contracts/client/src/*.egg-info contracts/client/build .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find service deploy tests contracts -name __pycache__ -prune -exec rm -rf {} +

# Stamps: each step runs again only when what it depends on has changed.

.venv/.made:
	@test -n "$(PYTHON)" || { echo "Refkeep needs Python 3.11 or newer; none was found. Set PYTHON=/path/to/python." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot make virtual environments. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/.run: .venv/.made requirements/run.txt pyproject.toml
	@echo "Installing what Refkeep needs into .venv …"
	@$(PIP) --require-hashes --requirement requirements/run.txt
	@$(PIP) --no-deps --no-build-isolation --editable .
	@$(BYTECODE)
	@touch $@

.venv/.e2e: .venv/.dev requirements/e2e.txt
	@echo "Installing what drives a browser into .venv …"
	@$(PIP) --require-hashes --requirement requirements/e2e.txt
	@$(BYTECODE)
	@touch $@

.venv/.dev: .venv/.run requirements/dev.txt contracts/client/pyproject.toml
	@echo "Installing the tools for tests and checks into .venv …"
	@$(PIP) --require-hashes --requirement requirements/dev.txt
	@$(PIP) --no-deps --no-build-isolation --editable contracts/client
	@$(BYTECODE)
	@touch $@
