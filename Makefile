# make demo     a first frozen transfer and its random twin, side by side
# make test     every check that a change must pass
# make release  what a release takes, short of uploading it
# make clean    remove what make made; runs and cached weights stay

PYTHON ?= python3
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.NOTPARALLEL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

BIN := .venv/bin
READY := .venv/.ready
XMODAL := $(BIN)/xmodal
say = @printf '\n== %s\n' "$(1)"

.PHONY: help .venv demo test release clean
.PHONY: lint format types weights-and-data unit recipes docs

help:
	@sed -n '1,4s/^# //p' Makefile

.venv: $(READY)

# The stamp is newer than pyproject.toml when the environment holds what that asks for.
$(READY): pyproject.toml
	$(call say,environment)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "xmodal needs Python 3.11 or newer; choose one with: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv
	@log=$$(mktemp); trap 'rm -f "$$log"' EXIT; \
	echo '$(BIN)/python -m pip install -e ".[dev,docs]"'; \
	if ! $(BIN)/python -m pip install -e ".[dev,docs]" 2>&1 | tee "$$log"; then \
	  if grep -qE 'No matching distribution|Could not find a version|Connection|Max retries|timed out|[Pp]roxy|SSL|HTTP error|Temporary failure' "$$log"; then \
	    printf '\n%s\n%s\n%s\n' \
	      'The package registry failed, not xmodal: pip could not reach it, or it lacks a package (see above).' \
	      '  why: the environment is installed by plain pip, with your own settings' \
	      '  fix: see that "pip download einops" works, then run make again'; \
	  fi; \
	  exit 1; \
	fi
	@touch $@

demo: $(READY)
	$(call say,body)
	$(XMODAL) get body minilm-l6
	$(call say,a frozen pretrained body)
	$(XMODAL) train quickstart --resume
	$(call say,its random twin - as many steps)
	$(XMODAL) train quickstart_random --resume
	$(call say,side by side)
	$(XMODAL) report runs/quickstart runs/quickstart-random

test: lint format types weights-and-data unit recipes docs
	$(call say,all checks passed)

lint: $(READY)
	$(call say,ruff check)
	$(BIN)/ruff check

format: $(READY)
	$(call say,ruff format --check)
	$(BIN)/ruff format --check

types: $(READY)
	$(call say,pyright)
	$(BIN)/pyright

weights-and-data: $(READY)
	$(call say,weights and data that the tests need)
	$(XMODAL) get body antiberty
	$(XMODAL) get body minilm-l6
	$(XMODAL) get body smollm2-135m
	$(XMODAL) get body vit-s14-saliency
	$(XMODAL) get data cifar10
	$(XMODAL) get data mnist
	$(XMODAL) get data fashion-mnist

unit: $(READY)
	$(call say,pytest)
	OMP_WAIT_POLICY=PASSIVE $(BIN)/pytest -n auto --dist worksteal --durations=25

recipes: $(READY)
	$(call say,xmodal check)
	$(XMODAL) check recipes/*.yaml recipes/*/*.yaml

docs: $(READY)
	$(call say,mkdocs build --strict)
	$(BIN)/mkdocs build --strict

release: $(READY)
	$(call say,release - a dry run)
	$(BIN)/python .ci/release.py

clean:
	rm -rf .venv site dist build .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
