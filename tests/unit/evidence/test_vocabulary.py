"""Out of vocabulary, against the oracle: the gate, the best proposal, ties; and what an explanation shows."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pytest
from oracle import proposals as oracle
from oracle.verdicts import gate_holds
from unit.taxonomy.test_proposals import SEVERAL, known, superclasses_of

from service.evidence import vocabulary
from service.evidence.encoder import HashEncoder
from service.evidence.vocabulary import compare, decide_oov, gate
from service.taxonomy.proposals import Proposals
from service.taxonomy.superclasses import parse_grouping
from service.taxonomy.wordnet import load_taxonomy

IMAGES = 240


def silent(what: str, done: int, total: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class World:
    """Images with neighbors and texts, as the service has them and as the oracle does."""

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

    def decided(self) -> np.ndarray:
        packed = decide_oov(self.images, self.texts, self.targets, self.neighbors, self.proposals, silent)
        assert packed.shape == (len(self.images), 125)
        assert packed.dtype == np.uint8
        return np.unpackbits(packed, axis=1).astype(bool)


def world(coarse: bool) -> World:
    """Return a world; a coarse one has few distinct vectors, so that most comparisons are ties."""
    rng = np.random.default_rng(5)
    grouping = parse_grouping(SEVERAL, "several", load_taxonomy())
    proposals = Proposals(load_taxonomy(), grouping.same_superclass())
    names = [f"{number}.JPEG" for number in range(IMAGES)]
    images, texts = HashEncoder().embed_images(names), HashEncoder().embed_texts(proposals.texts)
    if coarse:
        images, texts = (np.sign(item[:, :6]).astype(np.float32) for item in (images, texts))
    targets = rng.integers(0, 1000, IMAGES).astype(np.int16)
    neighbors = rng.integers(0, 1000, (IMAGES, 10)).astype(np.int16)
    neighbors[::2, 0] = targets[::2]
    return World(images, texts, targets, neighbors, proposals, superclasses_of(grouping), known(load_taxonomy()))


@pytest.fixture(scope="module", params=[False, True], ids=["fine", "ties"])
def made(request: pytest.FixtureRequest) -> World:
    return world(request.param)


@pytest.fixture(scope="module")
def decided(made: World) -> np.ndarray:
    return made.decided()


def test_decisions_for_all_classes_agree_with_the_oracle(made: World, decided: np.ndarray) -> None:
    for row in (0, 101):
        assert [made.oov(row, predicted) for predicted in range(1000)] == decided[row].tolist()


def test_decisions_for_random_pairs_agree_with_the_oracle(made: World, decided: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    holds = gate(made.neighbors, made.proposals.same_superclass)
    some = rng.permutation(np.argwhere(holds))[:800].tolist()

    expected = [made.oov(row, predicted) for row, predicted in some]

    assert [bool(decided[row, predicted]) for row, predicted in some] == expected
    assert 20 < sum(expected) < 780  # both answers are frequent


def test_prediction_without_gate_is_never_out_of_vocabulary(made: World, decided: np.ndarray) -> None:
    for row in range(0, IMAGES, 12):
        holds = [gate_holds(made.neighbors[row].tolist(), p, made.superclasses) for p in range(1000)]
        assert not decided[row][~np.array(holds)].any()


def test_gate_agrees_with_the_oracle(made: World) -> None:
    result = gate(made.neighbors[:20], made.proposals.same_superclass)

    assert result.tolist() == [
        [gate_holds(near, predicted, made.superclasses) for predicted in range(1000)]
        for near in made.neighbors[:20].tolist()
    ]


@pytest.mark.parametrize("block", [1, 7, 100, IMAGES, 10_000])
def test_decisions_do_not_depend_on_the_block_size(
    made: World, decided: np.ndarray, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vocabulary, "BLOCK", block)

    assert np.array_equal(made.decided(), decided)


def test_decisions_do_not_depend_on_other_images(made: World, decided: np.ndarray) -> None:
    alone = decide_oov(made.images[9:10], made.texts, made.targets[9:10], made.neighbors[9:10], made.proposals, silent)

    assert np.array_equal(np.unpackbits(alone[0]).astype(bool), decided[9])


def test_evidence_has_the_five_best_texts_of_the_oracle(made: World, decided: np.ndarray) -> None:
    rng = np.random.default_rng(2)
    for row, predicted in zip(rng.integers(0, IMAGES, 60).tolist(), rng.integers(0, 1000, 60).tolist(), strict=True):
        texts: dict[str, int] = {}  # a text belongs to the first synset that has it
        for synset, text in oracle.texts(made.wordnet, made.candidates(row, predicted)):
            texts.setdefault(text, synset)
        scores = {text: made.score(row, text) for text in texts}
        best = sorted(texts, key=lambda text: -scores[text])[:5]
        total = math.fsum(math.exp(100 * (score - scores[best[0]])) for score in scores.values())

        result = compare(
            made.images[row : row + 1],
            made.texts,
            int(made.targets[row]),
            predicted,
            made.neighbors[row : row + 1],
            made.proposals,
        )

        assert result.num_texts == len(texts)
        assert [item.text for item in result.best] == best
        assert [item.outside for item in result.best] == [
            oracle.outside_imagenet(made.wordnet, texts[text]) for text in best
        ]
        assert [item.probability for item in result.best] == pytest.approx(
            [math.exp(100 * (scores[text] - scores[best[0]])) / total for text in best], rel=1e-9
        )
        assert sum(item.probability for item in result.best) <= 1 + 1e-9
        assert result.gate == gate_holds(made.neighbors[row].tolist(), predicted, made.superclasses)
        assert (result.gate and result.best[0].outside) == decided[row, predicted]


def test_progress_is_reported_until_the_end(made: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "BLOCK", 100)
    told: list[tuple[str, int, int]] = []

    decide_oov(
        made.images,
        made.texts,
        made.targets,
        made.neighbors,
        made.proposals,
        lambda *each: told.append(each),
    )

    assert [done for _, done, _ in told] == [100, 200, IMAGES]
    assert {total for *_, total in told} == {IMAGES}
