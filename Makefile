# `make` says what there is. Two commands matter on a fresh machine: `make dev` and `make test`.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# PYTHON=python3.12 make install   chooses the interpreter of a new .venv.
PYTHON ?=
# APP=app:flux make dev            runs your own handlers instead of the demo's.
APP ?=
# ARGS='-k retry -x' make test-unit
ARGS ?=
# A test that takes longer than this has hung. Tests of one xdist_group stay in one process.
PYTEST = $(BIN)/python -m pytest -n auto --dist loadgroup --timeout 300 $(ARGS)
# What ruff looks at: those of these that exist.
CODE = $(wildcard src tests benchmarks examples scripts)

# Settings come from the environment, .env, flux.toml; the servers, when none names one, from the last db-up.
FLUX = $(BIN)/python -m scripts.servers run $(BIN)/flux

.PHONY: help install dev browser servers test test-unit test-integration test-coverage lint format build bench bench-peers bench-scale clean \
	db-up db-down db-migrate db-rollback db-reset db-create-migration sqlc-generate \
	run-api run-scheduler run-worker run-dashboard

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)$$/  \1|\2/' | column -t -s '|'

install: $(STAMP) ## Make .venv with Flux, its extras and the tools (again only when pyproject.toml changes)

$(STAMP): pyproject.toml
	@if ! [ -x $(BIN)/python ] || ! $(BIN)/python -c '' 2>/dev/null; then \
	    python=; \
	    for candidate in $(PYTHON) python3 python3.13 python3.12 python3.11; do \
	        if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	            python="$$candidate"; break; \
	        fi; \
	    done; \
	    if [ -z "$$python" ]; then \
	        echo "install: Flux needs Python 3.11 or newer, and none was found; name one: PYTHON=/path/to/python3 make install" >&2; \
	        exit 1; \
	    fi; \
	    echo "install: making $(VENV) with $$($$python --version)"; \
	    if ! "$$python" -m venv --clear $(VENV); then \
	        rm -rf $(VENV); \
	        echo "install: $$python cannot make a virtual environment (on Debian: apt-get install python3-venv)" >&2; \
	        exit 1; \
	    fi; \
	fi
	@echo "install: installing Flux and its tools into $(VENV)"
	@if ! $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[all,dev]' </dev/null; then \
	    echo "install: pip could not install everything (its reason is above); 'make install' goes on from here" >&2; \
	    exit 1; \
	fi
	@touch $@

dev: install ## Run everything in one process: API 8080, dashboard 8081, worker, scheduler, demo handlers
	@exec $(BIN)/flux dev $(APP)

db-up: install ## Start PostgreSQL (5432) and Redis (6379): by Docker Compose where an engine runs, else as programs
	@$(BIN)/python -m scripts.servers up

db-down: install ## Stop what db-up started; the data stays
	@$(BIN)/python -m scripts.servers down

db-migrate: install ## Bring the database's schema up to date
	@$(FLUX) migrate up $(ARGS)

db-rollback: install ## Take back the newest step of the schema, and what it holds (asks first)
	@$(FLUX) migrate down $(ARGS)

db-reset: install ## Throw everything in the database away and make the schema anew
	@$(FLUX) migrate down --to 0 --yes
	@$(FLUX) migrate up

db-create-migration: install ## Begin a migration of Flux itself, for each store: name=add_something
	@if [ -z "$(name)" ]; then echo "db-create-migration: say what it does: make db-create-migration name=add_something" >&2; exit 1; fi
	@$(FLUX) migrate new "$(name)" $(ARGS)

sqlc-generate: install ## Check every .sql statement and write what follows from them: bindings, docs/schema.md
	@$(BIN)/python -m scripts.sqlc $(ARGS)

run-api: install ## Run the REST server (8080)
	@exec $(FLUX) api $(ARGS)

run-scheduler: install ## Run a scheduler
	@exec $(FLUX) scheduler $(ARGS)

run-worker: install ## Run a worker: the demo's handlers, or APP=app:flux
	@exec $(FLUX) worker $(APP) $(ARGS)

run-dashboard: install ## Run the dashboard (8081)
	@exec $(FLUX) dashboard $(ARGS)

browser: ## Install Chromium for the browser tests, when it is missing
	@scripts/install-browser.sh

servers: install ## Install PostgreSQL, Redis and PgBouncer for the tests, when they are missing
	@scripts/install-servers.sh

test: install browser servers ## Run every test, in parallel
	$(PYTEST)

test-unit: install ## Run the tests that need no process, no port and no browser
	$(PYTEST) $(wildcard tests/unit tests/simulation)

test-integration: install browser servers ## Run the tests against real stores, processes, ports and a browser
	$(PYTEST) $(wildcard tests/servers tests/conformance tests/integration tests/browser tests/torture)

test-coverage: install browser servers ## Run every test and report what they did not reach (htmlcov/index.html)
	$(PYTEST) --cov --cov-report=term --cov-report=html

lint: install ## Check style, format, types and who imports whom
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install ## Format the code and mend what ruff can mend
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

build: install ## Build the wheel, then try it in an empty environment
	rm -rf dist
	$(BIN)/python -m build --outdir dist
	scripts/check-wheel.sh dist/*.whl

bench: install ## Measure, beside a peer (see benchmarks/)
	$(BIN)/python -m benchmarks $(ARGS)

bench-scale: install ## Measure many rows, many workers and many runs, on PostgreSQL (ARGS='--only rows')
	$(BIN)/python -m benchmarks.scale $(ARGS)

bench-peers: install ## Measure beside all peers, on PostgreSQL and Redis (ARGS='--only flux,pgqueuer --rounds 3')
	$(BIN)/python -m benchmarks.peers $(ARGS)

clean: ## Remove what was built and measured; .venv stays (rm -rf .venv for that)
	rm -rf build dist htmlcov .coverage .coverage.* coverage.xml .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests benchmarks examples scripts -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
