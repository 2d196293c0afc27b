"""Read the labels of a data set: CSV `file_name,target,labels,problematic`, JSON, JSON lines, or Parquet.

Labels are separated by spaces or `;`. Without `target`, the first label is the original label. A text in `problematic`
is the reason why the image is problematic; problematic images do not count in statistics.
"""

from array import array
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
from errata.errors import InvalidEvidence

from service.domain import Labels, LabelSource, LabelSpace
from service.evidence.class_lookup import ClassLookup
from service.evidence.input_files import MAX_NAME, Problems, text_problem
from service.evidence.inputs import LabelInputs
from service.evidence.label_rows import LabelRow, read_rows

MAX_IMAGES = 2_000_000
MAX_LABELS = 1_000  # of one image
MAX_NAME_BYTES = 512 << 20  # of the array of names, which uses the length of the longest name for each name


def read_labels(path: Path, label_space: LabelSpace) -> LabelInputs:
    """Read a file of labels.

    Args:
        path: The file.
        label_space: The classes of the labels.

    Returns:
        The images, sorted by name. All of them are evaluated.

    Raises:
        InvalidEvidence: The file cannot be read, or has invalid rows; `violations` has the lines.
    """
    return read_label_table(path, label_space).to_inputs()


def read_label_table(path: Path, label_space: LabelSpace) -> "LabelTable":
    """Read the rows of a file of labels, see `read_labels`. The table can be empty."""
    rows, problems = read_rows(path)
    table = LabelTable(path.name, ClassLookup(label_space), problems)
    for row in rows:
        table.add(row)
        if len(table.line_of) > MAX_IMAGES:
            problems.add("file_name", f"more than {MAX_IMAGES:,} images; remove the images above this limit", row.line)
            break
    problems.check()
    return table


@dataclass
class LabelTable:
    """The valid rows of a file of labels."""

    source: str  # name of the file
    lookup: ClassLookup
    problems: Problems
    line_of: dict[str, int] = field(default_factory=dict)  # line of each image
    targets: "array[int]" = field(default_factory=lambda: array("h"))
    has_target: bytearray = field(default_factory=bytearray)  # otherwise, the target is the first label
    labels: list[tuple[int, ...]] = field(default_factory=list)
    reasons: list[str | None] = field(default_factory=list)  # of problematic images; None: the file does not say

    def add(self, row: LabelRow) -> None:
        """Add a row, or the problem of the row."""
        if problem := text_problem("file_name", row.name, MAX_NAME):
            return self.problems.add("file_name", problem, row.line)
        if row.name in self.line_of:
            first = self.line_of[row.name]
            problem = f"duplicate image {row.name!r:.60}, also {self.problems.locate(first)}; write one row per image"
            return self.problems.add("file_name", problem, row.line)
        self.line_of[row.name] = row.line
        labels = self.lookup.find_all(row.labels) if isinstance(row.labels, str) else self.lookup.find_each(row.labels)
        if isinstance(labels, str):
            text = row.labels if isinstance(row.labels, str) else ""
            return self.problems.add("labels", partial(self.lookup.describe_problem, labels, text), row.line)
        if len(labels) > MAX_LABELS:
            return self.problems.add("labels", f"{len(labels):,} labels; use at most {MAX_LABELS:,}", row.line)
        if not labels and not row.reason:
            return self.problems.add("labels", "no label; write at least one, or a reason in `problematic`", row.line)
        if row.target is None and not labels:
            return self.problems.add("target", "neither a target nor labels; write the original label", row.line)
        target = labels[0] if row.target is None else self.lookup.find(row.target)
        if target is None:
            wrong = row.target or ""
            is_empty = not wrong.strip()
            problem = "no target; write the original label" if is_empty else ""
            return self.problems.add("target", problem or partial(self.lookup.describe_problem, wrong), row.line)
        self.targets.append(target)
        self.has_target.append(row.target is not None)
        self.labels.append(labels)
        self.reasons.append(row.reason)
        return None

    def to_inputs(self) -> LabelInputs:
        """Return the images, sorted by the bytes of their names.

        Raises:
            InvalidEvidence: No image counts, or the names are too long.
        """
        if not self.line_of:
            raise InvalidEvidence(f"{self.source} has no images. Write one row per image.", field="labels")
        if all(self.reasons):
            raise InvalidEvidence(
                f"{self.source}: all images are problematic. Leave `problematic` empty for the images that count.",
                field="problematic",
            )
        longest = max(self.line_of, key=lambda name: len(name.encode()))
        length = len(longest.encode())
        if (size := length * len(self.line_of)) > MAX_NAME_BYTES:
            problem = (
                f"{len(self.line_of):,} names of up to {length:,} bytes take {size >> 20:,} MiB; use at most "
                f"{MAX_NAME_BYTES >> 20} MiB. Shorten {longest!r:.60}"
            )
            self.problems.add("file_name", problem, self.line_of[longest])
            self.problems.check()
        names = [name.encode() for name in self.line_of]
        order = sorted(range(len(names)), key=names.__getitem__)
        targets = np.asarray(self.targets, dtype=np.int16)[order]
        labels = [self.labels[row] for row in order]
        counts = np.array([len(classes) for classes in labels], dtype=np.int32)
        classes = np.array([*chain.from_iterable(labels)], dtype=np.int16)
        is_original = classes == np.repeat(targets, counts)
        return LabelInputs(
            names=np.array([names[row] for row in order], dtype=np.bytes_),
            all_targets=targets,
            rows=np.arange(len(names), dtype=np.int32),
            labels=Labels(
                offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
                classes=classes,
                sources=np.where(is_original, LabelSource.ORIGINAL, LabelSource.CORRECT).astype(np.uint8),
            ),
            problematic=np.array([bool(reason) for reason in self.reasons])[order],
        )
