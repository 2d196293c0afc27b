"""Which output of a model is which class, where it isn't ImageNet-1k's own order: a file that the user gives.

`classes.json`, or STEM.classes.json for one file of weights: a JSON list, an entry an output: a class index 0 to 999,
a WordNet id, or null for an output that is no ImageNet-1k class. Outputs without a class take no part in the softmax.
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

HOW_TO_MAP = "put a classes.json beside the weights, a list of each output's class (index, WordNet id or null)"


class MappedOutputs(torch.nn.Module):
    """Puts a model's outputs in the order of the classes; a class without an output is never predicted."""

    outputs: torch.Tensor
    classes: torch.Tensor

    def __init__(self, mapping: Sequence[int | None]) -> None:
        super().__init__()
        mapped = [(output, known) for output, known in enumerate(mapping) if known is not None]
        self.register_buffer("outputs", torch.tensor([output for output, _ in mapped]), persistent=False)
        self.register_buffer("classes", torch.tensor([known for _, known in mapped]), persistent=False)

    def forward(self, scores: torch.Tensor) -> torch.Tensor:
        """Return (N, 1000) scores for (N, outputs) ones."""
        full = scores.new_full((len(scores), NUM_CLASSES), -torch.inf)
        full[:, self.classes] = scores[:, self.outputs]
        return full


def read_classes(folder: Path, weights: PurePosixPath) -> Sequence[int | None] | None:
    """Return the class of each output; None if no file says it. Raise ModelRefused, naming the first wrong entry."""
    entries = read_json_beside(folder, weights, "classes.json")
    if entries is None:
        return None
    where = f"classes.json of {weights}"
    if not isinstance(entries, list):
        raise ModelRefused(f"{where}: expected a list, got {entries!r:.60}")
    result = [_class_of(where, output, entry) for output, entry in enumerate(entries)]
    known = [item for item in result if item is not None]
    if len(known) < 2:
        raise ModelRefused(f"{where}: expected at least two outputs with a class, got {len(known)}")
    if len(set(known)) < len(known):
        twice = next(item for item in known if known.count(item) > 1)
        raise ModelRefused(f"{where}: expected each class once, got class {twice} for several outputs")
    return result


def describe_mapping(classes: Sequence[int | None] | None) -> str:
    """Return what is said of a mapping beside the transform, so that results of two mappings are told apart."""
    if classes is None:
        return ""
    known = sum(class_ is not None for class_ in classes)
    digest = hashlib.sha256(json.dumps(list(classes)).encode()).hexdigest()
    return f", {known} of {len(classes)} outputs mapped ({digest[:16]})"


def check_outputs(model: str, outputs: int | None, classes: Sequence[int | None] | None) -> None:
    """Raise ModelRefused unless a model has an output for each class, or a mapping with an entry for each output."""
    if classes is None and outputs != NUM_CLASSES:
        raise ModelRefused(f"{model}: expected a model with {NUM_CLASSES} outputs, got {outputs}: {HOW_TO_MAP}")
    if classes is not None and outputs != len(classes):
        raise ModelRefused(
            f"{model}: expected a classes.json with an entry for each of {outputs} outputs, got {len(classes)}"
        )


def _class_of(where: str, output: int, entry: object) -> int | None:
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
        f"{where}: expected a class index 0 to {NUM_CLASSES - 1}, a WordNet id of ImageNet-1k or null for output "
        f"{output}, got {entry!r:.40}"
    )
