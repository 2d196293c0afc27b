"""Evidence from an uploaded file of labels: a bundle with other labels, but the same label space and images."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from errata.errors import InvalidEvidence

from service.domain import LabelSource
from service.evidence.build_inputs import OWN_LICENSE, file_source
from service.evidence.bundle import Bundle
from service.evidence.inputs import BundleInputs
from service.evidence.label_files import read_labels
from service.evidence.label_rows import PARQUET_SIGNATURE, read_rows
from service.evidence.relabeled import relabel

SOURCE = "labels"
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
    with path.open("rb") as file:
        if file.read(len(PARQUET_SIGNATURE)) == PARQUET_SIGNATURE:
            raise InvalidEvidence("The labels are a Parquet file. Upload them as CSV or as JSON lines.", field="labels")
    images = read_labels(path, bundle.label_space)
    row_of_name = {name: row for row, name in zip(bundle.rows.tolist(), bundle.judged_names, strict=True)}
    target_of = dict(zip(images.names.tolist(), images.all_targets.tolist(), strict=True))
    ids, targets = bundle.label_space.ids, bundle.all_targets
    rows, problems = read_rows(path)
    for row in rows:
        name, target = row.name[:MAX_SHOWN], target_of[row.name.encode()]
        if (number := row_of_name.get(row.name)) is None:
            problem = f"{name!r} is no evaluated image of the bundle {bundle.digest[:12]}; remove it"
            problems.add("file_name", problem, row.line)
        elif row.target is not None and target != targets[number]:
            problem = f"the original label of {name!r} is {ids[targets[number]]!r:.80}, not {ids[target]!r:.80}"
            problems.add("target", f"{problem}; correct it, or leave the column out", row.line)
    problems.check()
    numbers = np.array([row_of_name[name.decode()] for name in images.names.tolist()], dtype=np.int32)
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
    sources = tuple(source for source in facts.sources if source.name != SOURCE)
    return replace(facts, sources=(*sources, file_source(SOURCE, path, OWN_LICENSE)))
