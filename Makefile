# The commands that the README names. `make help` lists them.
#
# Variables:  PREFIX=/usr/local DESTDIR=       where `make install` puts things
#             BUILD_FLAGS="-c release"         add --static-swift-stdlib for a machine without the toolchain
#             BENCH_FLAGS=--quick              passed to Benchmarks/bench.py
#             FILTER=                          passed to `swift test --filter`
#             SECONDS_PER_TARGET=60            how long `make fuzz` works on each target

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

PREFIX ?= /usr/local
DESTDIR ?=
BUILD_FLAGS ?= -c release
BENCH_FLAGS ?=
FILTER ?=
SECONDS_PER_TARGET ?= 60

EXECUTABLES := leasehold leasehold-watcher leasehold-pool-keeper leasehold-dispatcher leasehold-scaler leasehold-example-worker

.PHONY: help build demo test test-kubernetes model bench docs install check fuzz clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | while IFS=$$'\t' read -r name text; do printf '  make %-15s %s\n' "$$name" "$$text"; done

build: ## build everything, optimised, into .build/release
	@scripts/bootstrap build
	swift build $(BUILD_FLAGS)

demo: build ## watch a request wait for a worker that does not exist yet, get it, and be served
	.build/release/leasehold demo

check: ## the rules that need no compiler: imports, file lengths, habits
	@scripts/check-imports
	@scripts/check-style

test: ## all tests: the rules, the model, the machines, the simulation, the real executables
	@scripts/bootstrap build
	@scripts/bootstrap test
	@$(MAKE) --no-print-directory check
	@scripts/check-manifests
	@[ -n "$(FILTER)" ] || { scripts/bootstrap model || true; scripts/check-model --or-skip; }
	swift build --build-tests
	LEASEHOLD_BIN="$${LEASEHOLD_BIN:-$$(swift build --show-bin-path)}" swift test --skip-build --parallel $(if $(FILTER),--filter $(FILTER))

test-kubernetes: ## the live suite, against the cluster of KUBECONFIG, in a namespace of its own; skipped by name without
	@scripts/bootstrap build
	swift build --build-tests
	LEASEHOLD_LIVE=1 LEASEHOLD_BIN="$${LEASEHOLD_BIN:-$$(swift build --show-bin-path)}" swift test --skip-build --filter KubernetesSystem.LiveTests

model: ## check the model of lease hand-over with SPIN, and that its mutations are found
	@scripts/bootstrap model
	@scripts/check-model

bench: ## measure against HAProxy in the same run: table here, JSON in bench-results/
	@scripts/bootstrap build
	@scripts/bootstrap bench
	swift build $(BUILD_FLAGS)
	python3 Benchmarks/bench.py $(BENCH_FLAGS)

docs: ## rewrite the tables of keys in docs/configuration.md from the code
	LEASEHOLD_RECORD=1 swift test --filter ConfigurationReference

fuzz: ## feed mutated bytes to the parsers and codecs (libFuzzer)
	@scripts/bootstrap build
	scripts/fuzz $(SECONDS_PER_TARGET)

install: ## build, then copy to DESTDIR/PREFIX
	@scripts/bootstrap build
	swift build $(BUILD_FLAGS)
	install -d "$(DESTDIR)$(PREFIX)/bin" "$(DESTDIR)$(PREFIX)/share/doc/leasehold"
	bin="$$(swift build $(BUILD_FLAGS) --show-bin-path)"; \
	for name in $(EXECUTABLES); do install -m 755 "$$bin/$$name" "$(DESTDIR)$(PREFIX)/bin/$$name"; done
	install -m 644 LICENSE CHANGELOG.md "$(DESTDIR)$(PREFIX)/share/doc/leasehold/"

clean: ## remove what was built and what was measured
	rm -rf .build .build-tools bench-results
