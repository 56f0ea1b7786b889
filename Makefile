# `make help` prints every target with its line.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
ROOMS := protos common gateway identity-svc catalog-svc keys-svc usage-svc billing-svc bff deploy/local
PROJECTS := pyproject.toml $(ROOMS:%=%/pyproject.toml)
PROTO_FILES := $(shell find protos -name '*.proto' | sort)

help: ## print every target with its line
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-10s %s\n", $$1, $$2}'

setup: .venv/installed ## install the locked packages and our own rooms into .venv

.venv/installed: requirements.lock $(PROJECTS)
	@echo "==> installing the locked packages into .venv (once, about a minute)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "AMS needs Python 3.11 or newer: set PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -m venv .venv || { echo "No venv module: apt-get install python3-venv"; exit 1; }
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/uv pip install --quiet --offline --python $(BIN)/python --no-deps --no-build-isolation $(ROOMS:%=-e ./%)
	@touch $@

lock: setup ## compile requirements.lock anew from the rooms' pyproject files
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --no-annotate --group dev $(PROJECTS) --no-emit-package ams-protos --no-emit-package ams-common -o requirements.lock

gen: setup ## generate the Python code of the protos, beside them
	@PATH=$(BIN):$$PATH $(BIN)/python protos/generate.py $(PROTO_FILES:protos/%=%)

.PHONY: help setup lock gen
