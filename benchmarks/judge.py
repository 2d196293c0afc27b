"""Judging in memory: one model, and many models, compared with numpy."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.harness import Case, Result, at_most, minima, timed
from benchmarks.synthetic import build_imagenet
from service.analyses.judge import compute_summary
from service.domain import Predictions
from service.evidence.bundle import Bundle
from service.summary.fleet import tally_fleet

MODELS = 962
NUMPY = "table.take and bincount"
ONE = Case(
    "judge.one", "one model, 20,000 predictions to verdicts and aggregates", f"{NUMPY} of the model", "ms", at_most(6)
)
FLEET = Case(
    "judge.fleet", f"{MODELS} models x 20,000 predictions, all aggregates", f"{NUMPY} of each model", "ms", at_most(3)
)


def measure() -> Iterator[Result]:
    """Yield both values, measured on 20,000 images."""
    with tempfile.TemporaryDirectory() as folder:
        bundle = build_imagenet(Path(folder))
        fleet = _predictions(bundle, MODELS)
        table = np.ascontiguousarray(bundle.verdicts)
        everything = np.array(bundle.all_targets)
        everything[bundle.rows] = fleet[0]
        one, bare = minima(
            timed(lambda: compute_summary(bundle, Predictions(everything))),
            timed(lambda: _count_with_numpy(table, fleet[:1])),
            times=51,
        )
        yield ONE.measured(one, bare)
        many, bare = minima(
            timed(lambda: tally_fleet(table, fleet, bundle.strata)),
            timed(lambda: _count_with_numpy(table, fleet)),
            times=3,
            warm=1,
        )
        yield FLEET.measured(many, bare)


def _predictions(bundle: Bundle, models: int) -> np.ndarray:
    """Return predictions of shape (models, N) with 75 % accuracy."""
    random = np.random.default_rng(0)
    targets = bundle.evidence.targets
    wrong = random.random((models, len(targets))) < 0.25
    return np.where(wrong, random.integers(0, 1000, wrong.shape, dtype=np.int16), targets)


def _count_with_numpy(table: np.ndarray, fleet: np.ndarray) -> None:
    rows = np.arange(len(table)) * 1000
    for top1 in fleet:
        np.bincount(table.take(rows + top1), minlength=256)
