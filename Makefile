# Everything a newcomer needs, from a fresh clone with Python 3.11 and make. Nothing is asked.
# `make demo` starts the demonstration, `make test` runs all tests.

# PYTHON=/path/to/python chooses the Python for the virtual environments; ARGS= goes to the tool.
export PYTHON
ARGS ?=

.PHONY: demo demo-reset test lint format bench venv clean

# Start a Hub with made-up users, servers and history on an embedded database; Ctrl-C stops it.
demo: .venv/.installed
	.venv/bin/jhub-usage demo $(ARGS)

# Throw the demonstration's data away and make it anew.
demo-reset: .venv/.installed
	.venv/bin/jhub-usage demo --reset $(ARGS)

# Run the tests against real parts: PostgreSQL, pgbouncer, Hubs of both versions, a browser.
# One file: make test ARGS=tests/test_x.py. In two processes: make test ARGS="-n 2".
test: venv
	scripts/system-packages.sh
	.venv/bin/python -m pytest $(ARGS)

# Check style and formatting.
lint: .venv/.installed
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

# Put the code into the standard format, and mend what can be mended by machine.
format: .venv/.installed
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

# Measure the hot paths; see benchmarks/.
bench: .venv/.installed
	.venv/bin/python -m benchmarks $(ARGS)

# Make both virtual environments: .venv, and .venv-hub5 for the Hub version before this one.
venv: .venv/.installed .venv-hub5/.installed

.venv/.installed: pyproject.toml scripts/venv.sh scripts/find-python.sh
	scripts/venv.sh

.venv-hub5/.installed: pyproject.toml scripts/venv-hub5.sh scripts/find-python.sh
	scripts/venv-hub5.sh

# Remove what the targets above have made, except the demonstration's data.
clean:
	rm -rf .venv .venv-hub5 build dist .pytest_cache .ruff_cache .hypothesis .coverage htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
