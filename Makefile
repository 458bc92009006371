# Everything a person or CI runs. Each target installs what it needs: Go is all
# that must be there, and a C compiler if the race detector is to be used.

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

# The packages that decide, of which COVER says what the simulation reached.
DECIDING := ./allocator/claim,./allocator/janitor,./allocator/budget,./allocator/pacer,./allocator/inventory,./allocator/httpapi,./allocator/pool,./allocator/admin,./agent/lifecycle

# Nested modules are built as their own go.mod says, whatever the caller's
# environment is set to.
NESTED := CGO_ENABLED=0 GOFLAGS=-mod=readonly GOWORK=off

.PHONY: help
help: ## show this help
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## run the main job here, no AWS, no cluster; HOLD=1 stays up
	@go run ./e2e/load demo $(if $(HOLD),-hold)

.PHONY: test
test: assets ## run all tests on a real API server and emulated load balancers
	@# In these one goroutine at a time runs, or programs of few: the race detector would find little, for five times the time.
	go test -shuffle=on -timeout 30m ./e2e/sim ./deploy/tests/setup ./deploy/tests/policies
	@# The rig waits more than it works: it goes first, and the others beside it.
	@echo "the other packages; the first takes ten minutes, and all are printed after it"
	go test $(RACE) -shuffle=on -parallel 4 -timeout 30m ./e2e/rig $$(go list ./... | grep -vE '/(e2e/rig|e2e/sim|tests/setup|tests/policies)$$')
	$(NESTED) go test -C e2e/elbemu $(RACE) -shuffle=on ./...
	$(NESTED) go test -C deploy/tests/terraform -count=1 ./... # it reads files outside its module, which the test cache does not see

.PHONY: assets
assets: # etcd, kube-apiserver and Helm, built once outside of any test's time limit
	@go run ./e2e/kubeapi/assets >/dev/null

.PHONY: build
build: ## build both programs into bin/
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o bin/ ./allocator ./agent

.PHONY: images
images: ## build the container images into bin/images, with buildah or docker; PLATFORMS=a,b PREFIX=registry/path TAG=x
	@go run ./e2e/node/images/cmd $(if $(PLATFORMS),-platforms $(PLATFORMS)) $(if $(PREFIX),-prefix $(PREFIX)) $(if $(TAG),-tag $(TAG))

.PHONY: sim
sim: ## run the deterministic simulation; SEEDS=n, SEED=n KEEP=n,n to replay, COVER=1, RECLAIM=1
	go test ./e2e/sim -run '$(if $(RECLAIM),^TestPortsOfCrashedPods,^TestSim$$)' -count=1 -timeout 3h -v \
	  $(if $(COVER),-covermode=atomic -coverpkg=$(DECIDING) -coverprofile=$(CACHE)/sim.cover) \
	  -args $(if $(SEED),-seed=$(SEED),-seeds=$(SEEDS)) $(if $(KEEP),-keep=$(KEEP)) $(if $(WITHOUT),-without='$(WITHOUT)') \
	  $(if $(LOSSES),-losses) $(if $(DAMAGE),-damage) $(if $(HARD_MOVES),-hard-moves) $(if $(RECLAIM),-reclaim-seeds=$(SEEDS))
	@if [ -n "$(COVER)" ]; then awk -F '[ :]' '!/^mode/ { p = $$1; sub("/[^/]*$$", "", p); n[p] += $$3; if ($$4) hit[p] += $$3 } \
	  END { for (p in n) printf "covered %5.1f%% of %s\n", 100 * hit[p] / n[p], p }' $(CACHE)/sim.cover | sort -k4; fi

.PHONY: fleet
fleet: assets ## start N (300) pods at once against AWS's rate limits; SPEED=n (2)
	@go run ./e2e/load fleet -pods $(N) -speed $(SPEED)

.PHONY: fleet-stop
fleet-stop: N = 50
fleet-stop: SPEED = 1
fleet-stop: assets ## stop N (50) bound pods at once against AWS's rate limits; SPEED=n (1)
	@go run ./e2e/load fleet-stop -pods $(N) -speed $(SPEED)

.PHONY: linearize
linearize: assets ## check ROUNDS (100) histories of concurrent claims; SEED=n
	@go run ./e2e/load linearize -rounds $(ROUNDS) $(if $(SEED),-seed $(SEED))

.PHONY: soak
soak: assets ## let agents and allocators live and die for FOR (10m); SEED=n
	@go run ./e2e/load soak -for $(FOR) $(if $(SEED),-seed $(SEED))

.PHONY: bench-agent
bench-agent: assets ## measure what an agent costs while it holds; AGENTS=n CALLERS=n
	@go run ./e2e/load bench-agent -agents $(AGENTS) -callers $(CALLERS)

.PHONY: e2e-node
e2e-node: ## install on a real cluster of one node and play its stories; needs root; ONLY=part of a name, HOLD=1
	@go run ./e2e/node $(if $(ONLY),-only "$(ONLY)") $(if $(HOLD),-hold)

.PHONY: crashtable
crashtable: assets ## spoil every call of an agent's life in every way; ONLY=part of a name
	@go run ./e2e/load crashtable $(if $(ONLY),-only "$(ONLY)")

.PHONY: mutants
mutants: assets ## put deliberate bugs in, one by one, and show what notices each; ONLY=part of a name
	@go run ./e2e/sim/mutants $(if $(ONLY),-only "$(ONLY)")

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZ (20s)
	@for module in . e2e/elbemu; do go list -C $$module ./... | while read -r package; do \
	  go test -C $$module -list '^Fuzz' "$$package" | grep '^Fuzz' | while read -r target; do \
	    echo "$$package $$target"; go test -C $$module -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZ) "$$package" || exit 1; \
	  done || exit 1; done || exit 1; done

.PHONY: terraform
terraform: ## format, validate and plan deploy/terraform; needs terraform, PLUGINS=folder without a registry
	terraform fmt -check -recursive deploy/terraform
	rm -rf $(CACHE)/terraform && mkdir -p $(CACHE)/terraform && cp -r deploy/iam deploy/terraform $(CACHE)/terraform
	cd $(CACHE)/terraform/terraform && terraform init -input=false -backend=false $(if $(PLUGINS),-plugin-dir=$(PLUGINS)) && \
	  terraform validate && terraform test

.PHONY: tools
tools: # linters, at the versions that e2e/tools/go.mod pins
	@$(NESTED) go build -C e2e/tools -o $(TOOLS)/ tool

.PHONY: lint
lint: tools ## run the linters
	$(TOOLS)/golangci-lint run ./...
	cd e2e/elbemu && $(NESTED) $(TOOLS)/golangci-lint run ./...
	cd e2e/kubeapi/server && $(NESTED) $(TOOLS)/golangci-lint run . ./program
	cd deploy/tests/terraform && $(NESTED) $(TOOLS)/golangci-lint run ./...

.PHONY: vulncheck
vulncheck: tools ## look for known vulnerabilities (asks vuln.go.dev)
	$(TOOLS)/govulncheck ./...
