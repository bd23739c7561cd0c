# What a fresh machine needs is fetched by `make tools`; every other target asks for it.
.DEFAULT_GOAL := build
.PHONY: tools build bench

tools: ## Fetch Apache Kafka and ClickHouse's embedded engine into .cache, and missing Debian packages
	@deploy/local/fetch.sh

build: tools ## Build the release program
	cargo build --release --locked

bench: tools ## Measure speed and memory against the real broker and engine; table, and target/bench.json
	cargo bench --locked --bench pipeline
