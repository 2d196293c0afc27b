"""A label space of 21,841 classes with 100,000 images, compared with imagenet-real: builds, bundles, and judging."""

import csv
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from benchmarks.bundle import peak
from benchmarks.harness import Case, Result, at_most, computed, minima, timed
from service.analyses.judge import JudgedAnalysis, compute_summary, compute_verdicts
from service.domain import Analysis, Predictions
from service.evidence.build import write_bundle
from service.evidence.bundle import Bundle, open_bundle
from service.evidence.recipes import Inputs, gather

IMAGES, SUPERCLASSES, OVERLAPS = 100_000, 5000, 500
CLASSES = "data/_info/imagenet22k_synsets.txt"  # of timm
LEMMAS = "data/_info/imagenet_synset_to_lemma.txt"
GROUPS = ("animal", "plant", "other")
GIB, MB = float(1 << 30), 1e6
LARGE, REAL = "21,841 classes x 100,000 images", "imagenet-real"
BUILD = Case("label_space.build", f"build of {LARGE}", f"build of {REAL}", "s", at_most(10))
MEMORY = Case("label_space.memory", "peak memory of this build", "4 GiB", "MB", at_most(1))
SIZE = Case("label_space.size", "size of the bundle", "500 MB", "MB", at_most(1))
JUDGE = Case(
    "label_space.judge", f"verdicts and summary of a model, {LARGE}", f"the same with {REAL}", "ms", at_most(5)
)
BUILD_LARGE = (
    "from pathlib import Path; from benchmarks.label_space import build_large; build_large(Path({!r}), Path({!r}))"
)


def measure() -> Iterator[Result]:
    """Yield the results of builds from files, and of judging with the bundles."""
    with tempfile.TemporaryDirectory() as name:
        source, large, real = (Path(name) / part for part in ("files", "large", "real"))
        write_files(source)
        yield BUILD.measured(
            *minima(timed(lambda: build_large(source, large)), timed(lambda: build_real(real)), times=3, warm=1)
        )
        yield MEMORY.measured(peak(BUILD_LARGE.format(str(source), f"{name}/peak")), 4 * GIB)
        yield SIZE.measured(sum(file.stat().st_size for file in large.iterdir()), 500 * MB)
        analyses = [_judged(open_bundle(path)) for path in (large, real)]
        yield JUDGE.measured(*minima(*(computed(partial(_summarize, judged)) for judged in analyses), times=51))


def build_large(source: Path, path: Path) -> None:
    """Build the bundle of the large label space from its files."""
    inputs = Inputs(classes=source / "classes.csv", labels=source / "labels.csv", overlaps=source / "overlaps.csv")
    write_bundle(gather("large", inputs), path)


def build_real(path: Path) -> None:
    """Build the bundle of imagenet-real."""
    write_bundle(gather(REAL), path)


def write_files(folder: Path) -> None:
    """Write timm's classes of ImageNet-21k with random superclasses and overlaps, and labels of 1 to 4 classes."""
    folder.mkdir()
    info = files("timm")
    wordnet_ids = (info / CLASSES).read_text().split()
    lemmas = dict(line.split("\t") for line in (info / LEMMAS).read_text().splitlines())
    random, num_classes = np.random.default_rng(0), len(wordnet_ids)
    superclasses: list[list[str]] = [[] for _ in wordnet_ids]
    for number in range(SUPERCLASSES):
        for index in random.choice(num_classes, random.integers(2, 20), replace=False).tolist():
            superclasses[index].append(f"superclass {number}")
    _write(
        folder / "classes.csv",
        ("id", "name", "synonyms", "superclasses", "groups"),
        (
            (wordnet_id, name, ";".join(synonyms), ";".join(superclasses[index]), GROUPS[index % 3])
            for index, wordnet_id in enumerate(wordnet_ids)
            for name, *synonyms in (lemmas.get(wordnet_id, wordnet_id).split(", "),)
        ),
    )
    overlaps = random.integers(0, num_classes, (OVERLAPS, 2)).tolist()
    pairs = ((wordnet_ids[first], wordnet_ids[second]) for first, second in overlaps if first != second)
    _write(folder / "overlaps.csv", ("class", "also_correct"), pairs)
    _write(folder / "labels.csv", ("file_name", "target", "labels", "problematic"), _label_rows(random, wordnet_ids))


def _label_rows(random: np.random.Generator, ids: Sequence[str]) -> Iterator[tuple[str, str, str, str]]:
    """Yield images of which 10 % of those with several labels reject their target, and 2 % are problematic."""
    targets = random.integers(0, len(ids), IMAGES)
    others = (targets[:, None] + random.integers(1, 50, (IMAGES, 3))) % len(ids)  # so that pairs occur twice
    counts = random.choice(4, IMAGES, p=[0.8, 0.12, 0.05, 0.03])
    rejects, problematic = random.random(IMAGES) < 0.1, random.random(IMAGES) < 0.02
    rows = zip(targets.tolist(), others.tolist(), counts.tolist(), rejects.tolist(), problematic.tolist(), strict=True)
    for number, (target, other, count, rejected, is_problematic) in enumerate(rows):
        labels = dict.fromkeys([*([] if rejected and count else [target]), *other[:count]])
        reason = "blurred" if is_problematic else ""
        yield f"images/image_{number:06d}.jpg", ids[target], ";".join(ids[label] for label in labels), reason


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def _judged(bundle: Bundle) -> JudgedAnalysis:
    """Return an analysis of a model with an accuracy of 75 %."""
    random = np.random.default_rng(0)
    wrong = random.random(len(bundle.all_targets)) < 0.25
    others: NDArray[np.int16] = random.integers(0, bundle.label_space.num_classes, len(wrong), dtype=np.int16)
    predictions = Predictions(np.where(wrong, others, bundle.all_targets))
    return JudgedAnalysis(cast(Analysis, None), bundle, predictions, compute_verdicts(bundle, predictions))


def _summarize(judged: JudgedAnalysis) -> None:
    compute_summary(judged.bundle, judged.predictions)
