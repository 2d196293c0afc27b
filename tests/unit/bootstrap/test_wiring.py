"""What the local service offers and allows, from its settings."""

from pathlib import Path

import pytest
from errata.errors import InvalidModelId

from service.bootstrap.wiring import model_policy, offers, settled
from service.predictions.model_id import SOURCES, parse_model_id
from service.settings import read_settings


def test_every_source_is_offered_where_a_folder_is_permitted() -> None:
    offered = [offer.model for offer in offers(allow_files=True, allow_mlflow=True)]

    assert {model.partition(":")[0] for model in offered} == set(SOURCES)


def test_without_a_folder_no_files_are_offered() -> None:
    assert not [offer for offer in offers(allow_files=False) if offer.model.startswith(("file:", "onnx:"))]


def test_the_policy_is_what_the_settings_say() -> None:
    environment = {
        "ERRATA_MODELS": "/models",
        "ERRATA_MODEL_SOURCES": '["timm:*"]',
        "ERRATA_MAX_PARAMETERS": "5",
        "ERRATA_MAX_DOWNLOAD_BYTES": "6",
    }

    policy = model_policy(read_settings(environment))

    assert (policy.folder, policy.sources) == (Path("/models"), ["timm:*"])
    assert (policy.max_parameters, policy.max_download_bytes) == (5, 6)


def test_a_model_is_refused_before_anybody_is_asked_what_it_means() -> None:
    policy = model_policy(read_settings({"ERRATA_MODEL_SOURCES": '["timm:*"]'}))

    assert settled(policy, parse_model_id("resnet50")) == parse_model_id("timm:resnet50")
    with pytest.raises(InvalidModelId, match="ERRATA_MODEL_SOURCES"):
        settled(policy, parse_model_id("hf-hub:timm/resnet50.a1_in1k"))
