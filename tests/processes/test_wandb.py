"""The client of W&B reads the same artifact from the server of the tests, which shows that it speaks the API."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from wandb_server import API_KEY, StoredArtifact, wandb_server

from service.predictions.model_id import parse_wandb_artifact
from service.predictions.registry_http import RegistryAddress
from service.predictions.wandb_client import WandbClient

pytestmark = pytest.mark.processes
SCRIPT = """
import json, sys, wandb
artifact = wandb.Api(overrides={"base_url": sys.argv[1]}, api_key=sys.argv[2]).artifact("team/project/small:best")
artifact.download(root=sys.argv[3])
contents = {path: [entry.size, entry.digest] for path, entry in artifact.manifest.entries.items()}
print(json.dumps({"version": artifact.version, "digest": artifact.digest, "contents": contents}))
"""
FILES = {"model/config.json": b"{}", "model/model.safetensors": bytes(range(256)) * 300}


@pytest.mark.parametrize("algorithm", ["MD5", "XXH128"])
def test_the_client_of_wandb_and_errata_read_the_same_files(tmp_path: Path, algorithm: str) -> None:
    folders = ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR", "WANDB_ARTIFACT_DIR")
    environment = {**os.environ, **dict.fromkeys(folders, str(tmp_path)), "WANDB_SILENT": "true"}
    environment["WANDB_ERROR_REPORTING"] = "false"
    with wandb_server() as server:
        server.versions = [StoredArtifact(FILES, version=2, aliases=("best",), algorithm=algorithm)]
        command = [sys.executable, "-c", SCRIPT, server.url, API_KEY, str(tmp_path / "theirs")]
        result = subprocess.run(command, env=environment, capture_output=True, timeout=120, check=True, cwd=tmp_path)
        theirs = json.loads(result.stdout.splitlines()[-1])

        client = WandbClient(RegistryAddress("wandb", server.url, API_KEY, "wandb"))
        artifact = parse_wandb_artifact("team/project/small:best")
        version = client.version(artifact)
        entries = client.manifest(version)
        addresses = client.addresses(artifact, FILES.keys())
        for path, entry in entries.items():
            client.download(addresses[path], tmp_path / Path(path).name, entry)
            assert (tmp_path / Path(path).name).read_bytes() == (tmp_path / "theirs" / path).read_bytes()

    assert (theirs["version"], theirs["digest"]) == (version.version, version.digest)
    assert theirs["contents"] == {path: [entry.size, entry.digest] for path, entry in entries.items()}
    assert all(len(base64.b64decode(entry.digest)) == 16 for entry in entries.values())
