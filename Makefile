# `make report` on a fresh machine: needs Python 3.11 or newer, make and a Python package index.

PROFILE ?= quick
ARGS    ?=
MIRROR  ?=
# The first interpreter here that is new enough and can make virtual environments.
PYTHON  ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo $$p; break; }; done)

VENV := .venv
BIN  := $(VENV)/bin
CODE := yoda_nb yoda_papers tests docs/make hatch_build.py
BIOME := @biomejs/biome@2.6.8
PIP  := $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help report test fuzz killtest lint lab class figure measure clean

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  PROFILE=full     the paper's setting instead of two CPU cores for minutes"
	@echo "  ARGS='...'       more options for yoda-nb report, pytest, the classroom, fuzz or killtest"
	@echo "  MIRROR=DIR       a local copy of the public data, for make test and make measure"
	@echo "  PYTHON=path      the Python to make $(VENV) with"

report: $(VENV)/.installed ## Run the notebooks and write report/index.html
	@$(BIN)/yoda-nb report --profile $(PROFILE) -o report $(ARGS)

test: $(VENV)/.installed-test ## Run the test suite
	@$(BIN)/python -m pytest $(if $(MIRROR),--mirror=$(MIRROR)) $(ARGS)

fuzz: $(VENV)/.installed-test ## Read 10,000 mutated inputs: each refused clearly or read right
	@$(BIN)/python tests/hostile/fuzz.py $(ARGS)

killtest: $(VENV)/.installed-test ## Kill jobs at random moments, fill disks; what is left is whole
	@$(BIN)/python tests/hostile/killtest.py $(ARGS)

lint: $(VENV)/.installed-test ## Check style, types and the explorers' JavaScript
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@if npx --yes $(BIOME) --version >/dev/null 2>&1; then npx --yes $(BIOME) lint; \
	else echo "The JavaScript was not checked: that needs node and, once, its package registry."; fi

lab: $(VENV)/.installed ## Open the notebooks in JupyterLab
	@$(BIN)/jupyter lab notebooks $(ARGS)

class: $(VENV)/.installed ## Serve the notebooks to a class with Voilà
	@exec $(BIN)/yoda-nb class $(ARGS)

figure: $(VENV)/.installed ## Make the figure of docs/findings.md again
	@$(BIN)/yoda-nb rebuild figure $(ARGS)

measure: $(VENV)/.installed ## Measure the documents' numbers again (MIRROR=DIR without internet)
	@$(BIN)/yoda-nb rebuild numbers $(if $(MIRROR),--mirror $(MIRROR)) $(ARGS)
	@$(BIN)/yoda-nb bench

clean: ## Remove the report and caches (the environment: rm -r .venv)
	rm -rf report build dist *.egg-info .pytest_cache .hypothesis .ruff_cache .mypy_cache
	find yoda_nb yoda_papers tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" && $(PYTHON) -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "yoda-nb needs Python 3.11 or newer with venv (Debian: apt install python3-venv);"; \
	  echo "name one with: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11"; exit 1; } >&2
	@echo "Installing into $(VENV) (one to three minutes, once) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) torch
	@$(PIP) -e '.[scans]'
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	@echo "Installing what the tests and the checks of style need ..."
	@$(PIP) -e '.[scans,test,lint]'
	@touch $@
