"""The configuration survives serialization, and the environment of the process has no secrets of the service."""

import json
from pathlib import Path

import pytest

from service.predictions.model_policy import ModelPolicy
from service.predictions.model_process.config import PredictorConfig
from service.predictions.model_process.environment import model_environment
from service.predictions.registry_http import RegistryAddress


@pytest.mark.parametrize("folder", [None, Path("/models")])
def test_a_configuration_arrives_as_it_was_sent(folder: Path | None) -> None:
    registries = [
        RegistryAddress("main", "http://mlflow", "secret"),
        RegistryAddress("w", "", "", "wandb", ("10.0.0.0/8",)),
    ]
    policy = ModelPolicy(["timm:*"], folder, 5, 6, registries)
    config = PredictorConfig({"demo": Path("/images")}, policy, 8, 2, "cpu", "debug", "json")

    assert PredictorConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_a_model_gets_the_variables_that_its_libraries_read_and_no_others() -> None:
    needed = {"HOME": "/h", "PATH": "/bin", "HF_HOME": "/hf", "CUDA_VISIBLE_DEVICES": "1", "https_proxy": "http://p"}
    others = {
        "AWS_SECRET_ACCESS_KEY": "k",
        "MLFLOW_TRACKING_TOKEN": "t",
        "ERRATA_REDIS_URL": "redis://:secret@r",
        "ERRATA_REGISTRIES": "{}",
        "GITHUB_TOKEN": "t",
        "PWD": "/",
    }

    assert model_environment(needed | others) == needed
