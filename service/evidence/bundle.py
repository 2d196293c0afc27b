"""An evidence bundle: an immutable folder with a manifest and arrays.

  manifest.json      schema, dataset, digest, rules_version, label_space (missing: imagenet-1k),
                     superclasses (ids), min_cooccurrence (missing: 2), abstained, counts,
                     sources (name, origin, license, sha256), files (sha256, bytes),
                     encoder (inputs.EncoderInfo; null or missing: unknown), base (digest; missing: none),
                     reviews (inputs.ReviewsInfo; missing: none)
  names.npy          (A,) bytes   file names of all images of the data set
  all_targets.npy    (A,) int16   their original labels
  rows.npy           (N,) int32   indices of the evaluated images
  label_offsets.npy, label_classes.npy, label_sources.npy   multi-labels of the N evaluated images (domain.Labels)
  problematic.npy    (N,) bool
  groups.npy         (G, N) bool  groups of the label space
  label_space.json   the classes, if the label space is not imagenet-1k (label_space_json.py)
  superclass_members.npy (S, C) bool   imagenet-1k only: in other bundles, label_space.json has the superclasses
  pair_classes.npy, pair_counts.npy, pair_examples.npy, pair_names.npy
                     co-occurrence, optional (inputs.CooccurrenceInputs)
  non_prototypical.npy (N,) bool  optional
  neighbors.npy (N, 10) int16, image_embeddings.npy (N, d), text_embeddings.npy (T, d) float32, oov.npy (N, ceil(C / 8))
                     bits,
                     optional (inputs.ClipInputs)
  label_preferred.npy (N, ceil(C / 8)) bits: a label scores higher than all proposals, optional (inputs.ClipInputs)
  proposals.npy      (B,) uint8   JSON (proposals.py); with CLIP evidence, if the label space is not imagenet-1k
  imagenet_m.npy     (N,) bool    samples of ImageNet-M, optional
  verdicts.npy       (N, C) uint8 the verdict table (service/rules/table.py); missing if it would be too large:
                     the rules are then applied to the predictions of each model
  expert_judgments.npy (J, 4) int32 judgments of experts, optional (service/evidence/expert_judgments.py)

The digest does not cover the sources, the encoder, and the expert judgments, because no rule reads them. It does not
cover the verdict table and label_preferred.npy, because they depend only on covered parts. It covers all other parts.
"""

import hashlib
import itertools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import structlog
from errata.errors import EvidenceDamaged, ImageNotFound, InvalidEvidence
from numpy.typing import NDArray

from service.domain import (
    ALL,
    IMAGENET_1K,
    NO_CLASS,
    Bytes,
    Classes,
    Evidence,
    ExpertJudgment,
    Labels,
    LabelSpace,
    Mask,
    RowOrder,
    Strata,
    Superclasses,
    build_strata,
    classes_digest,
)
from service.evidence.built_in import known_classes
from service.evidence.bundle_arrays import BundleArrays
from service.evidence.cooccurrence import MIN_COUNT, cooccurrence_relation
from service.evidence.expert_judgments import unpack_judgments
from service.evidence.inputs import CooccurrenceInputs, LabelInputs
from service.evidence.label_space_json import MAX_BYTES, from_json
from service.evidence.labels import validation_names
from service.evidence.layout import EXPERT_JUDGMENTS, PROPOSALS, VERDICTS, check_layout
from service.evidence.manifest import LABEL_SPACE, MANIFEST, REMEDY, Manifest, damage_error, read_manifest
from service.evidence.proposals import proposals_from_json, proposals_of
from service.image_names import MAX_CANDIDATES, NameIndex
from service.rules.decide import decide_each
from service.rules.table import judge
from service.storage import sha256_of
from service.taxonomy.imagenet_1k import imagenet_1k
from service.taxonomy.proposals import Proposals
from service.unicode_form import normalize_unicode

_log = structlog.get_logger()


@dataclass(frozen=True)
class Bundle:
    """Evidence of one data set (A images, N evaluated)."""

    path: Path
    manifest: Manifest
    label_space: LabelSpace
    arrays: BundleArrays

    @property
    def dataset(self) -> str:
        """Return the name of the data set."""
        return self.manifest.dataset

    @property
    def digest(self) -> str:
        """Return the digest of the evidence."""
        return self.manifest.digest

    @property
    def verdicts(self) -> Bytes:
        """Return the verdict table, (N, C); raise EvidenceDamaged if the table's file changed before the first use.

        Raises:
            KeyError: The bundle has no table, because it would be too large.
        """
        return self.arrays[VERDICTS]

    def judge(self, top1: Classes) -> Bytes:
        """Return the verdicts of one prediction for each evaluated image, (N,); 0 without a prediction (-1).

        Most predictions are the target, whose verdicts never change, so only the others are judged.
        """
        verdicts = self._verdicts_of_targets.copy()
        rows = np.flatnonzero(top1 != self.evidence.targets)
        verdicts[rows] = self._judge(rows, top1.take(rows))
        return verdicts

    @cached_property
    def _verdicts_of_targets(self) -> Bytes:
        """Return the verdict of each evaluated image if the prediction is its target, (N,)."""
        return self._judge(np.arange(len(self.rows)), self.evidence.targets)

    def _judge(self, rows: NDArray[np.intp], top1: Classes) -> Bytes:
        """Return the verdict of one prediction for each of some evaluated images.

        The table has no column for an answer without a class (NO_CLASS), so the rules are applied to these answers.
        """
        if VERDICTS not in self.arrays:
            return decide_each(self.evidence.take(rows), top1)
        verdicts = judge(self.verdicts, rows, top1)
        without_class = np.flatnonzero(top1 == NO_CLASS)
        if len(without_class):
            verdicts[without_class] = decide_each(self.evidence.take(rows[without_class]), top1[without_class])
        return verdicts

    def verdict(self, row: int, predicted: int) -> Bytes:
        """Return the verdict of one prediction for one evaluated image, (1,)."""
        if VERDICTS in self.arrays and predicted >= 0:
            return self.verdicts[row, predicted : predicted + 1]
        return decide_each(self.evidence.rows(row, row + 1), np.array([predicted], dtype=np.int16))

    def example_names(self, numbers: NDArray[np.integer]) -> list[str]:
        """Return the names of the example images of co-occurrence pairs that have the given 1-based numbers."""
        names = self.arrays.get("pair_names")
        return [name.decode() for name in (validation_names() if names is None else names)[numbers - 1].tolist()]

    def image_embedding(self, row: int) -> NDArray[np.float32]:
        """Return the embedding of one evaluated image, (1, d); raise EvidenceDamaged if its file changed."""
        return self.arrays.row("image_embeddings", row)

    @property
    def rows(self) -> NDArray[np.int32]:
        """Return the indices of the evaluated images, (N,)."""
        return self.arrays["rows"]

    @property
    def all_targets(self) -> Classes:
        """Return the original label of each image of the data set, (A,)."""
        return self.arrays["all_targets"]

    @cached_property
    def names(self) -> pa.Array:
        """Return the names of all images as an Arrow array of bytes, length A."""
        return pa.array(self.arrays["names"].tolist(), type=pa.binary())

    @cached_property
    def image_names(self) -> list[str]:
        """Return the names of all images, in order."""
        return [name.decode() for name in self.arrays["names"].tolist()]

    @cached_property
    def judged_names(self) -> list[str]:
        """Return the names of the evaluated images, in the row order of the verdict table."""
        return [name.decode() for name in self.arrays["names"][self.rows].tolist()]

    @cached_property
    def images_digest(self) -> str:
        """Return the SHA-256 of the names of all images, in order. It identifies the images of stored predictions."""
        return hashlib.sha256(b"\n".join(self.arrays["names"].tolist())).hexdigest()

    @cached_property
    def classes_digest(self) -> str:
        """Return the digest of the classes that stored predictions refer to; empty for ImageNet-1k."""
        return classes_digest(self.label_space)

    @cached_property
    def class_mean_scale(self) -> float:
        """Return the standard deviation of a mean over classes, relative to that of a mean over images; 1 if equal."""
        sizes = np.bincount(self.evidence.effective_targets[~self.evidence.problematic])
        sizes = sizes[sizes > 0]
        return float(np.sqrt(sizes.sum() * (1 / sizes).sum()) / len(sizes)) if len(sizes) else 1.0

    @cached_property
    def row_of_name(self) -> Mapping[str, int]:
        """Return the row of each evaluated image in the verdict table."""
        return {name: row for row, name in enumerate(self.judged_names)}

    def find_row(self, file_name: str) -> int | None:
        """Return the row of an evaluated image, or of the only one with the same name in another Unicode form."""
        row = self.row_of_name.get(file_name)
        return self._row_of_normalized_name.get(normalize_unicode("NFC", file_name)) if row is None else row

    @cached_property
    def _row_of_normalized_name(self) -> Mapping[str, int]:
        """The row of each name that is not ASCII, by the name in Unicode NFC, unless two names are equal in it."""
        rows = [(normalize_unicode("NFC", name), row) for name, row in self.row_of_name.items() if not name.isascii()]
        counts = Counter(name for name, _ in rows)
        return {name: row for name, row in rows if counts[name] == 1}

    def row(self, file_name: str) -> int:
        """Return the row of an image in the verdict table; raise ImageNotFound if the image is not evaluated."""
        row = self.row_of_name.get(file_name)
        if row is None:
            problem = "has no labels" if file_name in self.image_names else "was not found"
            if (same := self.find_row(file_name)) is not None:
                own = self.judged_names[same]
                raise ImageNotFound(
                    f"Image {ascii(file_name)[:240]} was not found in {self.dataset}, which has its name in another "
                    f"Unicode form: {ascii(own)[:240]}. Use this form.",
                    field="file_name",
                )
            index = NameIndex(self.names.take(pa.array(self.rows)))
            candidates = index.candidates(file_name.encode(errors="replace"), MAX_CANDIDATES)
            similar = ", ".join(f"{name.decode()!r:.120}" for name in candidates)
            remedy = f"Similar names: {similar}." if similar else "Expected the name of an evaluated image."
            raise ImageNotFound(f"Image {file_name!r:.120} {problem} in {self.dataset}. {remedy}", field="file_name")
        return row

    @cached_property
    def evidence(self) -> Evidence:
        """Return the inputs of the rules."""
        return evidence_of(self.arrays, self.label_space, self.manifest.min_cooccurrence)

    @cached_property
    def label_inputs(self) -> LabelInputs:
        """Return the images and their labels."""
        return LabelInputs(
            names=self.arrays["names"],
            all_targets=self.all_targets,
            rows=self.rows,
            labels=self.evidence.labels,
            problematic=self.evidence.problematic,
        )

    @cached_property
    def strata(self) -> Strata:
        """Return the merged strata of the evaluated samples."""
        return build_strata(self.evidence.effective_targets, ~self.evidence.problematic, self.groups).merged()

    @cached_property
    def pairs(self) -> CooccurrenceInputs | None:
        """Return the co-occurrence counts; None if the bundle has none."""
        return _pairs_of(self.arrays)

    @cached_property
    def proposals(self) -> Proposals | None:
        """Return the proposals that CLIP compared with images; None if the bundle has no CLIP evidence."""
        if "oov" not in self.arrays:
            return None
        if self.label_space.name == IMAGENET_1K:
            return proposals_of(self.label_space)
        num_texts = self.arrays.headers()["text_embeddings"].shape[0]
        try:
            return proposals_from_json(self.arrays[PROPOSALS].tobytes(), self.label_space, num_texts)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise damage_error(self.manifest, f"{PROPOSALS}.npy: {error!r:.200}") from error

    def labels_preferred(self, rows: NDArray[np.intp], predicted: Classes) -> Mask | None:
        """Return whether CLIP prefers a label of each image to every proposal for the prediction.

        Args:
            rows: (K,) evaluated images.
            predicted: (K,) predicted classes.

        Returns:
            (K,) decisions, False where the gate of vocabulary.py does not hold; None if the bundle has no decisions.
        """
        bits = self.arrays.get("label_preferred")
        if bits is None:
            return None
        classes = np.maximum(predicted, 0)
        preferred = bits[rows, classes // 8] >> (7 - classes % 8).astype(np.uint8) & 1
        return np.asarray(preferred, dtype=bool) & (predicted >= 0)

    @cached_property
    def expert_judgments(self) -> Mapping[tuple[int, int], ExpertJudgment]:
        """Return the expert judgments by the row of the image and the predicted class; empty if there are none."""
        array = self.arrays.get(EXPERT_JUDGMENTS)
        return {} if array is None else unpack_judgments(array)

    @property
    def imagenet_m(self) -> Mask | None:
        """Return the samples of ImageNet-M, (N,); None if they are unknown."""
        return self.arrays.get("imagenet_m")

    @cached_property
    def classes(self) -> Mask:
        """Return a mask of the classes of the data set, (C,).

        A built-in data set has its published classes, even if the bundle has only a part of its images. Any other data
        set, also one with images of other classes, has the classes that are the target of at least one image.
        """
        are_targets = np.bincount(self.all_targets, minlength=self.label_space.num_classes) > 0
        published = np.isin(np.arange(len(are_targets)), [*known_classes(self.dataset, self.label_space)])
        return are_targets if (are_targets & ~published).any() else published

    @cached_property
    def groups(self) -> Mapping[str, Mask]:
        """Return the samples of each group of the label space, (N,), including problematic samples."""
        return dict(zip(self.label_space.groups, np.asarray(self.arrays["groups"]), strict=True))

    def group_mask(self, group: str) -> Mask:
        """Return the samples of a group, (N,), including problematic samples."""
        return np.ones(len(self.rows), dtype=bool) if group == ALL else self.groups[group]

    def groups_of(self, rows: NDArray[np.intp]) -> list[tuple[str, ...]]:
        """Return the groups of evaluated samples, without `all`."""
        memberships = np.asarray(self.arrays["groups"])[:, rows].T
        distinct, index = np.unique(memberships, axis=0, return_inverse=True)
        groups = [tuple(itertools.compress(self.label_space.groups, row)) for row in distinct.tolist()]
        return [groups[number] for number in index.reshape(-1).tolist()]

    def positions(self, order: RowOrder) -> NDArray[np.intp]:
        """Return, for each row of an upload without file names, the index of the image in the data set, (A,)."""
        return image_positions(self.arrays["names"], self.all_targets, order)


def image_positions(names: NDArray[np.bytes_], all_targets: Classes, order: RowOrder) -> NDArray[np.intp]:
    """Return, for each row of an upload without file names, the index of the image among all names, (A,)."""
    if order is RowOrder.FILE_NAME:
        files = np.array([name.rsplit(b"/", 1)[-1] for name in names.tolist()])
        return np.argsort(files, kind="stable")
    return np.lexsort((names, all_targets))


def evidence_of(
    arrays: Mapping[str, NDArray[Any]], label_space: LabelSpace, min_cooccurrence: int = MIN_COUNT
) -> Evidence:
    """Return the inputs of the rules from the arrays and the label space of a bundle."""
    pairs, superclasses = _pairs_of(arrays), label_space.superclasses
    relation = None if pairs is None else cooccurrence_relation(pairs, superclasses, min_cooccurrence)
    return Evidence(
        targets=arrays["all_targets"][arrays["rows"]],
        labels=Labels(arrays["label_offsets"], arrays["label_classes"], arrays["label_sources"]),
        problematic=np.asarray(arrays["problematic"]),
        overlap=label_space.overlaps,
        superclasses=superclasses,
        cooccurrence=relation or None,  # if the relation has no pair, the rule abstains
        non_prototypical=arrays.get("non_prototypical"),
        oov=arrays.get("oov"),
    )


def open_bundle(path: Path) -> Bundle:
    """Open a bundle. This takes milliseconds, or 0.3 s for the label space of 21,841 classes.

    Checks sizes, shapes, and indices. The digests of the verdict table and of the text embeddings are checked on first
    use. `verify_evidence` checks all digests.

    Raises:
        InvalidEvidence: If the folder is not a bundle, has another schema, or is damaged.
    """
    manifest = read_manifest(path)

    def on_damage(name: str, error: Exception) -> EvidenceDamaged:
        _log.error("evidence damaged", dataset=manifest.dataset, path=str(path / f"{name}.npy"), error=repr(error))
        return damage_error(manifest, f"{name}.npy: {error}")

    files = {name: facts for name, facts in manifest.files.items() if name != LABEL_SPACE}
    arrays = BundleArrays(path, files, on_damage)
    label_space = _read_label_space(path, manifest, arrays)
    check_layout(path, arrays.headers(), label_space)
    _check_counts(path, manifest, arrays)
    return Bundle(path, manifest, label_space, arrays)


def _check_counts(path: Path, manifest: Manifest, arrays: BundleArrays) -> None:
    """Raise InvalidEvidence if a count in the manifest differs from that of the arrays."""
    expected = {"images": len(arrays["names"]), "judged": len(arrays["rows"])}
    for name, count in expected.items():
        if manifest.counts[name] != count:
            raise InvalidEvidence(
                f"{path / MANIFEST}: the count '{name}' is {manifest.counts[name]}, but the arrays have {count}. "
                f"{REMEDY}",
                field="counts",
            )


def _read_label_space(path: Path, manifest: Manifest, arrays: BundleArrays) -> LabelSpace:
    """Return the classes of a bundle; raise InvalidEvidence if they are damaged."""
    if manifest.label_space == IMAGENET_1K:
        members, shape = arrays.get("superclass_members"), (len(manifest.superclasses), imagenet_1k().num_classes)
        if members is None or members.dtype != np.bool_ or members.shape != shape:
            got = "no array" if members is None else f"{members.dtype.str} {members.shape}"
            raise InvalidEvidence(
                f"{path}/superclass_members.npy: expected shape {shape} of type b1, got {got}. {REMEDY}",
                field="superclass_members",
            )
        return replace(imagenet_1k(), superclasses=Superclasses.from_members(manifest.superclasses, members))
    file, facts = path / LABEL_SPACE, manifest.files.get(LABEL_SPACE)
    try:
        if facts is None or not file.is_file() or file.stat().st_size != facts["bytes"]:  # opening a pipe would block
            raise ValueError("no file of the size in the manifest")
        with file.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
        if hashlib.sha256(content).hexdigest() != facts["sha256"]:
            raise ValueError("the SHA-256 differs from the manifest")
        label_space = from_json(content)
        if (label_space.name, label_space.superclasses.ids) != (manifest.label_space, manifest.superclasses):
            raise ValueError("its name or superclasses differ from the manifest")
    except (OSError, ValueError) as error:
        raise InvalidEvidence(
            f"{file}: cannot read the label space: {error!s:.200}. {REMEDY}", field=LABEL_SPACE
        ) from error
    return label_space


def file_differences(bundle: Bundle) -> list[str]:
    """Return descriptions of the files whose SHA-256 differs from the manifest; empty if there are none."""
    return [
        f"{name}: the SHA-256 differs from {facts['sha256']}"
        for name, facts in bundle.manifest.files.items()
        if sha256_of(bundle.path / name) != facts["sha256"]
    ]


def _pairs_of(arrays: Mapping[str, NDArray[Any]]) -> CooccurrenceInputs | None:
    if "pair_classes" not in arrays:
        return None
    return CooccurrenceInputs(
        arrays["pair_classes"], arrays["pair_counts"], arrays["pair_examples"], arrays.get("pair_names")
    )
