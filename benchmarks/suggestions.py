"""Precision and recall of suggested labels, with real predictions: python -m benchmarks.suggestions DIR [--write].

DIR is the folder of reference data (ERRATA_REFERENCE_DIR). `--write` writes the tables into the documentation.
"""

import argparse
import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from errata.enums import LabelSource

from service.domain import ClassPairs, Evidence, ModelVotes, Superclasses, suggest_labels
from service.evidence.annotation import read_annotation
from service.evidence.labels import imagenet_real, pack_labels
from service.taxonomy.imagenet_1k import imagenet_1k

PAGE = Path(__file__).parents[1] / "docs/concepts/suggestions.md"
BEGIN, END = "<!-- benchmarks/suggestions.py: begin -->", "<!-- benchmarks/suggestions.py: end -->"
NUM_PUBLISHED = 962  # models whose common errors are published
SHARES = (50, 60, 75, 90)  # percent of the published models
LabelSets = Mapping[str, frozenset[int]]


@dataclass(frozen=True)
class Quality:
    """How well suggested labels agree with the labels that people gave."""

    base: str
    truth: str
    suggested: int  # pairs of an image and a class
    correct: int  # of these, the labels that people gave
    missing: int  # labels that people gave and that the base labels lack

    @property
    def precision(self) -> str:
        """Return the share of the suggested pairs that are labels, in percent."""
        return f"{100 * self.correct / self.suggested:.1f} %" if self.suggested else "–"

    @property
    def recall(self) -> str:
        """Return the share of the missing labels that are suggested, in percent."""
        return f"{100 * self.correct / self.missing:.1f} %"


@dataclass(frozen=True)
class Task:
    """Base labels to be completed, and the labels that people gave."""

    base_name: str
    truth_name: str
    base: LabelSets  # of the images that are evaluated
    targets: Mapping[str, int]  # effective target of each image, which is one of its base labels
    truth: LabelSets
    overlaps: ClassPairs


def measure_models(folder: Path) -> list[Quality]:
    """Return the quality of the suggestions of one model on each data set, with an agreement of 1."""
    resnet = read_predictions(folder / "predictions/imagenet_val_resnet50_cv.csv")
    cifar = read_predictions(folder / "cifar100/predictions.csv")
    return [measure_task(task, resnet) for task in imagenet_tasks(folder)] + [measure_task(cifar_task(folder), cifar)]


def measure_task(task: Task, predicted: Mapping[str, int]) -> Quality:
    """Return the quality of the suggestions of a model whose vote alone is enough."""
    names = sorted(task.base)
    votes = np.array([[predicted[name] for name in names]], dtype=np.int16)
    result = suggest_labels(_evidence(task, names), ModelVotes(("model",), votes, np.full(votes.shape, np.nan)), 1)
    pairs = {(names[row], label) for row, label in zip(result.rows.tolist(), result.classes.tolist(), strict=True)}
    missing = {(name, label) for name in names for label in task.truth[name] - task.base[name]}
    return Quality(task.base_name, task.truth_name, len(pairs), len(pairs & missing), len(missing))


def measure_published(
    folder: Path, share: int, confirming: Mapping[str, int] | None = None, with_real: bool = False
) -> Quality:
    """Return the quality of suggestions by the agreement of the published models, on the annotated images.

    Args:
        folder: The reference data.
        share: Percent of the models that must make an error.
        confirming: Predictions of a further model, which must be the same; None: it does not matter.
        with_real: Whether to compare with ReaL labels instead of the multi-label annotation.
    """
    annotated, real, _ = imagenet_tasks(folder)
    original = replace(real, base=_select(real.base, annotated.base)) if with_real else annotated
    suggested: dict[str, set[int]] = {}
    for line in (folder / "published/common_errors.jsonl").read_text().splitlines():
        error = json.loads(line)
        name, label = Path(error["file_name"]).name, int(error["prediction"])
        agrees = error["models_making_it"] >= share / 100 * NUM_PUBLISHED
        agrees &= confirming is None or confirming[name] == label
        is_overlap = bool(original.overlaps.holds(np.array([error["target"]]), np.array([label]))[0])
        if agrees and name in original.base and label not in original.base[name] and not is_overlap:
            suggested.setdefault(name, set()).add(label)
    pairs = [(name, label) for name, labels in suggested.items() for label in labels]
    correct = sum(label in original.truth[name] for name, label in pairs)
    missing = sum(len(original.truth[name] - labels) for name, labels in original.base.items())
    return Quality(f"at least {share} %", original.truth_name, len(pairs), correct, missing)


@cache
def imagenet_tasks(folder: Path) -> list[Task]:
    """Return the tasks on ImageNet: original and ReaL labels, compared with the annotation and with ReaL."""
    inputs, overlaps = imagenet_real(), imagenet_1k().overlaps
    all_names = [name.decode() for name in inputs.names.tolist()]
    targets = dict(zip(all_names, inputs.all_targets.tolist(), strict=True))
    original = {name: frozenset([target]) for name, target in targets.items()}
    real_names = [all_names[row] for row in inputs.rows.tolist()]
    real = {name: frozenset(inputs.labels.of(row).tolist()) for row, name in enumerate(real_names)}
    real_targets = dict(zip(real_names, inputs.effective_targets.tolist(), strict=True))
    annotated = {
        name: frozenset(label for label, source in image.labels.items() if source is LabelSource.CORRECT)
        for name, image in read_annotation(folder / "imagenet-multilabel/multilabel.csv").images.items()
        if not image.problematic
    }
    return [
        Task("original labels", "multi-label annotation", _select(original, annotated), targets, annotated, overlaps),
        Task("original labels", "ReaL", _select(original, real), targets, real, overlaps),
        Task("ReaL labels", "multi-label annotation", _select(real, annotated), real_targets, annotated, overlaps),
    ]


def cifar_task(folder: Path) -> Task:
    """Return the task on CIFAR-100: the original labels, compared with the labels after human review."""
    rows = [row for row in _read_rows(folder / "cifar100/labels.csv") if not row["problematic"]]
    targets = {row["file_name"]: int(row["target"]) for row in rows}
    base = {name: frozenset([target]) for name, target in targets.items()}
    truth = {row["file_name"]: frozenset(map(int, row["labels"].split())) for row in rows}
    overlaps = ClassPairs.of(np.zeros((0, 2), dtype=np.int64), 100)
    return Task("CIFAR-100 labels", "human review", base, targets, truth, overlaps)


def read_predictions(path: Path) -> dict[str, int]:
    """Return the predicted class of each image of a CSV file, whose second column has the class."""
    return {row["file_name"]: int([*row.values()][1]) for row in _read_rows(path)}


def render_tables(folder: Path) -> str:
    """Return the tables of the documentation."""
    resnet = read_predictions(folder / "predictions/imagenet_val_resnet50_cv.csv")
    one = _render(
        ("labels", "compared with", "suggestions", "correct", "precision", "recall"),
        [(*_cells(quality), quality.recall) for quality in measure_models(folder)],
    )
    header = ("models that make the error", "compared with", "suggestions", "correct", "precision", "recall, at least")
    rows = []
    for with_real in (False, True):
        for share in SHARES:
            every, both = (measure_published(folder, share, other, with_real) for other in (None, resnet))
            rows.append((*_cells(every), every.recall, f"{both.suggested:,}", both.precision))
    many = _render((*header, "of which ResNet-50 also", "precision"), rows)
    return f"One model, whose vote alone is enough:\n\n{one}\n\nMany models:\n\n{many}"


def replace_tables(page: str, tables: str) -> str:
    """Return the text of the page with other tables."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{tables}\n\n{END}{after}"


def main() -> None:
    """Print the tables, or write them into the documentation."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.suggestions", description=(__doc__ or "").split(":")[0])
    parser.add_argument("folder", type=Path, metavar="DIR", help="the folder of reference data")
    parser.add_argument("--write", action="store_true", help=f"write the tables into {PAGE.name}")
    options = parser.parse_args()
    tables = render_tables(options.folder)
    print(tables)
    if options.write:
        PAGE.write_text(replace_tables(PAGE.read_text(encoding="utf-8"), tables), encoding="utf-8")


def _evidence(task: Task, names: Sequence[str]) -> Evidence:
    """Return the base labels of a task as evidence."""
    return Evidence(
        targets=np.array([task.targets[name] for name in names], dtype=np.int16),
        labels=pack_labels([dict.fromkeys(sorted(task.base[name]), LabelSource.ORIGINAL) for name in names]),
        problematic=np.zeros(len(names), dtype=bool),
        overlap=task.overlaps,
        superclasses=Superclasses.from_names([()] * task.overlaps.num_classes),
        cooccurrence=None,
        non_prototypical=None,
        oov=None,
    )


def _select(labels: LabelSets, names: Iterable[str]) -> dict[str, frozenset[int]]:
    """Return the labels of the images that have both these labels and a name in `names`."""
    return {name: labels[name] for name in names if name in labels}


def _cells(quality: Quality) -> tuple[str, ...]:
    return quality.base, quality.truth, f"{quality.suggested:,}", f"{quality.correct:,}", quality.precision


def _render(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    separator = ["---"] * 2 + ["---:"] * (len(header) - 2)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, separator, *rows))


def _read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main()
