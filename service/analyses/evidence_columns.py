"""The evidence of many verdicts as Arrow columns, with the fields of the message VerdictEvidence."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from service.analyses.judge import JudgedAnalysis
from service.domain import MAX_CLASSES, Attributes, Classes, ErrorType, Labels, LabelSource, LabelSpace, Mask, Outcome
from service.evidence.bundle import Bundle
from service.evidence.vocabulary_comparison import compare_all
from service.rules.outcomes import outcomes


def dictionary_array(values: NDArray[np.integer], names: pa.Array) -> pa.Array:
    """Return the names of values as a dictionary array, which a Parquet writer does not encode again.

    The names must be distinct. With duplicates, the writer is slower than with plain text.
    """
    return pa.DictionaryArray.from_arrays(pa.array(values), names)


def named_from_one(values: NDArray[np.integer], names: pa.Array) -> pa.Array:
    """Return the names of values as a dictionary array of at most 127 names. Value 1 is the first name, 0 is null."""
    return pa.DictionaryArray.from_arrays(pa.array(values.astype(np.int8) - np.int8(1), mask=values == 0), names)


def class_name(label_space: LabelSpace, classes: Classes) -> pa.Array:
    """Return the names of classes as a dictionary array. Several classes can have the same name."""
    names, index = label_space.distinct_names
    return dictionary_array(index[classes], pa.array(names))


@dataclass(frozen=True)
class _Related:
    """The L classes that the predictions for K samples are compared with.

    They are the labels of each sample, and the target of a problematic sample if the target is not a label.
    """

    of_sample: NDArray[np.intp]  # (L,) the sample, ascending
    classes: Classes  # (L,)
    predicted: Classes  # (L,) the prediction for the sample
    size: int  # K


def evidence_columns(judged: JudgedAnalysis, rows: NDArray[np.intp]) -> Mapping[str, pa.Array]:
    """Return the evidence of selected samples, computed on arrays.

    Args:
        judged: The analysis with its verdicts.
        rows: (K,) the samples, each with a verdict.

    Returns:
        Columns of length K: `labels`, `shared_superclasses`, `co_occurrences`, and `attributes` (lists of structures),
        `overlap` (text or null), `vocabulary` and `expert_judgment` (structures or null), and `rule_…` for the outcome
        of each rule (text or null).
    """
    bundle, evidence = judged.bundle, judged.bundle.evidence
    predicted = judged.predictions.top1[bundle.rows[rows]]
    rules = outcomes(judged.verdicts[rows], np.asarray(evidence.problematic[rows]), evidence)
    labels = evidence.labels.take(rows)
    related = _find_related(labels, evidence.targets[rows], np.asarray(evidence.problematic[rows]), predicted)
    return {
        "labels": _labels(bundle.label_space, labels),
        "shared_superclasses": _shared_superclasses(bundle, related),
        "co_occurrences": _co_occurrences(bundle, related),
        "overlap": _overlap(bundle, rows, predicted),
        "vocabulary": _vocabulary(bundle, rows, predicted, rules[ErrorType.FINE_GRAINED_OOV.key]),
        "expert_judgment": _expert_judgments(bundle, rows, predicted),
        "attributes": _attributes(judged.attributes, rows),
        **{f"rule_{name}": named_from_one(values, OUTCOME_NAMES) for name, values in rules.items()},
    }


OUTCOME_NAMES = pa.array([f"OUTCOME_{outcome.name}" for outcome in list(Outcome)[1:]])
SOURCE_NAMES = pa.array([f"LABEL_SOURCE_{source.name}" for source in LabelSource])
_JUDGMENT = pa.struct({"error_type": pa.string(), "severity": pa.string()})
_TEXT = pa.struct({"text": pa.string(), "probability": pa.float64(), "outside": pa.bool_()})
_ATTRIBUTE = pa.struct({"attribute": pa.string(), "values": pa.list_(pa.string())})
_VOCABULARY = pa.struct(
    {"gate": pa.bool_(), "best": pa.list_(_TEXT), "num_texts": pa.int32(), "prefers_label": pa.bool_()}
)


def _find_related(labels: Labels, targets: Classes, problematic: Mask, predicted: Classes) -> _Related:
    without_target = problematic & ~labels.contain(targets)
    of_sample = np.concatenate([labels.samples, np.flatnonzero(without_target)])
    classes = np.concatenate([labels.classes, targets[without_target]])
    order = np.argsort(of_sample, kind="stable")  # a target follows the labels of its sample
    order = order[predicted[of_sample[order]] >= 0]  # an answer without a class has no relation to a class
    of_sample = of_sample[order]
    return _Related(of_sample, classes[order], predicted[of_sample], len(targets))


def _labels(label_space: LabelSpace, labels: Labels) -> pa.Array:
    names, sources = class_name(label_space, labels.classes), dictionary_array(labels.sources, SOURCE_NAMES)
    structures = pa.StructArray.from_arrays(
        [pa.array(labels.classes), names, sources], ["class_index", "class_name", "source"]
    )
    return pa.ListArray.from_arrays(pa.array(labels.offsets), structures)


def _shared_superclasses(bundle: Bundle, related: _Related) -> pa.Array:
    superclasses = bundle.label_space.superclasses
    sharing = superclasses.share(related.classes, related.predicted)
    first, second, pair = _distinct(related.classes[sharing], related.predicted[sharing])
    of_pair, numbers = superclasses.shared(first, second)
    counts = np.bincount(of_pair, minlength=len(first))
    ids = dictionary_array(numbers, pa.array(superclasses.ids, pa.string()))
    lists = pa.ListArray.from_arrays(_offsets(counts), ids)
    present = counts[pair] > 0  # a class without superclasses shares none with itself
    label = related.classes[sharing][present]
    structures = pa.StructArray.from_arrays(
        [pa.array(label), class_name(bundle.label_space, label), lists.take(pa.array(pair[present]))],
        ["label", "label_name", "superclasses"],
    )
    return _group_by_sample(structures, related.of_sample[sharing][present], related.size)


def _co_occurrences(bundle: Bundle, related: _Related) -> pa.Array:
    pairs, relation = bundle.pairs, bundle.evidence.cooccurrence
    present = np.zeros(len(related.classes), dtype=bool)
    used = np.zeros(0, dtype=np.intp)  # (L',) index of the pair, for related classes that co-occur
    counts, examples = np.zeros(0, dtype=np.int32), np.zeros((0, 1), dtype=np.int32)
    if pairs is not None and relation is not None:
        present = relation.holds(related.classes, related.predicted)
        low, high = np.sort([related.classes[present], related.predicted[present]], axis=0)
        known = _codes(pairs.classes[:, 0], pairs.classes[:, 1])
        order = np.argsort(known)
        used = order[np.searchsorted(known, _codes(low, high), sorter=order)]
        counts, examples = pairs.counts, pairs.examples
    some, example = np.unique(used, return_inverse=True)
    numbers = examples[some]
    files, file = np.unique(numbers[numbers > 0], return_inverse=True)
    names = dictionary_array(file.astype(np.int32), pa.array(bundle.example_names(files), pa.string()))
    lists = pa.ListArray.from_arrays(_offsets(np.count_nonzero(numbers, axis=1)), names)
    label = related.classes[present]
    structures = pa.StructArray.from_arrays(
        [pa.array(label), class_name(bundle.label_space, label), pa.array(counts[used]), lists.take(pa.array(example))],
        ["label", "label_name", "count", "examples"],
    )
    return _group_by_sample(structures, related.of_sample[present], related.size)


def _overlap(bundle: Bundle, rows: NDArray[np.intp], predicted: Classes) -> pa.Array:
    targets = bundle.evidence.effective_targets[rows]
    overlapping = bundle.label_space.overlaps.holds(targets, np.maximum(predicted, 0)) & (predicted >= 0)
    first, second, pair = _distinct(targets[overlapping], predicted[overlapping])
    reasons = [
        bundle.label_space.overlap_reason(*classes) for classes in zip(first.tolist(), second.tolist(), strict=True)
    ]
    number_of = {reason: number for number, reason in enumerate(dict.fromkeys(reasons))}  # pairs can share a reason
    numbers = np.array([number_of[reason] for reason in reasons], dtype=np.int32)
    index = np.zeros(len(rows), dtype=np.int32)
    index[overlapping] = numbers[pair]
    return pa.DictionaryArray.from_arrays(pa.array(index, mask=~overlapping), pa.array([*number_of], pa.string()))


def _vocabulary(bundle: Bundle, rows: NDArray[np.intp], predicted: Classes, outcome: NDArray[np.uint8]) -> pa.Array:
    """Return the results of CLIP; null for samples on which the out-of-vocabulary rule was not evaluated."""
    if bundle.proposals is None:
        return pa.nulls(len(rows), _VOCABULARY)
    evaluated = np.flatnonzero(np.isin(outcome, [Outcome.HIT, Outcome.MISS]) & (predicted >= 0))
    images = [bundle.image_embedding(row) for row in rows[evaluated].tolist()]
    results = compare_all(
        np.concatenate(images) if images else np.zeros((0, 1), dtype=np.float32),
        bundle.arrays["text_embeddings"],
        bundle.evidence.effective_targets[rows[evaluated]],
        predicted[evaluated],
        bundle.arrays["neighbors"][rows[evaluated]],
        bundle.proposals,
    )
    preferred = bundle.labels_preferred(rows[evaluated], predicted[evaluated])
    plain = [
        {
            "gate": result.gate,
            "best": [
                {"text": best.text, "probability": best.probability, "outside": best.outside} for best in result.best
            ],
            "num_texts": result.num_texts,
            "prefers_label": prefers_label,
        }
        for result, prefers_label in zip(
            results, [None] * len(results) if preferred is None else preferred.tolist(), strict=True
        )
    ]
    index = np.full(len(rows), len(plain), dtype=np.int64)
    index[evaluated] = np.arange(len(plain))
    return pa.array([*plain, None], _VOCABULARY).take(pa.array(index))


def _expert_judgments(bundle: Bundle, rows: NDArray[np.intp], predicted: Classes) -> pa.Array:
    """Return the expert judgment of each sample; null if there is none."""
    if not bundle.expert_judgments:
        return pa.nulls(len(rows), _JUDGMENT)
    judged = [bundle.expert_judgments.get(pair) for pair in zip(rows.tolist(), predicted.tolist(), strict=True)]
    plain = [
        judgment and {"error_type": judgment.cause.key, "severity": f"EXPERT_SEVERITY_{judgment.severity.name}"}
        for judgment in judged
    ]
    return pa.array(plain, _JUDGMENT)


def _attributes(attributes: Attributes | None, rows: NDArray[np.intp]) -> pa.Array:
    """Return the attributes of each sample; an empty list for a sample that has none."""
    if attributes is None:
        return pa.ListArray.from_arrays(_offsets(np.zeros(len(rows), dtype=np.int64)), pa.array([], _ATTRIBUTE))
    plain = [
        [{"attribute": item.attribute, "values": list(item.values)} for item in items]
        for items in attributes.of_rows(rows.tolist())
    ]
    return pa.array(plain, pa.list_(_ATTRIBUTE))


def _codes(first: Classes, second: Classes) -> NDArray[np.int32]:
    """Return a number for each pair of classes; the numbers have the order of the pairs."""
    return first.astype(np.int32) * MAX_CLASSES + second


def _distinct(first: Classes, second: Classes) -> tuple[Classes, Classes, NDArray[np.intp]]:
    """Return the distinct pairs of classes, ascending, and the position of each of K pairs among them."""
    codes, positions = np.unique(_codes(first, second), return_inverse=True)
    of_first, of_second = np.divmod(codes, MAX_CLASSES)
    return of_first.astype(np.int16), of_second.astype(np.int16), positions


def _group_by_sample(values: pa.Array, of_sample: NDArray[np.intp], size: int) -> pa.Array:
    """Return the values as a list for each sample; `of_sample` is ascending."""
    return pa.ListArray.from_arrays(_offsets(np.bincount(of_sample, minlength=size)), values)


def _offsets(counts: NDArray[np.integer]) -> pa.Array:
    return pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32())
