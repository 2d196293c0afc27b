"""A small bundle with its own label space: names in several scripts, several superclasses, and two groups."""

from typing import Any

import numpy as np
from hypothesis import strategies as st

from service.domain import LabelSource, LabelSpace, create_label_space
from service.evidence.cooccurrence import count_pairs
from service.evidence.inputs import BundleInputs, CooccurrenceInputs, LabelInputs
from service.evidence.labels import pack_labels

TEXTS = st.text(st.characters(exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"]), min_size=1, max_size=6).filter(
    lambda text: bool(text.strip()) and text.lower() != "all"
)


def row(id_: str, name: str, **values: Any) -> dict[str, Any]:
    """Return one class."""
    return {"id": id_, "name": name, "synonyms": [], "superclasses": [], "groups": [], "synset": ""} | values


ROWS = [
    row("SKU-1", "Straußenvogel", synonyms=["big bird", "鴕鳥"], superclasses=["birds", "tall"], groups=["animal"]),
    row("SKU-2", "grue cendrée", superclasses=["birds"], groups=["animal"], synset="n02012849"),
    row("SKU-3", "crane", superclasses=["машины", "tall"], groups=["machine"]),
    row("SKU-4", "crane", superclasses=["машины"], groups=["machine", "animal"]),
    row("SKU-5", "<b>mug</b>", superclasses=["vessels"]),
    row("SKU-6", "cup", superclasses=["vessels"]),
    row("7", "alone"),
]
OVERLAPS = [(4, 5), (0, 1), (1, 0)]
IMAGES = [  # target, labels, problematic
    (0, [0], False),
    (1, [1, 2], False),
    (2, [1, 2], False),
    (3, [5], False),
    (4, [4], False),
    (5, [], True),
    (6, [3], True),
    (6, [6, 2], False),
    (2, [2, 6], False),
]


def own_label_space() -> LabelSpace:
    """Create the label space."""
    return create_label_space("mine", ROWS, np.array(OVERLAPS))


def own_inputs(label_space: LabelSpace | None = None, min_cooccurrence: int = 2) -> BundleInputs:
    """Create inputs without CLIP; every other rule has evidence."""
    targets, labels, problematic = zip(*IMAGES, strict=True)
    names = np.array([f"кадр_{number}.jpg".encode() for number in range(len(IMAGES))])
    packed = pack_labels([dict.fromkeys(image, LabelSource.CORRECT) for image in labels])
    pairs = count_pairs(packed, np.arange(1, len(IMAGES) + 1, dtype=np.int32))
    return BundleInputs(
        dataset="mine",
        labels=LabelInputs(
            names=names,
            all_targets=np.array(targets, dtype=np.int16),
            rows=np.arange(len(IMAGES), dtype=np.int32),
            labels=packed,
            problematic=np.array(problematic),
        ),
        label_space=label_space or own_label_space(),
        pairs=CooccurrenceInputs(pairs.classes, pairs.counts, pairs.examples, names),
        non_prototypical=np.arange(len(IMAGES)) == 4,
        clip=None,
        sources=(),
        min_cooccurrence=min_cooccurrence,
    )


def label_spaces() -> st.SearchStrategy[LabelSpace]:
    """Generate label spaces with any text."""
    some, groups = st.lists(TEXTS, max_size=3), st.lists(st.sampled_from(["a", "é b", "<c>"]), max_size=3)
    rows = st.lists(
        st.builds(
            lambda id_, name, synonyms, superclasses, group, synset: row(
                id_, name, synonyms=synonyms, superclasses=superclasses, groups=group, synset=synset
            ),
            *(TEXTS, TEXTS, some, some, groups, st.sampled_from(["", "n02084071"])),
        ),
        min_size=2,
        max_size=8,
        unique_by=lambda class_: class_["id"],
    )
    index = st.integers(0, 7)
    return st.builds(
        lambda name, rows, pairs: create_label_space(
            name, rows, np.array([pair for pair in pairs if len(rows) > max(pair)], dtype=np.int64).reshape(-1, 2)
        ),
        TEXTS,
        rows,
        st.lists(st.tuples(index, index).filter(lambda pair: pair[0] != pair[1]), max_size=6),
    )
