# Each target sets up what it needs: a virtual environment in .venv with the versions in constraints.txt.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: search design test benchmarks

search: .venv/ready  ## a short search on the built-in scenes, from nothing to a Pareto picture
	$(BIN)/python -m nas.search --study quick --trials 16 --teacher-epochs 2 --set full_epochs=1 --race 15

design: .venv/ready  ## the page on which networks are designed; open the address that it prints
	$(BIN)/python -m nas.design

test: .venv/ready  ## lint, types, tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest

benchmarks: .venv/ready  ## the figures that the README and benchmarks/ quote
	$(BIN)/python -m benchmarks.counting
	$(BIN)/python -m benchmarks.census
	$(BIN)/python -m benchmarks.step
	$(BIN)/python -m benchmarks.inference
	$(BIN)/python -m benchmarks.trial
	$(BIN)/python -m benchmarks.training
	$(BIN)/python -m benchmarks.workers
	$(BIN)/python -m benchmarks.coordinator
	$(BIN)/python -m benchmarks.design

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed; name one with PYTHON=...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	touch $@
