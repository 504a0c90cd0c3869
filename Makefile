# `make` alone lists what there is. Needs: python3 (>= 3.11) with venv and pip, and make.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

# Stamps: each is newer than pyproject.toml when the environment holds what it names.
RUN := $(VENV)/.installed-run
DEV := $(VENV)/.installed-dev
DOCS := $(VENV)/.installed-docs
FLEET := $(VENV)/.installed-fleet

# The long tier starts the program as users do; `make test` forks it from a process that has imported it.
FRESH := ORCHESTRATOR_TEST_FRESH=1 PYTHONPATH=tests:.
PROOF := $(FRESH) $(BIN)/python -m proof

.DEFAULT_GOAL := help
.PHONY: help demo demo-fleet test test-quick check format docs reference screenshots bench bench-quick proof proof-report proof-replay proof-selftest fault-matrix clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(RUN)  ## run 200 requests through the sandbox: no key, no network, no cost
	$(BIN)/orchestrator run examples/reviews.jsonl --sandbox

demo-fleet: $(FLEET)  ## three daemons on one PostgreSQL, one is killed, nothing is lost (needs Debian's postgresql)
	PYTHONPATH=tests:. $(BIN)/python tools/demo_fleet.py

# The stores of tests lie on a disk in memory where one has 4 GB free: processes die in tests, power does not fail.
# One worker more than cores: a third of a test's time is waiting. PYTEST takes more options for pytest.
TMPDIR_IN_MEMORY := $(shell df -k --output=avail /dev/shm 2>/dev/null | awk 'NR == 2 && $$1 > 4000000 { print "/dev/shm" }')
# What Python and pytest make of the files is kept, whatever the caller's variables say: else each worker makes it again
# (12 s of CPU), and so does every process that a test starts.
WORKERS ?= $(shell expr $$(nproc 2>/dev/null || echo 2) + 1)
PYTEST ?=
RUN_TESTS = env -u PYTHONDONTWRITEBYTECODE $(if $(TMPDIR_IN_MEMORY),TMPDIR=$(TMPDIR_IN_MEMORY)) $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(PYTEST)

test: $(DEV)  ## run all tests (about 8 minutes on two cores)
	$(RUN_TESTS)

test-quick: $(DEV)  ## the tests of units, store and engine that start no process (about a minute on two cores)
	$(RUN_TESTS) tests/unit tests/store tests/engine -m "not process"

check: $(DEV)  ## formatting, lint, types, and who may import whom
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(DEV)  ## put the code into its form, and repair what can be repaired
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The pages link to each other as they lie in the project, so they are built as they lie there.
PAGES := README.md ARCHITECTURE.md CONTRIBUTING.md CHANGELOG.md LICENSE NOTICE config.example.toml docs deploy examples
docs: $(DOCS)  ## build the documentation as a site into build/site; a link that leads nowhere fails
	rm -rf build/pages && mkdir -p build/pages/benchmarks
	cp -r $(PAGES) build/pages/ && cp benchmarks/README.md benchmarks/targets.py build/pages/benchmarks/
	$(BIN)/zensical build --strict --clean

reference: $(DEV)  ## write docs/reference anew from the code
	$(BIN)/python tools/make_reference.py

screenshots: $(DEV)  ## pictures of every screen of the dashboard, light and dark, wide and narrow, into docs/screenshots (needs chromium)
	PYTHONPATH=tests:. $(BIN)/python tools/screenshots.py

WORK ?=
bench: $(DEV)  ## run every benchmark and write benchmarks/README.md's tables (hours, 20 GB: WORK=/a/large/disk)
	$(BIN)/python -m benchmarks all $(if $(WORK),--work "$(WORK)")

bench-quick: $(DEV)  ## two minutes of benchmarks: prints how each target is met, writes nothing
	$(BIN)/python -m benchmarks quick $(if $(WORK),--work "$(WORK)")

MINUTES ?= 60
STORE ?= sqlite
proof: $(DEV)  ## the long tier of the proof, some MINUTES (60) of worlds, kills, windows; then planted bugs (90); STORE=postgres: there
	$(PROOF) run --minutes $(MINUTES) --store $(STORE)

proof-report: $(DEV)  ## write docs/proof.md and docs/proof.json from the last `make proof`
	$(PROOF) report

proof-replay: $(DEV)  ## run one simulated world again and print what happens: WORLD="everything" SEED=17 STEPS=""
	@test -n "$(WORLD)" -a -n "$(SEED)" || { echo 'say which: make proof-replay WORLD="everything" SEED=17' >&2; exit 2; }
	$(PROOF) replay --profile "$(WORLD)" --seed $(SEED) --store $(STORE) $(STEPS)

proof-selftest: $(DEV)  ## plant known bugs, one by one, in a copy of the tree: each is caught by its test
	PYTHONPATH=tests:. $(BIN)/python -m proof.selftest

fault-matrix: $(DEV)  ## run the command under thirteen faults, audit the API's books, write docs/fault-matrix.md
	$(FRESH) $(BIN)/python -m proof.matrix

clean:  ## remove the environment, caches and built files; databases and results stay
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(RUN): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(DEV): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(RUN) $(FLEET)

$(FLEET): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[postgres]'
	@touch $@ $(RUN)

$(DOCS): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	@touch $@ $(RUN)
