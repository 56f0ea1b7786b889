# `make help` prints every target with its line.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
PROJECTS := $(wildcard */pyproject.toml)
PACKAGES := $(PROJECTS:/pyproject.toml=)
CHECKED := conftest.py tests loadtests deploy/tests $(PACKAGES)
HEADS := gateway/ams_gateway/http/_heads
ASSETS := bff/ams_bff/static/manifest.json
LOCAL := $(BIN)/python -m ams_local
# Test files side by side: more than the cores, for most of them wait for servers.
WORKERS ?= 3

help: ## print every target with its line
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-15s %s\n", $$1, $$2}'

run: for-run setup ## the whole system on this machine, with a small marketplace in it; Ctrl-C stops it
	@exec $(LOCAL) run

test: for-tests setup tests/clients/node_modules/installed ## every test, on real PostgreSQL, Redis and Kafka; T="-k name" or T=folder narrows it
	@$(LOCAL) exec --tests -- $(BIN)/pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(T)

check: setup ## format, lint, types, commits' messages, and that the generated code is that of the protos
	@$(BIN)/python local/check_commits.py
	@! git grep -nE '^(<<<<<<<|>>>>>>>) ' || { echo "a merge left its marks"; exit 1; }
	@$(BIN)/ruff format --check --quiet . || { echo "not formatted: make format"; exit 1; }
	@$(BIN)/ruff check --quiet .
	@for folder in $(CHECKED); do $(BIN)/mypy --no-error-summary $$folder || exit 1; done
	@rm -rf .run/gen && mkdir -p .run/gen && $(BIN)/python protos/generate.py .run/gen
	@$(BIN)/python rest/collect_error_codes.py --check
	@diff -rq --exclude=__pycache__ --exclude='*.proto' .run/gen/ams protos/ams || { echo "the generated code is not that of the protos: make gen"; exit 1; }

format: setup ## format the code, and mend what the linter can
	@$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format --quiet .

gen: setup ## generate the Python code of the protos, beside them, and the list of error codes
	@$(BIN)/python protos/generate.py protos
	@$(BIN)/python rest/collect_error_codes.py

bench: setup ## a consume call's CPU beside nginx, nginx + Lua and a commit before; ARGS="--profile"
	@$(BIN)/python -m loadtests.bench.gateway $(ARGS)

bench-open-loop: setup ## what the gateway adds to an answer's time at 1,000 requests/s
	@$(BIN)/python -m loadtests.bench.open_loop $(ARGS)

bench-workers: setup ## what a second worker adds, and that memory is flat; ARGS="--requests 10000000"
	@$(BIN)/python -m loadtests.bench.workers $(ARGS)

bench-limits: setup ## calls that two gateways let through in any 60 s at 10 × the limit, with Redis and without; 7 minutes
	@$(BIN)/python -m loadtests.bench.limits $(ARGS)

bench-pipeline: setup ## usage-svc beside the commit before totals, and how soon billing-svc agrees; ARGS="--events 5000000 --slices 5"
	@$(BIN)/python -m loadtests.bench.ingest $(ARGS)

bench-live: setup ## how long after a call pages show what it costs; ARGS="--calls 100"
	@$(LOCAL) exec --tests -- env PYTHONPATH=tests $(BIN)/python loadtests/bench/live.py $(ARGS)

bench-questions: setup ## how long answers about a year of usage take, and what pages ask; ARGS="--events 1000000"
	@$(BIN)/python -m loadtests.bench.questions $(ARGS)

prove-counts: setup ## every answered call is counted once, whatever is killed: 50 times and 20, about 10 minutes
	@PYTHONPATH=tests $(BIN)/python -m loadtests.proofs.counts $(ARGS)
	@$(LOCAL) exec --tests -- env BILLING_KILLS=20 $(BIN)/pytest -q billing-svc/tests/test_survive_crash.py -k second_process

prove-kills: setup ## each change is whole or absent, whichever service is killed amid 200; ARGS="--seed 7"
	@PYTHONPATH=tests $(BIN)/python -m loadtests.proofs.kills $(ARGS)

prove-changes: setup ## gateways obey each change within 1 s, 60 s if Redis loses it; ARGS="--changes 10 --only key"
	@PYTHONPATH=tests $(BIN)/python -m loadtests.proofs.changes $(ARGS)

fuzz-rest: for-tests setup ## the REST API against its OpenAPI document, in each role; FUZZ_REST_EXAMPLES=50, FUZZ_REST_SEED=7
	@FUZZ_REST_EXAMPLES=$${FUZZ_REST_EXAMPLES:-20} $(LOCAL) exec --tests -- env PYTHONPATH=tests $(BIN)/pytest -q -rP loadtests/proofs/rest_fuzz.py $(T)

hostile-day: setup ## hostile consumers and merchants learn nothing of each other; ARGS="--seed 7" repeats a day
	@$(BIN)/python -m loadtests.proofs.hostile_day $(ARGS)

fuzz: setup ## 5 minutes of damaged heads and bodies against both entries; ARGS="--seconds 60 --seed 7"
	@$(BIN)/python -m loadtests.proofs.fuzz $(ARGS)

bench-invoices: setup ## the monthly run over 100,000 pairs of merchant and consumer; ARGS="--merchants 100"
	@$(LOCAL) exec --tests -- $(BIN)/python -m loadtests.bench.invoices $(ARGS)

bench-lists: setup ## lists and single things among 100,000 services; ARGS="--services 10000"
	@$(LOCAL) exec --tests -- $(BIN)/python -m loadtests.bench.lists $(ARGS)

bench-keys: setup ## keys-svc lists, searches and gets among a million keys; ARGS="--consumers 1000"
	@$(LOCAL) exec --tests -- $(BIN)/python -m loadtests.bench.keys $(ARGS)

bench-marketplace: setup ## catalog-svc searches, counts and lists among 100,000 services; ARGS="--services 10000"
	@$(LOCAL) exec --tests -- $(BIN)/python -m loadtests.bench.marketplace $(ARGS)

bench-pages: setup ## the web UI's pages: server time and largest contentful paint beside their bounds
	@$(LOCAL) exec --tests -- env PYTHONPATH=tests $(BIN)/python loadtests/bench/pages.py

screenshots: setup ## every page at five widths, light and dark, into .run/screenshots; T="-k name" narrows it
	@SCREENSHOTS=.run/screenshots $(LOCAL) exec --tests -- $(BIN)/pytest -q tests/test_ui_pages.py $(T)

load: setup ## the whole system under load for a minute: percentiles beside the PRD's targets
	@$(BIN)/python -m loadtests.load

env: ## .env for `docker compose up`: addresses, and secrets made at random; what is there stays
	@$(PYTHON) deploy/make-env

lock: ## compile requirements.lock anew from the packages' pyproject files
	@test -x $(BIN)/uv || $(MAKE) setup
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header --no-annotate --group dev pyproject.toml $(PROJECTS) --no-emit-package ams-protos --no-emit-package ams-common --no-emit-package ams-rest --no-emit-package ams-rating --no-emit-package ams-pdf \
	  -o requirements.lock
	@echo ziglang | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header --no-annotate - -o compiler.lock
	@! command -v mvn >/dev/null || $(BIN)/python -m ams_local.kafka_jars

bare-machine: ## run and test on a Debian made with debootstrap, as root and not; ALL=1: with every test
	@$(PYTHON) local/bare_machine.py $(if $(ALL),--all-tests)

# What no wheel has is looked for first: who may not install it is told at once what will be off.
for-run:
	@$(PYTHON) local/ams_local/tools.py docker-registry

for-tests:
	@$(PYTHON) local/ams_local/tools.py docker-registry chromium skopeo podman curl

setup: .venv/installed $(HEADS).abi3.so $(ASSETS) ## install the locked packages and our own packages, build the web UI's assets

.venv/installed: requirements.lock $(PROJECTS)
	@echo "==> installing the locked packages into .venv (once, about a minute)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || { echo "AMS needs Python 3.11 or newer: install it, or set PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -m venv .venv || { echo "Python has no venv module: apt-get install python3-venv"; exit 1; }
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@command -v cc >/dev/null || $(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r compiler.lock \
	  || echo "no C compiler: the gateway will read heads in Python, and calls cost more"
	@$(BIN)/uv pip install --quiet --offline --python $(BIN)/python --no-deps --no-build-isolation $(PACKAGES:%=-e ./%)
	@touch $@

# Built by the installation; this is for a source that has changed since.
$(HEADS).abi3.so: $(HEADS).c $(dir $(HEADS))_abi3.h gateway/hatch_build.py | .venv/installed
	@$(BIN)/python gateway/hatch_build.py || true

bff/node_modules/installed: bff/package.json bff/package-lock.json .venv/installed
	@echo "==> installing what the web UI takes from npm (once, about ten seconds)"
	@cd bff && ../$(BIN)/python -m ams_local npm ci --silent --ignore-scripts && touch node_modules/installed

tests/clients/node_modules/installed: tests/clients/package.json tests/clients/package-lock.json .venv/installed
	@echo "==> installing what makes TypeScript clients from npm (once, about ten seconds)"
	@cd tests/clients && ../../$(BIN)/python -m ams_local npm ci --silent --ignore-scripts && touch node_modules/installed

$(ASSETS): bff/node_modules/installed $(wildcard bff/build/* bff/ams_bff/assets/*)
	@cd bff && ../$(BIN)/python -m ams_local npm run --silent build

.PHONY: help run test check format fuzz gen bench bench-open-loop bench-workers bench-limits bench-pipeline bench-lists bench-keys bench-marketplace bench-pages bench-live bench-questions hostile-day prove-changes prove-counts prove-kills screenshots load env lock bare-machine for-run for-tests setup fuzz-rest
