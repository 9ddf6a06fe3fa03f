# `make help` lists the targets.

GOLANGCI_LINT := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
VERSION       := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS       := -s -w -X main.version=$(VERSION)

# What the tests start themselves, as command:package-of-Debian. make test installs what is missing.
SERVERS := redis-server:redis-server mariadbd:mariadb-server nginx:nginx chromium:chromium node:nodejs npm:npm

# The SDK, and the pages that are built on it. Their built files are committed.
NPM_PROJECTS := $(patsubst %/package.json,%,$(foreach project,transport/sdk transport/pages,$(wildcard $(project)/package.json)))
NODE_OLDEST  := 20

# Runs a command in every npm project, with its packages installed when the lock file is newer. A failure in one does
# not hide the others. Without Node.js there is nothing to run: that is a failure in CI only.
in_npm_projects = @if ! command -v npm >/dev/null 2>&1 || ! node -e 'if (parseInt(process.versions.node) < $(NODE_OLDEST)) process.exit(1)'; then \
		echo "Node.js $(NODE_OLDEST) or newer and npm are needed for $(NPM_PROJECTS); here is: $$(node --version 2>/dev/null || echo none)."; \
		echo "Install nodejs and npm: Debian 13 and Ubuntu 25.04 have them new enough."; \
		if [ "$$CI" = true ]; then echo "CI=true: not going on without them."; exit 1; fi; \
		echo "Going on with the rest."; exit 0; \
	fi; \
	status=0; \
	for project in $(NPM_PROJECTS); do \
		( cd $$project && echo "$$project" && \
		{ [ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --no-audit --no-fund; } && $(1) ) || status=1; \
	done; \
	exit $$status

# Tests of packages that start servers share the machine: two at a time.
# -count=1: the end-to-end tests build the binary themselves, and the cache of results would not see that it changed.
# -artifacts: screenshots of the pages are kept in _artifacts.
TEST_FLAGS := -race -count=1 -p 2 -timeout 15m -artifacts

# mariadbd and nginx live where only root looks.
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1	\2/' | expand -t 14

.PHONY: dev
dev: ## Run hearth with nothing else: demo, console, bots
	go run ./cmd/hearth dev

.PHONY: build
build: ## Build bin/hearth, one static file
	CGO_ENABLED=0 go build -trimpath -ldflags "$(LDFLAGS)" -o bin/hearth ./cmd/hearth

.PHONY: test
test: test-go pages-test ## Vet and run every test, on real servers too (installs them when missing)

.PHONY: test-go
test-go: servers
	go vet ./...
	rm -rf _artifacts
	go test $(TEST_FLAGS) ./...

.PHONY: chaos
chaos: servers ## Break hearth in every way and check its promises (half an hour; SEED=n, FAULTS=a,b)
	HEARTH_TEST_LONG=1 HEARTH_CHAOS_SEED=$(SEED) HEARTH_CHAOS_FAULTS=$(FAULTS) \
		go test -race -count=1 -v -timeout 2h -run '^Test(Faults|Mixtures|PlantedDefects)$$' ./cmd/internal/chaos

.PHONY: lint
lint: lint-go pages-lint ## Linters and gofumpt (the first run builds them: a few minutes)

.PHONY: lint-go
lint-go:
	$(GOLANGCI_LINT) run ./...

.PHONY: fmt
fmt: ## Format with gofumpt
	$(GOLANGCI_LINT) fmt ./...

# What go embeds and what npm packs is committed; without Node.js it is used as it is.
.PHONY: pages
pages: ## Build the SDK, then the pages (their dist folders)
	$(call in_npm_projects,npm run build)

.PHONY: pages-check
pages-check: ## Build them, and fail when that is not what git has
	$(call in_npm_projects,npm run build && git diff --exit-code --stat -- dist && unknown=$$(git ls-files --others -- dist) && \
		{ [ -z "$$unknown" ] || { echo "Not in git: $$unknown"; false; }; })

.PHONY: pages-deps
pages-deps: ## Install what the npm projects need
	$(call in_npm_projects,true)

.PHONY: pages-lint
pages-lint: ## Linters of the npm projects
	$(call in_npm_projects,npm run lint)

.PHONY: pages-test
pages-test: servers ## Tests of the npm projects (HEARTH_BIN=FILE saves the SDK's a build of hearth)
	$(call in_npm_projects,npm test)

.PHONY: bench
bench: ## Go benchmarks with allocations (for load on a running system: hearth bench)
	go test -run '^$$' -bench . -benchmem ./...

# A package may start its service when it is installed; the tests start their own on free ports. So a policy says no
# for as long as apt runs, unless the machine has one already. Failing is left to CI: without the servers the tests that
# need them skip. One after the other: some nodejs brings npm along, and is in the way of the package npm.
.PHONY: servers
servers: ## Install the servers that the tests start, and Node.js, where missing
	@missing() { for pair in $(SERVERS); do command -v $${pair%%:*} >/dev/null 2>&1 || echo "$${pair##*:}"; done; }; \
	[ -n "$$(missing)" ] || exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
		echo "Missing for the tests, installing with apt-get:" $$(missing); \
		policy=/usr/sbin/policy-rc.d; \
		if [ ! -e $$policy ]; then \
			trap "rm -f $$policy" EXIT INT TERM; \
			printf '#!/bin/sh\nexit 101\n' >$$policy && chmod 755 $$policy; \
		fi; \
		export DEBIAN_FRONTEND=noninteractive; \
		apt-get update -qq; \
		for pair in $(SERVERS); do \
			command -v $${pair%%:*} >/dev/null 2>&1 || apt-get install -qq -y --no-install-recommends $${pair##*:} >/dev/null; \
		done; \
		[ -n "$$(missing)" ] || exit 0; \
	fi; \
	echo "Missing for the tests:" $$(missing) "(packages of Debian and Ubuntu)."; \
	if [ "$$CI" = true ]; then echo "CI=true: not going on without them."; exit 1; fi; \
	echo "Install them to run every test; going on with the rest."
