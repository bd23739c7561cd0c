# What a fresh machine needs is fetched by `make tools`; every other target asks for it.
.DEFAULT_GOAL := build
ROUNDS ?= 20
SEED ?= 1
.PHONY: tools build demo smoke test chaos outage fuzz bench bench-query bench-peers lint audit check-api check-deploy check-rules check-dashboards check-clickhouse check-cluster

tools: ## Fetch Apache Kafka and ClickHouse's embedded engine into .cache, and missing Debian packages
	@deploy/local/fetch.sh

build: tools ## Build the release program
	cargo build --release --locked

demo: build ## Start everything with a simulated company; Ctrl-C stops it
	@target/release/uptake up --demo

smoke: build ## Start everything in a temporary directory and compare every number with the simulated truth
	@target/release/uptake smoke

test: tools ## Run every test, against a real broker and the real engine
	cargo test --locked

chaos: tools ## Rounds of random faults on real parts, compared with the truth: make chaos ROUNDS=20 SEED=1
	CHAOS_ROUNDS=$(ROUNDS) CHAOS_SEED=$(SEED) cargo test --locked --test chaos

MINUTES ?= 10
RATE ?= 5000
outage: tools ## ClickHouse, then Kafka away for long, then full disks, compared with the truth: make outage MINUTES=10 RATE=5000
	OUTAGE_MINUTES=$(MINUTES) OUTAGE_RATE=$(RATE) OUTAGE_ACTS="$(ACTS)" cargo test --locked --test outage

SECONDS = 60
TARGETS = event headers roster import
fuzz: ## Feed the readers with damaged input, SECONDS=n each; TARGETS="roster import" picks some
	cargo install --quiet --locked --root .cache cargo-fuzz
	tests/fuzz/run.sh $(SECONDS) $(TARGETS)

lint: tools ## Check format, lints and the documentation
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" cargo doc --locked --no-deps --document-private-items

audit: ## Check dependencies: advisories, licences, unused ones
	cargo install --quiet --locked --root .cache cargo-deny cargo-machete
	.cache/bin/cargo-machete
	.cache/bin/cargo-deny check

check-api: build ## Ask a running API whatever its description allows and forbids (schemathesis, from PyPI)
	@tests/check-api.sh

check-deploy: ## Check everything in deploy by the tool of its kind (from PyPI and npm; kubectl and systemd from Debian)
	@tests/check-deploy.sh

check-rules: tools ## Check and test the rules for Prometheus and the routing of Alertmanager
	promtool check rules deploy/prometheus/rules/*.yml
	promtool check config deploy/prometheus/prometheus.yml
	promtool test rules deploy/prometheus/tests/*.yml
	amtool check-config deploy/alertmanager/alertmanager.yml

check-dashboards: build ## Compare every panel of Grafana with the API and draw it into docs/images (Grafana's packages from npm, Chromium)
	@tests/dashboards/run.sh

check-clickhouse: tools ## Run the tests of storage and numbers against ClickHouse 24.8, the oldest that is supported (from PyPI)
	@tests/clickhouse/run.sh oldest

check-cluster: tools ## Run the tests of storage and numbers against two shards
	@tests/clickhouse/run.sh cluster

bench: tools ## Measure speed and memory against the real broker and engine; table, and target/bench.json
	cargo bench --locked --bench pipeline

bench-query: tools ## Measure answers about 100,000,000 events; table, and target/bench-query.json
	cargo bench --locked --bench query

bench-peers: tools ## Measure ingest against what people would use instead; table, and target/bench-peers.json
	@deploy/local/fetch.sh connect
	cargo bench --locked --bench peers
