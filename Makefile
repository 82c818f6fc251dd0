# make run: the app. make test: every check. Both build .venv on the first call and start in seconds afterwards.
# make format, lint, bench: as CONTRIBUTING.md says.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
BROWSERS := chromium chromium-browser google-chrome google-chrome-stable

.PHONY: run test lint format bench browser postgres

run: .venv/run-ready
	$(BIN)/python -m crystalseg app

test: .venv/test-ready browser postgres lint
	$(BIN)/python -m pytest -n auto --dist worksteal

lint: .venv/test-ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/test-ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/test-ready
	$(BIN)/python -m benchmarks

.venv/run-ready: requirements.txt
	$(PYTHON) -m venv .venv
	$(PIP) -r requirements.txt
	touch $@

# cellpose pins numpy below 2.1 but runs with later ones; its own requirements are among ours.
.venv/test-ready: .venv/run-ready requirements-dev.txt
	$(PIP) -r requirements-dev.txt
	$(PIP) --no-deps cellpose==3.1.1.3
	touch $@

# A browser that is there is used; else Debian's, else the one playwright downloads.
browser: .venv/test-ready
	@for b in $(BROWSERS); do command -v $$b >/dev/null && exit 0; done; \
	ls $$HOME/.cache/ms-playwright/chromium* >/dev/null 2>&1 && exit 0; \
	(command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq chromium >/dev/null) \
	|| $(BIN)/python -m playwright install --with-deps chromium

# The record is tested on a real PostgreSQL where one is installed or can be; elsewhere those tests are skipped.
postgres:
	@command -v initdb >/dev/null && exit 0; ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 && exit 0; \
	(command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] && apt-get update -qq \
	&& DEBIAN_FRONTEND=noninteractive apt-get install -y -qq postgresql >/dev/null 2>&1) || true
