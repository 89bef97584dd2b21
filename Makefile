# make quickstart: set up, train, test and draw heat maps on made-up data
# make test:       set up, lint, check types, run the tests
VENV ?= .venv
PYTHON ?= python3
PY := $(VENV)/bin/python

.PHONY: quickstart test lint types bench clean

# the stamp is newer than pyproject.toml once everything in it is installed
$(VENV)/installed: pyproject.toml
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 10), "Python 3.10 or newer is needed: make PYTHON=python3.11"'
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

quickstart: $(VENV)/installed
	$(PY) -m ncl_lightning quickstart

test: lint types
	$(PY) -m pytest -n auto --dist worksteal

lint: $(VENV)/installed
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: $(VENV)/installed
	$(PY) -m mypy

bench: $(VENV)/installed
	for file in benchmarks/bench_*.py; do $(PY) $$file || exit 1; done

clean:
	rm -rf build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
