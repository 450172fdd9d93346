# Everything that one does with this repository. `make` prints the table.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo
TOOLS := target/tools/bin
BUILT := $(or $(CARGO_TARGET_DIR),target)/debug
# What the tests need; a node (`make e2e`) needs the others too.
PLANE := etcd kube-apiserver kube-controller-manager kubectl
# What `make generate` writes, and `make verify` compares with what is committed.
GENERATED := crds charts/tracesteward/files/crds charts/tracesteward/charts/crds/crds charts/tracesteward/README.md config/default/install.yaml config/namespaced/install.yaml docs/codes

.PHONY: help
help: ## print this table
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: tools
tools: ## build the components that the tests run, from pinned Go modules and Python packages (minutes, once)
	@e2e/tools/build.sh $(TOOLS)
	@e2e/python/build.sh $(TOOLS)/../python

.PHONY: test-tools
test-tools:
	@e2e/tools/build.sh $(TOOLS) $(PLANE) helm otelcol kwok promtool
	@e2e/python/build.sh $(TOOLS)/../python

.PHONY: browser
browser:
	@e2e/packages.sh browser

.PHONY: fmt
fmt: ## format the code
	$(CARGO) fmt --all

.PHONY: lint
lint: ## check the format and run clippy; warnings are errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --test scale -- -D warnings

.PHONY: test
test: test-tools browser ## run the tests: pure ones, and those against a real control plane
	$(CARGO) test --locked

# `make conformance CASES=100` for a first look
.PHONY: conformance
conformance: test-tools ## compare with the real collector in ten times as many random cases (half an hour); CASES=500
	TRACESTEWARD_CASES=$(or $(CASES),500) $(CARGO) test --locked --test simulate --test conformance

.PHONY: generate
generate: test-tools ## write what is generated: the CRDs, their copies in the chart, its tables of values, the kustomize base, the pages of the codes
	$(CARGO) run --locked --quiet -- crds --output crds
	@rm -f charts/tracesteward/files/crds/*.yaml charts/tracesteward/charts/crds/crds/*.yaml
	cp crds/*.yaml charts/tracesteward/files/crds/
	cp crds/*.yaml charts/tracesteward/charts/crds/crds/
	$(TOOLS)/helm template tracesteward charts/tracesteward --namespace tracesteward-system --skip-tests > config/default/install.yaml
	$(TOOLS)/helm template tracesteward charts/tracesteward --namespace tracesteward-system --skip-tests --values charts/tracesteward/ci/namespaced-values.yaml > config/namespaced/install.yaml
	@rm -f docs/codes/*.md
	$(CARGO) run --locked --quiet -- docs --output docs/codes
	TRACESTEWARD_UPDATE=1 $(CARGO) test --locked --quiet --test chart -- tables_of_the_readme

.PHONY: verify
verify: generate ## fail where what is generated differs from what is committed
	@changed=$$(git status --porcelain -- $(GENERATED)); \
	if [ -n "$$changed" ]; then \
	  git --no-pager diff -- $(GENERATED); \
	  printf 'generated files differ: run `make generate` and commit them:\n%s\n' "$$changed" >&2; \
	  exit 1; \
	fi

.PHONY: deny
deny: ## check dependencies: bans, licences, sources
	$(CARGO) deny --locked check bans licenses sources

.PHONY: deny-advisories
deny-advisories: ## check dependencies against the RustSec advisories (fetched from GitHub)
	$(CARGO) deny --locked check advisories

.PHONY: audit
audit: ## check dependencies against the RustSec advisories with cargo audit (fetched from GitHub)
	$(CARGO) audit --deny yanked

.PHONY: image
image: ## build the image tracesteward:local (Docker)
	docker build --tag tracesteward:local .

.PHONY: bench
bench: ## run the benchmarks
	$(CARGO) bench --locked

# `make scale SIZES="200 1000" REST=30` for a first look
.PHONY: scale
scale: ## measure the operator with 1,000 and 10,000 Deployments on a real API server (half an hour); SIZES="200 1000" REST=30
	@e2e/tools/build.sh $(TOOLS) $(PLANE) helm
	$(CARGO) build --locked --profile bench --bin tracesteward
	OPERATOR=$(abspath $(dir $(BUILT))/release/tracesteward) $(CARGO) test --locked --test scale -- $(SIZES) $(if $(REST),--rest $(REST))

.PHONY: demo
demo: ## show the main job, from an empty control plane
	@e2e/tools/build.sh $(TOOLS) $(PLANE)
	$(CARGO) build --locked
	$(CARGO) run --locked --quiet --example demo

# `make e2e FLOW=smoke KEEP=1`; `make e2e WITHOUT_OPERATOR=1`: every flow has to fail
.PHONY: e2e
e2e: ## run the flows on a real node of its own (root), or on the cluster of E2E_KUBECONFIG; FLOW=name, KEEP=1
ifndef E2E_KUBECONFIG
	@e2e/packages.sh node
endif
	@e2e/tools/build.sh $(TOOLS)
	$(CARGO) build --locked --bin tracesteward --example e2e
ifndef E2E_KUBECONFIG
	@OPERATOR=$(BUILT)/tracesteward e2e/images/build.sh target/e2e/images
endif
	@exec $(BUILT)/examples/e2e $(if $(KEEP),--keep) $(if $(WITHOUT_OPERATOR),--without-operator) $(FLOW)

.PHONY: e2e-clean
e2e-clean: ## remove what killed runs of `make e2e` have left
	$(CARGO) run --locked --quiet --example e2e -- --clean
