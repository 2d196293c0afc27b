"""The review queue of 46,837 images and 100 models, compared with numpy."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.harness import Case, Result, at_most, minima, timed
from service.domain import ModelVotes, suggest_labels
from service.evidence.bundle import Bundle
from service.evidence.repository import EvidenceRepository

MODELS = 100
SUGGESTIONS = Case(
    "review_queue.suggestions",
    f"suggestions of {MODELS} models, 46,837 images",
    "numpy lookup of all verdicts of the models",
    "ms",
    at_most(3),
)


def measure() -> Iterator[Result]:
    """Yield the time of all suggestions, compared with the time of judging the models."""
    with tempfile.TemporaryDirectory() as folder:
        bundle = EvidenceRepository({}, Path(folder)).find("imagenet-real", "")
        votes, images = _votes(bundle), np.arange(len(bundle.rows))
        value, reference = minima(
            timed(lambda: suggest_labels(bundle.evidence, votes)),
            timed(lambda: [bundle.verdicts[images, predicted] for predicted in votes.predicted]),
            times=7,
        )
        yield SUGGESTIONS.measured(value, reference)


def _votes(bundle: Bundle) -> ModelVotes:
    """Return votes of models with 75 % accuracy, half of whose errors are the same."""
    random = np.random.default_rng(0)
    shape = (MODELS, len(bundle.rows))
    shared = random.integers(0, 1000, shape[1], dtype=np.int16)
    own = random.integers(0, 1000, shape, dtype=np.int16)
    wrong = np.where(random.random(shape) < 0.5, shared, own)
    predicted = np.where(random.random(shape) < 0.25, wrong, bundle.evidence.targets)
    ids = tuple(f"a{number}" for number in range(MODELS))
    return ModelVotes(ids, predicted.astype(np.int16), random.random(shape).astype(np.float16))
