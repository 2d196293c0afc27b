"""A bundle with embeddings of its images, and predictions for it."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np

from service.bootstrap.build import Inputs, build_evidence
from service.evidence.build import write_bundle
from service.evidence.inputs import ClipInputs
from service.evidence.relabeled import inputs_of
from service.taxonomy.vocabulary_proposals import propose_vocabulary

NUM_IMAGES = 30


def write_mapped_bundle(folder: Path) -> Path:
    """Write a bundle of the classes a, b, and c in turn, and return its path; `plain` beside it has no embeddings.

    The embedding of image n is the point (n, n % 2) of a plane.
    """
    folder.mkdir(exist_ok=True)
    rows = "".join(f"{number:03}.jpg,{'abc'[number % 3]}\n" for number in range(NUM_IMAGES))
    (folder / "classes.csv").write_text("id,name\na,a\nb,b\nc,c\n")
    (folder / "labels.csv").write_text(f"file_name,labels\n{rows}")
    inputs = Inputs(classes=folder / "classes.csv", labels=folder / "labels.csv")
    facts = inputs_of(build_evidence("mapped", inputs, folder / "plain"))
    proposals = propose_vocabulary((), facts.label_space)
    images = np.zeros((NUM_IMAGES, 5), dtype=np.float32)
    images[:, 1], images[:, 3] = np.arange(NUM_IMAGES), np.arange(NUM_IMAGES) % 2
    clip = ClipInputs(
        neighbors=np.zeros((NUM_IMAGES, 10), dtype=np.int16),
        images=images,
        texts=np.eye(len(proposals.texts), 5, dtype=np.float32),
        oov=np.zeros((NUM_IMAGES, 1), dtype=np.uint8),
        label_preferred=np.zeros((NUM_IMAGES, 1), dtype=np.uint8),
        proposals=proposals,
    )
    write_bundle(replace(facts, clip=clip), folder / "bundle")
    return folder / "bundle"


def mapped_predictions(wrong: Collection[int]) -> bytes:
    """Return a predictions file with the next class for some images, and the correct one for the others."""
    rows = (f"{number:03}.jpg,{(number + (number in wrong)) % 3}\n" for number in range(NUM_IMAGES))
    return ("file_name,top1\n" + "".join(rows)).encode()
