"""Mappings of a model's outputs to the classes of a label space.

`classes.json`, or `STEM.classes.json` for one weights file, is a JSON array with one entry per output. An entry is the
index, the ID, or an unambiguous name or synonym of a class, or null for an output that is no class of the label space.
The softmax ignores outputs without a class. Without a mapping, the outputs are the classes in order.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from errata.errors import ModelRefused

from service.domain import IMAGENET_1K, LabelSpace
from service.predictions.models.model_folder import read_json_beside

MAX_SHOWN = 5  # maximum number of labels in a message
IMAGENET_REMEDY = (
    "Save its weights in the folder ERRATA_MODELS, put a classes.json beside them, and analyze the model ID "
    "file:NAME#ARCHITECTURE. Or upload predictions."
)


@dataclass(frozen=True)
class OutputClasses:
    """The class of a label space that each output of a model represents."""

    num_classes: int  # C
    mapping: Sequence[int | None] | None = None  # class of each output; None: the C classes in order
    source: str = ""  # file or field of the mapping, for messages

    @property
    def num_outputs(self) -> int:
        """Return the number of outputs that the model must have."""
        return self.num_classes if self.mapping is None else len(self.mapping)

    @property
    def description(self) -> str:
        """Return a text with the digest of the mapping, for ModelInfo.transform; empty if there is no mapping."""
        if self.mapping is None:
            return ""
        mapped = sum(index is not None for index in self.mapping)
        digest = hashlib.sha256(json.dumps(list(self.mapping)).encode()).hexdigest()
        return f", {mapped} of {len(self.mapping)} outputs mapped ({digest[:16]})"


class MappedOutputs(torch.nn.Module):
    """Reorders the outputs of a model into classes of a label space. A class without an output is never predicted."""

    outputs: torch.Tensor
    classes: torch.Tensor

    def __init__(self, mapping: Sequence[int | None], num_classes: int) -> None:
        super().__init__()
        mapped = [(output, index) for output, index in enumerate(mapping) if index is not None]
        self.register_buffer("outputs", torch.tensor([output for output, _ in mapped]), persistent=False)
        self.register_buffer("classes", torch.tensor([index for _, index in mapped]), persistent=False)
        self._num_classes = num_classes

    def forward(self, scores: torch.Tensor) -> torch.Tensor:
        """Return (N, C) scores for (N, outputs) scores."""
        full = scores.new_full((len(scores), self._num_classes), -torch.inf)
        full[:, self.classes] = scores[:, self.outputs]
        return full


def read_classes(folder: Path, weights: PurePosixPath, label_space: LabelSpace) -> OutputClasses:
    """Return the classes of the outputs of weights in a folder; raise ModelRefused for a wrong classes.json."""
    entries = read_json_beside(folder, weights, "classes.json")
    if entries is None:
        return OutputClasses(label_space.num_classes)
    return map_outputs(f"classes.json of {weights}", entries, label_space)


def map_outputs(source: str, entries: object, label_space: LabelSpace) -> OutputClasses:
    """Return the classes that entries name, one for each output.

    Args:
        source: The file or field with the entries, for messages.
        entries: Values of a JSON file.
        label_space: The label space.

    Raises:
        ModelRefused: The entries are not an array, an entry (other than null) does not name exactly one class, or two
            entries name the same class.
    """
    if not isinstance(entries, list):
        raise ModelRefused(f"{source}: Expected an array with one entry per output, got {entries!r:.60}.")
    mapping = [_parse_entry(source, output, entry, label_space) for output, entry in enumerate(entries)]
    return _distinct(source, mapping, label_space)


def _distinct(source: str, mapping: Sequence[int | None], label_space: LabelSpace) -> OutputClasses:
    """Return the classes of a mapping; raise ModelRefused if outputs share a class, or fewer than two have a class."""
    indices = [index for index in mapping if index is not None]
    if len(indices) < 2:
        raise ModelRefused(f"{source}: Expected at least two outputs with a class, got {len(indices)}.")
    output_of: dict[int, int] = {}
    for output, index in enumerate(mapping):
        if index is not None and output_of.setdefault(index, output) != output:
            raise ModelRefused(
                f"{source}: Class {index} has the outputs {output_of[index]} and {output}. Map one output to each "
                "class."
            )
    return OutputClasses(label_space.num_classes, mapping, source)


def named_outputs(model: str, config: Mapping[str, Any], label_space: LabelSpace) -> OutputClasses:
    """Return the classes of the outputs: ImageNet-1k's in order, or those in `label_names` of a config.json of timm.

    The number of outputs is not sufficient: a model of other classes can have as many outputs as the label space has
    classes.
    """
    if label_space.name == IMAGENET_1K:
        return OutputClasses(label_space.num_classes)
    if config.get("label_names") is None:
        raise ModelRefused(
            f"{model}: config.json does not name the classes of the outputs. Write label_names in it: an array with "
            "the class of the data set (ID, name, index, or null) of each output."
        )
    return map_outputs(f"label_names in config.json of {model}", config["label_names"], label_space)


def map_labels(source: str, id2label: object, label_space: LabelSpace) -> OutputClasses:
    """Return the classes that the `id2label` of a config.json of transformers names.

    A label is an ID, name, or synonym of a class, or several of them with commas between, such as "tench, Tinca tinca".
    A label can be ambiguous: two classes of ImageNet-1k have the name "crane". Therefore, if each label can mean the
    class with the index of its output, the outputs are the classes in order.

    Raises:
        ModelRefused: An output has no label, or a label does not name exactly one class.
    """
    labels = _read_labels(source, id2label)
    candidates = [_match_label(label, label_space) for label in labels]
    if len(labels) == label_space.num_classes and all(output in classes for output, classes in enumerate(candidates)):
        return OutputClasses(label_space.num_classes)
    unmapped = [output for output, classes in enumerate(candidates) if not classes]
    if unmapped:
        shown = ", ".join(f"{output} {labels[output]!r:.40}" for output in unmapped[:MAX_SHOWN])
        raise ModelRefused(
            f"{source}: {len(unmapped)} of {len(labels)} labels name no class of the data set: "
            f"{shown}{', and more' if len(unmapped) > MAX_SHOWN else ''}. Expected an ID, a "
            "name, or a synonym of a class. Correct id2label, or put a classes.json beside the weights."
        )
    for output, classes in enumerate(candidates):
        if len(classes) > 1:
            raise _ambiguous(source, output, labels[output], classes, label_space)
    return _distinct(source, [classes[0] for classes in candidates], label_space)


def _read_labels(source: str, id2label: object) -> list[str]:
    """Return the labels in the order of the outputs; raise ModelRefused unless each output has one."""
    if isinstance(id2label, dict):
        keys = [str(output) for output in range(len(id2label))]
        if id2label.keys() == set(keys) and all(isinstance(label, str) for label in id2label.values()):
            return [id2label[key] for key in keys]
    raise ModelRefused(
        f"{source}: Expected an object with the label of each output, from 0, got {id2label!r:.60}. Set id2label in "
        "the config of the model."
    )


def _match_label(label: str, label_space: LabelSpace) -> Sequence[int]:
    """Return the classes that the whole label can mean; if there are none, those that every known part can mean."""
    if classes := label_space.match(label):
        return classes
    parts = [set(classes) for part in label.split(",") if (classes := label_space.match(part))]
    return sorted(set.intersection(*parts)) if parts else ()


def require_imagenet(model: str, label_space: LabelSpace) -> OutputClasses:
    """Return the classes of a model that was trained on ImageNet-1k; raise ModelRefused for another label space."""
    if label_space.name != IMAGENET_1K:
        raise ModelRefused(
            f"{model}: The model predicts ImageNet-1k classes, but the data set has "
            f"{label_space.num_classes} other classes. {IMAGENET_REMEDY}"
        )
    return OutputClasses(label_space.num_classes)


def check_outputs(model: str, outputs: int | None, classes: OutputClasses) -> None:
    """Raise ModelRefused unless a model has one output for each class, or a mapping with one entry for each output."""
    if outputs == classes.num_outputs:
        return
    if classes.mapping is None:
        raise ModelRefused(
            f"{model}: The model has {outputs} outputs. The label space has {classes.num_classes} classes. Put a "
            "classes.json beside the weights: an array with the class (index, ID, name, or null) of each output."
        )
    raise ModelRefused(
        f"{model}: {classes.source} has {len(classes.mapping)} entries, but the model has {outputs} outputs. Write one "
        "entry for each output."
    )


def _parse_entry(source: str, output: int, entry: object, label_space: LabelSpace) -> int | None:
    num_classes = label_space.num_classes
    if entry is None:
        return None
    is_class = isinstance(entry, int | str) and not isinstance(entry, bool)
    matches = label_space.match(f"{entry:d}" if isinstance(entry, int) else str(entry)) if is_class else ()
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise _ambiguous(source, output, entry, matches, label_space)
    raise ModelRefused(
        f"{source}: Output {output} has the entry {entry!r:.40}. Expected a class index from 0 to {num_classes - 1}, "
        "an ID, a unique name, or null."
    )


def _ambiguous(
    source: str, output: int, entry: object, classes: Sequence[int], label_space: LabelSpace
) -> ModelRefused:
    return ModelRefused(
        f"{source}: Output {output} has the entry {entry!r:.40}, which can mean {len(classes)} classes: "
        f"{label_space.describe(classes)}. Write an ID, a name, or an index that means only one class."
    )
