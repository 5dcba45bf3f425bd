# make demo    build what is missing, dance once through the real stack, stop everything
# make test    set up the same environment and run the whole suite
SHELL := bash
.ONESHELL:
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help install prefix demo serve fast test lint deploy-check wheel clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
JUKEBOX := .venv-jukebox
JUKEBOX_READY := $(JUKEBOX)/.ready

SONG ?=
TEXT ?=
MODEL ?=
PREFIX ?= /opt/choreo
EXTRAS ?= cpu,serve
CRD ?=
OUT ?= out/demo
DEMO_STAY ?=

help:
	@echo "make demo [SONG=path] [TEXT=\"...\"] [MODEL=name or path]   one dance through Ray Serve and Triton, written to $(OUT)"
	@echo "make demo DEMO_STAY=1                the same, and go on serving with the studio until Ctrl-C"
	@echo "make serve                           serve over HTTP until Ctrl-C"
	@echo "make fast                            tests that start, compile and train nothing, in less than a minute"
	@echo "make test                            lint, types, imports, and every test"
	@echo "make deploy-check [CRD=file]         everything about deploy/ that can be checked without a container engine"
	@echo "make prefix [PREFIX=dir] [EXTRAS=a,b] the program alone, installed as in the images"
	@echo "make wheel                           a wheel in dist/ that works without the checkout"
	@echo "make clean                           remove what was built"

install: $(READY)

$(READY): requirements/cpu.lock pyproject.toml
	@$(PYTHON) -c 'import sys; assert (3, 11) <= sys.version_info < (3, 13), "choreo needs CPython 3.11 or 3.12"'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	echo "installing pinned dependencies into $(VENV) (about 3 GB; minutes on the first run)"
	$(BIN)/pip install -qq --disable-pip-version-check -c requirements/cpu.lock -e '.[cpu,serve,train,loadtest,dev]'
	$(BIN)/python -c 'from choreo.music import compiling; compiling.load_librosa(); compiling.load_kernels()' # once
	touch $(READY)

# What the images are made of: no checkout is needed afterwards.
prefix:
	@$(PYTHON) -m venv "$(PREFIX)"
	"$(PREFIX)/bin/pip" install -qq --disable-pip-version-check -c requirements/cpu.lock -c requirements/gpu.txt ".[$(EXTRAS)]"

# The last transformers with Jukebox, in front of all else of the environment: its packages come after its own.
$(JUKEBOX_READY): requirements/jukebox.txt $(READY)
	@rm -rf $(JUKEBOX)
	$(BIN)/python -m venv --without-pip $(JUKEBOX)
	$(BIN)/pip --python $(JUKEBOX)/bin/python install -qq --disable-pip-version-check --no-deps -r requirements/jukebox.txt
	packages='import sysconfig; print(sysconfig.get_path("purelib"))'
	$(BIN)/python -c "$$packages" > "$$($(JUKEBOX)/bin/python -c "$$packages")/environment.pth"
	touch $(JUKEBOX_READY)

demo: $(READY)
	@args=(--out "$(OUT)")
	if [ -n "$(SONG)" ]; then args+=(--song "$(SONG)"); fi
	if [ -n "$(TEXT)" ]; then args+=(--text "$(TEXT)"); fi
	if [ -n "$(MODEL)" ]; then args+=(--model "$(MODEL)"); fi
	if [ "$(DEMO_STAY)" = 1 ]; then args+=(--stay); fi
	exec $(BIN)/choreo demo "$${args[@]}"

serve: $(READY)
	@exec $(BIN)/choreo serve

lint: $(READY)
	@$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Workers share the processors; what starts servers or measures runs alone after that.
fast: $(READY)
	@$(BIN)/python -m pytest -q -n auto -m 'not slow and not e2e'

test: lint $(JUKEBOX_READY)
	@$(BIN)/python -m pytest -n auto -m 'not slow and not e2e'
	$(BIN)/python -m pytest -n auto --dist loadfile -m 'slow and not e2e'
	$(BIN)/python -m pytest -m e2e

# Without a container engine; with one, `docker compose -f deploy/compose/compose.yaml config` and
# `promtool check rules deploy/prometheus/alerts.yml` say more.
deploy-check: $(READY)
	@$(BIN)/hadolint deploy/docker/*.Dockerfile
	KUBERAY_CRD="$(CRD)" $(BIN)/python -m pytest -q tests/deploy

wheel: $(READY)
	@$(BIN)/pip wheel -q --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist .

clean:
	rm -rf $(VENV) $(JUKEBOX) out runs build dist .mypy_cache .ruff_cache .pytest_cache *.egg-info
