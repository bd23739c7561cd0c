"""Sorts rendered Kubernetes documents by who has their schema, and reads the XML in them: check-deploy.py RENDERED DIRECTORY."""

import json
import sys
from xml.etree import ElementTree

import yaml

rendered, directory = sys.argv[1:]
with open(rendered) as file:
    documents = list(yaml.safe_load_all(file))
keda = [d for d in documents if d["apiVersion"].startswith("keda.sh/")]
if not keda:
    sys.exit("no ScaledObject: expected the one of ingest")
for document in documents:
    for name, text in document.get("data", {}).items():
        if name.endswith(".xml"):
            ElementTree.fromstring(text)
with open(f"{directory}/keda.json", "w") as file:
    json.dump(keda, file)
with open(f"{directory}/known.yaml", "w") as file:
    yaml.safe_dump_all([d for d in documents if d not in keda], file)
