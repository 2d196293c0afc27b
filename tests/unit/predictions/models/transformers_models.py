"""Tiny image classifiers of transformers, made locally and saved with save_pretrained."""

from collections.abc import Mapping
from pathlib import Path

import torch
from transformers import (
    ConvNextImageProcessor,
    PreTrainedModel,
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
)


def save_vit(folder: Path, labels: Mapping[int, str]) -> PreTrainedModel:
    """Save a vision transformer for 32 x 32 images."""
    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=32,
        patch_size=8,
        id2label=dict(labels),
    )
    processor = ViTImageProcessor(size={"height": 32, "width": 32})
    return _save(folder, ViTForImageClassification(config), processor)


def save_resnet(folder: Path, labels: Mapping[int, str]) -> PreTrainedModel:
    """Save a residual network whose processor resizes to a larger shorter side and crops, as those of ImageNet do."""
    torch.manual_seed(1)
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], id2label=dict(labels))
    processor = ConvNextImageProcessor(size={"shortest_edge": 48}, crop_pct=0.875)
    return _save(folder, ResNetForImageClassification(config), processor)


def _save(folder: Path, model: PreTrainedModel, processor: object) -> PreTrainedModel:
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)  # type: ignore[attr-defined]
    return model


def files_of(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}
