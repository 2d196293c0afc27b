"""Out-of-vocabulary decisions and their evidence, compared with the oracle."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pytest
from oracle import proposals as oracle
from oracle.verdicts import gate_holds
from unit.evidence.slow_comparison import compare
from unit.taxonomy.test_proposals import SEVERAL, known, propose, superclasses_of

from service.domain import Labels, LabelSource, Superclasses
from service.evidence import vocabulary
from service.evidence.encoder import HashEncoder
from service.evidence.labels import pack_labels
from service.evidence.vocabulary import ClipImages, decide_oov, gate, gate_for_all_classes
from service.taxonomy.proposals import Proposals
from service.taxonomy.superclasses import parse_grouping
from service.taxonomy.wordnet import load_taxonomy

IMAGES = 240


def ignore_progress(what: str, done: int, total: int) -> None:
    """Do nothing."""


@dataclass(frozen=True)
class Scenario:
    """Images with neighbors and texts, for the service and for the oracle."""

    images: np.ndarray
    texts: np.ndarray
    targets: np.ndarray
    neighbors: np.ndarray
    proposals: Proposals
    superclasses: list[set[int]]
    wordnet: oracle.Taxonomy

    def score(self, row: int, text: str) -> float:
        """Return the cosine similarity: exact, rounded to float32."""
        place = self.places[text]
        products = zip(self.images[row].tolist(), self.texts[place].tolist(), strict=True)
        return float(np.float32(math.fsum(a * b for a, b in products)))

    @cached_property
    def places(self) -> dict[str, int]:
        return {text: place for place, text in enumerate(self.proposals.texts)}

    def candidates(self, row: int, predicted: int) -> list[int]:
        # superclasses that the prediction isn't in can't be shared with it
        own = [superclass for superclass in self.superclasses if predicted in superclass]
        return oracle.proposals(self.wordnet, own, int(self.targets[row]), predicted)

    def oov(self, row: int, predicted: int) -> bool:
        """Return the oracle's decision."""
        if not gate_holds(self.neighbors[row].tolist(), predicted, self.superclasses):
            return False
        scores: dict[str, float] = {}

        def score(text: str) -> float:
            if text not in scores:
                scores[text] = self.score(row, text)
            return scores[text]

        winner = oracle.best(self.wordnet, self.candidates(row, predicted), score)
        return oracle.outside_imagenet(self.wordnet, winner)

    def clip_images(self) -> ClipImages:
        """Return the images, with the target and for some also other classes as labels."""
        return ClipImages(self.images, self.targets, self.labels, self.neighbors)

    @cached_property
    def labels(self) -> Labels:
        return pack_labels(
            [
                dict.fromkeys([target, (target + row) % 1000][: row % 3], LabelSource.CORRECT)
                for row, target in enumerate(self.targets.tolist())
            ]
        )

    def prefers_label(self, row: int, predicted: int) -> bool:
        """Return the oracle's answer: a text of a label has a higher score than every text of every proposal."""
        if not gate_holds(self.neighbors[row].tolist(), predicted, self.superclasses):
            return False
        texts = {text for _, text in oracle.texts(self.wordnet, self.candidates(row, predicted))}
        synsets = [self.wordnet.synset_of_class[label] for label in self.labels.of(row).tolist()]
        own = [self.score(row, text) for _, text in oracle.texts(self.wordnet, synsets)]
        return bool(own) and max(own) > max(self.score(row, text) for text in texts)

    def decisions(self) -> np.ndarray:
        packed = decide_oov(self.clip_images(), self.texts, self.proposals, ignore_progress).oov
        assert packed.shape == (len(self.images), 125)
        assert packed.dtype == np.uint8
        return np.unpackbits(packed, axis=1).astype(bool)


def make_scenario(coarse: bool) -> Scenario:
    """Create a scenario. A coarse one has few distinct vectors, so most comparisons are ties."""
    rng = np.random.default_rng(5)
    grouping = parse_grouping(SEVERAL, "several")
    proposals = propose(grouping)
    names = [f"{number}.JPEG" for number in range(IMAGES)]
    images, texts = HashEncoder().embed_images(names), HashEncoder().embed_texts(proposals.texts)
    if coarse:
        images, texts = (np.sign(item[:, :6]).astype(np.float32) for item in (images, texts))
    targets = rng.integers(0, 1000, IMAGES).astype(np.int16)
    neighbors = rng.integers(0, 1000, (IMAGES, 10)).astype(np.int16)
    neighbors[::2, 0] = targets[::2]
    return Scenario(images, texts, targets, neighbors, proposals, superclasses_of(grouping), known(load_taxonomy()))


@pytest.fixture(scope="module", params=[False, True], ids=["fine", "ties"])
def scenario(request: pytest.FixtureRequest) -> Scenario:
    return make_scenario(request.param)


@pytest.fixture(scope="module")
def decisions(scenario: Scenario) -> np.ndarray:
    return scenario.decisions()


@pytest.mark.slow
def test_decisions_for_all_classes_agree_with_the_oracle(scenario: Scenario, decisions: np.ndarray) -> None:
    for row in (0, 101):
        assert [scenario.oov(row, predicted) for predicted in range(1000)] == decisions[row].tolist()


@pytest.mark.slow
def test_decisions_for_random_pairs_agree_with_the_oracle(scenario: Scenario, decisions: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    holds = gate_for_all_classes(scenario.neighbors, scenario.proposals.superclasses)
    some = rng.permutation(np.argwhere(holds))[:800].tolist()

    expected = [scenario.oov(row, predicted) for row, predicted in some]

    assert [bool(decisions[row, predicted]) for row, predicted in some] == expected
    assert 20 < sum(expected) < 780  # both answers are frequent


def test_prediction_without_gate_is_never_out_of_vocabulary(scenario: Scenario, decisions: np.ndarray) -> None:
    for row in range(0, IMAGES, 12):
        holds = [gate_holds(scenario.neighbors[row].tolist(), p, scenario.superclasses) for p in range(1000)]
        assert not decisions[row][~np.array(holds)].any()


def test_gate_agrees_with_the_oracle(scenario: Scenario) -> None:
    result = gate_for_all_classes(scenario.neighbors[:20], scenario.proposals.superclasses)

    assert result.tolist() == [
        [gate_holds(near, predicted, scenario.superclasses) for predicted in range(1000)]
        for near in scenario.neighbors[:20].tolist()
    ]


def test_gate_for_one_prediction_equals_that_for_all_classes(scenario: Scenario) -> None:
    superclasses = scenario.proposals.superclasses
    for_all = gate_for_all_classes(scenario.neighbors, superclasses)

    for predicted in range(0, 1000, 50):
        result = gate(scenario.neighbors, np.full(IMAGES, predicted, dtype=np.int16), superclasses)
        assert result.tolist() == for_all[:, predicted].tolist()


@pytest.mark.slow
@pytest.mark.parametrize("block", [1, 7, 100, IMAGES, 10_000])
def test_decisions_do_not_depend_on_the_block_size(
    scenario: Scenario, decisions: np.ndarray, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vocabulary, "BLOCK", block)

    assert np.array_equal(scenario.decisions(), decisions)


def test_decisions_do_not_depend_on_the_limit_of_memory(
    scenario: Scenario, decisions: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    progress: list[int] = []
    monkeypatch.setattr(vocabulary, "MAX_CELLS", 100 * len(scenario.proposals.texts))

    limited = decide_oov(
        scenario.clip_images(), scenario.texts, scenario.proposals, lambda stage, done, total: progress.append(done)
    )

    assert np.array_equal(np.unpackbits(limited.oov, axis=1).astype(bool), decisions)
    assert progress == [0, 100, 200, IMAGES]


def test_gate_of_many_classes_agrees_with_the_oracle() -> None:
    rng = np.random.default_rng(7)
    num_classes = 2_500  # too many for a matrix of class pairs
    members = [sorted({*rng.integers(0, num_classes, size).tolist()}) for size in (1, 2, 30, 400, 400)]
    names = [[str(number) for number, group in enumerate(members) if class_ in group] for class_ in range(num_classes)]
    superclasses = Superclasses.from_names(names)
    neighbors = rng.integers(0, num_classes, (12, 10)).astype(np.int16)

    for_all = gate_for_all_classes(neighbors, superclasses)

    sets = [set(group) for group in members]
    assert for_all.tolist() == [
        [gate_holds(near, predicted, sets) for predicted in range(num_classes)] for near in neighbors.tolist()
    ]
    for predicted in (0, members[2][0], members[3][-1], int(neighbors[0, 0])):
        for_one = gate(neighbors, np.full(12, predicted, dtype=np.int16), superclasses)
        assert for_one.tolist() == for_all[:, predicted].tolist()


def test_gate_without_superclasses_holds_for_the_neighbors() -> None:
    superclasses = Superclasses.from_names([[]] * 4)

    assert gate_for_all_classes(np.full((1, 10), 2, dtype=np.int16), superclasses).tolist() == [
        [False, False, True, False]
    ]


def test_decisions_do_not_depend_on_other_images(scenario: Scenario, decisions: np.ndarray) -> None:
    alone = decide_oov(scenario.clip_images().rows(9, 10), scenario.texts, scenario.proposals, ignore_progress)

    assert np.array_equal(np.unpackbits(alone.oov[0]).astype(bool), decisions[9])


def test_preferred_labels_agree_with_the_oracle(scenario: Scenario) -> None:
    rng = np.random.default_rng(3)
    result = decide_oov(scenario.clip_images(), scenario.texts, scenario.proposals, ignore_progress)
    preferred = np.unpackbits(result.label_preferred, axis=1).astype(bool)
    holds = gate_for_all_classes(scenario.neighbors, scenario.proposals.superclasses)
    assert not preferred[~holds].any()
    both = [*rng.permutation(np.argwhere(preferred))[:60], *rng.permutation(np.argwhere(holds & ~preferred))[:60]]
    pairs = [(int(row), int(predicted)) for row, predicted in both]

    assert [scenario.prefers_label(*pair) for pair in pairs] == [bool(preferred[pair]) for pair in pairs]
    assert preferred.any()  # with ties, too


def test_evidence_has_the_five_best_texts_of_the_oracle(scenario: Scenario, decisions: np.ndarray) -> None:
    rng = np.random.default_rng(2)
    for row, predicted in zip(rng.integers(0, IMAGES, 60).tolist(), rng.integers(0, 1000, 60).tolist(), strict=True):
        texts: dict[str, int] = {}  # a text belongs to the first synset that has it
        for synset, text in oracle.texts(scenario.wordnet, scenario.candidates(row, predicted)):
            texts.setdefault(text, synset)
        scores = {text: scenario.score(row, text) for text in texts}
        best = sorted(texts, key=lambda text: -scores[text])[:5]
        total = math.fsum(math.exp(100 * (score - scores[best[0]])) for score in scores.values())

        result = compare(
            scenario.images[row : row + 1],
            scenario.texts,
            int(scenario.targets[row]),
            predicted,
            scenario.neighbors[row : row + 1],
            scenario.proposals,
        )

        assert result.num_texts == len(texts)
        assert [item.text for item in result.best] == best
        assert [item.outside for item in result.best] == [
            oracle.outside_imagenet(scenario.wordnet, texts[text]) for text in best
        ]
        assert [item.probability for item in result.best] == pytest.approx(
            [math.exp(100 * (scores[text] - scores[best[0]])) / total for text in best], rel=1e-9
        )
        assert sum(item.probability for item in result.best) <= 1 + 1e-9
        assert result.gate == gate_holds(scenario.neighbors[row].tolist(), predicted, scenario.superclasses)
        assert (result.gate and result.best[0].outside) == decisions[row, predicted]


def test_progress_is_reported_until_the_end(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "BLOCK", 100)
    progress: list[tuple[str, int, int]] = []

    decide_oov(scenario.clip_images(), scenario.texts, scenario.proposals, lambda *call: progress.append(call))

    assert [done for _, done, _ in progress] == [0, 100, 200, IMAGES]
    assert {total for *_, total in progress} == {IMAGES}
