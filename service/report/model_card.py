"""Model cards of the Hugging Face Hub: evaluation results in the metadata `model-index`.

https://huggingface.co/docs/hub/model-cards describes the metadata: YAML at the start of README.md.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from errata.errors import InvalidInput

MAX_METADATA = 256 << 10  # characters
KEY = "model-index"
SOURCE = "Errata"
_BLOCK = re.compile(r"\A\s*---[ \t]*\r?\n(?P<metadata>.*?)(?:(?<=\n)|(?<=\A))---[ \t]*(?:\r?\n|\Z)", re.DOTALL)


@dataclass(frozen=True)
class Evaluation:
    """The evaluation of a model revision on a data set."""

    model: str
    revision: str  # commit
    dataset: str  # id in Errata
    analysis: str
    url: str  # page of the analysis; empty: none
    metrics: Sequence[tuple[str, str, float]]  # type, name, and value


def add_evaluation(card: str, evaluation: Evaluation) -> str:
    """Add an evaluation to a model card, or replace the evaluation of an earlier analysis on the same data set.

    Only `model-index` changes; the rest of the card stays as it is.

    Args:
        card: The text of README.md; empty if there is none.
        evaluation: The evaluation.

    Returns:
        The new card; the unchanged card if it already has this evaluation or the evaluation of a later analysis.

    Raises:
        InvalidInput: The metadata is not a valid YAML mapping, or it is too long.
    """
    block = _BLOCK.match(card)
    metadata = block["metadata"] if block else ""
    pair = _find(metadata)
    models = _construct(pair[1]) if pair else []
    if not _merge(models, evaluation):
        return card
    newline = "\r\n" if "\r\n" in card else "\n"
    text = _dump(models).replace("\n", newline)
    if block is None:
        return f"---{newline}{text}---{newline}{card}"
    start = end = len(metadata)
    if pair:
        start, end = pair[0].start_mark.index, pair[1].end_mark.index
        if not _is_block(pair[1]):
            end = metadata.find("\n", end) + 1  # a flow collection ends within its line
    changed = metadata[:start] + text + metadata[end:]
    pair = _find(changed)
    # The texts are compared, because with YAML aliases, a comparison of the values can take exponentially long.
    if pair is None or _dump(_construct(pair[1])) != _dump(models):
        raise InvalidInput(f"Invalid model card: {KEY} can't be added to its metadata. Simplify README.md.", field=KEY)
    return card[: block.start("metadata")] + changed + card[block.end("metadata") :]


class _Loader(yaml.SafeLoader):
    """A YAML loader that does not expand merge keys, because the expansion can be exponentially large."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Leave merge keys as they are; they have no constructor."""


def _find(metadata: str) -> tuple[yaml.Node, yaml.Node] | None:
    """Return the syntax trees of the key and the value of `model-index`; None if there is none."""
    if len(metadata) > MAX_METADATA:
        raise InvalidInput(
            f"Invalid model card: its metadata has more than {MAX_METADATA:,} characters. Shorten it.",
            field=KEY,
        )
    try:
        root = yaml.compose(metadata, _Loader)
    except (yaml.YAMLError, RecursionError) as error:
        raise InvalidInput(f"Invalid model card: {error!s:.200}. Correct README.md.", field=KEY) from error
    if root is None:
        return None
    if not isinstance(root, yaml.MappingNode) or not _is_block(root) or root.start_mark.column:
        raise InvalidInput("Invalid model card: its metadata is not a block mapping. Correct README.md.", field=KEY)
    pairs = [pair for pair in root.value if pair[0].value == KEY]
    if len(pairs) > 1:
        raise InvalidInput(f"Invalid model card: {KEY} occurs twice. Correct README.md.", field=KEY)
    return pairs[0] if pairs else None


def _is_block(node: yaml.Node) -> bool:
    return isinstance(node, yaml.CollectionNode) and not node.flow_style


def _construct(node: yaml.Node) -> list[dict[str, Any]]:
    """Return the models of `model-index`."""
    try:
        models = _Loader("").construct_document(node) or []
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise InvalidInput(f"Invalid model card: {KEY}: {error!s:.200}. Correct README.md.", field=KEY) from error
    if not isinstance(models, list) or not all(isinstance(model, dict) for model in models):
        raise InvalidInput(f"Invalid model card: {KEY} must be a list of models. Correct README.md.", field=KEY)
    return models


def _dump(models: list[dict[str, Any]]) -> str:
    """Return `model-index` as YAML."""
    try:
        return yaml.safe_dump({KEY: models}, sort_keys=False, allow_unicode=True)
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # ValueError: an integer of thousands of digits
        raise InvalidInput(f"Invalid model card: {KEY}: {error!s:.200}. Correct README.md.", field=KEY) from error


def _merge(models: list[dict[str, Any]], evaluation: Evaluation) -> bool:
    """Add an evaluation to the models; return whether the models changed."""
    if not models:
        models.append({"name": evaluation.model.rpartition("/")[2], "results": []})
    results = models[0].setdefault("results", [])
    if not isinstance(results, list):
        raise InvalidInput(f"Invalid model card: {KEY}.results must be a list. Correct README.md.", field=KEY)
    entry = _to_entry(evaluation)
    for index, result in enumerate(results):
        analysis = _analysis_of(result, entry["dataset"])
        if analysis:
            if analysis > evaluation.analysis or result == entry:  # ids sort by time
                return False
            results[index] = entry
            return True
    results.append(entry)
    return True


def _to_entry(evaluation: Evaluation) -> dict[str, Any]:
    arguments = {"model_revision": evaluation.revision, "analysis": evaluation.analysis}
    entry: dict[str, Any] = {
        "task": {"type": "image-classification", "name": "Image Classification"},
        "dataset": {"name": evaluation.dataset, "type": _DATASETS.get(evaluation.dataset, evaluation.dataset)},
        "metrics": [
            {"type": kind, "value": value, "name": name, "args": dict(arguments)}
            for kind, name, value in evaluation.metrics
        ],
    }
    if evaluation.dataset in _DATASETS:
        entry["dataset"] |= {"config": evaluation.dataset, "split": "validation"}
    return entry | ({"source": {"name": SOURCE, "url": evaluation.url}} if evaluation.url else {})


_DATASETS: Mapping[str, str] = {"imagenet": "imagenet-1k", "imagenet-real": "imagenet-1k"}  # ids on the Hub


def _analysis_of(result: Any, dataset: Mapping[str, str]) -> str:
    """Return the ID of the analysis that a result is from; empty for another data set or a result not from Errata."""
    try:
        if any(result["dataset"].get(key) != dataset.get(key) for key in ("type", "config", "name")):
            return ""
        arguments = result["metrics"][0]["args"]
        analysis = arguments["analysis"] if "model_revision" in arguments else ""
        return analysis if isinstance(analysis, str) else ""
    except (KeyError, IndexError, TypeError, AttributeError):
        return ""
