# Everything a user or CI does has one target here; `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# `make install EXTRA=gpu` takes CUDA builds of torch and vLLM instead of the CPU ones.
EXTRA ?= cpu
UV_VERSION := 0.13.9
# pip's own setting for local wheels is handed to uv, which does not read it; elsewhere the CPU build of torch
# comes from PyTorch's index.
TORCH_FLAGS := $(if $(filter gpu,$(EXTRA)),,$(if $(PIP_FIND_LINKS),,--torch-backend cpu))
UV := $(if $(PIP_FIND_LINKS),UV_FIND_LINKS="$(PIP_FIND_LINKS)") UV_HTTP_TIMEOUT=180 $(BIN)/uv

.PHONY: help install lock
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | awk -F'\t' '{printf "  make %-12s %s\n", $$1, $$2}'

install: $(INSTALLED) ## set up .venv with the frozen versions (EXTRA=gpu for CUDA)

$(INSTALLED): pyproject.toml .lock/$(EXTRA).txt .lock/embedded.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv==$(UV_VERSION)"
	$(UV) pip install --python $(BIN)/python --no-deps $(TORCH_FLAGS) -r .lock/$(EXTRA).txt -r .lock/embedded.txt
	$(UV) pip install --python $(BIN)/python --no-deps --editable .
	@touch $@

lock: ## freeze the newest versions that pyproject.toml admits into .lock/
	@test -x $(BIN)/uv || { $(PYTHON) -m venv $(VENV); $(BIN)/python -m pip install --quiet "uv==$(UV_VERSION)"; }
	$(UV) pip compile pyproject.toml --quiet --no-header --no-annotate --python-version 3.11 --extra cpu --extra dev \
		--excludes .lock/cpu-excludes.txt $(TORCH_FLAGS) --upgrade | sed 's/+cpu$$//' > .lock/cpu.txt
	$(UV) pip compile pyproject.toml --quiet --no-header --no-annotate --python-version 3.11 --extra gpu --extra dev \
		--python-platform x86_64-manylinux_2_28 --no-find-links --upgrade > .lock/gpu.txt
