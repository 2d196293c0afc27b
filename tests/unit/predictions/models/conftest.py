"""Tiny models that are created locally, without downloads."""

from pathlib import Path

import pytest
import timm
import torch

from service.predictions.model_policy import ModelPolicy

SMALL = "test_vit"  # timm's smallest: 0.4 million parameters


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


@pytest.fixture
def policy(folder: Path) -> ModelPolicy:
    return ModelPolicy(folder=folder)


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return timm.create_model(SMALL, pretrained=False).state_dict()
