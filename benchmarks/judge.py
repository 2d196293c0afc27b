"""Judging in memory: one model compared with the slow implementation of the tests; many models compared with numpy."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from oracle import verdicts as oracle

from benchmarks.result import Figure, median_seconds
from benchmarks.synthetic import build_imagenet
from service.analyses.judge import compute_summary
from service.domain import Predictions
from service.evidence.bundle import Bundle
from service.summary.fleet import tally_fleet

MODELS = 962
ONE_AIM, FLEET_AIM = 0.010, 3.0  # seconds; times numpy
SLOW_ROWS = 500  # rows for the slow implementation; the figure is scaled


def measure() -> Iterator[Figure]:
    """Yield both values, measured on 20,000 images."""
    with tempfile.TemporaryDirectory() as folder:
        bundle = build_imagenet(Path(folder))
        random = np.random.default_rng(0)
        top1 = _predictions(bundle, random, 1)[0]
        everything = np.array(bundle.all_targets)
        everything[bundle.rows] = top1
        one = median_seconds(lambda: compute_summary(bundle, Predictions(everything)), 21)
        slow = _slow_seconds(bundle, top1)
        yield Figure(
            "one model, 20,000 predictions → verdicts and aggregates (reference: one image at a time, slow on purpose)",
            value=one * 1000,
            unit="ms",
            reference=slow * 1000,
            ratio=one / slow,
            aim=f"at most {ONE_AIM * 1000:g} ms",
            holds=one <= ONE_AIM,
        )
        fleet = _predictions(bundle, random, MODELS)
        table = np.ascontiguousarray(bundle.verdicts)
        many = median_seconds(lambda: tally_fleet(table, fleet, bundle.strata), 3, warm=1)
        bare = median_seconds(lambda: _count_with_numpy(table, fleet), 3, warm=1)
        yield Figure(
            f"{MODELS} models x 20,000 predictions, all aggregates (reference: table.take and bincount)",
            value=many * 1000,
            unit="ms",
            reference=bare * 1000,
            ratio=many / bare,
            aim=f"at most {FLEET_AIM:g} times numpy",
            holds=many <= FLEET_AIM * bare,
        )


def _predictions(bundle: Bundle, random: np.random.Generator, models: int) -> np.ndarray:
    """Return predictions of shape (models, N) with 75 % accuracy."""
    targets = bundle.evidence.targets
    wrong = random.random((models, len(targets))) < 0.25
    return np.where(wrong, random.integers(0, 1000, wrong.shape, dtype=np.int16), targets)


def _count_with_numpy(table: np.ndarray, fleet: np.ndarray) -> None:
    rows = np.arange(len(table)) * 1000
    for top1 in fleet:
        np.bincount(table.take(rows + top1), minlength=256)


def _slow_seconds(bundle: Bundle, top1: np.ndarray) -> float:
    evidence = bundle.evidence
    members = bundle.arrays["superclass_members"]
    facts = oracle.Facts(
        overlap=oracle.OVERLAP,
        superclasses=[set(np.flatnonzero(row).tolist()) for row in members],
        cooccurrence={(int(i), int(j)) for i, j in np.argwhere(evidence.cooccurrence) if i < j},
        has_prototype_list=False,
        oov=None,
    )
    samples = [
        oracle.Sample(int(evidence.targets[row]), frozenset(evidence.labels.of(row).tolist()), False, False)
        for row in range(SLOW_ROWS)
    ]

    def judge() -> None:
        for row, sample in enumerate(samples):
            oracle.judge(sample, row, int(top1[row]), facts)

    return median_seconds(judge, 3, warm=0) * len(top1) / SLOW_ROWS
