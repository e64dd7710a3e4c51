# Everything a newcomer or CI needs: `make demo`, `make test`. Python 3.11+ and make are enough.
PYTHON ?= python3
VENV   ?= .venv
PY      = $(VENV)/bin/python
BIN     = $(VENV)/bin
WORKERS ?= 2
ROOMS    = data strategy simulation models uplift policy evaluation explain reports artifact pipeline tracking batch errors hashing

export PIP_DISABLE_PIP_VERSION_CHECK = 1
export MLFLOW_DISABLE_TELEMETRY = true
export DO_NOT_TRACK = true
export OMP_NUM_THREADS ?= 2
# threads that wait by spinning slow a shared machine down; results do not depend on threads, so each test worker takes one
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: setup demo test test-all lint bench bench-peers fuzz report notebooks docs clean
.DEFAULT_GOAL := help

help:                ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

setup: $(VENV)/.installed  ## make .venv with everything the tests need

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "collectml needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Set PYTHON=...")'
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "$(PYTHON) lacks venv (on Debian: apt-get install python3-venv)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install -q -c constraints.txt -e ".[test,docs]"
	@$(PY) -c 'import lightgbm' 2>/dev/null || { echo "LightGBM needs the system library libgomp.so.1 (on Debian: apt-get install libgomp1)"; exit 1; }
	@touch $@

demo: setup          ## simulate, train, evaluate, assign, report: the whole thing in one go (under 3 minutes)
	$(BIN)/collectml demo --out data/demo

test: setup lint     ## what CI runs: lint, types, import contract, doctests, tests (under 12 minutes)
	OMP_THREAD_LIMIT=1 $(PY) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not slow" $(ARGS)

test-all: setup lint ## the slow ones too, and coverage; needs the public data (COLLECTML_DATA)
	OMP_THREAD_LIMIT=1 COLLECTML_REQUIRE_DATA=1 $(PY) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --cov --cov-report=term $(ARGS)

lint: setup          ## ruff, mypy, import-linter, no registry hosts in the constraints
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@! grep -nE '://|^--' constraints.txt

bench: setup         ## every benchmark, as ratios against a named peer in the same run
	$(PY) experiments/bench_assign.py --accounts 100000 --highs
	$(PY) experiments/bench_assign.py --accounts 1000000 10000000
	$(PY) experiments/bench_simulation.py --accounts 1000000
	$(PY) experiments/bench_learners.py --decisions 100000
	$(PY) experiments/bench_coverage.py --logs 2000
	$(PY) experiments/bench_obp.py
	$(PY) experiments/bench_report.py --accounts 1000000
	$(PY) experiments/bench_serve.py

FUZZ_SECONDS ?= 120
fuzz: setup          ## feed mutated YAML, Parquet and command lines to the readers, FUZZ_SECONDS each
	$(PY) -m pip install -q -c constraints.txt -e ".[fuzz]"
	for kind in yaml parquet cli; do $(PY) tests/fuzz/fuzz.py $$kind --seconds $(FUZZ_SECONDS) || exit 1; done

report: setup        ## sample reports of the demo portfolio in English, Chinese and both, HTML and PDF, under data/
	test -d data/demo/model || $(BIN)/collectml demo --out data/demo
	for language in en zh-CN both; do $(BIN)/collectml report --model data/demo/model --accounts data/demo/batch/accounts.parquet \
	  --capacity data/demo/batch/capacity.parquet --as-of 2026-06-30 --language $$language --pdf --out data/report/$$language.html; done

bench-peers: setup   ## an environment each for the libraries our learners are held against, then the comparison
	for peer in econml causalml metalearners; do \
	  test -x data/peers/$$peer/bin/python || { $(PYTHON) -m venv data/peers/$$peer && data/peers/$$peer/bin/python -m pip install -q $$peer lightgbm pyarrow; }; \
	done
	data/peers/metalearners/bin/python -m pip install -q polars "scikit-learn<1.7"  # metalearners 0.13 asks classes for what scikit-learn 1.7 took away
	$(PY) experiments/bench_uplift.py --rows 20000 --worlds card charged_off heavy few_payers twenty_actions conditions --seeds 1 2 3 \
	  --econml data/peers/econml/bin/python --causalml data/peers/causalml/bin/python --metalearners data/peers/metalearners/bin/python
	$(PY) experiments/bench_metalearners.py --metalearners data/peers/metalearners/bin/python

notebooks: setup     ## run the notebooks from their text and write them beside it
	$(BIN)/jupytext --to ipynb --execute notebooks/*.py

docs: setup          ## the reference, rendered from the docstrings
	$(BIN)/pdoc --docformat numpy -o site collectml $(addprefix collectml.,$(ROOMS))

clean:               ## remove what tools left behind
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage site build dist
