"""The authors' CSV layout of model statistics (`non_problematic_stats_GROUP.csv`): one model a row.

top-1 accuracy is that over the samples that count, 1 - num_all_top1_errors / num_all_samples; multi-label accuracies
are percentages there and fractions of 1 here.
"""

import csv
import io
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from errata.errors import InvalidUpload, TooLarge, Violation

from service.domain import ErrorType

MAX_BYTES = 3 << 20
MAX_MODELS = 2_000
DATASETS = ("imagenet", "imagenet-a")  # of which models are published
COUNTS: Mapping[ErrorType, str] = {
    ErrorType.CORRECT: "num_group_correct",
    ErrorType.CLASS_OVERLAP: "num_collapsed_mappings",
    ErrorType.MULTI_LABEL: "num_ambiguous",
    ErrorType.FINE_GRAINED: "num_same_superclass",
    ErrorType.FINE_GRAINED_OOV: "num_OOV_clip",
    ErrorType.SPURIOUS_CORRELATION: "num_common_co_occ",
    ErrorType.NON_PROTOTYPICAL: "num_non_prototypical",
    ErrorType.MODEL_FAILURE: "num_not_classified",
}
_NUMBERS = ("num_all_samples", "num_all_top1_errors", *COUNTS.values())
_NEEDED = ("model_dir_id", "mla_group", *_NUMBERS)
LABELS: Mapping[str, str] = {
    "architecture": "arch_group",
    "architecture-family": "arch_family",
    "pre-training": "training_data",
    "size": "num_params",
}
_SIZES = ((10_000_000, "under 10 M"), (30_000_000, "10 to 30 M"), (100_000_000, "30 to 100 M"))
SHOWN = 10  # violations
_REAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
csv.field_size_limit(1 << 16)


@dataclass(frozen=True)
class PublishedModel:
    """One model of such a file, in the file's group."""

    name: str
    top1_accuracy: float  # over all samples that count
    counts: Mapping[ErrorType, int]
    multi_label_accuracy: float
    labels: Mapping[str, str]
    whole: bool | None  # whether its group is that of all samples; None: the file doesn't say


def read_models(content: bytes) -> list[PublishedModel]:
    """Return the models of a file; raise InvalidUpload with lines, or TooLarge."""
    if len(content) > MAX_BYTES:
        raise TooLarge(f"expected at most {MAX_BYTES} bytes of published models, got {len(content)}", field="reference")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidUpload(
            f"expected UTF-8, got {error}", field="reference", line=content[: error.start].count(b"\n") + 1
        ) from error
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    result: list[PublishedModel] = []
    wrong: list[Violation] = []
    num_wrong = 0
    try:
        missing = [name for name in _NEEDED if name not in (reader.fieldnames or ())]
        if missing:
            raise InvalidUpload(
                f"expected a header with {', '.join(_NEEDED)}, got one without {', '.join(missing)}",
                field="reference",
                line=1,
            )
        for number, row in enumerate(reader, 1):
            if number > MAX_MODELS:
                raise TooLarge(f"expected at most {MAX_MODELS} published models, got more", field="reference")
            try:
                result.append(_model(row))
            except ValueError as error:
                num_wrong += 1
                if len(wrong) < SHOWN:
                    wrong.append(Violation("reference", str(error), reader.line_num))
    except csv.Error as error:
        raise InvalidUpload(f"expected CSV, got {error}", field="reference", line=reader.line_num) from error
    if wrong:
        raise InvalidUpload(
            f"{num_wrong} rows of the published models can't be read; line {wrong[0].line}: {wrong[0].description}",
            violations=wrong,
        )
    return result


def size_label(parameters: int) -> str:
    """Return which range of sizes a number of parameters lies in."""
    return next((label for limit, label in _SIZES if parameters < limit), "100 M and more")


def _model(row: Mapping[str, str | None]) -> PublishedModel:
    if None in row or None in row.values():
        raise ValueError("expected as many cells as the header has, got others")
    name = (row["model_dir_id"] or "").strip()
    if not name or "\0" in name:
        raise ValueError(f"expected a name as model_dir_id, got {name!r:.40}")
    numbers = {column: _count(row, column) for column in _NUMBERS}
    samples, errors = numbers["num_all_samples"], numbers["num_all_top1_errors"]
    if not samples or errors > samples:
        raise ValueError(f"expected samples and no more errors than those, got {samples} and {errors}")
    accuracy = _real(row, "mla_group")
    if not 0 <= accuracy <= 100:
        raise ValueError(f"expected mla_group in percent, got {accuracy}")
    labels = {name: (row.get(column) or "").strip()[:80] for name, column in LABELS.items()}
    if labels["size"]:
        labels["size"] = size_label(_count(row, "num_params"))
    return PublishedModel(
        name=name[:200],
        top1_accuracy=1 - errors / samples,
        counts={each: numbers[column] for each, column in COUNTS.items()},
        multi_label_accuracy=accuracy / 100,
        labels=labels,
        whole=_count(row, "num_group_samples") == samples if row.get("num_group_samples") else None,
    )


def _count(row: Mapping[str, str | None], name: str) -> int:
    value = _real(row, name)
    if value < 0 or value != int(value) or value > 1 << 53:
        raise ValueError(f"expected a count as {name}, got {row[name]!r:.40}")
    return int(value)


def _real(row: Mapping[str, str | None], name: str) -> float:
    text = row[name]
    value = float(text or "") if _REAL.fullmatch(text or "") else math.nan
    if not math.isfinite(value):
        raise ValueError(f"expected a number as {name}, got {text!r:.40}")
    return value
