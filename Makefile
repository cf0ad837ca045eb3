# `make help` says what there is. Every target installs what it needs first, and says so; when all
# is there, that takes no time.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

# Daemons and tools that tools/packages unpacks for this checkout alone; sbin is where the others
# are, and it is in no ordinary user's PATH.
export PATH := $(CURDIR)/.build/unpacked/usr/bin:$(CURDIR)/.build/unpacked/usr/sbin:$(PATH):/usr/sbin:/sbin
export PYTHON
export PIP_DISABLE_PIP_VERSION_CHECK := 1

PIP := $(BIN)/python -m pip install --quiet --no-build-isolation

.DEFAULT_GOAL := help
.PHONY: help install demo test lint docs reference bench fuzz e2e lock clean

help: ## say what there is
	@sed -n 's/^\([a-z0-9]*\):.* ## /make \1\t/p' Makefile | expand -t 16

install: $(INSTALLED) ## make .venv/bin/vmmib and .venv/bin/triage ready to run

$(INSTALLED): pyproject.toml requirements/build.txt requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo 'vmmib needs Python 3.11 or newer, and $(PYTHON) is not: name one with make PYTHON=...' >&2; \
	  exit 1; }
	@tools/packages install
	@$(BIN)/python -c '' 2>/dev/null || { \
	  echo '==> $(PYTHON) -m venv .venv'; $(PYTHON) -m venv --clear .venv; }
	@echo '==> .venv: Python packages of requirements/, libvirt-python compiled for this libvirt'
	@$(PIP) --require-hashes -r requirements/build.txt
	@$(PIP) --require-hashes -r requirements/dev.txt
	@$(PIP) --no-deps --editable .
	@$(BIN)/python -m pip check --quiet
	@touch $@

demo: install ## see it work: VM-MIB, notifications, metrics, and an incident that triage explains
	@tools/packages demo
	@$(BIN)/vmmib demo --output .build/demo

test: install ## all tests but the slow ones
	@tools/packages test
	@$(BIN)/python -m pytest -m 'not e2e' $(ARGS)

e2e: install ## the slow end-to-end scenarios
	@tools/packages test
	@$(BIN)/python -m pytest -m e2e $(ARGS)

fuzz: install ## the codecs and decisions against many more random inputs
	@tools/packages fuzz
	@$(BIN)/python -m tests.fuzz.fuzz_pdu $(or $(ARGS),--seconds 60)
	@$(BIN)/python -m tests.fuzz.fuzz_lines $(or $(ARGS),--seconds 60)

bench: install ## the table of docs/performance.md
	@tools/packages bench
	@$(BIN)/python -m benchmarks $(ARGS)

lint: install ## ruff, mypy, import-linter
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@PYTHONPATH=. $(BIN)/lint-imports

docs: install ## the documentation as pages in .build/site, links checked
	@$(BIN)/python tools/links.py
	@$(BIN)/python tools/reference.py --check
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo 'The documentation is in .build/site/index.html'

reference: install ## docs/triage-reference.md anew from the code
	@$(BIN)/python tools/reference.py

# Versions and hashes, and no host: pip takes them from whatever index the machine is set up with.
lock: .build/uv/bin/uv ## requirements/ anew from pyproject.toml (UPGRADE=--upgrade for new versions)
	@mkdir -p requirements
	@$(LOCK) pyproject.toml -o requirements/runtime.txt
	@$(LOCK) pyproject.toml --extra syslog -c requirements/runtime.txt -o requirements/syslog.txt
	@$(LOCK) pyproject.toml --group dev -c requirements/syslog.txt -o requirements/dev.txt
	@$(LOCK) --group build -o requirements/build.txt
	@! grep -nE 'https?://' requirements/*.txt

LOCK = .build/uv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-header $(UPGRADE)

.build/uv/bin/uv:
	@echo '==> .build/uv: uv, which resolves the lock files'
	@$(PYTHON) -m venv .build/uv
	@.build/uv/bin/python -m pip install --quiet 'uv>=0.9'

clean: ## remove all that these targets made
	rm -rf .venv .build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
