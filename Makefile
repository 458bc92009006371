# Everything that people and CI run. Each target installs what it needs. You need Go,
# and a C compiler for the race detector.

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/portlease
TOOLS := $(CACHE)/tools
RACE  := $(if $(shell command -v gcc clang 2>/dev/null),-race)
SEEDS  ?= 200
ROUNDS ?= 100
N      ?= 300
SPEED  ?= 2
AGENTS ?= 200
CALLERS ?= 1000
FUZZ   ?= 20s
FOR    ?= 10m

# The tools that check the code. The go command verifies them with sum.golang.org.
GOLANGCI_LINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOVULNCHECK   := golang.org/x/vuln/cmd/govulncheck@v1.9.0
ACTIONLINT    := github.com/rhysd/actionlint/cmd/actionlint@v1.7.12

# The packages whose coverage by the simulation COVER=1 prints.
DECIDING := ./allocator/claim,./allocator/janitor,./allocator/budget,./allocator/pacer,./allocator/inventory,./allocator/httpapi,./allocator/pool,./allocator/admin,./agent/lifecycle,./agent/binder,./agent/health,./agent/holding

# Nested modules ignore the caller's flags and workspace.
NESTED := CGO_ENABLED=0 GOFLAGS=-mod=readonly GOWORK=off

##@ start here

.PHONY: help
help: ## show this help
	@awk -F ':.*## ' '/^##@ / {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## see it work: pods, agents and games on this machine, no AWS, no cluster; HOLD=1 stays up
	@go run ./e2e/load demo $(if $(HOLD),-hold)

.PHONY: build
build: ## build both programs into bin/
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o bin/ ./allocator ./agent

##@ before you push

# The packages whose tests are quick: they start no API server and no simulation.
MODULE := github.com/portlease/portlease
SLOW = grep -rlE 'kubeapi\.(Main|Start)\(|kubeapi\.Lazy|scenario\.RunTests\(' --include='*_test.go' . | xargs -n 1 dirname | sed 's|^\.|$(MODULE)|'
QUICK = go list ./... | grep -vxF "$$($(SLOW))" | grep -vE '$(MODULE)/(e2e/(sim|kubeapi)|deploy/tests/.*)$$'

.PHONY: check
check: lint ## check a change in two minutes: vet, linters, unit tests, 30 seeds of the simulation
	go vet ./...
	go test $$($(QUICK))
	$(NESTED) go test -C e2e/elbemu ./...
	go test ./e2e/sim -run '^TestSim$$' -count=1 -args -seeds=30

.PHONY: test
test: assets ## run all tests, on a real API server and emulated load balancers (about 20 minutes)
	@# These packages run one goroutine at a time, or programs with few: the race detector would find little, for five times the time.
	go test -shuffle=on -timeout 30m ./e2e/sim ./deploy/tests/setup ./deploy/tests/policies
	@# The rig waits more than it works, so it goes first and the other packages run beside it.
	@echo "the other packages; the first takes ten minutes, and all are printed after it"
	go test $(RACE) -shuffle=on -parallel 4 -timeout 30m ./e2e/rig $$(go list ./... | grep -vE '/(e2e/rig|e2e/sim|tests/setup|tests/policies)$$')
	$(NESTED) go test -C e2e/elbemu -shuffle=on ./...
	$(NESTED) go test -C deploy/tests/terraform -count=1 ./... # these read files outside their modules, which the test cache does not see
	$(NESTED) go test -C deploy/tests/monitoring -count=1 ./...

.PHONY: lint
lint: $(TOOLS)/golangci-lint $(TOOLS)/actionlint ## run the linters, on Go code and on the CI workflows
	$(TOOLS)/golangci-lint run ./...
	cd e2e/elbemu && $(NESTED) $(TOOLS)/golangci-lint run ./...
	cd e2e/kubeapi/server && $(NESTED) $(TOOLS)/golangci-lint run . ./program
	cd deploy/tests/terraform && $(NESTED) $(TOOLS)/golangci-lint run ./...
	cd deploy/tests/monitoring && $(NESTED) $(TOOLS)/golangci-lint run ./...
	$(TOOLS)/actionlint -shellcheck= -pyflakes=
	@! grep -rnE 'uses: +[^.]' .github/workflows | grep -vE '@[0-9a-f]{40} +# v' || { echo "pin each action by its commit and name its version"; exit 1; }

##@ proofs

.PHONY: sim
sim: ## run the deterministic simulation; SEEDS=n, SEED=n KEEP=n,n to replay, COVER=1, RECLAIM=1, DAY=1 PODS=n (a day of 5,000 pods)
	go test ./e2e/sim -run '$(if $(DAY),^TestDay$$,$(if $(RECLAIM),^TestPortsOfCrashedPods,^TestSim$$))' -count=1 -timeout 3h -v \
	  $(if $(COVER),-covermode=atomic -coverpkg=$(DECIDING) -coverprofile=$(CACHE)/sim.cover) \
	  -args $(if $(SEED),-seed=$(SEED),-seeds=$(SEEDS)) $(if $(KEEP),-keep=$(KEEP)) $(if $(WITHOUT),-without='$(WITHOUT)') \
	  $(if $(LOSSES),-losses) $(if $(DAMAGE),-damage) $(if $(HARD_MOVES),-hard-moves) $(if $(RECLAIM),-reclaim-seeds=$(SEEDS)) $(if $(DAY),-day $(if $(PODS),-pods=$(PODS)) $(if $(UNTIL),-until=$(UNTIL)) $(if $(LINES),-lines="$(LINES)"))
	@if [ -n "$(COVER)" ]; then awk -F '[ :]' '!/^mode/ { p = $$1; sub("/[^/]*$$", "", p); n[p] += $$3; if ($$4) hit[p] += $$3 } \
	  END { for (p in n) printf "covered %5.1f%% of %s\n", 100 * hit[p] / n[p], p }' $(CACHE)/sim.cover | sort -k4; fi

.PHONY: mutants
mutants: assets ## insert deliberate bugs one by one and show which test catches each; ONLY=part of a name
	@go run ./e2e/sim/mutants $(if $(ONLY),-only "$(ONLY)")

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZ (20s)
	@for module in . e2e/elbemu; do go list -C $$module ./... | while read -r package; do \
	  go test -C $$module -list '^Fuzz' "$$package" | grep '^Fuzz' | while read -r target; do \
	    echo "$$package $$target"; go test -C $$module -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZ) "$$package" || exit 1; \
	  done || exit 1; done || exit 1; done

.PHONY: crashtable
crashtable: assets ## make every call of an agent's life fail in every way; ONLY=part of a name
	@go run ./e2e/load crashtable $(if $(ONLY),-only "$(ONLY)")

.PHONY: linearize
linearize: assets ## check ROUNDS (100) histories of concurrent claims; SEED=n
	@go run ./e2e/load linearize -rounds $(ROUNDS) $(if $(SEED),-seed $(SEED))

.PHONY: soak
soak: assets ## let agents and allocators live and die for FOR (10m); SEED=n
	@go run ./e2e/load soak -for $(FOR) $(if $(SEED),-seed $(SEED))

.PHONY: fleet
fleet: assets ## start N (300) pods at once against AWS's rate limits; SPEED=n (2), LAG=time by which the Kubernetes API answers later
	@go run ./e2e/load fleet -pods $(N) -speed $(SPEED) $(if $(LAG),-slow "$(LAG)")

.PHONY: fleet-stop
fleet-stop: N = 50
fleet-stop: SPEED = 1
fleet-stop: assets ## stop N (50) bound pods at once against AWS's rate limits; SPEED=n (1)
	@go run ./e2e/load fleet-stop -pods $(N) -speed $(SPEED)

.PHONY: hostile
hostile: assets ## play every attack of a bad neighbor beside 20 honest pods; ONLY=part of a name
	@go run ./e2e/load hostile $(if $(ONLY),-only "$(ONLY)")

.PHONY: bench
bench: assets ## measure speed against what is possible at best; BENCH=claims|held|fleet|replace|recovery for one part, CASES=replicas:leases,...
	@go run ./e2e/load bench -json bin/bench $(if $(BENCH),-part "$(BENCH)") $(if $(CASES),-cases "$(CASES)")

.PHONY: bench-agent
bench-agent: assets ## measure what an agent costs while it holds its claim; AGENTS=n CALLERS=n
	@go run ./e2e/load bench-agent -agents $(AGENTS) -callers $(CALLERS)

.PHONY: e2e-node
e2e-node: ## install on a real cluster of one node and play its stories; needs root; ONLY=part of a name, HOLD=1
	@go run ./e2e/node $(if $(ONLY),-only "$(ONLY)") $(if $(HOLD),-hold)

##@ release

.PHONY: images
images: ## build the container images into bin/images, with buildah or docker; PLATFORMS=a,b PREFIX=registry/path TAG=x
	@go run ./e2e/node/images/cmd $(if $(PLATFORMS),-platforms $(PLATFORMS)) $(if $(PREFIX),-prefix $(PREFIX)) $(if $(TAG),-tag $(TAG))

.PHONY: terraform
terraform: ## format, validate and plan deploy/terraform; needs terraform; PLUGINS=folder replaces the registry
	terraform fmt -check -recursive deploy/terraform
	rm -rf $(CACHE)/terraform && mkdir -p $(CACHE)/terraform && cp -r deploy/iam deploy/terraform $(CACHE)/terraform
	cd $(CACHE)/terraform/terraform && terraform init -input=false -backend=false $(if $(PLUGINS),-plugin-dir=$(PLUGINS)) && \
	  terraform validate && terraform test

.PHONY: vulncheck
vulncheck: $(TOOLS)/govulncheck ## look for known vulnerabilities (asks vuln.go.dev)
	$(TOOLS)/govulncheck ./...

# What the targets above need.

.PHONY: assets
assets: # etcd, kube-apiserver and Helm, built once and outside of any test's time limit
	@go run ./e2e/kubeapi/assets >/dev/null

# A tool is installed again when this file changes, because its version may have.
INSTALL = @GOBIN=$(TOOLS) $(NESTED) go install
$(TOOLS)/golangci-lint: Makefile
	$(INSTALL) $(GOLANGCI_LINT)
	@touch $@
$(TOOLS)/actionlint: Makefile
	$(INSTALL) $(ACTIONLINT)
	@touch $@
$(TOOLS)/govulncheck: Makefile
	$(INSTALL) $(GOVULNCHECK)
	@touch $@
