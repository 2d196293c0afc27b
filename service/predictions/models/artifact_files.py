"""The files of a version in a registry: which of them are downloaded, and how they are loaded.

Errata uses the first of these that the version contains:

1. a predictions file (predictions.csv, .jsonl, or .parquet)
2. safetensors of an image classifier of transformers, or of an architecture of timm
3. an ONNX graph with its external data

Nothing else is downloaded.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from errata.errors import ModelNotFound, ModelRefused, UnsupportedFormat

from service.domain import LabelSpace
from service.predictions.model_policy import ModelPolicy
from service.predictions.models import file
from service.predictions.models.loaded_model import LoadedModel
from service.predictions.models.precomputed import load_precomputed
from service.predictions.models.transformers_files import CONFIG, PREPROCESSOR

METADATA = (CONFIG, "classes.json")
MAX_METADATA_BYTES = 1 << 20
PREDICTIONS = (
    "predictions.csv",
    "predictions.jsonl",
    "predictions.parquet",
    "predictions.csv.gz",
    "predictions.jsonl.gz",
)
_NAME = re.compile(r"[\w(][\w.()+ -]{0,200}")


@dataclass(frozen=True)
class ArtifactFile:
    """A file of a version."""

    path: str  # relative to the folder of the version
    size: int | None

    @property
    def name(self) -> str:
        """Return the name without the folder."""
        return PurePosixPath(self.path).name

    @property
    def folder(self) -> PurePosixPath:
        """Return the folder."""
        return PurePosixPath(self.path).parent


def choose_files(model: str, files: Sequence[ArtifactFile], remedy: str) -> list[ArtifactFile]:
    """Return the files to download, with distinct names and the main file first.

    Args:
        model: Model ID, for the message.
        files: The files of the version.
        remedy: Sentence for the message: how to store a model that can be loaded.

    Raises:
        UnsupportedFormat: There is no file that can be loaded without running code.
    """
    files = [file for file in files if _NAME.fullmatch(file.name)]
    for name in PREDICTIONS:
        if predictions := [file for file in files if file.name == name]:
            return [_only(model, predictions)]
    metadata = [file for file in files if file.name in METADATA and (file.size or 0) <= MAX_METADATA_BYTES]
    processors = [file for file in files if file.name == PREPROCESSOR and (file.size or 0) <= MAX_METADATA_BYTES]
    weights = [file for file in files if file.path.endswith(".safetensors")]
    if len(weights) == 1:
        beside = _siblings(processors, weights[0]) or processors  # MLflow stores this file in its own folder
        return [weights[0], *_siblings(metadata, weights[0]), *beside[:1]]
    graphs = [file for file in files if file.path.endswith(".onnx")]
    if len(graphs) == 1:
        data = [file for file in files if file.path.endswith((".data", ".onnx_data"))]
        return [graphs[0], *_siblings(data, graphs[0]), *_siblings(metadata, graphs[0])]
    names = ", ".join(sorted({file.name for file in files})[:12]) or "none"
    raise UnsupportedFormat(
        f"{model}: No file of the version can be loaded without running code: {names:.300}. {remedy}"
    )


def _only(model: str, files: Sequence[ArtifactFile]) -> ArtifactFile:
    """Return the only file, or else the only one outside folders; raise UnsupportedFormat if there is none."""
    candidates = files if len(files) == 1 else [file for file in files if file.folder == PurePosixPath(".")]
    if len(candidates) != 1:
        paths = ", ".join(sorted(file.path for file in files)[:12])
        raise UnsupportedFormat(
            f"{model}: The version has several predictions files: {paths:.300}. Log one, or put one outside folders."
        )
    return candidates[0]


def load_files(model: str, name: str, architecture: str, policy: ModelPolicy, label_space: LabelSpace) -> LoadedModel:
    """Load the main file of a version from the folder of the policy.

    Args:
        model: Model ID.
        name: Name of the main file.
        architecture: Architecture of timm that the registry names; empty: the one in config.json.
        policy: The policy, with the folder of the downloaded files.
        label_space: The label space.

    Raises:
        ModelRefused: The files cannot be used.
    """
    try:
        loaded = _load_file(model, name, architecture, policy, label_space)
    except ModelNotFound as error:  # the version exists, but not its architecture
        raise ModelRefused(f"{model}: {error.message}") from error
    return replace(loaded, info=replace(loaded.info, model=model))


def _load_file(model: str, name: str, architecture: str, policy: ModelPolicy, label_space: LabelSpace) -> LoadedModel:
    folder = policy.folder
    assert folder is not None, "This is a bug: the files were downloaded to a folder."
    if name in PREDICTIONS:
        return load_precomputed(model, folder / name, label_space)
    if name.endswith(".onnx"):
        from service.predictions.models import onnx

        return onnx.load(name, policy, label_space)
    return file.load(f"{name}#{architecture}" if architecture else name, policy, label_space)


def _siblings(files: Sequence[ArtifactFile], main: ArtifactFile) -> list[ArtifactFile]:
    return [file for file in files if file.folder == main.folder]
