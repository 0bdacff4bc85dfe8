# Two commands are all that anyone needs: `make demo` and `make test`. Both set up .venv by themselves.
PYTHON ?= python3
BIN := .venv/bin
# CI gives the wheel instead. Compat: a finder could be shadowed by the name of the folder that the clone lies in.
SOURCE ?= --config-settings editable_mode=compat -e '.[dev]'

.PHONY: install demo test lint check wheel clean

install: .venv/.installed

.venv/.installed: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("ultr needs Python 3.11 or newer; give one with: make PYTHON=python3.12 ...") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt $(SOURCE)
	touch $@

demo: install
	$(BIN)/ultr demo

test: install
	$(BIN)/pytest -n 2 tests

lint: install
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

check: install
	bash .ci/run

clean:
	rm -rf .venv build dist *.egg-info
