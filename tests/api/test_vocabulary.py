"""Vocabulary evidence with an encoder that hashes names, compared with the oracle."""

import io
import itertools
import math
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from errata import Client, pb
from oracle import proposals as oracle
from oracle.superclasses import share_superclass

from service.bootstrap.build import Inputs, build_evidence
from service.evidence.bundle import Bundle
from service.evidence.encoder import HashEncoder
from service.taxonomy.wordnet import load_taxonomy

from .conftest import start_service

TRAIN_CLASSES = range(0, 1000, 40)
TRAIN_FILES = ("a.JPEG", "b.JPEG", "c.JPEG")
BOTH_WAYS = (
    (836, 837),
    (638, 639),
    (657, 744),
    (620, 681),
    (664, 782),
    *itertools.permutations((356, 357, 358, 359), 2),
)
ONE_WAY = ((249, 248), (250, 248), (385, 101), (386, 101), (504, 968), (482, 848), (435, 876))
OVERLAPS = {*ONE_WAY, *BOTH_WAYS, *((b, a) for a, b in BOTH_WAYS)}  # (target, prediction)


def wordnet_id(index: int) -> str:
    return load_taxonomy().wordnet_id(index)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle of the 20 photographs with an encoder that hashes names, and 75 training images."""
    folder = tmp_path_factory.mktemp("vocabulary")
    for index in TRAIN_CLASSES:
        (folder / "train" / wordnet_id(index)).mkdir(parents=True)
        for name in TRAIN_FILES:
            (folder / "train" / wordnet_id(index) / name).write_bytes(b"")
    encoder = "service.evidence.encoder:HashEncoder"
    inputs = Inputs(encoder=encoder, train_images=folder / "train", cache=folder / "cache")
    return build_evidence("demo", inputs, folder / "bundle")


@pytest.fixture(scope="module")
def clip(bundle: Bundle, data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of a service with this default bundle."""
    with start_service(data_dir, tmp_path_factory.mktemp("archive"), evidence={"demo": [str(bundle.path)]}) as service:
        yield service.client


@pytest.fixture(scope="module")
def taxonomy() -> oracle.Taxonomy:
    """The synsets in the format of the oracle."""
    raw = load_taxonomy()
    return oracle.Taxonomy(
        lemmas={synset: list(lemmas) for synset, lemmas in raw.lemmas.items()},
        hypernyms={synset: list(above) for synset, above in raw.hypernyms.items()},
        hyponyms={synset: list(below) for synset, below in raw.hyponyms.items()},
        synset_of_class=dict(enumerate(raw.classes)),
    )


@pytest.fixture(scope="module")
def superclasses(bundle: Bundle) -> list[set[int]]:
    return [set(members.tolist()) for members in bundle.label_space.superclasses.members]


def similarity(left: np.ndarray, right: np.ndarray) -> np.float32:
    return np.float32(math.fsum(float(a) * float(b) for a, b in zip(left, right, strict=True)))


def image_of(bundle: Bundle, row: int) -> np.ndarray:
    target = int(bundle.evidence.targets[row])
    return HashEncoder().embed_images([f"{wordnet_id(target)}/{bundle.judged_names[row]}"])[0]


def gate_of(image: np.ndarray, predicted: int, superclasses: list[set[int]]) -> bool:
    """Return whether a class of the ten nearest training images shares a superclass with the prediction."""
    train = [(index, f"{wordnet_id(index)}/{name}") for index in TRAIN_CLASSES for name in TRAIN_FILES]
    embedded = HashEncoder().embed_images([path for _, path in train])
    near = sorted(range(len(train)), key=lambda place: -similarity(image, embedded[place]))[:10]
    return any(share_superclass(train[place][0], predicted, superclasses) for place in near)


def reaches_rule(target: int, predicted: int, superclasses: list[set[int]]) -> bool:
    """Return whether rules 1 to 4 do not apply to a prediction for an image with one label."""
    overlaps = (target, predicted) in OVERLAPS
    return predicted != target and not overlaps and not share_superclass(target, predicted, superclasses)


def pairs(bundle: Bundle, count: int) -> list[tuple[int, int]]:
    """Return rows and predictions, including correct ones and ones that share a superclass."""
    generator = random.Random(5)
    result = [(row, generator.randrange(1000)) for row in range(20) for _ in range(count)]
    superclasses, targets = bundle.label_space.superclasses, bundle.evidence.targets
    result += [(row, int(targets[row])) for row in range(3)]
    return result + [(row, int(superclasses.similar_to(int(targets[row]))[-1])) for row in range(10)]


def test_vocabulary_evidence_is_set_only_if_the_rule_was_reached(
    clip: Client, bundle: Bundle, superclasses: list[set[int]]
) -> None:
    decisions = set()
    for row, predicted in pairs(bundle, 3):
        verdict = clip.explain_prediction("demo", bundle.judged_names[row], predicted)

        expected = reaches_rule(int(bundle.evidence.targets[row]), predicted, superclasses)
        assert verdict.evidence.HasField("vocabulary") == expected
        decisions.add(expected)
    assert decisions == {True, False}


def test_vocabulary_evidence_equals_the_oracle(
    clip: Client, bundle: Bundle, taxonomy: oracle.Taxonomy, superclasses: list[set[int]]
) -> None:
    gates, outcomes = set(), set()
    for row, predicted in pairs(bundle, 4):
        target = int(bundle.evidence.targets[row])
        if not reaches_rule(target, predicted, superclasses):
            continue
        image = image_of(bundle, row)
        proposed = oracle.proposals(taxonomy, superclasses, target, predicted)
        owner: dict[str, int] = {}
        for synset, text in oracle.texts(taxonomy, proposed):
            owner.setdefault(text, synset)
        embedded = HashEncoder().embed_texts(list(owner))
        scores = {text: similarity(image, vector) for text, vector in zip(owner, embedded, strict=True)}
        weights = {text: math.exp(100 * (float(score) - 1)) for text, score in scores.items()}

        verdict = clip.explain_prediction("demo", bundle.judged_names[row], predicted)

        vocabulary = verdict.evidence.vocabulary
        five = sorted(owner, key=lambda text: -scores[text])[:5]
        gate = gate_of(image, predicted, superclasses)
        winner = oracle.best(taxonomy, proposed, scores.__getitem__)
        assert vocabulary.gate == gate
        assert vocabulary.num_texts == len(owner)
        assert [item.text for item in vocabulary.best] == five
        assert [item.outside for item in vocabulary.best] == [
            oracle.outside_imagenet(taxonomy, owner[item.text]) for item in vocabulary.best
        ]
        assert [item.probability for item in vocabulary.best] == pytest.approx(
            [weights[text] / math.fsum(weights.values()) for text in five], rel=1e-4
        )
        oov = gate and oracle.outside_imagenet(taxonomy, winner)
        assert (verdict.error_type == "fine_grained_oov") == oov
        gates.add(gate)
        outcomes.add(oov)
    assert gates == outcomes == {True, False}, "the test would prove little"


@pytest.fixture(scope="module")
def analysis(clip: Client, bundle: Bundle) -> pb.Analysis:
    generator = random.Random(9)
    rows = [f"{name},{generator.randrange(1000)}\n" for name in bundle.judged_names]
    return clip.upload(io.BytesIO(("file_name,top1\n" + "".join(rows)).encode()), "demo")


def test_a_listing_with_evidence_equals_the_explanations(clip: Client, analysis: pb.Analysis) -> None:
    verdicts = [*clip.verdicts(analysis.name, with_evidence=True)]

    assert any(item.evidence.HasField("vocabulary") for item in verdicts)
    for verdict in verdicts:
        assert clip.explain(analysis.name, verdict.file_name) == verdict
    assert not any(item.HasField("evidence") for item in clip.verdicts(analysis.name))


def test_the_best_text_of_the_rule_is_first_and_out_of_vocabulary(clip: Client, bundle: Bundle) -> None:
    result = np.argwhere((bundle.verdicts & 0x0F) == 5)
    assert len(result), "the bundle has none: the test would prove nothing"
    for row, predicted in result[:: max(1, len(result) // 20)].tolist():
        vocabulary = clip.explain_prediction("demo", bundle.judged_names[row], predicted).evidence.vocabulary

        assert vocabulary.gate
        assert vocabulary.best[0].outside
        assert [item.probability for item in vocabulary.best] == sorted(
            (e.probability for e in vocabulary.best), reverse=True
        )


def test_the_rule_abstains_only_without_an_encoder(
    clip: Client, client: Client, analysis: pb.Analysis, demo: Bundle
) -> None:
    assert list(analysis.summary.abstained) == ["non_prototypical"]
    assert list(client.evidence("demo").abstained) == [
        "fine_grained_oov",
        "non_prototypical",
    ]
    for predicted in (0, 500, 999):
        assert not client.explain_prediction("demo", demo.judged_names[0], predicted).evidence.HasField("vocabulary")
