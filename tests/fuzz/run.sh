#!/usr/bin/env bash
# run.sh SECONDS TARGET...: fuzzes each target, from the examples and from what earlier runs found.
set -euo pipefail
cd "$(dirname "$0")/../.."
PATH="$PWD/.cache/bin:$PATH"
seconds=$1
shift

for target; do
	case $target in
	event) seeds=(schemas/events/examples/*/*.json) ;;
	headers) seeds=(tests/fuzz/seeds/headers/*) ;;
	roster) seeds=(tests/fuzz/seeds/roster/* schemas/roster.example.csv docs/example/crm-roster.csv) ;;
	import) seeds=(tests/fuzz/seeds/import/*) ;;
	esac
	mkdir -p "tests/fuzz/corpus/$target"
	cp "${seeds[@]}" "tests/fuzz/corpus/$target"
	# Without a sanitizer, as the readers are safe Rust: so it needs no nightly toolchain.
	cargo fuzz run --fuzz-dir tests/fuzz --sanitizer none "$target" -- \
		-max_total_time="$seconds" -dict=tests/fuzz/words.dict -max_len=8192 -timeout=10
done
