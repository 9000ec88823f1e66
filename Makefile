# Two commands do everything: `make demo` and `make test`. Both set up what they need first.
SHELL := /bin/bash
.ONESHELL:
.SHELLFLAGS := -euo pipefail -c
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export MUJOCO_GL ?= egl

# Said by make itself, before anything is set up: the message generator of ROS and the shebangs of a
# virtual environment break below such a path, after a minute and with a page of errors.
ifneq ($(filter-out help clean,$(or $(MAKECMDGOALS),help)),)
ifneq ($(shell LC_ALL=C; case "$$(pwd -P)" in (*[!-A-Za-z0-9/._+@~,=]*) echo odd;; esac),)
$(error The path of this folder has a space, or a letter beyond ASCII, below which ROS packages cannot be built: move the clone, e.g. to ~/smvae)
endif
endif

.PHONY: help setup ros demo test test-cv-bridge test-oldest test-pythons test-lerobot test-ray docs test-docs dist test-wheel sbom licences lint-release lint clean
help:  ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(VENV)/.setup-done  ## System packages, virtual environment, ROS 2 wheels

$(VENV)/.setup-done: setup.py smvae_core/__init__.py constraints.txt requirements-jazzy-wheels.txt scripts/setup.sh
	@SECONDS=0
	PYTHON=$(PYTHON) scripts/setup.sh $(VENV)
	echo $$SECONDS > $@

ros: setup  ## Build the ROS 2 workspace (smvae_msgs, smvae_ros, smvae_tools)
	@scripts/build_workspace.sh

demo: setup ros  ## Simulate, train, export, perceive live over ROS 2, report
	@source scripts/ros_env.sh
	$(BIN)/python scripts/demo.py --setup-seconds $$(cat $(VENV)/.setup-done)

lint: setup ros  ## ruff, mypy, import-linter
	@$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	MYPYPATH=ros2_ws/src/smvae_ros:ros2_ws/src/smvae_tools:$$(echo ros2_ws/install/smvae_msgs/lib/python3*/site-packages) \
		$(BIN)/mypy --disable-error-code import-untyped -p smvae_ros -p smvae_tools
	$(BIN)/lint-imports

test: lint  ## Lint and pass every test; fails unless the DDS tests ran
	@source scripts/ros_env.sh
	OMP_NUM_THREADS=1 SMVAE_REQUIRE_DDS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile \
		--jaxtyping-packages=smvae_core.model,beartype.beartype

test-cv-bridge:  ## Compare cv_bridge's arrays with rosbags-image's, in an environment of its own
	@PYTHON=$(PYTHON) scripts/test_cv_bridge.sh

test-oldest:  ## Pass the tests with the lowest versions of setup.py, in an environment of its own
	@PYTHON=$(PYTHON) scripts/test_oldest.sh

test-lerobot:  ## Exchange LeRobot folders with the official package, in an environment of its own
	@PYTHON=$(PYTHON) scripts/test_lerobot.sh

test-ray:  ## Train, convert and play on two workers of Ray, in an environment of its own
	@PYTHON=$(PYTHON) scripts/test_ray.sh

test-pythons:  ## Pass the tests with each Python from 3.10 to 3.14 that is here
	@scripts/test_pythons.sh

docs: setup  ## Build the documents as a site in build/site, strictly
	@scripts/docs.sh

test-docs: setup  ## Build the site, and look at it in a browser as wide as a telephone and a laptop
	@scripts/docs.sh test

dist:  ## Build wheel and sdist in dist/, and look into both
	@scripts/release/run.sh dist

test-wheel:  ## Install the wheel into empty environments of Python 3.10, 3.12, 3.13; run README's Python
	@scripts/release/run.sh test-wheel

sbom: setup  ## Write what smvae and its extras bring to dist/sbom.json (CycloneDX)
	@scripts/release/run.sh sbom

licences: setup  ## Fail for a dependency of a licence that nobody has looked at
	@$(BIN)/python -I scripts/release/licences.py

lint-release:  ## CITATION.cff and the Dockerfiles
	@scripts/release/run.sh lint

clean:  ## Remove what was built (runs/ stays)
	rm -rf $(VENV) ros2_ws/build ros2_ws/install ros2_ws/log *.egg-info
