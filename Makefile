# The two commands that do everything on a fresh machine: make run, make test.

PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
# DVC starts the stages as `python -m stages...`: that has to be the environment's python.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup run test lint report clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## create .venv with the pinned dependencies

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v < (3, 14) else f"florafauna needs Python 3.11 to 3.13, this is {v[0]}.{v[1]}; set PYTHON=python3.12, say")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

run: setup ## run the pipeline on what params.yaml names (the embedded sample) and print the result
	dvc repro
	python -m florafauna.summary

test: setup lint ## run the tests, with lint and type check
	python -m pytest

lint: setup ## ruff and mypy
	ruff check .
	ruff format --check .
	mypy

clean: ## remove .venv and what outlives a run (not the DVC cache)
	rm -rf $(VENV) .florafauna
