# Everything from a bare clone: `make demo` and `make test` create .venv and install into it first.
# Needs Python 3.10-3.13; choose another interpreter with `make demo PYTHON=/path/to/python`.

SUITABLE := import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.10; do \
	$$p -c '$(SUITABLE)' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
# The lock is what is installed, unless LATEST=1 asks for the newest that pyproject.toml allows.
STAMP := $(VENV)/.installed-$(if $(LATEST),latest,locked)
# On a busy machine two OpenMP threads can be several times slower than one.
export OMP_NUM_THREADS := 1
# What the archives of `make dist` are dated, so that two builds are the same.
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct)
# Beside the one that is locked: the oldest that is allowed, and the one that RLlib pins.
GYMNASIUMS := 1.1.1 1.2.2

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow test-gymnasium $(GYMNASIUMS:%=test-gymnasium-%) lint format docs dist lite lock clean distclean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "make %-14s %s\n", $$1, $$2}'

install: $(STAMP)  ## Create .venv and install everything for development as locked (LATEST=1: the newest allowed)

demo: $(STAMP)  ## A room with two sounds: rendered, heard and asked about (OUT=folder for its files)
	$(BIN)/bat-agent demo $(if $(OUT),--out "$(OUT)")

test: $(STAMP)  ## Run the tests (ARGS="-k scene" is handed to pytest)
	$(BIN)/pytest -n 2 --dist loadfile $(ARGS)

test-slow: $(STAMP)  ## Run the tests that take long: trainings killed and resumed, several processes, compilers
	$(BIN)/pytest -n 2 --dist loadfile -m slow $(ARGS)

test-gymnasium: $(GYMNASIUMS:%=test-gymnasium-%)  ## Run the tests of the environments with older gymnasiums

$(GYMNASIUMS:%=test-gymnasium-%): test-gymnasium-%: $(VENV)/gymnasium-%
	PYTHONPATH=$(CURDIR)/$< $(BIN)/python -c 'import gymnasium as g; assert g.__version__ == "$*", g.__file__'
	PYTHONPATH=$(CURDIR)/$< $(BIN)/pytest -n 2 --dist loadfile tests/envs $(ARGS)

# Only gymnasium differs: a folder that is searched before the rest of .venv.
$(GYMNASIUMS:%=$(VENV)/gymnasium-%): $(VENV)/gymnasium-%: | $(STAMP)
	rm -rf $@.part
	$(BIN)/python -m pip install --quiet --no-deps --target $@.part gymnasium==$*
	mv $@.part $@

lint: $(STAMP)  ## Check style, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)  ## Repair style and formatting in place
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMP)  ## Build the documentation into docs/_build/html and run what it shows; a warning is an error
	$(BIN)/python scripts/run_docs.py
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html

dist: $(STAMP)  ## Build sdist and wheel into dist/, byte for byte the same from the same commit
	rm -rf dist
	SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) $(BIN)/python -m build --no-isolation --outdir dist

lite: $(STAMP)  ## Build the wheel of bat-agent-lite, which needs no torch, into dist-lite/
	rm -rf dist-lite
	SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) $(BIN)/python -m build --no-isolation --wheel --outdir dist-lite lite

lock: | $(BIN)/python  ## Renew requirements/*.txt, the locks with hashes, to the newest releases allowed
	$(BIN)/python -m pip install --quiet 'uv>=0.9'
	requirements/renew $(BIN)/uv

clean:  ## Remove what was built and cached; .venv and runs/ stay
	rm -rf build dist dist-lite demo docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find bat_agent plugins envs tests benchmarks examples docs -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean  ## As clean, and remove .venv too
	rm -rf $(VENV)

# The stamp is written last, so an interrupted installation is repeated; another pyproject.toml, another lock or another
# LATEST installs again. --no-build-isolation: what builds us is locked too.
$(STAMP): pyproject.toml requirements/dev.txt | $(BIN)/python
	@echo "Installing into $(VENV): once, some minutes (PyTorch is large)"
	@rm -f $(VENV)/.installed*
ifdef LATEST
	$(BIN)/python -m pip install --quiet --upgrade --upgrade-strategy eager --editable '.[dev]'
else
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements/dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
endif
	@touch $@

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "no Python 3.10-3.13 found: install one, or name it with PYTHON=/path/to/python"; exit 1; }
	@"$(PYTHON)" -c '$(SUITABLE)' || \
		{ echo "$(PYTHON) is not Python 3.10-3.13: name another one with PYTHON=/path/to/python"; exit 1; }
	@"$(PYTHON)" -m venv $(VENV) || { rm -rf $(VENV); \
		echo "$(PYTHON) cannot create a virtual environment: install its venv module (Debian, Ubuntu: python3-venv)"; exit 1; }
