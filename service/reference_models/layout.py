"""The authors' CSV layout of model statistics (`non_problematic_stats_GROUP.csv`): one model per row.

Top-1 accuracy is 1 - num_all_top1_errors / num_all_samples. The column `top1_val_acc`, which is over 50,000 images, is
not used. Multi-label accuracies are percentages in the file, and fractions of 1 in this module.
"""

import csv
import io
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from errata.errors import InvalidUpload, TooLarge, Violation

from service.domain import ALL, ERROR_TYPES, METRICS, PORTIONS, Axis, ErrorType, GroupNumbers

MAX_BYTES = 3 << 20
MAX_MODELS = 2_000
DATASETS = ("imagenet", "imagenet-a")  # data sets with published models
GROUPS = (ALL, "organism", "artifact", "other")  # in the order of the rows of the derived curves
COUNTS: Mapping[ErrorType, str] = {
    error_type: error_type.row.column for error_type in ERROR_TYPES if error_type.row.column
}
PUBLISHED_METRICS = tuple(  # in the order of the rows of the derived curves
    metric
    for metric in METRICS
    if metric not in PORTIONS or any(error_type in COUNTS for error_type in PORTIONS[metric].types)
)
_NUMBERS = ("num_all_samples", "num_all_top1_errors", *COUNTS.values())
_REQUIRED = ("model_dir_id", "mla_all", "mla_group", *_NUMBERS)
LABELS: Mapping[str, str] = {
    "architecture": "arch_group",
    "architecture-family": "arch_family",
    "pre-training": "training_data",
    "size": "num_params",
}
_SIZES = ((10_000_000, "under 10 M"), (30_000_000, "10 to 30 M"), (100_000_000, "30 to 100 M"))
MAX_VIOLATIONS = 10
_REAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
csv.field_size_limit(1 << 16)


@dataclass(frozen=True)
class PublishedModel:
    """One model of the file, in the group of the file."""

    name: str
    accuracies: Mapping[Axis, float]  # over all samples that are not problematic, not only those of the group
    numbers: GroupNumbers
    labels: Mapping[str, str]
    covers_all_samples: bool | None  # whether the group consists of all samples; None: unknown


def read_models(content: bytes) -> list[PublishedModel]:
    """Parse a file of published models.

    Raises:
        InvalidUpload: If the file or a row is invalid; `violations` has the lines.
        TooLarge: If the file has too many bytes or models.
    """
    if len(content) > MAX_BYTES:
        raise TooLarge(
            f"The file of published models is too large ({len(content)} bytes). Expected at most {MAX_BYTES} bytes.",
            field="reference",
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidUpload(
            f"The file of published models is not UTF-8: {error}.",
            field="reference",
            line=content[: error.start].count(b"\n") + 1,
        ) from error
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    models: list[PublishedModel] = []
    violations: list[Violation] = []
    num_invalid = 0
    try:
        missing = [name for name in _REQUIRED if name not in (reader.fieldnames or ())]
        if missing:
            raise InvalidUpload(
                f"The file of published models has no column {', '.join(missing)}. "
                f"Expected the columns {', '.join(_REQUIRED)}.",
                field="reference",
                line=1,
            )
        for number, row in enumerate(reader, 1):
            if number > MAX_MODELS:
                raise TooLarge(f"Too many published models. Expected at most {MAX_MODELS}.", field="reference")
            try:
                models.append(_parse_row(row))
            except ValueError as error:
                num_invalid += 1
                if len(violations) < MAX_VIOLATIONS:
                    violations.append(Violation("reference", str(error), reader.line_num))
    except csv.Error as error:
        raise InvalidUpload(
            f"The file of published models is not valid CSV: {error}. Write it again.",
            field="reference",
            line=reader.line_num,
        ) from error
    if violations:
        raise InvalidUpload(
            f"Invalid rows in the file of published models: {num_invalid}. The first one is line "
            f"{violations[0].line}: {violations[0].description}.",
            violations=violations,
        )
    return models


def size_label(parameters: int) -> str:
    """Return the label of the size range that contains a number of parameters."""
    return next((label for limit, label in _SIZES if parameters < limit), "100 M and more")


def _parse_row(row: Mapping[str, str | None]) -> PublishedModel:
    if None in row or None in row.values():
        raise ValueError("more or fewer fields than in the header; write the line again")
    name = (row["model_dir_id"] or "").strip()
    if not name or "\0" in name:
        raise ValueError(f"invalid model name {name!r:.40} in model_dir_id")
    numbers = {column: _count(row, column) for column in _NUMBERS}
    samples, errors = numbers["num_all_samples"], numbers["num_all_top1_errors"]
    if not samples or errors > samples:
        raise ValueError(f"{errors} errors of {samples} samples; write at least one sample and at most as many errors")
    overall, group = (_percentage(row, name) for name in ("mla_all", "mla_group"))
    labels = {name: (row.get(column) or "").strip()[:80] for name, column in LABELS.items()}
    if labels["size"]:
        labels["size"] = size_label(_count(row, "num_params"))
    return PublishedModel(
        name=name[:200],
        accuracies={Axis.TOP1: 1 - errors / samples, Axis.MULTI_LABEL: overall},
        numbers=GroupNumbers({error_type: numbers[column] for error_type, column in COUNTS.items()}, group),
        labels=labels,
        covers_all_samples=_count(row, "num_group_samples") == samples if row.get("num_group_samples") else None,
    )


def _percentage(row: Mapping[str, str | None], name: str) -> float:
    """Return a percentage as a fraction of 1."""
    value = _real(row, name)
    if not 0 <= value <= 100:
        raise ValueError(f"invalid {name} {value}; use a percentage from 0 to 100")
    return value / 100


def _count(row: Mapping[str, str | None], name: str) -> int:
    value = _real(row, name)
    if value < 0 or value != int(value) or value > 1 << 53:
        raise ValueError(f"invalid {name} {row[name]!r:.40}; use a whole number from 0")
    return int(value)


def _real(row: Mapping[str, str | None], name: str) -> float:
    text = row[name]
    value = float(text or "") if _REAL.fullmatch(text or "") else math.nan
    if not math.isfinite(value):
        raise ValueError(f"invalid {name} {text!r:.40}; use a number")
    return value
