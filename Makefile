# make test: everything that runs without a GPU. It sets up first; each step can be killed and run again.
# Stamp files say which step is done; they are older than what the step depends on when it has to be redone.

SHELL := /bin/bash
SETUP := bash scripts/tools/setup.sh
# A worker a core, each with whole files, so that what a file's tests share is made once; torch's threads would only wait for others'.
PARALLEL := -n logical --maxprocesses 8 --dist loadfile --no-loadscope-reorder
CSRC := $(shell find csrc -type f 2>/dev/null) $(wildcard CMakeLists.txt)

.DEFAULT_GOAL := help
.PHONY: help setup build test test-library test-extension test-long test-blender53 lint demo clean

help:
	@echo "make setup   .venv (library, backend) and .venv-blender (Blender's Python), csrc built"
	@echo "make test    set-up, then linters, types and the tests that need no GPU"
	@echo "make test-long   set-up, then the tests that take longer than a change should wait for"
	@echo "make demo    set-up, then the whole job on a scene made by Blender itself, into out/demo"
	@echo "make test-blender53   the extension's tests in Blender 5.3, which it sets up first"
	@echo "make clean   delete what was built, both environments included"

setup: build .venv-blender/.installed

build: .venv/.built

.venv/.installed: pyproject.toml constraints.txt scripts/tools/setup.sh
	@$(SETUP) library

.venv/.built: .venv/.installed $(CSRC)
	@$(SETUP) build

.venv-blender/.installed: constraints-blender.txt scripts/tools/setup.sh | .venv/.installed
	@$(SETUP) blender

.venv-blender53/.installed: constraints-blender.txt scripts/tools/setup.sh
	@$(SETUP) blender53

lint: build
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

# csrc is compiled while Blender is fetched; the type checker, which is one process, runs beside the tests.
test:
	@$(MAKE) --no-print-directory -j 2 setup
	@$(MAKE) --no-print-directory -j 2 lint test-library
	@$(MAKE) --no-print-directory test-extension

test-library: build
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest $(PARALLEL) -m "not long" tests

test-extension: .venv-blender/.installed
	OMP_NUM_THREADS=1 .venv-blender/bin/python -m pytest $(PARALLEL) -m "not long" tests/blender

test-long: setup
	.venv/bin/python -m pytest -m long tests
	.venv-blender/bin/python -m pytest -m long tests/blender || [ $$? -eq 5 ] # 5: none of these is long

demo: setup
	.venv/bin/python scripts/demo/demo.py --out out/demo

test-blender53: setup .venv-blender53/.installed
	.venv-blender53/bin/python -m pytest tests/blender

clean:
	rm -rf .venv .venv-blender .venv-blender53 build out dist .pytest_cache .ruff_cache .mypy_cache
