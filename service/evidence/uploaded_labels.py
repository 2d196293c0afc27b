"""Evidence from an uploaded file of labels: a bundle with other labels, but the same label space and images."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from errata.errors import InvalidEvidence

from service.domain import LabelSource
from service.evidence.build_inputs import OWN_LICENSE, file_source
from service.evidence.bundle import Bundle
from service.evidence.inputs import LABELS_FILE, BundleInputs
from service.evidence.label_files import LabelTable, read_label_table
from service.evidence.label_rows import PARQUET_SIGNATURE
from service.evidence.relabeled import relabel

MAX_SHOWN = 120  # characters of a name in a message


def relabel_from_file(bundle: Bundle, path: Path) -> BundleInputs:
    """Return the evidence of a bundle with the labels of a file.

    Images that are not in the file are not evaluated. The original labels of the bundle stay. A file can omit the
    original labels, but cannot change them.

    Args:
        bundle: The bundle.
        path: CSV, JSON, or JSON lines. Parquet is refused, because its parser is not safe for untrusted files.

    Raises:
        InvalidEvidence: The file is invalid; `violations` has the lines.
    """
    images = read_uploaded_labels(bundle, path).to_inputs()
    targets = bundle.all_targets
    numbers = bundle.rows[[bundle.row_of_name[name.decode()] for name in images.names.tolist()]].astype(np.int32)
    order = np.argsort(numbers)
    sorted_labels = images.labels.take(order)
    is_original = sorted_labels.classes == targets[numbers[order]][sorted_labels.samples]
    labels = replace(
        images,
        names=bundle.arrays["names"],
        all_targets=targets,
        rows=numbers[order],
        labels=replace(
            sorted_labels, sources=np.where(is_original, LabelSource.ORIGINAL, LabelSource.CORRECT).astype(np.uint8)
        ),
        problematic=images.problematic[order],
    )
    facts = relabel(bundle, labels)
    sources = tuple(source for source in facts.sources if source.name != LABELS_FILE)
    return replace(facts, sources=(*sources, file_source(LABELS_FILE, path, OWN_LICENSE)))


def read_uploaded_labels(bundle: Bundle, path: Path) -> LabelTable:
    """Read labels of evaluated images of a bundle.

    Raises:
        InvalidEvidence: The file is invalid, is a Parquet file, has other images, or changes original labels;
            `violations` has the lines.
    """
    with path.open("rb") as file:
        if file.read(len(PARQUET_SIGNATURE)) == PARQUET_SIGNATURE:
            raise InvalidEvidence(
                "The labels are a Parquet file. Upload them as CSV, JSON, or JSON lines.", field="labels"
            )
    table = read_label_table(path, bundle.label_space)
    ids, targets = bundle.label_space.ids, bundle.evidence.targets
    line_of: dict[str, int] = {}  # by the names of the bundle
    for (name, line), target, has_target in zip(table.line_of.items(), table.targets, table.has_target, strict=True):
        shown = name[:MAX_SHOWN]
        if (row := bundle.find_row(name)) is None:
            problem = (
                f"{shown!r} is no evaluated image of the bundle {bundle.digest[:12]}; correct the name, or remove it"
            )
            table.problems.add("file_name", problem, line)
        elif (first := line_of.setdefault(bundle.judged_names[row], line)) != line:
            problem = f"{shown!r} is the same image as the one {table.problems.locate(first)}; write one row per image"
            table.problems.add("file_name", problem, line)
        elif has_target and target != targets[row]:
            problem = f"the original label of {shown!r} is {ids[targets[row]]!r:.80}, not {ids[target]!r:.80}"
            table.problems.add("target", f"{problem}; correct it, or leave the column out", line)
    table.problems.check()
    return replace(table, line_of=line_of)
