# The commands that the README names. `make help` lists them.
#
# Variables:  PREFIX=/usr/local DESTDIR=       where `make install` puts things; CATALOGDIR, POLKITDIR, UNITDIR …: scripts/install-tree
#             BUILD_FLAGS="-c release"         passed to `swift build`
#             BENCH_FLAGS=--quick              passed to Benchmarks/bench.py
#             FILTER=                          passed to `swift test --filter`
#             MUTANTS="04 06"                  which of Tests/Mutants `make mutants` tries
#             SECONDS_PER_TARGET=60            how long `make fuzz` works on each target
#             CHAOS_FLAGS="--rounds 2"         passed to the chaos run

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

PREFIX ?= /usr/local
DESTDIR ?=
BUILD_FLAGS ?= -c release
BENCH_FLAGS ?=
FILTER ?=
CHAOS_FLAGS ?=
MUTANTS ?=
SECONDS_PER_TARGET ?= 60

# Run by themselves: real processes starve beside simulations that fill every processor, and pauses are measured in peace.
APART := ^(SystemTests|KubernetesClientTests|KubernetesSystem|Chaos)\.

.PHONY: help build demo test test-systemd test-kubernetes chaos mutants model bench bench-cache docs install deb check fuzz clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | while IFS=$$'\t' read -r name text; do printf '  make %-15s %s\n' "$$name" "$$text"; done

build: ## build everything, optimised, into .build/release
	@scripts/bootstrap build
	scripts/build $(BUILD_FLAGS)

demo: build ## watch a request wait for a worker that does not exist yet, get it, and be served
	.build/release/leasehold demo

check: ## the rules that need no compiler: imports, file lengths, habits
	@scripts/check-imports
	@scripts/check-style
	@scripts/check-rules --apply

test: ## all tests: the rules, the model, the machines, the simulation, the real executables
	@scripts/bootstrap build
	@scripts/bootstrap test
	@$(MAKE) --no-print-directory check
	@scripts/check-manifests
	@[ -n "$(FILTER)" ] || { scripts/bootstrap model || true; scripts/check-model --or-skip; }
	scripts/build --tests
	$(if $(FILTER),scripts/test --filter $(FILTER),scripts/test --skip '$(APART)')
	$(if $(FILTER),,scripts/test --filter '^SystemTests\.')
	$(if $(FILTER),,scripts/test --filter '^(KubernetesClientTests|KubernetesSystem)\.')
	$(if $(FILTER),,scripts/test --filter '^Chaos\.')
	$(if $(FILTER),,@scripts/bootstrap package)
	$(if $(FILTER),,@python3 Tests/Systemd/run.py "$$(swift build --show-bin-path)")
	$(if $(FILTER),,LEASEHOLD_BIN="$${LEASEHOLD_BIN:-$$(swift build --show-bin-path)}" .build-tools/venv/bin/python Tests/Clients/run.py)

test-systemd: ## install the package on a throw-away machine with systemd as PID 1, and try everything there
	@scripts/bootstrap build
	@scripts/bootstrap package
	@scripts/bootstrap systemd
	scripts/build
	@python3 Tests/Systemd/run.py "$$(swift build --show-bin-path)" $(FILTER)

test-kubernetes: ## the live suite, against the cluster of KUBECONFIG, in a namespace of its own; skipped by name without
	@scripts/bootstrap build
	scripts/build --tests
	LEASEHOLD_LIVE=1 LEASEHOLD_BIN="$${LEASEHOLD_BIN:-$$(swift build --show-bin-path)}" swift test --skip-build --filter KubernetesSystem.LiveTests

chaos: ## strike the real processes 2,000 times under load and count what is lost: table here, JSON in bench-results/
	@scripts/bootstrap build
	scripts/build -c release
	@mkdir -p bench-results
	.build/release/chaos --json bench-results/chaos.json $(CHAOS_FLAGS)

mutants: ## break each rule for descriptors that exist twice and show that a test fails (an hour)
	@scripts/bootstrap build
	@scripts/check-rules $(MUTANTS)

model: ## check the model of lease hand-over with SPIN, and that its mutations are found
	@scripts/bootstrap model
	@scripts/check-model

bench: ## measure against HAProxy in the same run: table here, JSON in bench-results/
	@scripts/bootstrap build
	@scripts/bootstrap bench
	scripts/build $(BUILD_FLAGS)
	python3 Benchmarks/bench.py $(BENCH_FLAGS)

bench-cache: ## measure the asset cache beside nginx and Varnish: table here, JSON in bench-results/
	@scripts/bootstrap build
	@scripts/bootstrap bench-cache
	swift build -c release --product leasehold-asset-cache
	@mkdir -p bench-results
	python3 Benchmarks/bench-cache.py --objects 1000000 --profile --json bench-results/cache.json $(BENCH_FLAGS)

docs: ## rewrite the tables of keys and of metrics in docs/ from the code
	LEASEHOLD_RECORD=1 swift test --filter 'ConfigurationReference|MetricReference'

fuzz: ## feed mutated bytes to the parsers and codecs (libFuzzer)
	@scripts/bootstrap build
	scripts/fuzz $(SECONDS_PER_TARGET)

install: ## build, then copy to DESTDIR/PREFIX what runs on a machine without Swift
	@scripts/bootstrap build
	@scripts/bootstrap package
	scripts/build $(BUILD_FLAGS)
	scripts/install-tree "$$(swift build $(BUILD_FLAGS) --show-bin-path)" "$(DESTDIR)" "$(PREFIX)"

deb: ## build, then make a Debian package in .build/deb
	@scripts/bootstrap build
	@scripts/bootstrap package
	scripts/build $(BUILD_FLAGS)
	@scripts/deb "$$(swift build $(BUILD_FLAGS) --show-bin-path)" .build/deb

clean: ## remove what was built and what was measured
	rm -rf .build .build-tools bench-results
