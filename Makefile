# make run: the app. make test: every check. Both build .venv on the first call and start in seconds afterwards.
# make format, lint, bench, update, licences: as CONTRIBUTING.md says.
PYTHON ?= python3
BIN := .venv/bin
# Exactly what was tested: a lock names everything, and each file by its hash.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --no-compile
# One version of each package for every platform and every Python.
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes --no-annotate \
	--custom-compile-command "make update"
# The package that results are compared with. It pins numpy below 2.1 but runs with later ones.
CELLPOSE := cellpose==3.1.1.3
BROWSERS := chromium chromium-browser google-chrome google-chrome-stable

.PHONY: run test lint format bench update licences browser postgres

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

# The newest versions that requirements*.txt allow.
update: .venv/test-ready
	$(LOCK) --upgrade requirements.txt --output-file requirements.lock
	$(LOCK) --upgrade requirements-dev.txt --constraint requirements.lock --output-file requirements-dev.lock
	echo $(CELLPOSE) | $(LOCK) --no-header --no-deps - >> requirements-dev.lock

# Of everything that is installed; tests/test_lock.py says which are allowed.
licences: .venv/test-ready
	$(BIN)/pip-licenses --from=mixed --with-urls --order=license

.venv/run-ready: requirements.lock
	$(PYTHON) -m venv .venv
	$(INSTALL) -r requirements.lock
	touch $@

.venv/test-ready: .venv/run-ready requirements-dev.lock
	$(INSTALL) -r requirements-dev.lock
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
