"""The files of a version in a registry that are downloaded, and how they are loaded."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from errata.errors import InvalidModelId, ModelRefused, UnsupportedFormat
from unit.predictions.label_spaces import label_space
from unit.predictions.models.transformers_models import save_vit

from service.predictions.model_policy import ModelPolicy
from service.predictions.models import file
from service.predictions.models.artifact_files import MAX_METADATA_BYTES, ArtifactFile, choose_files, load_files

LABELS = {0: "name 0", 1: "name 1", 2: "name 2"}


def chosen(*paths: str, size: int = 1) -> list[str]:
    return [file.path for file in choose_files("m", [ArtifactFile(path, size) for path in paths], "Log it.")]


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["a/model.safetensors", "predictions.csv"], ["predictions.csv"]),
        (["model.safetensors", "config.json", "code/config.json"], ["model.safetensors", "config.json"]),
        (
            # as mlflow.transformers.log_model stores a model
            ["model/model.safetensors", "model/config.json", "components/image_processor/preprocessor_config.json"],
            ["model/model.safetensors", "model/config.json", "components/image_processor/preprocessor_config.json"],
        ),
        (
            ["a/model.safetensors", "a/preprocessor_config.json", "b/preprocessor_config.json", "pytorch_model.bin"],
            ["a/model.safetensors", "a/preprocessor_config.json"],
        ),
        (["model.onnx", "w.data", "b/w.data", "classes.json"], ["model.onnx", "w.data", "classes.json"]),
    ],
)
def test_only_the_files_of_the_model_are_chosen(paths: Sequence[str], expected: Sequence[str]) -> None:
    assert chosen(*paths) == expected


@pytest.mark.parametrize(
    "paths",
    [
        [],
        ["model.pth"],
        ["data/model.pt2"],
        ["a.safetensors", "b.safetensors"],
        ["a.onnx", "b.onnx"],
        ["a\0.safetensors"],
        ["a/..", "b/.safetensors"],
    ],
)
def test_a_version_without_one_safe_model_is_refused(paths: Sequence[str]) -> None:
    with pytest.raises(UnsupportedFormat, match=r"without running code: .*Log it\."):
        chosen(*paths)


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["train/predictions.csv", "predictions.csv", "val/predictions.csv"], "predictions.csv"),
        (["train/predictions.csv", "model.onnx"], "train/predictions.csv"),
        (["train/predictions.parquet", "val/predictions.parquet", "predictions.csv"], "predictions.csv"),
    ],
)
def test_predictions_outside_folders_are_chosen(paths: Sequence[str], expected: str) -> None:
    assert chosen(*paths) == chosen(*reversed(paths)) == [expected]


def test_several_predictions_in_folders_are_refused() -> None:
    with pytest.raises(UnsupportedFormat, match=r"several predictions files: a/predictions.csv, b/predictions.csv\."):
        chosen("b/predictions.csv", "a/predictions.csv", "model.onnx")


def test_huge_metadata_is_not_downloaded() -> None:
    files = [ArtifactFile("model.safetensors", 1), ArtifactFile("config.json", MAX_METADATA_BYTES + 1)]

    assert choose_files("m", files, "") == files[:1]


@pytest.mark.parametrize("name", ["model.safetensors", "other.safetensors"])
def test_files_of_transformers_are_loaded_whatever_the_name_of_the_weights(tmp_path: Path, name: str) -> None:
    save_vit(tmp_path, LABELS)
    (tmp_path / "model.safetensors").rename(tmp_path / name)

    loaded = load_files("mlflow:models:/x/1", name, "", ModelPolicy(folder=tmp_path), label_space(3))

    assert (loaded.info.model, loaded.info.architecture) == ("mlflow:models:/x/1", "ViTForImageClassification")


def test_a_model_of_transformers_in_the_folder_of_models_is_loaded(tmp_path: Path) -> None:
    save_vit(tmp_path / "models/vit", LABELS)
    policy = ModelPolicy(folder=tmp_path / "models")

    info = file.load("vit/model.safetensors", policy, label_space(3)).info

    assert info.model == "file:vit/model.safetensors"
    assert info.transform.startswith("ViTImageProcessor")


def test_links_out_of_the_folder_of_models_are_refused(tmp_path: Path) -> None:
    save_vit(tmp_path / "models/vit", LABELS)
    path = tmp_path / "models/vit/preprocessor_config.json"
    path.rename(tmp_path / "elsewhere.json")
    path.symlink_to(tmp_path / "elsewhere.json")

    with pytest.raises(InvalidModelId, match="leads out of the folder"):
        file.load("vit/model.safetensors", ModelPolicy(folder=tmp_path / "models"), label_space(3))


def test_an_unknown_architecture_of_a_registry_is_refused(tmp_path: Path) -> None:
    save_vit(tmp_path, LABELS)
    policy = replace(ModelPolicy(), folder=tmp_path)

    with pytest.raises(ModelRefused, match="Unknown architecture 'no-such'"):
        load_files("mlflow:models:/x/1", "model.safetensors", "no-such", policy, label_space(3))
