"""wandb:ENTITY/PROJECT/NAME:VERSION: an artifact of W&B. Only safe files are read; see artifact_files.py."""

from dataclasses import replace

from service.domain import LabelSpace
from service.predictions.model_id import parse_wandb_artifact
from service.predictions.model_policy import ModelPolicy
from service.predictions.models.artifact_files import ArtifactFile, choose_files, load_files
from service.predictions.models.loaded_model import LoadedModel
from service.predictions.wandb_client import WandbClient, ready_version
from service.storage import temporary_folder

REMEDY = (
    "Log model.safetensors with a config.json, or model.onnx, or predictions.csv, with Artifact.add_file, in an "
    "artifact of their own."
)


def load(rest: str, policy: ModelPolicy, label_space: LabelSpace) -> LoadedModel:
    """Return the model.

    Raises:
        ModelNotFound: The server has no such artifact.
        ModelRefused: The files differ from the digest of the version, are too large, or cannot be used.
        UnsupportedFormat: The version has no safe file.
        Unavailable: The server cannot be reached, or the version is not ready.
    """
    model, artifact = f"wandb:{rest}", parse_wandb_artifact(rest)
    client = WandbClient(policy.registry(artifact.registry, model, "wandb"))
    version = ready_version(model, client, artifact)
    entries = client.manifest(version)
    files = choose_files(model, [ArtifactFile(path, entry.size) for path, entry in entries.items()], REMEDY)
    policy.check_download(model, sum(file.size or 0 for file in files))
    addresses = client.addresses(replace(artifact, version=version.version), [file.path for file in files])
    with temporary_folder() as folder:
        for file in files:
            client.download(addresses[file.path], folder / file.name, entries[file.path])
        return load_files(model, files[0].name, "", replace(policy, folder=folder), label_space)
