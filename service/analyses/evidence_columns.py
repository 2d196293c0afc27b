"""The evidence of many verdicts as Arrow columns, with the fields of the message VerdictEvidence."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from service.analyses.judge import Judged
from service.domain import NUM_CLASSES, Classes, ErrorType, LabelSource, Outcome
from service.evidence.bundle import Bundle
from service.evidence.labels import validation_name
from service.evidence.overlap import why_overlapping
from service.evidence.vocabulary_batch import compare_all
from service.rules.outcomes import outcomes
from service.taxonomy.classes import class_names


def named(values: NDArray[np.integer], names: pa.Array) -> pa.Array:
    """Return the names of some values as a dictionary array, which a Parquet writer need not encode again.

    The names are distinct: with equal ones, such as names of classes, the writer is slower than with plain text.
    """
    return pa.DictionaryArray.from_arrays(pa.array(values), names)


def named_from_one(values: NDArray[np.integer], names: pa.Array) -> pa.Array:
    """Return the names of some values, which count from 1; 0 is null."""
    return pa.DictionaryArray.from_arrays(pa.array(values.astype(np.int32) - 1, mask=values == 0), names)


@dataclass(frozen=True)
class _Related:
    """The labels of K samples, and their targets where those are no labels: L classes to compare predictions with."""

    of_sample: NDArray[np.intp]  # (L,) the sample, ascending
    classes: Classes  # (L,)
    predicted: Classes  # (L,) the prediction for the sample
    size: int  # K


def evidence_columns(judged: Judged, rows: NDArray[np.intp]) -> Mapping[str, pa.Array]:
    """Return the evidence of some of the judged samples, all at once: row by row it takes ten times as long.

    Args:
        judged: The analysis with its verdicts.
        rows: (K,) the samples, each with a verdict.

    Returns:
        Columns of length K: `labels`, `shared_superclasses`, and `co_occurrences` (lists of structures), `overlap`
        (text or null), `vocabulary` (structure or null), and `rule_…` for the outcome of each rule (text or null).
    """
    bundle, evidence = judged.bundle, judged.bundle.evidence
    predicted = judged.predictions.top1[bundle.rows[rows]]
    rules = outcomes(judged.verdicts[rows], np.asarray(evidence.problematic[rows]), evidence)
    names, related = pa.array(class_names()), _related(bundle, rows, predicted)
    return {
        "labels": _labels(bundle, rows, names),
        "shared_superclasses": _shared_superclasses(bundle, related, names),
        "co_occurrences": _co_occurrences(bundle, related, names),
        "overlap": _overlap(bundle, rows, predicted),
        "vocabulary": _vocabulary(bundle, rows, predicted, rules[ErrorType.FINE_GRAINED_OOV.name.lower()]),
        **{f"rule_{name}": named_from_one(values, OUTCOME_NAMES) for name, values in rules.items()},
    }


OUTCOME_NAMES = pa.array([f"OUTCOME_{outcome.name}" for outcome in list(Outcome)[1:]])
SOURCE_NAMES = pa.array([f"LABEL_SOURCE_{source.name}" for source in LabelSource])
_TEXT = pa.struct({"text": pa.string(), "probability": pa.float64(), "outside": pa.bool_()})
_VOCABULARY = pa.struct({"gate": pa.bool_(), "best": pa.list_(_TEXT), "num_texts": pa.int32()})


def _related(bundle: Bundle, rows: NDArray[np.intp], predicted: Classes) -> _Related:
    labels, targets = bundle.evidence.labels.take(rows), bundle.evidence.targets[rows]
    of_label = np.repeat(np.arange(len(rows)), labels.counts)
    without_target = np.ones(len(rows), dtype=bool)
    without_target[of_label[labels.classes == targets[of_label]]] = False
    of_sample = np.concatenate([of_label, np.flatnonzero(without_target)])
    classes = np.concatenate([labels.classes, targets[without_target]])
    order = np.argsort(of_sample, kind="stable")  # a target follows the labels of its sample
    of_sample = of_sample[order]
    return _Related(of_sample, classes[order], predicted[of_sample], len(rows))


def _labels(bundle: Bundle, rows: NDArray[np.intp], names: pa.Array) -> pa.Array:
    labels = bundle.evidence.labels.take(rows)
    structures = pa.StructArray.from_arrays(
        [pa.array(labels.classes), names.take(pa.array(labels.classes)), named(labels.sources, SOURCE_NAMES)],
        ["class_index", "class_name", "source"],
    )
    return pa.ListArray.from_arrays(pa.array(labels.offsets), structures)


def _shared_superclasses(bundle: Bundle, related: _Related, names: pa.Array) -> pa.Array:
    sharing = bundle.evidence.same_superclass[related.classes, related.predicted]
    codes = related.classes[sharing].astype(np.int64) * NUM_CLASSES + related.predicted[sharing]
    pairs, pair = np.unique(codes, return_inverse=True)  # a tenth as many as samples
    members = np.ascontiguousarray(bundle.arrays["superclass_members"].T)  # (C, S)
    shared = members[pairs // NUM_CLASSES] & members[pairs % NUM_CLASSES]
    counts = np.count_nonzero(shared, axis=1)
    ids = pa.array(bundle.manifest.superclasses, pa.string()).take(pa.array(np.nonzero(shared)[1]))
    lists = pa.ListArray.from_arrays(_offsets(counts), ids)
    present = counts[pair] > 0  # a class without superclasses shares none with itself
    label = pa.array(related.classes[sharing][present])
    structures = pa.StructArray.from_arrays(
        [label, names.take(label), lists.take(pa.array(pair[present]))], ["label", "label_name", "superclasses"]
    )
    return _grouped(structures, related.of_sample[sharing][present], related.size)


def _co_occurrences(bundle: Bundle, related: _Related, names: pa.Array) -> pa.Array:
    pairs, matrix = bundle.pairs, bundle.evidence.cooccurrence
    present = np.zeros(len(related.classes), dtype=bool)
    used = np.zeros(0, dtype=np.intp)  # (L',) the pair of each related class that is seen together with the prediction
    counts, examples = np.zeros(0, dtype=np.int32), np.zeros((0, 1), dtype=np.int32)
    if pairs is not None and matrix is not None:
        present = matrix[related.classes, related.predicted]
        low, high = np.sort([related.classes[present], related.predicted[present]], axis=0).astype(np.int64)
        known = pairs.classes[:, 0].astype(np.int64) * NUM_CLASSES + pairs.classes[:, 1]
        order = np.argsort(known)
        used = order[np.searchsorted(known, low * NUM_CLASSES + high, sorter=order)]
        counts, examples = pairs.counts, pairs.examples
    some, example = np.unique(used, return_inverse=True)
    numbers = examples[some]
    files = pa.array([validation_name(number) for number in numbers[numbers > 0].tolist()], pa.string())
    lists = pa.ListArray.from_arrays(_offsets(np.count_nonzero(numbers, axis=1)), files)
    label = pa.array(related.classes[present])
    structures = pa.StructArray.from_arrays(
        [label, names.take(label), pa.array(counts[used]), lists.take(pa.array(example))],
        ["label", "label_name", "count", "examples"],
    )
    return _grouped(structures, related.of_sample[present], related.size)


def _overlap(bundle: Bundle, rows: NDArray[np.intp], predicted: Classes) -> pa.Array:
    targets = bundle.evidence.targets[rows]
    overlapping = bundle.evidence.overlap[targets, predicted]
    codes = targets.astype(np.int64) * NUM_CLASSES + predicted
    pairs, pair = np.unique(codes[overlapping], return_inverse=True)
    sentences = [why_overlapping(*divmod(code, NUM_CLASSES)) for code in pairs.tolist()]
    index = np.zeros(len(rows), dtype=np.int64)
    index[overlapping] = pair + 1
    return named_from_one(index, pa.array(sentences, pa.string()))


def _vocabulary(bundle: Bundle, rows: NDArray[np.intp], predicted: Classes, outcome: NDArray[np.uint8]) -> pa.Array:
    """Return the results of CLIP where the rule was evaluated."""
    if bundle.proposals is None:
        return pa.nulls(len(rows), _VOCABULARY)
    evaluated = np.flatnonzero(np.isin(outcome, [Outcome.HIT, Outcome.MISS]))
    images = [bundle.image_embedding(row) for row in rows[evaluated].tolist()]
    results = compare_all(
        np.concatenate(images) if images else np.zeros((0, 1), dtype=np.float32),
        bundle.arrays["text_embeddings"],
        bundle.evidence.targets[rows[evaluated]],
        predicted[evaluated],
        bundle.arrays["neighbors"][rows[evaluated]],
        bundle.proposals,
    )
    plain = [
        {
            "gate": result.gate,
            "best": [
                {"text": best.text, "probability": best.probability, "outside": best.outside} for best in result.best
            ],
            "num_texts": result.num_texts,
        }
        for result in results
    ]
    index = np.full(len(rows), len(plain), dtype=np.int64)
    index[evaluated] = np.arange(len(plain))
    return pa.array([*plain, None], _VOCABULARY).take(pa.array(index))


def _grouped(values: pa.Array, of_sample: NDArray[np.intp], size: int) -> pa.Array:
    """Return the values as a list for each sample; `of_sample` is ascending."""
    return pa.ListArray.from_arrays(_offsets(np.bincount(of_sample, minlength=size)), values)


def _offsets(counts: NDArray[np.integer]) -> pa.Array:
    return pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32())
