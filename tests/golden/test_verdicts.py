"""Four sets of predictions on synthetic artefacts in the authors' format, compared with the oracle.

All samples, problematic ones and their tags included. The oracle asks CLIP for the pairs that reach rule 5 only.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from oracle import aggregates, cooccurrence
from oracle import proposals as vocabulary
from oracle.superclasses import matching_classes, share_superclass
from oracle.verdicts import OVERLAP, Facts, Sample, Verdict, byte, gate_holds, judge
from unit.evidence.official import oracle_lemmas, wordnet_id, write_artefacts
from unit.taxonomy.test_proposals import known

from service.analyses.judge import compute_summary, compute_verdicts
from service.bootstrap.build import Inputs, build_evidence
from service.domain import ALL, Predictions
from service.evidence.bundle import Bundle
from service.evidence.encoder import HashEncoder
from service.taxonomy.imagenet_1k import GROUPS
from service.taxonomy.wordnet import load_taxonomy

from .conftest import Annotation, check_group, members_of

# synthetic artefacts


def synthetic_superclasses() -> dict[str, list[list[str]]]:
    """Create predicates with conjunctions and disjunctions, several of which hold for one class."""
    lemmas = oracle_lemmas()
    owners: dict[str, int] = {}
    for names in lemmas:
        for name in names:
            owners[name] = owners.get(name, 0) + 1
    small = sorted(name for name, count in owners.items() if 2 <= count <= 25)
    large = sorted(name for name, count in owners.items() if 60 <= count <= 400)
    draw = random.Random(3)
    result: dict[str, list[list[str]]] = {"nobody": [["no_such_lemma"]], "nothing": []}
    for number in range(70):
        predicate = [[draw.choice(small)]]
        if number % 3 == 0:
            predicate.append([draw.choice(small), draw.choice(large)])  # both
        if number % 5 == 0:
            predicate.append([draw.choice(small)])
        result[f"{number:02d}"] = predicate
    return result


@dataclass(frozen=True)
class Material:
    """The same material for the service and for the oracle."""

    bundle: Bundle
    names: list[str]  # judged, in the table's order
    paths: list[str]  # wnid/file of each sample
    samples: list[Sample]
    superclasses: list[set[int]]
    neighbors: list[list[int]]
    facts: Facts
    evaluated: list[int]  # rows for which the oracle evaluated proposals


def clip_of(
    paths: list[str], targets: list[int], neighbors: list[list[int]], superclasses: list[set[int]], evaluated: list[int]
) -> Callable[[int, int], bool]:
    """Return rule 5 of the oracle, computed on demand."""
    wordnet, encoder = known(load_taxonomy()), HashEncoder()
    texts: dict[str, list[float]] = {}

    def score(image: list[float], text: str) -> float:
        if text not in texts:
            texts[text] = encoder.embed_texts([text])[0].tolist()
        return float(np.float32(math.fsum(a * b for a, b in zip(image, texts[text], strict=True))))

    def oov(row: int, predicted: int) -> bool:
        own = [
            superclass for superclass in superclasses if predicted in superclass
        ]  # others can't be shared with the prediction
        if not gate_holds(neighbors[row], predicted, own):
            return False
        evaluated.append(row)
        image = encoder.embed_images([paths[row]])[0].tolist()
        candidates = vocabulary.proposals(wordnet, own, targets[row], predicted)
        distinct = dict.fromkeys(text for _, text in vocabulary.texts(wordnet, candidates))
        scores = {text: score(image, text) for text in distinct}
        return vocabulary.outside_imagenet(wordnet, vocabulary.best(wordnet, candidates, scores.__getitem__))

    return oov


def near(targets: list[int], superclasses: list[set[int]], draw: random.Random) -> np.ndarray:
    """Return training classes near each target: the target, classes that share a superclass, and other classes."""
    siblings = {
        t: sorted({c for superclass in superclasses if t in superclass for c in superclass} | {t}) for t in set(targets)
    }
    return np.array(
        [
            [draw.choice(siblings[t]) if draw.random() < 0.6 else draw.randrange(1000) for _ in range(50)]
            for t in targets
        ]
    )


@pytest.fixture(scope="module")
def superclasses() -> list[set[int]]:
    result = [matching_classes(predicate, oracle_lemmas()) for predicate in synthetic_superclasses().values()]
    per_class = [sum(index in members for members in result) for index in range(1000)]
    assert max(per_class) >= 3  # several a class
    assert min(per_class) == 0  # and classes alone
    return result


def pairs_of(annotation: Annotation, label_sets: dict[str, set[int]], superclasses: list[set[int]]) -> set:
    left = [labels for name, labels in label_sets.items() if name not in annotation.multi_labels]
    return cooccurrence.pairs(left, superclasses)


@pytest.fixture(scope="module")
def pairs(annotation: Annotation, label_sets: dict[str, set[int]], superclasses: list[set[int]]) -> set:
    return pairs_of(annotation, label_sets, superclasses)


def material(
    dataset: str,
    paths: list[str],
    samples: list[Sample],
    superclasses: list[set[int]],
    pairs: set[tuple[int, int]],
    inputs: Inputs,
    folder: Path,
    order: list[tuple[str, int]],
) -> Material:
    """Build the bundle from synthetic artefacts (`order`: the rows of samples_info) and the facts of the oracle."""
    draw = random.Random(11)
    neighbors = near([target for _, target in order], superclasses, draw)
    artefacts = write_artefacts(folder / "artefacts", dataset, order, neighbors, synthetic_superclasses())
    build_inputs = Inputs(
        annotations=inputs.annotations,
        mistakes=inputs.mistakes,
        artefacts=artefacts,
        encoder="service.evidence.encoder:HashEncoder",
        cache=folder / "cache",
    )
    bundle = build_evidence(dataset, build_inputs, folder / "bundle")
    row_of = {name: row for row, (name, _) in enumerate(order)}
    own = [neighbors[row_of[path], :10].tolist() for path in paths]
    evaluated: list[int] = []
    oov = clip_of(paths, [sample.target for sample in samples], own, superclasses, evaluated)
    facts = Facts(OVERLAP, superclasses, pairs, True, oov)
    return Material(bundle, bundle.judged_names, paths, samples, superclasses, own, facts, evaluated)


@pytest.fixture(scope="module")
def imagenet(
    inputs: Inputs,
    annotation: Annotation,
    targets: dict[str, int],
    non_prototypical_images: set[str],
    superclasses: list[set[int]],
    pairs: set[tuple[int, int]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Material:
    names = sorted(annotation.multi_labels)
    samples = [
        Sample(
            targets[name],
            frozenset(annotation.multi_labels[name]),
            name in annotation.problematic,
            name in non_prototypical_images,
        )
        for name in names
    ]
    paths = [f"{wordnet_id(targets[name])}/{name}" for name in names]
    order = sorted((f"{wordnet_id(target)}/{name}", target) for name, target in targets.items())  # all 50,000
    folder = tmp_path_factory.mktemp("verdicts")
    case = material("imagenet", paths, samples, superclasses, pairs, inputs, folder, order)
    assert case.names == names
    return case


A_SIZE = 7_500
A_CLASSES = sorted(random.Random(5).sample(range(1000), 200))


@pytest.fixture(scope="module")
def imagenet_a(
    inputs: Inputs, superclasses: list[set[int]], pairs: set[tuple[int, int]], tmp_path_factory: pytest.TempPathFactory
) -> Material:
    draw = random.Random(6)
    per_class: dict[int, int] = {}
    order = []
    for number in range(A_SIZE):
        target = A_CLASSES[number] if number < 200 else draw.choice(A_CLASSES)
        per_class[target] = per_class.get(target, 0) + 1
        order.append((f"{wordnet_id(target)}/0.00{per_class[target]:04d}.jpg", target))  # bare names repeat
    ranked = sorted(order)
    samples = [Sample(target, frozenset({target}), False, False) for _, target in ranked]
    paths = [path for path, _ in ranked]
    folder = tmp_path_factory.mktemp("a")
    case = material("imagenet-a", paths, samples, superclasses, pairs, inputs, folder, order)
    assert case.names == paths
    return case


# predictions


def confusion(sample: Sample, case: Material, pair_verdicts: dict[int, list[int]], draw: random.Random) -> int:
    """Return a class near the target: of the same superclass, of a pair, a multi-label, or the target."""
    t = sample.target
    overlapping = sorted(OVERLAP.get(t, ()))
    pools = [
        sorted({c for superclass in case.superclasses if t in superclass for c in superclass}),
        sorted({c for label in sample.multi_labels for c in pair_verdicts.get(label, [])}),
        pair_verdicts.get(t, []),
        sorted(sample.multi_labels),
        overlapping,
        [t],
        [draw.randrange(1000)],
    ]
    return draw.choice(draw.choice([pool for pool in pools if pool]))


def confusions_of(case: Material, pairs: set[tuple[int, int]], seed: int) -> list[int]:
    pair_verdicts: dict[int, list[int]] = {}
    for a, b in sorted(pairs):
        pair_verdicts.setdefault(a, []).append(b)
        pair_verdicts.setdefault(b, []).append(a)
    draw = random.Random(seed)
    return [confusion(sample, case, pair_verdicts, draw) for sample in case.samples]


def agree(case: Material, top1: list[int], everything: np.ndarray, types: set[int]) -> list[Verdict]:
    """Compare the verdicts and the aggregates. `everything` has predictions for all images; `types` must occur."""
    predictions = Predictions(everything)
    expected = [judge(sample, row, top1[row], case.facts) for row, sample in enumerate(case.samples)]

    verdicts = compute_verdicts(case.bundle, predictions)
    wrong = [
        (case.names[row], top1[row], int(verdicts[row]), byte(verdict))
        for row, verdict in enumerate(expected)
        if int(verdicts[row]) != byte(verdict)
    ]
    assert wrong == []
    assert {verdict.error_type for verdict in expected} == types
    assert case.evaluated, "no pair reached rule 5"

    summary = compute_summary(case.bundle, predictions)
    for group in (ALL, *GROUPS):
        check_group(summary.groups[group], aggregates.aggregate(case.samples, top1, expected, members_of(group)))
    assert summary.num_problematic == sum(sample.problematic for sample in case.samples)
    return expected


def everywhere(case: Material, top1: list[int]) -> np.ndarray:
    """Return predictions for all images of the data set; class 0 for images that are not evaluated."""
    all_images = np.zeros(len(case.bundle.all_targets), dtype=np.int16)
    all_images[case.bundle.rows] = top1
    return all_images


# comparisons

ALL_TYPES = set(range(1, 9))


def test_real_resnet50_on_imagenet(imagenet: Material, resnet50: dict[str, int]) -> None:
    top1 = [resnet50[name] for name in imagenet.names]
    everything = np.array([resnet50[name.decode()] for name in imagenet.bundle.arrays["names"].tolist()], np.int16)

    agree(imagenet, top1, everything, ALL_TYPES)


def test_uniform_predictions_on_imagenet(imagenet: Material) -> None:
    top1 = np.random.default_rng(8).integers(0, 1000, len(imagenet.names)).tolist()

    agree(imagenet, top1, everywhere(imagenet, top1), ALL_TYPES)


def test_confusions_near_the_target_on_imagenet(imagenet: Material, pairs: set[tuple[int, int]]) -> None:
    top1 = confusions_of(imagenet, pairs, seed=9)

    verdicts = agree(imagenet, top1, everywhere(imagenet, top1), ALL_TYPES)

    assert {tag for verdict in verdicts for tag in verdict.tags} >= {
        "EMPTY_CORRECT",
        "EMPTY_CORRECT_BY_OVERLAP",
        "EMPTY_WRONG",
        "CORRECT_BUT_WRONG_LABEL",
        "OOV_SIMILAR_TO_TARGET",
        "CO_OCCURRENCE_WITH_TARGET",
    }


def test_confusions_near_the_target_on_imagenet_a(imagenet_a: Material, pairs: set[tuple[int, int]]) -> None:
    top1 = confusions_of(imagenet_a, pairs, seed=10)

    # a sample has one label, so rule 3 has nothing to say; none is in the list
    agree(imagenet_a, top1, everywhere(imagenet_a, top1), ALL_TYPES - {3, 7})
    assert len(imagenet_a.samples) == A_SIZE
    assert imagenet_a.bundle.classes.sum() == 200


def test_superclasses_agree_with_the_oracle(imagenet: Material) -> None:
    superclasses = imagenet.bundle.label_space.superclasses
    pairs = np.random.default_rng(1).integers(0, 1000, (2_000, 2))

    assert superclasses.ids == tuple(synthetic_superclasses())
    assert [set(members.tolist()) for members in superclasses.members] == imagenet.superclasses
    expected = [share_superclass(a, b, imagenet.superclasses) for a, b in pairs.tolist()]
    assert superclasses.share(*pairs.T).tolist() == expected


def test_co_occurrence_pairs_agree_with_the_oracle(imagenet: Material, pairs: set[tuple[int, int]]) -> None:
    relation = imagenet.bundle.evidence.cooccurrence

    assert relation is not None
    assert {(a, b) for a, b in relation.as_array().tolist() if a < b} == pairs
    assert 1_000 < len(pairs) < 1_659  # some share a superclass


def test_nothing_abstains(imagenet: Material, imagenet_a: Material) -> None:
    assert imagenet.bundle.manifest.abstained == imagenet_a.bundle.manifest.abstained == ()
