# `make run` and `make test` need python3.11 or newer with venv and pip, make and a C compiler; nothing else.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime
STAMP := $(VENV)/.installed
BROWSER := $(VENV)/.browser

.PHONY: run test lint types bench docs clean

run: $(RUNTIME)
	$(BIN)/accelsim run lenet.yaml

# One BLAS thread each: two test processes already use both cores, and threads would only wait for each other.
test: lint types $(BROWSER)
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

lint: $(STAMP)
	$(BIN)/ruff check accelsim tests benchmarks

types: $(STAMP)
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright

# The pages of docs/ as a site that opens from disk: site/index.html.
docs: $(STAMP)
	$(BIN)/mkdocs build --strict --quiet

# CPU seconds and memory, some minutes; see benchmarks/README.md.
bench: $(STAMP)
	$(BIN)/python benchmarks/alexnet.py
	$(BIN)/python benchmarks/scalesim_peer.py

# Installed anew only when the metadata changed: what accelsim needs, and what its tests need.
$(RUNTIME): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	touch $(RUNTIME)

$(STAMP): $(RUNTIME)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $(STAMP)

# tests/browser needs a Chromium. Where there is none and we may install one, we try, once; else those tests say NOT RUN.
$(BROWSER): $(STAMP)
	@if ! $(BIN)/python -m tests.browser.devtools >/dev/null && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing a browser for tests/browser"; \
	  (timeout 120 apt-get update -qq && DEBIAN_FRONTEND=noninteractive timeout 600 apt-get install -y -qq \
	    --no-install-recommends chromium) >/dev/null 2>&1 || echo "no browser could be installed"; \
	fi
	@touch $(BROWSER)

clean:
	rm -rf $(VENV) build dist site .pytest_cache .ruff_cache .hypothesis
