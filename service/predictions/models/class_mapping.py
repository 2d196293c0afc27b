"""Mappings of a model's outputs to classes, for models that do not use ImageNet-1k's order.

`classes.json`, or `STEM.classes.json` for one weights file, is a JSON array with one entry per output: a class index
from 0 to 999, a WordNet ID, or null for an output that is not an ImageNet-1k class. The softmax ignores outputs without
a class.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import torch
from errata.errors import ModelRefused

from service.domain import NUM_CLASSES
from service.predictions.models.model_folder import read_json_beside
from service.taxonomy.wordnet import load_taxonomy

REMEDY = "Put a classes.json beside the weights: an array with the class (index, WordNet ID, or null) of each output."


class MappedOutputs(torch.nn.Module):
    """Reorders a model's outputs to ImageNet-1k's classes. A class without an output is never predicted."""

    outputs: torch.Tensor
    classes: torch.Tensor

    def __init__(self, mapping: Sequence[int | None]) -> None:
        super().__init__()
        mapped = [(output, index) for output, index in enumerate(mapping) if index is not None]
        self.register_buffer("outputs", torch.tensor([output for output, _ in mapped]), persistent=False)
        self.register_buffer("classes", torch.tensor([index for _, index in mapped]), persistent=False)

    def forward(self, scores: torch.Tensor) -> torch.Tensor:
        """Return (N, 1000) scores for (N, outputs) scores."""
        full = scores.new_full((len(scores), NUM_CLASSES), -torch.inf)
        full[:, self.classes] = scores[:, self.outputs]
        return full


def read_classes(folder: Path, weights: PurePosixPath) -> Sequence[int | None] | None:
    """Return the class of each output; None without a classes.json. Raise ModelRefused for the first wrong entry."""
    entries = read_json_beside(folder, weights, "classes.json")
    if entries is None:
        return None
    file = f"classes.json of {weights}"
    if not isinstance(entries, list):
        raise ModelRefused(f"{file}: Expected an array with one entry per output, got {entries!r:.60}.")
    mapping = [_parse_entry(file, output, entry) for output, entry in enumerate(entries)]
    indices = [index for index in mapping if index is not None]
    if len(indices) < 2:
        raise ModelRefused(f"{file}: Expected at least two outputs with a class, got {len(indices)}.")
    if len(set(indices)) < len(indices):
        repeated = next(index for index in indices if indices.count(index) > 1)
        raise ModelRefused(f"{file}: Class {repeated} has several outputs. Map one output to each class.")
    return mapping


def describe_mapping(classes: Sequence[int | None] | None) -> str:
    """Return a description of the mapping with its digest, for the transform; empty if there is no mapping."""
    if classes is None:
        return ""
    mapped = sum(index is not None for index in classes)
    digest = hashlib.sha256(json.dumps(list(classes)).encode()).hexdigest()
    return f", {mapped} of {len(classes)} outputs mapped ({digest[:16]})"


def check_outputs(model: str, outputs: int | None, classes: Sequence[int | None] | None) -> None:
    """Raise ModelRefused unless a model has 1000 outputs, or a mapping with one entry for each output."""
    if classes is None and outputs != NUM_CLASSES:
        raise ModelRefused(f"{model}: The model has {outputs} outputs. Expected {NUM_CLASSES}. {REMEDY}")
    if classes is not None and outputs != len(classes):
        raise ModelRefused(
            f"{model}: classes.json has {len(classes)} entries, but the model has {outputs} outputs. Write one entry "
            "for each output."
        )


def _parse_entry(file: str, output: int, entry: object) -> int | None:
    if entry is None:
        return None
    if isinstance(entry, int) and not isinstance(entry, bool) and 0 <= entry < NUM_CLASSES:
        return entry
    taxonomy = load_taxonomy()
    if isinstance(entry, str):
        for index in range(NUM_CLASSES):
            if taxonomy.wordnet_id(index) == entry:
                return index
    raise ModelRefused(
        f"{file}: Output {output} has the entry {entry!r:.40}. Expected a class index from 0 to {NUM_CLASSES - 1}, a "
        "WordNet ID of ImageNet-1k, or null."
    )
