"""Synthetic inputs: predictions with the accuracy of a good model, and an annotation."""

from pathlib import Path

import numpy as np

from service.bootstrap.build import Inputs, build_evidence
from service.evidence.bundle import Bundle
from service.evidence.labels import original_labels, real_and_original_labels, validation_name, validation_names


def predictions_csv() -> bytes:
    """Return a CSV file of 1.6 MB with 75 % correct predictions, sorted by file name."""
    random = np.random.default_rng(0)
    targets = original_labels()
    wrong = random.random(len(targets)) < 0.25
    predicted = np.where(wrong, random.integers(0, 1000, len(targets)), targets)
    rows = [
        f"{name.decode()},{value}" for name, value in zip(validation_names().tolist(), predicted.tolist(), strict=True)
    ]
    return ("file_name,top1\n" + "\n".join(rows) + "\n").encode()


def annotation_csv() -> str:
    """Return an annotation of 20,000 images in the CSV layout, derived from ReaL labels."""
    result, judged = real_and_original_labels()
    lines = ["id,original_label,proposed_labels,unclear_multi_labels,is_problematic"]
    for row in np.flatnonzero(judged)[:20_000].tolist():
        labels = ", ".join(map(str, result.of(row).tolist()))
        lines.append(f'{validation_name(row + 1)},{original_labels()[row]},"{labels}",,False')
    return "\n".join(lines) + "\n"


def build_imagenet(folder: Path) -> Bundle:
    """Build and open the bundle of the annotation."""
    file = folder / "made.csv"
    file.write_text(annotation_csv())
    return build_evidence("imagenet", Inputs(annotations=file), folder / "bundle")
