"""Model cards of the Hugging Face Hub: evaluation results in the metadata `model-index`.

https://huggingface.co/docs/hub/model-cards describes the metadata: YAML at the start of README.md.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any

import yaml
from errata.errors import InvalidInput

MAX_METADATA = 256 << 10  # characters
KEY = "model-index"
SOURCE = "Errata"
_BLOCK = re.compile(r"\A\ufeff?\s*---[ \t]*\r?\n(?P<metadata>.*?)(?:(?<=\n)|(?<=\A))---[ \t]*(?:\r?\n|\Z)", re.DOTALL)


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

    Only `model-index` changes; the rest of the card stays as it is. In `model-index`, other values keep their text,
    because Python's YAML would change values such as `no` and `12:30:45`; comments are lost.

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
    values = _construct(pair[1]) if pair else []
    models: Any = pair[1] if pair and values else _to_node([])
    if not _merge(models, values, evaluation):
        return card
    newline = "\r\n" if "\r\n" in card else "\n"
    text = _dump(models).replace("\n", newline)
    if block is None:
        return f"---{newline}{text}---{newline}{card}"
    start = end = len(metadata)
    if pair:
        start, end = pair[0].start_mark.index, pair[1].end_mark.index
        if _is_block(pair[1]):
            end = start + len(_without_last_comments(metadata[start:end]))
        else:
            end = metadata.find("\n", end) + 1  # a flow collection ends within its line
    changed = metadata[:start] + text + metadata[end:]
    pair = _find(changed)
    # The texts are compared, because with YAML aliases, a comparison of the values can take exponentially long.
    if pair is None or _dump(pair[1]) != _dump(models):
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


def _without_last_comments(text: str) -> str:
    """Return YAML without the comments and blank lines at its end, which belong to the next key."""
    lines = text.splitlines(keepends=True)
    while lines and lines[-1].lstrip()[:1] in ("", "#"):
        lines.pop()
    return "".join(lines)


def _to_node(value: Any) -> Any:
    """Return the syntax tree of a value."""
    return yaml.SafeDumper(StringIO(), sort_keys=False).represent_data(value)


def _dump(models: yaml.Node) -> str:
    """Return `model-index` as YAML."""
    root = yaml.MappingNode("tag:yaml.org,2002:map", [(_to_node(KEY), models)])
    try:
        _set_block_style(root, set())
        return str(yaml.serialize(root, Dumper=yaml.SafeDumper, allow_unicode=True))
    except (yaml.YAMLError, RecursionError) as error:
        raise InvalidInput(f"Invalid model card: {KEY}: {error!s:.200}. Correct README.md.", field=KEY) from error


def _set_block_style(node: yaml.Node, seen: set[int]) -> None:
    """Write all collections in block style, in which a value such as 12:30:45 needs no quotes."""
    if isinstance(node, yaml.CollectionNode) and id(node) not in seen:
        seen.add(id(node))
        node.flow_style = False
        for part in node.value:
            for child in part if isinstance(part, tuple) else (part,):
                _set_block_style(child, seen)


def _merge(models: yaml.SequenceNode, values: list[dict[str, Any]], evaluation: Evaluation) -> bool:
    """Add an evaluation to the models, a syntax tree with these values; return whether the tree changed."""
    if not values:
        values = [{"name": evaluation.model.rpartition("/")[2], "results": []}]
        models.value = [_to_node(values[0])]
    results, fields = values[0].get("results") or [], models.value[0].value
    if not isinstance(results, list):
        raise InvalidInput(f"Invalid model card: {KEY}.results must be a list. Correct README.md.", field=KEY)
    if not results:
        fields[:] = [(key, value) for key, value in fields if key.value != "results"]
        fields.append((_to_node("results"), _to_node([])))
    node = next(value for key, value in reversed(fields) if key.value == "results")
    entry = _to_entry(evaluation)
    for index, result in enumerate(results):
        analysis = _analysis_of(result, entry["dataset"])
        if analysis:
            if analysis > evaluation.analysis or result == entry:  # ids sort by time
                return False
            node.value[index] = _to_node(entry)
            return True
    node.value.append(_to_node(entry))
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
