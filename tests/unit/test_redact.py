"""Redaction: addresses, paths, and script names are replaced; the rest of a message is unchanged."""

import pytest
from errata.errors import ImageNotFound, InvalidModelId, ModelNotFound, ModelRefused, Unavailable

from service.jobs.transitions import failure_of
from service.predictions.model_policy import ModelPolicy
from service.redact import log_fields, public_message, redact

SHA1 = "f_" + "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("Error 111 connecting to redis.internal:6379. Connection refused.",
         "Error 111 connecting to [address]. Connection refused."),
        ("Error 111 connecting to localhost:6379.", "Error 111 connecting to [address]."),
        ("Error connecting to 10.0.12.7:6379", "Error connecting to [address]"),
        ("dial [fd00::12:1]:6379 failed", "dial [address] failed"),
        ("WRONGTYPE Operation script: 3a1b, on @user_script:412.", "WRONGTYPE Operation script: 3a1b, on [script]."),
        (f"Error running script (call to {SHA1}): user_script:12: nil", "Error running script (call to [script]): "
         "[script]: nil"),
        ("moves.lua:31: bad", "[script]: bad"),
        ("HTTPConnectionPool(host='mlflow.ml.svc', port=5000): Max retries", "HTTPConnectionPool([address]): Max "
         "retries"),
        ("Failed to resolve 'mlflow.ml.svc' ([Errno -2])", "Failed to resolve '[address]' ([Errno -2])"),
        ("API request to http://user:pw@mlflow:5000/api/2.0 failed", "API request to [address] failed"),
        ("no bucket s3://errata-archive/prod", "no bucket [address]"),
        ("Load model from /srv/models/a.onnx failed:", "Load model from [path] failed:"),
        ("No such file or directory: '/srv/models/a b.pth'", "No such file or directory: '[path]'"),
        ("expected a folder at /data, got none", "expected a folder at [path], got none"),
        ("in ~/.cache/torch/hub", "in [path]"),
        ("path=/var/lib/errata/x.npy", "path=[path]"),
        ("No folder at /srv/.images/val.tar. Set it.", "No folder at [path]. Set it."),
        ("Cannot connect to http://mlflow:5000/api. Try again.", "Cannot connect to [address]. Try again."),
    ],
)  # fmt: skip
def test_addresses_paths_and_script_names_are_replaced(text: str, redacted: str) -> None:
    assert redact(text) == redacted


@pytest.mark.parametrize(
    "text",
    [
        "timm:resnet50.a1_in1k: the weights don't fit the architecture: size mismatch for fc.weight: [10, 512]",
        "hf-hub:timm/resnet50.a1_in1k@main: the hub can't be reached",
        "mlflow:models://prod/resnet50/7: it is PENDING, not yet READY",
        "mlflow:models:/resnet50/7: expected weights",
        "No worker offers the model 'wandb://other/team/project/vit:v1'. Expected one of wandb://wb/*, timm:*.",
        "torchvision:resnet50/IMAGENET1K_V2: expected a list, got 3",
        "file:teams/vision/a.safetensors#resnet18: expected 1000 outputs, got 10",
        "onnx:a.onnx: expected outputs (1, classes) for an image, got (1, 3, 3)",
        "The evidence of imagenet-real (c5df8b1582b8) is damaged: verdicts.npy: the file was truncated.",
        "bundle/verdicts.npy: expected 128 bytes, got 7",
        "12 of 20 images are missing or damaged: n01440764/a.jpg, n01440764/b.jpg and 10 more; at most 1 % may be",
        "88 images/s and/or 5 % / 10 at 12:30",
        "install errata-service[object-store], torch 2.9.1",
    ],
)
def test_other_text_is_unchanged(text: str) -> None:
    assert redact(text) == text


def test_only_errors_of_the_service_are_redacted() -> None:
    for kind in (Unavailable, ModelRefused, ModelNotFound):
        assert public_message(kind("it is at /srv/models")) == "it is at [path]"
    for kind in (InvalidModelId, ImageNotFound):
        assert public_message(kind("got '/val/a.jpg'")) == "got '/val/a.jpg'"


@pytest.mark.parametrize(
    ("kind", "model", "remedy"),
    [
        ("mlflow", "mlflow:models:/resnet50/7", "mlflow:models://REGISTRY/NAME/VERSION"),
        ("wandb", "wandb:team/project/vit:v1", "wandb://REGISTRY/ENTITY/PROJECT/NAME:VERSION"),
    ],
)
def test_a_model_without_its_registry_names_the_complete_form(kind: str, model: str, remedy: str) -> None:
    with pytest.raises(ModelNotFound) as caught:
        ModelPolicy().registry("", model, kind)

    assert public_message(caught.value) == (
        f"No registry for model '{model}'. Known registries: none. Specify one with {remedy}."
    )


def test_stored_failure_is_redacted() -> None:
    assert failure_of(ModelRefused("cannot read /srv/models/a.onnx")).message == "cannot read [path]"


def test_log_fields_contain_the_hidden_details() -> None:
    error = Unavailable("The store is unavailable.", detail="redis.internal:6379 refused")
    error.__cause__ = OSError(111, "refused")

    assert (error.message, public_message(error)) == ("The store is unavailable.",) * 2
    assert log_fields(error) == {
        "error": "The store is unavailable. (redis.internal:6379 refused)",
        "cause": "ConnectionRefusedError(111, 'refused')",
    }
    assert log_fields(ImageNotFound("got 'secret.jpg'")) == {}, "the log has no input of callers"
