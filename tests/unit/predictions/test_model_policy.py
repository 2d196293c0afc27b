"""The operator's model policy: patterns for sources and names, the folder, and limits on size."""

from pathlib import Path

import pytest
from errata.errors import InvalidModelId, ModelRefused

from service.predictions.model_id import HUB_SOURCES, SOURCES, parse_model_id
from service.predictions.model_policy import ModelPolicy
from service.predictions.registry_http import RegistryAddress

COMMIT = "a" * 40
REGISTRIES = (RegistryAddress("prod", "https://mlflow"), RegistryAddress("wb", "https://wandb", kind="wandb"))


@pytest.mark.parametrize(
    ("patterns", "model"),
    [
        (["*"], "timm:resnet50"),
        (["timm:*"], "resnet50"),  # a bare name means timm
        (["demo:*", "timm:resnet*"], "timm:resnet50.a1_in1k"),
        (["hf-hub:timm/*"], "hf-hub:timm/resnet50.a1_in1k"),
        (["hf-hub:timm/resnet50.a1_in1k"], f"hf-hub:timm/resnet50.a1_in1k@{COMMIT}"),  # all revisions
        ([f"hf-hub:timm/x@{COMMIT}"], f"hf-hub:timm/x@{COMMIT}"),
        (["transformers:org/*"], "hf:org/x@main"),  # what it resolves to is checked again
        (["hf:org/*"], f"transformers:org/x@{COMMIT}"),
        (["hf:org/x"], f"hf-onnx:org/x@{COMMIT}#onnx/model.onnx"),
        (["hf-onnx:org/x"], f"hf-onnx:org/x@{COMMIT}#onnx/model.onnx"),
        (["wandb:team/*"], "wandb:team/project/x:v3"),
        (["wandb:team/*"], "wandb://wb/team/project/x:v3@" + "a" * 32),  # as `pin_model` returns it
        (["wandb://wb/team/*"], "wandb:team/project/x:latest"),  # in the only registry
        (["mlflow:models:/resnet*"], "mlflow:models://prod/resnet50/7"),
        (["mlflow:models://prod/resnet*"], "mlflow:models:/resnet50@champion"),
        (["torchvision:resnet50/IMAGENET1K_V?"], "torchvision:resnet50/IMAGENET1K_V2"),
    ],
)
def test_a_model_that_a_pattern_matches_is_allowed(patterns: list[str], model: str) -> None:
    ModelPolicy(sources=patterns, registries=REGISTRIES).check(parse_model_id(model))


@pytest.mark.parametrize(
    ("patterns", "model"),
    [
        (["wandb:team/*"], "wandb://wb/evil/team/x:v3"),
        (["mlflow:models://prod/*"], "mlflow:models://other/resnet50/7"),
        (["wandb://other/*"], "wandb:team/project/x:v3"),
        ([], "timm:resnet50"),
        (["timm:resnet"], "timm:resnet50"),  # the whole of it must match
        (["resnet50"], "timm:resnet50"),
        (["TIMM:*"], "timm:resnet50"),
        (["hf-hub:timm/*"], "hf-hub:evil/timm"),
        ([f"hf-hub:timm/x@{COMMIT}"], "hf-hub:timm/x@main"),
        (["timm:*"], "demo:efficientnet_lite0"),
        (["hf-hub:org/*"], f"transformers:org/x@{COMMIT}"),
        (["timm:*"], "hf:org/x"),
        (["hf:org/*"], "transformers:evil/org"),
    ],
)
def test_a_model_that_no_pattern_matches_is_rejected(patterns: list[str], model: str) -> None:
    with pytest.raises(InvalidModelId, match="ERRATA_MODEL_SOURCES") as caught:
        ModelPolicy(sources=patterns, registries=REGISTRIES).check(parse_model_id(model))
    assert [violation.field for violation in caught.value.violations] == ["model"]


@pytest.mark.parametrize("model", ["file:a.pth#resnet50", "onnx:a.onnx"])
def test_files_also_need_a_folder(model: str) -> None:
    ModelPolicy(folder=Path("/models")).check(parse_model_id(model))
    with pytest.raises(InvalidModelId, match="ERRATA_MODELS"):
        ModelPolicy().check(parse_model_id(model))


def test_without_a_setting_every_source_but_files_is_allowed() -> None:
    hub = dict.fromkeys(("hf", *HUB_SOURCES), "timm/x")
    rests = hub | {"file": "a.pth", "onnx": "a.onnx", "mlflow": "models:/x/1", "wandb": "a/b/c:v1"}
    allowed = []
    for source in SOURCES:
        try:
            ModelPolicy().check(parse_model_id(f"{source}:{rests.get(source, 'x')}"))
            allowed.append(source)
        except InvalidModelId:
            pass

    assert allowed == [source for source in SOURCES if source not in ("file", "onnx")]


def test_models_at_the_limits_pass_and_larger_ones_are_rejected() -> None:
    policy = ModelPolicy(max_parameters=10, max_download_bytes=20)

    policy.check_parameters("m", 10)
    policy.check_download("m", 20)
    policy.check_download("m", None)  # unknown size
    with pytest.raises(ModelRefused, match=r"m has 11 parameters. Expected at most 10"):
        policy.check_parameters("m", 11)
    with pytest.raises(ModelRefused, match=r"m: The download has 21 bytes. Expected at most 20"):
        policy.check_download("m", 21)
