# The commands to remember: make demo, make test, make check, make bench.
# They need Python 3.11 or 3.12 with venv, and make; everything else is installed into .venv.
# ARGS is passed on: make demo ARGS=--exit, make test ARGS=--long, make bench ARGS="state".

# The first of these that really runs: a name on the path may be an empty shim.
PYTHON ?= $(shell for name in python3.12 python3.11 python3; do \
	$$name -c 'import venv' 2>/dev/null && echo $$name && break; done)
VENV := .venv
BIN := $(VENV)/bin
CODE := chain consensus state p2p rpc colophon tests tools

.PHONY: demo test check bench clean

demo: $(VENV)/.runtime
	@$(BIN)/colophon demo $(ARGS)

test: $(VENV)/.dev
	@$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

check: $(VENV)/.dev
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q tests/test_architecture.py

bench: $(VENV)/.runtime
	@$(BIN)/colophon bench $(if $(ARGS),$(ARGS),execute)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/.runtime: pyproject.toml tools/preflight.py
	@$(PYTHON) tools/preflight.py
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@touch $@
