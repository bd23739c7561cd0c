# What a fresh machine needs is fetched by `make tools`; every other target asks for it.
.DEFAULT_GOAL := build
.PHONY: tools build demo smoke

tools: ## Fetch Apache Kafka and ClickHouse's embedded engine into .cache, and missing Debian packages
	@deploy/local/fetch.sh

build: tools ## Build the release program
	cargo build --release --locked

demo: build ## Start everything with a simulated company; Ctrl-C stops it
	@target/release/uptake up --demo

smoke: build ## Start everything in a temporary directory and compare every number with the simulated truth
	@target/release/uptake smoke
