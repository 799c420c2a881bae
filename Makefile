# Every target works on a fresh machine: it makes .venv, installs, then runs.
# `make PYTHON=python3.12 test` picks another interpreter.

PYTHON ?= python3
VENV := .venv
LAB := .venv-lab
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LAB_STAMP := $(LAB)/.installed-serve
SERVE_STAMP := $(VENV)/.installed-serve
OUT ?= build/demo

.PHONY: help venv demo demo-probe test test-real check lint types imports docs bench bench-audit bench-peers bench-probe clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' Makefile

# The stamp stands for the install: it is redone only when what it was made from has changed.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("filiation needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; try: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

# The tests on real models make a fine-tune with torch and serve models with llama.cpp; torch stays out of the everyday
# environment.
$(LAB_STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(LAB)
	$(LAB)/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[test,lab,serve]"
	@touch $@

# A real model server, for the demo of the probe; the reseller gets an environment of its own (tests/real/servers.py).
$(SERVE_STAMP): $(STAMP)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[serve]"
	@touch $@

venv: $(STAMP)  ## make .venv with the package and the developer tools

demo: $(STAMP)  ## compare the shipped small models; HTML reports in build/demo (offline)
	$(BIN)/filiation demo --out $(OUT)

demo-probe: $(SERVE_STAMP)  ## ask a real model behind a reseller; report in build/demo-probe (downloads once)
	$(BIN)/python examples/probe/demo.py

# One thread each: the matrix products of a comparison are small, and threads that wait for one another take more time
# than they save. Compiled modules are kept, as pip keeps those that it installs: hundreds of commands are run.
test: $(STAMP)  ## every test that needs neither torch nor a download
	OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 2 --dist loadfile

test-real: $(LAB_STAMP)  ## tests on pinned real models (downloads packages, needs torch)
	OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(LAB)/bin/python -m pytest -m "" tests/real tests/lab/test_training.py tests/lab/test_device.py tests/lab/test_breeding.py --durations=10

check: lint types imports docs  ## lint, format, types, import directions, docs build

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/pyright

imports: $(STAMP)
	$(BIN)/lint-imports

docs: $(STAMP)
	$(BIN)/zensical build --clean

bench: $(STAMP)  ## the measured promises; slow, never in CI
	$(BIN)/python benchmarks/run.py
	$(MAKE) bench-probe

bench-audit: $(STAMP)  ## what the audit's wings recover on public releases; slow, never in CI
	$(BIN)/python benchmarks/source.py
	$(BIN)/python -m benchmarks.tokenizers
	$(BIN)/python -m benchmarks.traces

PEERS_OUT ?= build/peers

bench-peers: $(STAMP)  ## other tools and published methods beside ours: ZOO=... [MEASURED=...]; slow, never in CI
	@test -n "$(ZOO)" || { echo "name a bred zoo: make bench-peers ZOO=build/zoo MEASURED=build/measured"; exit 2; }
	PYTHONPATH=. $(BIN)/python -m benchmarks.peers $(ZOO) $(MEASURED) --out $(PEERS_OUT)

bench-probe: $(LAB_STAMP)  ## the probe's tests, simulated and on real servers, and other tools; over an hour, never in CI
	OMP_NUM_THREADS=1 $(LAB)/bin/python -m benchmarks.probe_tests
	OMP_NUM_THREADS=1 $(LAB)/bin/python -m benchmarks.probe_tokenizers
	OMP_NUM_THREADS=1 $(LAB)/bin/python -m benchmarks.probe_output_layer
	OMP_NUM_THREADS=1 $(LAB)/bin/python -m benchmarks.probe_output_layer --served
	OMP_NUM_THREADS=1 $(LAB)/bin/python -m benchmarks.probe_real same stranger layer derived
	OMP_NUM_THREADS=1 $(LAB)/bin/python -m benchmarks.probe_real swap --runs 3 --pairs 60
	OMP_NUM_THREADS=1 $(LAB)/bin/python -m benchmarks.probe_peers

clean:  ## remove what the targets above made, the environments too
	rm -rf $(VENV) $(LAB) .venv-reseller build dist site .cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
