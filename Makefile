# Every target sets itself up in .venv; needs Python 3.11+, pip and make.
#   make demo LOOP=trio      make test ARGS='-k retry'      make PYTHON=python3.13 test

PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3; do \
	$$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$python && break; done)
ARGS ?=
BIN := .venv/bin
PINS := .ci/constraints.txt
READY := .venv/ready

.PHONY: demo test covered coverage faults soak simulate plans check bench clean format project \
	lint imports types spelling slots wheel house

demo: $(READY)
	$(BIN)/python -m examples.email_worker

# By file, because the examples of one page follow on each other. (loadgroup does
# nothing with pytest 9.2: pytest-xdist#1386.)
test: $(READY)
	$(BIN)/python -m pytest -n auto --dist loadfile $(ARGS)

# The rooms that are held at 100 % of branches, by what `make test ARGS=--cov=layered` measured.
COVERED := layered/errors.py,layered/service/*,layered/task/*,layered/telemetry/*,layered/handler/*
COVERED := $(COVERED),layered/backend/*,layered/layers/*,layered/extractors/*,layered/worker/*
covered: $(READY)
	$(BIN)/coverage report --fail-under=100 --include='$(COVERED),layered/backends/memory/*'

coverage:
	$(MAKE) test ARGS='--cov=layered --cov-report= $(ARGS)'
	$(MAKE) covered

# 10,000 tasks for each scenario, on SQLite (8 minutes) and on PostgreSQL (17); the figures are in
# build/faults-*.txt. ARGS='-k postgres' for one of them.
faults: $(READY)
	$(BIN)/python -m tests.faults -q $(ARGS)

soak: $(READY)
	SOAK_SECONDS=600 $(BIN)/python -m pytest tests/faults/test_soak.py $(ARGS)

# Seeds that nobody has tried; ARGS='--seed 123' shows one.
simulate: $(READY)
	$(BIN)/python -m tests.simulation $(or $(ARGS),--seeds 10000)

# What statements cost among a million tasks: in steps of SQLite's machine, in rows of PostgreSQL.
plans: $(READY)
	$(BIN)/python -m tests.plans.figures
	$(BIN)/python -m tests.plans.postgres.figures

check: project lint imports types spelling slots house wheel

bench: $(READY)
	$(BIN)/python -m benchmarks $(ARGS)

clean:
	rm -rf .venv build .coverage* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

# Mends what can be mended; `lint` only looks.
format: $(READY)
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

project: $(READY)
	$(BIN)/validate-pyproject pyproject.toml

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

imports: $(READY)
	$(BIN)/lint-imports --no-logo

types: $(READY)
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

spelling: $(READY)
	$(BIN)/codespell

slots: $(READY)
	$(BIN)/python -m slotscheck -m layered

house: $(READY)
	$(BIN)/python -m pytest tests/house

# The wheel is built from the sdist, so this also shows that the sdist is complete.
wheel: $(READY)
	rm -rf build/dist build/venv
	$(BIN)/pyproject-build --no-isolation --outdir build/dist
	$(BIN)/python -m venv --without-pip build/venv
	$(BIN)/pip --python build/venv/bin/python install --quiet --constraint $(PINS) build/dist/*.whl
	cd build && venv/bin/python -I ../.ci/smoke.py

# The pins come first: without build isolation the package is built with the pinned backend.
$(READY): pyproject.toml $(PINS)
	@test -n "$(PYTHON)" || { echo "no Python 3.11+ with venv found; set PYTHON=" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint $(PINS) --upgrade pip
	$(BIN)/pip install --quiet --constraint $(PINS) --group dev
	$(BIN)/pip install --quiet --constraint $(PINS) --no-build-isolation --editable '.[postgres,trio]'
	touch $@
