# setup: the environment in .venv   demo: the main job   demo-labels: the second system, made small
# demo-hybrid: the third, and what it has not forgotten
# test: the tests   lint: style and types
# test-slow: tests of minutes each, such as ZeRO 3 on two CPUs, resumed
# setup-gpu: the environment of a machine with GPUs, in .venv-gpu
# pins: resolve the pinned sets again (they hold versions and hashes, no addresses)

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
UV := $(BIN)/uv
export UV_HTTP_TIMEOUT ?= 300

.PHONY: setup setup-gpu demo demo-labels demo-hybrid test test-slow lint pins

setup: .venv/.complete
setup-gpu: .venv-gpu/.complete

# Compiled once, here: where Python is told to write no bytecode, each of the many processes of a run
# would compile all that it imports.
.venv/.complete: requirements/cpu.txt pyproject.toml
.venv-gpu/.complete: requirements/gpu.txt pyproject.toml
.venv/.complete .venv-gpu/.complete:
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check uv==0.13.8
	$(@D)/bin/uv pip install --quiet --python $(@D)/bin/python --no-deps --require-hashes \
		--compile-bytecode -r $<
	$(@D)/bin/uv pip install --quiet --python $(@D)/bin/python --no-deps --no-build-isolation -e .
	touch $@

demo: setup
	$(BIN)/ah-ray demo

demo-labels: setup
	$(BIN)/ah-ray demo --config jobs/labels_demo.yaml --run runs/labels

demo-hybrid: setup
	$(BIN)/ah-ray demo --config jobs/hybrid_demo.yaml --run runs/hybrid
	$(BIN)/ah-ray run --config jobs/hybrid_things.yaml --run runs/hybrid/things

test: setup
# More than there are cores: many tests wait for processes to start, or to be missed.
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

test-slow: setup
	$(BIN)/python -m pytest -m slow

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/hadolint Dockerfile

PIN := $(UV) pip compile pyproject.toml --quiet --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-annotate --no-header
pins: setup
	$(PIN) --extra cpu --extra dev -o requirements/cpu.txt
	$(PIN) --extra gpu --python-platform x86_64-manylinux_2_31 -o requirements/gpu.txt
