# The two commands that do everything on a fresh machine: make run, make test.

PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
# DVC starts the stages as `python -m stages...`: that has to be the environment's python.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.DEFAULT_GOAL := help
.NOTPARALLEL: # the checks follow one another, also where MAKEFLAGS has -j
.PHONY: help setup run test test-quick test-faults test-gpu browser lint clean ci ci-pull ci-scores ci-repro ci-drop ci-report ci-comment

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## create .venv with the pinned dependencies

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v < (3, 14) else f"florafauna needs Python 3.11 to 3.13, this is {v[0]}.{v[1]}; set PYTHON=python3.12, say")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

run: setup ## run the pipeline on what params.yaml names (the embedded sample) and print the result
	dvc repro
	python -m florafauna.commands.summary

test: setup lint browser ## run the tests, with lint and type check
	python -m pytest

test-quick: setup ## run the tests that take no training, no pipeline and no browser: in a minute, while writing
	python -m pytest -m "not slow"

test-faults: setup ## kill and damage every stage, 248 times (a quarter of an hour); writes benchmarks/RESULTS.md
	python -m benchmarks faults

test-gpu: setup ## run the tests that need a GPU
	python -m pytest -m gpu

# The report is tested in a real browser: the system's, or one that Playwright fetches; without either those tests skip.
browser: setup
	@command -v chromium >/dev/null || python -m playwright install chromium >/dev/null 2>&1 \
	|| echo "no browser can be had here: the report's browser tests will be skipped"

lint: setup ## ruff, mypy, and the direction of imports between the rooms
	ruff check .
	ruff format --check .
	lint-imports --no-logo
	mypy

clean: ## remove .venv and what outlives a run (not the DVC cache)
	rm -rf $(VENV) .florafauna

# The check of a pull request, step by step; .github/workflows/pipeline.yml runs these and nothing else. It needs neither
# the training photos nor a GPU. BASE is the branch to compare with.
export BASE ?= main

ci: ## all checks of a pull request, then the report (build/ci/report.md)
	@$(MAKE) --no-print-directory ci-pull ci-scores ci-repro ci-drop; \
	code=$$?; $(MAKE) --no-print-directory ci-report; exit $$code

ci-pull: setup ## fetch bundles, predictions and test pixels, and check their hashes
	python -m florafauna.ci pull

ci-scores: setup ## score the cached logits again: was a metrics file edited?
	python -m florafauna.ci scores

ci-repro: setup ## dvc repro --pull --allow-missing: is nothing to be trained, and dvc.lock as committed?
	python -m florafauna.ci repro

ci-drop: setup ## did a score fall below its interval on BASE?
	python -m florafauna.ci drop

ci-report: setup ## metrics and params against BASE, and the verdict
	python -m florafauna.ci report

ci-comment: setup ## the report as a comment on the pull request
	python -m florafauna.ci comment
