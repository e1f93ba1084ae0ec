MAKEFLAGS += --no-print-directory
STACK ?= local
PYTHON := .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help install setup up preview refresh outputs down env acceptance test lint bench soak

help: ## list the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-11s %s\n", $$1, $$2}'

install: .venv/.installed .tools/.installed

setup: install ## install packages, the Pulumi CLI and its launchers into this folder; provision nothing
	@$(PYTHON) tools/stack.py setup --stack $(STACK)

up: setup ## bring the stack up: make up [STACK=local]
	@$(PYTHON) tools/stack.py up --stack $(STACK)

preview: setup ## show what `make up` would change
	@$(PYTHON) tools/stack.py preview --stack $(STACK)

refresh: setup ## compare the stack's state with what is really there
	@$(PYTHON) tools/stack.py refresh --stack $(STACK)

outputs: setup ## print the stack's outputs as JSON
	@$(PYTHON) tools/stack.py outputs --stack $(STACK)

down: setup ## remove all that the stack made
	@$(PYTHON) tools/stack.py down --stack $(STACK)

env: setup ## print the environment for using pulumi directly: eval "$(make env)"
	@$(PYTHON) tools/stack.py env --stack $(STACK)

acceptance: setup ## take a new stack of a real account through its life and report: make acceptance STACK=name
	@$(PYTHON) tools/acceptance.py --stack $(STACK)

test: install ## run the tests
	@$(PYTHON) -m pytest

lint: install ## check format, style, types and the direction of imports
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/lint-imports
	@.venv/bin/pyright

bench: install ## measure what the README promises
	@$(PYTHON) -m tests.benchmarks

soak: install ## kill a hundred trainings, and measure a thousand nodes under gangs; more than an hour
	@$(PYTHON) -m tests.workloads.soak
	@$(PYTHON) -m tests.cluster.soak

.venv/.installed: pyproject.toml uv.lock tools/packages.py
	@python3 tools/packages.py
	@touch $@

.tools/.installed: .venv/.installed tools/engine.py tools/pulumi/go.mod $(wildcard tools/launchers/*)
	@$(PYTHON) tools/engine.py
	@touch $@
