# All one needs to know. Each target first sets up what is missing; nothing is written into the
# checkout but src/wardian/bin/ and build/.
#
#   make demo    start a server, give a sandbox real work, stop it
#   make serve   run the server in the foreground
#   make test    every test (needs root: real namespaces, real sockets)
#   make check   formatting, lints, types, drift of generated files
#   make bench   the numbers, each beside a baseline of the same run (ONLY=name,…)

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help

export WARDIAN_CACHE ?= /var/cache/wardian
WARDIAN_HOME ?= /var/lib/wardian
export WARDIAN_HOME
CHECKOUT := $(WARDIAN_CACHE)/checkouts/$(shell printf %s "$(CURDIR)" | sha256sum | cut -c1-12)
VENV := $(CHECKOUT)/venv
export CARGO_TARGET_DIR ?= $(CHECKOUT)/target
PYTHON_RUN := $(VENV)/bin/python

# Tests and servers need root; building does not.
KEEP := WARDIAN_CACHE,WARDIAN_HOME,WARDIAN_POOL_SIZE,WARDIAN_LOG,WARDIAN_BIN,WARDIAN_DEBIAN_MIRROR,HTTP_PROXY,HTTPS_PROXY,NO_PROXY
SUDO := $(if $(filter 0,$(shell id -u)),,sudo --preserve-env=$(KEEP),CARGO_TARGET_DIR,PATH)

LISTEN ?= 127.0.0.1:7300
TESTS ?= tests/unit tests/integration tests/dialects tests/security tests/browser
ONLY ?=
# Tests mostly wait; each of these has a node of its own.
AT_ONCE ?= 3

.PHONY: help setup cache venv venv-dev build machine machine-test demo serve test check bench clean

help:
	@sed -n '/^#   make/s/^#   //p' Makefile

cache:
	@if [ ! -w "$(WARDIAN_CACHE)" ] || [ ! -d "$(CHECKOUT)" ]; then
		$(SUDO) install -d -m 0755 -o "$$(id -u)" -g "$$(id -g)" "$(WARDIAN_CACHE)" "$(WARDIAN_CACHE)/checkouts" "$(CHECKOUT)"
	fi

venv: cache
	@python3 scripts/bootstrap.py "$(VENV)"

venv-dev: cache
	@python3 scripts/bootstrap.py --dev "$(VENV)"

build: venv
	@python3 scripts/build_binaries.py "$$($(PYTHON_RUN) -c 'from wardian.server.node.binaries import package_directory; print(package_directory())')"

machine: build
	@$(SUDO) $(PYTHON_RUN) -m wardian.server.node.setup --machine-only

machine-test: build venv-dev
	@$(SUDO) $(PYTHON_RUN) -m wardian.server.node.setup --machine-only --test --template base --template minimal --template terminal
	$(PYTHON_RUN) tests/browser/node_packages.py
	$(PYTHON_RUN) tests/integration/s3_gateway.py

setup: machine
	@echo "setup: done; the environment is $(VENV)"

serve: machine
	@exec $(SUDO) $(VENV)/bin/wardian serve --listen "$(LISTEN)"

demo: machine
	@$(SUDO) $(PYTHON_RUN) scripts/demo.py

test: machine-test
	@cargo test --quiet --locked --workspace
	$(SUDO) $(PYTHON_RUN) -m pytest -q -p no:cacheprovider -n $(AT_ONCE) --dist loadfile $(TESTS)

check: venv-dev
	@$(VENV)/bin/ruff check --no-cache .
	$(VENV)/bin/ruff format --no-cache --check .
	$(VENV)/bin/pyright --pythonpath $(PYTHON_RUN)
	cargo fmt --all --check
	cargo clippy --quiet --locked --workspace --all-targets -- -D warnings
	$(PYTHON_RUN) tools/generate_sync.py --check
	$(PYTHON_RUN) -m wardian.server.api.openapi | diff --unified=1 docs/openapi.json -

bench: machine-test
	@$(SUDO) $(PYTHON_RUN) -m benchmarks $(if $(ONLY),--only $(ONLY))

clean:
	@rm -rf build dist src/wardian/bin "$(CHECKOUT)"
