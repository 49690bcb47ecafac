# Two commands do all the set-up: `make demo` and `make test`. Both need Python 3.10+ and a network.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SWEEP_MINUTES ?= 8

.PHONY: demo test lint types sweep sweep-slice bench specs vendor screenshots docs fixtures-check clean

demo: $(VENV)/.installed
	$(BIN)/python fixtures/demo.py out

test: lint types
	$(BIN)/python -m pytest -n auto

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

sweep: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n auto -m sweep tests/sweep
	$(MAKE) fixtures-check

# A part of the sweep, another one for each commit, of at most SWEEP_MINUTES.
sweep-slice: $(VENV)/.installed-dev
	ESPCERT_SWEEP_SLICE=$$(git rev-parse HEAD) ESPCERT_SWEEP_MINUTES=$(SWEEP_MINUTES) \
		$(BIN)/python -m pytest -n auto -m sweep tests/sweep

bench: $(VENV)/.installed-dev
	$(BIN)/python -m tests.bench

specs:
	cd ksy && npm ci --ignore-scripts && node compile.mjs

# The libraries inside the HTML report, as the lock file in web/ names them.
vendor:
	cd web && npm ci --ignore-scripts && node vendor.mjs

# The README's pictures, of a made-up fleet; needs Chromium.
screenshots: $(VENV)/.installed-dev
	$(BIN)/python -m tests.report.screenshots

docs: $(VENV)/.installed
	$(BIN)/espcert verify --list-findings > docs/findings.md

fixtures-check: $(VENV)/.installed-dev
	$(BIN)/python fixtures/make_fixtures.py --check
	$(BIN)/python fixtures/make_verify.py --check
	$(BIN)/python fixtures/make_efuse.py --check

$(VENV)/.pip:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or later is needed")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	touch $@

$(VENV)/.installed: $(VENV)/.pip pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.pip pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . --group dev
	touch $(VENV)/.installed $@

clean:
	rm -rf $(VENV) build dist out ksy/node_modules web/node_modules .mypy_cache .ruff_cache .pytest_cache
