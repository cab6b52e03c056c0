# MedAI for developers. `make demo` and `make test` are all that a newcomer needs; both set up the environment first.
# Variables: PYTHON (an interpreter of 3.11 or newer), INPUT (a volume for the demo), PYTEST_ARGS, BENCH_ARGS.
ifeq ($(OS),Windows_NT)
BIN := .venv/Scripts
else
BIN := .venv/bin
endif
PY := $(BIN)/python
SUITES := $(wildcard Testing/architecture Testing/unit Testing/integration)
WIDGET_TESTS := $(wildcard Testing/widgets/test_*.py Testing/widgets/*/test_*.py)
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	if $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then echo $$p; break; fi; done)

# Runs a recipe's commands, prints how long they took, and ends with their exit code.
define timed
@start=$$(date +%s); status=0; $(2); \
	took=$$(( $$(date +%s) - start )); echo "make $(1): $$((took / 60)) min $$((took % 60)) s, exit code $$status"; exit $$status
endef

.PHONY: help env test widgets slow bench demo lint types format cmake-lists clean

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

env:  ## make or update the environment .venv (Python 3.11 or newer; no GPU needed)
	@if [ -z "$(PYTHON)" ]; then \
		echo "make env: no Python 3.11 or newer found. Install one and name it: make env PYTHON=/path/to/python3.12" >&2; \
		exit 1; fi
	@"$(PYTHON)" .ci/environment.py

test: env  ## all tests but the slow ones; the windows' tests run in a process of their own
	$(call timed,test,$(PY) -m pytest $(SUITES) $(PYTEST_ARGS) || status=$$?; \
	if [ -n "$(WIDGET_TESTS)" ]; then \
		QT_QPA_PLATFORM=offscreen $(PY) -m pytest Testing/widgets $(PYTEST_ARGS) || { code=$$?; [ $$status -ne 0 ] || status=$$code; }; fi)

widgets: env  ## only the tests of the windows, on the stand-in host
	$(call timed,widgets,QT_QPA_PLATFORM=offscreen $(PY) -m pytest Testing/widgets $(PYTEST_ARGS) || status=$$?)

slow: env  ## the slow tests (real training and inference)
	$(call timed,slow,$(PY) -m pytest $(SUITES) -m "slow and not gpu" $(PYTEST_ARGS) || status=$$?)

bench: env  ## MedAI beside its peers (half an hour on two cores); writes docs/benchmarks.md; BENCH_ARGS=--quick only tries; keeps its files in the user's cache (medai-benchmarks)
	$(call timed,bench,(cd Testing && ../$(PY) -m benchmarks $(BENCH_ARGS)) || status=$$?)

demo: env  ## segment brain and hippocampi of a head (or of INPUT=file) into demo/
	$(call timed,demo,$(PY) -m medai.demo $(if $(INPUT),--input "$(INPUT)") --output demo || status=$$?)

lint: env  ## ruff (rules and format) and the import contracts
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports

types: env  ## mypy on medai
	$(BIN)/mypy

format: env  ## let ruff mend what it can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

cmake-lists: env  ## write the file lists of the modules' CMakeLists.txt anew
	$(PY) Testing/architecture/cmake_lists.py --write

clean:  ## remove caches and demo output (the environment stays)
	rm -rf demo build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find MedAI* SegmentEditorMedAIClick Testing -name __pycache__ -type d -prune -exec rm -rf {} +
