"""Model IDs: valid ones are parsed, and unsafe paths and names are rejected."""

from pathlib import PurePosixPath

import pytest
from errata.errors import InvalidModelId
from example_counts import max_examples
from hypothesis import example, given
from hypothesis import strategies as st

from service.predictions.model_id import (
    FileModel,
    HubModel,
    MlflowModel,
    ModelId,
    TorchvisionModel,
    WandbArtifact,
    parse_file_model,
    parse_hub_model,
    parse_mlflow_model,
    parse_model_id,
    parse_onnx_model,
    parse_torchvision_model,
    parse_wandb_artifact,
)


@pytest.mark.parametrize(
    ("text", "source", "rest"),
    [
        ("timm:resnet50.a1_in1k", "timm", "resnet50.a1_in1k"),
        ("resnet50.a1_in1k", "timm", "resnet50.a1_in1k"),
        ("  resnet50  ", "timm", "resnet50"),
        ("demo:efficientnet_lite0", "demo", "efficientnet_lite0"),
        ("file:runs/best.safetensors#resnet50", "file", "runs/best.safetensors#resnet50"),
        ("file:runs/best.pth", "file", "runs/best.pth"),
        ("onnx:runs/best.onnx", "onnx", "runs/best.onnx"),
        ("torchvision:resnet50", "torchvision", "resnet50"),
        ("torchvision:resnet50/IMAGENET1K_V2", "torchvision", "resnet50/IMAGENET1K_V2"),
        ("hf-hub:timm/resnet50.a1_in1k", "hf-hub", "timm/resnet50.a1_in1k"),
        ("hf:google/vit-base-patch16-224", "hf", "google/vit-base-patch16-224"),
        ("transformers:google/vit@main", "transformers", "google/vit@main"),
        ("hf-onnx:org/vit@main#onnx/model.onnx", "hf-onnx", "org/vit@main#onnx/model.onnx"),
        ("wandb:team/my project/vit:v3", "wandb", "team/my project/vit:v3"),
        ("wandb:team/p/vit:best@" + "0a" * 16, "wandb", "team/p/vit:best@" + "0a" * 16),
        ("wandb://prod/team/p/vit:latest", "wandb", "//prod/team/p/vit:latest"),
        ("hf-hub:timm/resnet50.a1_in1k@refs/pr/1", "hf-hub", "timm/resnet50.a1_in1k@refs/pr/1"),
    ],
)
def test_an_identifier_is_a_source_and_a_name_and_a_bare_name_means_timm(text, source, rest) -> None:
    model_id = parse_model_id(text)

    assert (model_id.source, model_id.rest) == (source, rest)
    assert str(model_id) == f"{source}:{rest}"


@max_examples(100)
@given(
    st.sampled_from(["timm", "demo"]),
    st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,40}", fullmatch=True),
)
def test_a_printed_model_id_parses_to_the_same_id(source, name) -> None:
    model_id = ModelId(source, name)

    assert parse_model_id(str(model_id)) == model_id


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        ":",
        "timm:",
        "demo:",
        "file:",
        "file:#resnet50",
        ":resnet50",
        "nowhere:resnet50",
        "TIMM:resnet50",
        "http://example.org/model",
        "timm:a/b",
        "timm:../../etc/passwd",
        "timm:a b",
        "timm:-rf",
        "timm:.hidden",
        "timm:résnet",
        "timm:resnet\x0050",
        "timm:resnet\n50",
        "timm:resnet50;ls",
        "timm:" + "a" * 600,
        "onnx:",
        "onnx:.",
        "torchvision:",
        "torchvision:resnet50/",
        "torchvision:/IMAGENET1K_V2",
        "torchvision:resnet50/a/b",
        "hf-hub:",
        "hf-hub:resnet50",
        "hf-hub:timm/",
        "hf-hub:/resnet50",
        "hf-hub:timm/a/b",
        "hf-hub:timm/a@",
        "hf-hub:timm/a@b@c",
        "hf-hub:timm/a@../b",
        "hf-hub:timm/a@b..c",
        "hf-hub:timm/a@/b",
        "hf-hub:timm/a@b//c",
        "hf-hub:../a",
    ],
)
def test_an_invalid_model_id_is_rejected(text) -> None:
    with pytest.raises(InvalidModelId) as error_info:
        parse_model_id(text)

    assert error_info.value.reason == "INVALID_MODEL_ID"
    assert [violation.field for violation in error_info.value.violations] == ["model"]
    assert len(error_info.value.message) < 400


def test_the_longest_name_is_512_characters() -> None:
    assert parse_model_id("a" * 512).rest == "a" * 512
    with pytest.raises(InvalidModelId):
        parse_model_id("a" * 513)


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../model.pth", "a/../../model.pth", "a/..", "..", "\\\\server\\share", "a\\..\\b", "//a", "/"],
)
@pytest.mark.parametrize("architecture", ["", "#resnet50"])
def test_a_path_that_leaves_its_folder_is_rejected(path, architecture) -> None:
    with pytest.raises(InvalidModelId):
        parse_model_id(f"file:{path}{architecture}")
    with pytest.raises(InvalidModelId):
        parse_model_id(f"onnx:{path}")


@pytest.mark.parametrize("architecture", ["../x", "a b", "a/b", "a#b", "-x", "résnet"])
def test_an_architecture_is_a_name(architecture) -> None:
    with pytest.raises(InvalidModelId):
        parse_file_model(f"model.pth#{architecture}")


def test_the_parts_of_other_identifiers() -> None:
    assert parse_onnx_model("a/b.onnx") == PurePosixPath("a/b.onnx")
    assert parse_torchvision_model("resnet50") == TorchvisionModel("resnet50", "")
    assert parse_torchvision_model("resnet50/IMAGENET1K_V2") == TorchvisionModel("resnet50", "IMAGENET1K_V2")
    assert parse_hub_model("timm/a") == HubModel("timm/a", "")
    assert parse_hub_model("timm/a@work/new") == HubModel("timm/a", "work/new")


def test_the_architecture_of_a_file_model_is_optional() -> None:
    assert parse_file_model("a/b.pth#resnet50") == FileModel(PurePosixPath("a/b.pth"), "resnet50")
    assert parse_file_model("a/b.pth") == FileModel(PurePosixPath("a/b.pth"), "")


@max_examples(300)
@given(
    st.text(max_size=40),
    st.sampled_from(["", "timm:", "demo:", "file:", "file:a/", "onnx:", "hf-hub:", "hf-hub:a/", "torchvision:a/"]),
)
@example("", "file:")
@example("b.pth", "file:a/")
@example("b.onnx", "onnx:")
def test_any_text_is_a_model_id_without_parent_folders_or_is_rejected(text, head) -> None:
    try:
        model_id = parse_model_id(head + text)
    except InvalidModelId:
        return
    assert parse_model_id(str(model_id)) == model_id
    if model_id.source in ("file", "onnx"):
        path = parse_file_model(model_id.rest).path if model_id.source == "file" else parse_onnx_model(model_id.rest)
        assert not path.is_absolute()
        assert ".." not in path.parts


@pytest.mark.parametrize(
    ("rest", "registry", "name", "version", "alias"),
    [
        ("models:/resnet50/7", "", "resnet50", "7", ""),
        ("models:/resnet50@champion", "", "resnet50", "", "champion"),
        ("models:/resnet50@errata-passed", "", "resnet50", "", "errata-passed"),
        ("models://prod/resnet50/7", "prod", "resnet50", "7", ""),
        ("models://prod-2.eu_1/resnet50@a_b-c", "prod-2.eu_1", "resnet50", "", "a_b-c"),
        ("models:/my model é.v1/12", "", "my model é.v1", "12", ""),
        ("models:/7/7", "", "7", "7", ""),
    ],
)
def test_a_registered_model_is_a_name_with_a_version_or_an_alias_perhaps_in_a_registry(
    rest, registry, name, version, alias
) -> None:
    assert parse_mlflow_model(rest) == MlflowModel(registry, name, version, alias)
    assert str(parse_model_id(f"mlflow:{rest}")) == f"mlflow:{rest}"


@pytest.mark.parametrize(
    "rest",
    [
        "",
        "models:/",
        "models:/resnet50",  # which version?
        "models:/resnet50/",
        "models:/resnet50@",
        "models:/resnet50/latest",
        "models:/resnet50/Production",
        "models:/resnet50/-1",
        "models:/resnet50/1.0",
        "models:/resnet50/٣",  # a digit, but not ASCII
        "models:/resnet50/7/data",
        "models:/resnet50/7@champion",
        "models:/resnet50@champion/7",
        "models:/resnet50@a@b",
        "models:/resnet50@a b",
        "models:/resnet50@../x",
        "models://resnet50/7",  # a registry without a model
        "models:///resnet50/7",
        "models://a/b/c/7",
        "models://user:password@host/resnet50/7",
        "models://host:5000/resnet50/7",
        "models://-x/resnet50/7",
        "models:/../../etc/passwd/7",
        "models:/a\\b/7",
        "models:/a%2fb/7",
        "models:/a?b/7",
        "models:/a#b/7",
        "models:/m-0123456789abcdef",
        "models:resnet50/7",
        "Models:/resnet50/7",
        " models:/resnet50/7",
        "models:/resnet50/7\n",
        "runs:/0123/model",
        "https://example.org/resnet50/7",
        "resnet50/7",
        "models:/" + "a" * 257 + "/7",
    ],
)
def test_an_invalid_registered_model_is_rejected(rest) -> None:
    with pytest.raises(InvalidModelId) as error_info:
        parse_mlflow_model(rest)

    assert [violation.field for violation in error_info.value.violations] == ["model"]
    assert len(error_info.value.message) < 400


@max_examples(200)
@given(st.text(max_size=30), st.text(max_size=10), st.sampled_from(["models:/", "models://prod/", ""]))
@example("..", "1", "models:/")
@example("m", "1", "models:/")
def test_the_name_of_a_registered_model_cannot_contain_separators(name, end, head) -> None:
    try:
        mlflow_model = parse_mlflow_model(f"{head}{name}/{end}")
    except InvalidModelId:
        return
    assert (mlflow_model.version.isascii() and mlflow_model.version.isdigit()) or mlflow_model.alias
    assert not set(mlflow_model.name) & set("/:@?#%\\")
    assert mlflow_model.name not in ("", ".", "..")


@pytest.mark.parametrize(
    "text",
    [
        "wandb:team/p/vit", "wandb:team/vit:v1", "wandb:team/../vit:v1", "wandb:team/p/vit:", "wandb:team/p/vit:a/b",
        "wandb:team/p/vit:v1@12", "wandb:team/p?x/vit:v1", "wandb:../p/vit:v1", "wandb:///team/p/vit:v1",
        "hf-onnx:org/vit#../model.onnx", "hf-onnx:org/vit#model.pt", "hf-onnx:org/vit#/model.onnx", "hf-onnx:org/vit#",
        "hf:org", "hf:org/vit#model.onnx", "transformers:org/vit@a..b", "transformers:vit",
    ],
)  # fmt: skip
def test_invalid_ids_of_registries_and_hubs_are_refused(text: str) -> None:
    with pytest.raises(InvalidModelId) as caught:
        parse_model_id(text)
    assert [violation.field for violation in caught.value.violations] == ["model"]


def test_the_parts_of_an_artifact_are_parsed() -> None:
    artifact = parse_wandb_artifact("//prod/team/my project/vit.b:v3@" + "0a" * 16)

    assert artifact == WandbArtifact("prod", "team", "my project", "vit.b", "v3", "0a" * 16)
    assert artifact.path == "team/my project/vit.b"
