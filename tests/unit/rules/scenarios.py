"""Small scenarios: the same evidence over a few of the 1000 classes, for the service and for the oracle."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from oracle.verdicts import OVERLAP, Facts, Sample

from service.domain import ClassPairs, Evidence, Labels, LabelSource, Superclasses

NUM_CLASSES = 1000
ALL_CLASSES = np.arange(NUM_CLASSES, dtype=np.int16)[None]  # every prediction, for all samples

USED_CLASSES = (0, 1, 7, 8, 101, 248, 249, 356, 357, 504, 836, 837, 968, 998, 999)
UNUSED_CLASSES = (2, 100, 247, 500, 835, 997)  # in no superclass, pair, or label of a scenario


@dataclass(frozen=True)
class Scenario:
    """Samples with their evidence in both forms."""

    samples: list[Sample]
    facts: Facts
    evidence: Evidence


def evidence_of(
    targets: Sequence[int],
    labels: Sequence[Collection[int]],
    *,
    problematic: Sequence[bool] | None = None,
    overlap: Mapping[int, Collection[int]] = OVERLAP,
    superclasses: Sequence[Collection[int]] = (),
    pairs: Collection[tuple[int, int]] | None = None,
    non_prototypical: Sequence[bool] | None = None,
    oov: Sequence[Collection[int]] | None = None,
) -> Evidence:
    """Create evidence from plain collections. `pairs` is not filtered by superclasses."""
    return Evidence(
        targets=np.array(targets, dtype=np.int16),
        labels=Labels(
            offsets=np.cumsum([0, *map(len, labels)]).astype(np.int32),
            classes=np.array([label for sample_labels in labels for label in sample_labels], dtype=np.int16),
            sources=np.full(sum(map(len, labels)), LabelSource.CORRECT, dtype=np.uint8),
        ),
        problematic=np.array(problematic or [False] * len(targets), dtype=bool),
        overlap=_relation((t, p) for t, predictions in overlap.items() for p in predictions),
        superclasses=Superclasses.from_names(
            [
                [f"superclass {number}" for number, members in enumerate(superclasses) if class_index in members]
                for class_index in range(NUM_CLASSES)
            ]
        ),
        cooccurrence=None if pairs is None else _relation(both for a, b in pairs for both in ((a, b), (b, a))),
        non_prototypical=None if non_prototypical is None else np.array(non_prototypical, dtype=bool),
        oov=None if oov is None else _bits(oov),
    )


def scenarios(max_samples: int = 24) -> st.SearchStrategy[Scenario]:
    """Generate scenarios with up to `max_samples` samples and any evidence missing."""
    classes = st.sampled_from(USED_CLASSES)
    some = st.frozensets(classes, max_size=4)
    pair = st.tuples(classes, classes).filter(lambda item: item[0] < item[1])
    return st.builds(
        _scenario,
        rows=st.lists(
            st.tuples(classes, some, st.booleans(), st.booleans(), some, st.booleans()),
            min_size=1,
            max_size=max_samples,
        ),
        overlap=st.just(OVERLAP) | st.dictionaries(classes, some, max_size=4),
        superclasses=st.lists(st.sets(classes, max_size=5), max_size=4),
        cooccurrence=st.none() | st.sets(pair, max_size=12),
        has_prototype_list=st.booleans(),
        has_clip=st.booleans(),
    )


def _scenario(
    rows: list[tuple[int, frozenset[int], bool, bool, frozenset[int], bool]],
    overlap: dict[int, Collection[int]],
    superclasses: list[set[int]],
    cooccurrence: set[tuple[int, int]] | None,
    has_prototype_list: bool,
    has_clip: bool,
) -> Scenario:
    # a class does not overlap itself; a sample without labels is problematic
    others = {target: set(predictions) - {target} for target, predictions in overlap.items()}
    samples = [
        Sample(target, labels, problematic, unusual, next(iter(_in_order(labels)), None))
        for target, some, problematic, unusual, _, rejects in rows
        for labels in (some if problematic or (rejects and some) else some | {target},)
    ]
    oov = [bits for *_, bits, _ in rows]
    facts = Facts(
        overlap=others,
        superclasses=superclasses,
        cooccurrence=cooccurrence,
        has_prototype_list=has_prototype_list,
        oov=(lambda row, predicted: predicted in oov[row]) if has_clip else None,
    )
    evidence = evidence_of(
        [sample.target for sample in samples],
        [_in_order(sample.multi_labels) for sample in samples],
        problematic=[sample.problematic for sample in samples],
        overlap=others,
        superclasses=superclasses,
        pairs=cooccurrence,
        non_prototypical=[sample.non_prototypical for sample in samples] if has_prototype_list else None,
        oov=oov if has_clip else None,
    )
    return Scenario(samples, facts, evidence)


def _in_order(labels: Collection[int]) -> list[int]:
    """Return labels in an order that is not ascending: data sets define the order of their labels."""
    return sorted(labels, key=str)


def _relation(pairs: Iterable[tuple[int, int]]) -> ClassPairs:
    return ClassPairs.of(np.array([*pairs], dtype=np.int16), NUM_CLASSES)


def _bits(rows: Sequence[Collection[int]]) -> np.ndarray:
    """Pack the classes of each sample as bits, class 0 in the highest bit of the first byte."""
    packed = np.zeros((len(rows), -(-NUM_CLASSES // 8)), dtype=np.uint8)
    for row, classes in enumerate(rows):
        for class_ in classes:
            packed[row, class_ // 8] |= 0x80 >> class_ % 8
    return packed
