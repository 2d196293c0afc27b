"""A label space of 21,841 classes with 100,000 images, compared with imagenet-real: builds, bundles, and judging."""

import sys
import tempfile
from collections.abc import Iterator
from functools import cache, partial
from importlib.resources import files
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from benchmarks.bundle import PEAK
from benchmarks.harness import Case, Result, at_most, computed, minima, timed
from benchmarks.processes import run
from service.analyses.breakdown import compute_breakdown
from service.analyses.judge import JudgedAnalysis, compute_summary, compute_verdicts
from service.domain import Analysis, ClassPairs, LabelSource, LabelSpace, Predictions, Superclasses
from service.evidence.build import write_bundle
from service.evidence.bundle import Bundle, open_bundle
from service.evidence.cooccurrence import count_pairs
from service.evidence.inputs import BundleInputs, CooccurrenceInputs, LabelInputs
from service.evidence.labels import pack_labels
from service.evidence.recipes import gather

IMAGES, SUPERCLASSES, OVERLAPS = 100_000, 5000, 500
CLASSES = "data/_info/imagenet22k_synsets.txt"  # of timm
LEMMAS = "data/_info/imagenet_synset_to_lemma.txt"
GIB, MB = float(1 << 30), 1e6
LARGE, REAL = "21,841 classes x 100,000 images", "imagenet-real"
BUILD = Case("label_space.build", f"build of {LARGE}", f"build of {REAL}", "s", at_most(10))
MEMORY = Case("label_space.memory", "peak memory of this build", "4 GiB", "MB", at_most(1))
SIZE = Case("label_space.size", "size of the bundle", "500 MB", "MB", at_most(1))
JUDGE = Case(
    "label_space.judge", f"verdicts and summary of a model, {LARGE}", f"the same with {REAL}", "ms", at_most(5)
)
BREAKDOWN = Case(
    "label_space.breakdown", "breakdown by class and superclass, 22 times as many rows", REAL, "ms", at_most(60)
)
BUILD_LARGE = "from pathlib import Path; from benchmarks.label_space import build_large; build_large(Path({!r}))"


def measure() -> Iterator[Result]:
    """Yield the results of builds, and of judging with the bundles."""
    with tempfile.TemporaryDirectory() as name:
        large, real = Path(name) / "large", Path(name) / "real"
        large_inputs()  # reading timm's lists is no part of a build
        yield BUILD.measured(
            *minima(timed(lambda: build_large(large)), timed(lambda: build_real(real)), times=3, warm=1)
        )
        peak = 1024 * float(run(sys.executable, "-c", PEAK, BUILD_LARGE.format(f"{name}/peak")).split()[-1])
        yield MEMORY.measured(peak, 4 * GIB)
        yield SIZE.measured(sum(file.stat().st_size for file in large.iterdir()), 500 * MB)
        large_inputs.cache_clear()  # its objects would lengthen garbage collections
        analyses = [_judged(open_bundle(path)) for path in (large, real)]
        yield JUDGE.measured(*minima(*(computed(partial(_summarize, judged)) for judged in analyses), times=51))
        yield BREAKDOWN.measured(*minima(*(computed(partial(_break_down, judged)) for judged in analyses), times=11))


def build_large(path: Path) -> None:
    """Count the pairs of the large label space, and write its bundle."""
    label_space, images = large_inputs()
    pairs = count_pairs(images.labels, (images.rows + 1).astype(np.int32))
    named = CooccurrenceInputs(pairs.classes, pairs.counts, pairs.examples, images.names)
    write_bundle(BundleInputs("large", images, label_space, named, None, None, ()), path)


def build_real(path: Path) -> None:
    """Build the bundle of imagenet-real."""
    write_bundle(gather(REAL), path)


@cache
def large_inputs() -> tuple[LabelSpace, LabelInputs]:
    """Return timm's classes of ImageNet-21k with random superclasses and overlaps, and images with 1 to 4 labels."""
    info = files("timm")
    wordnet_ids = (info / CLASSES).read_text().split()
    lemmas = dict(line.split("\t") for line in (info / LEMMAS).read_text().splitlines())
    names = [tuple(lemmas.get(wordnet_id, wordnet_id).split(", ")) for wordnet_id in wordnet_ids]
    random, num_classes = np.random.default_rng(0), len(wordnet_ids)
    superclasses: list[list[str]] = [[] for _ in wordnet_ids]
    for number in range(SUPERCLASSES):
        for index in random.choice(num_classes, random.integers(2, 20), replace=False).tolist():
            superclasses[index].append(f"superclass {number}")
    overlaps = random.integers(0, num_classes, (OVERLAPS, 2))
    label_space = LabelSpace(
        name="large",
        ids=tuple(wordnet_ids),
        names=tuple(first for first, *_ in names),
        synonyms=tuple(synonyms[1:] for synonyms in names),
        synsets=tuple(wordnet_ids),
        superclasses=Superclasses.from_names(superclasses),
        groups=("animal", "plant", "other"),
        group_members=np.arange(num_classes) % 3 == np.arange(3)[:, None],
        overlaps=ClassPairs.of(overlaps[overlaps[:, 0] != overlaps[:, 1]], num_classes),
    )
    return label_space, _images(random, num_classes)


def _images(random: np.random.Generator, num_classes: int) -> LabelInputs:
    """Return images of which 10 % reject their target and 2 % are problematic, with labels as frequent as ReaL's."""
    targets = random.integers(0, num_classes, IMAGES).astype(np.int16)
    others = (targets[:, None] + random.integers(1, 50, (IMAGES, 3))) % num_classes  # so that pairs occur twice
    counts = random.choice(4, IMAGES, p=[0.8, 0.12, 0.05, 0.03])
    rejects = random.random(IMAGES) < 0.1
    labels = [
        dict.fromkeys((row[1:] if rejected and len(row) > 1 else row), LabelSource.CORRECT)
        for rejected, row in zip(
            rejects.tolist(),
            (
                [target, *other[:count]]
                for target, other, count in zip(targets.tolist(), others.tolist(), counts, strict=True)
            ),
            strict=True,
        )
    ]
    return LabelInputs(
        names=np.array([f"images/image_{number:06d}.jpg".encode() for number in range(IMAGES)]),
        all_targets=targets,
        rows=np.arange(IMAGES, dtype=np.int32),
        labels=pack_labels(labels),
        problematic=random.random(IMAGES) < 0.02,
        sources=(),
    )


def _judged(bundle: Bundle) -> JudgedAnalysis:
    """Return an analysis of a model with an accuracy of 75 %."""
    random = np.random.default_rng(0)
    wrong = random.random(len(bundle.all_targets)) < 0.25
    others: NDArray[np.int16] = random.integers(0, bundle.label_space.num_classes, len(wrong), dtype=np.int16)
    predictions = Predictions(np.where(wrong, others, bundle.all_targets))
    return JudgedAnalysis(cast(Analysis, None), bundle, predictions, compute_verdicts(bundle, predictions))


def _summarize(judged: JudgedAnalysis) -> None:
    compute_summary(judged.bundle, judged.predictions)


def _break_down(judged: JudgedAnalysis) -> None:
    compute_breakdown(judged, superclasses=False)
    compute_breakdown(judged, superclasses=True)
