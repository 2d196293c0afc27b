"""Builds and verifies evidence bundles."""

from pathlib import Path

import numpy as np
from errata.errors import InvalidEvidence

from service.domain import Agreement
from service.evidence.build import verify_evidence, write_bundle
from service.evidence.bundle import Bundle, open_bundle
from service.evidence.expert_judgments import pack_judgments, read_expert_judgments, unpack_judgments
from service.evidence.recipes import Inputs, gather
from service.rules.decide import decide_each
from service.rules.table import error_types
from service.settings import Settings
from service.summary.agreement import measure_agreement

__all__ = ["Inputs", "build_evidence", "embedding_cache", "expert_agreement", "verify_evidence"]


def build_evidence(dataset: str, inputs: Inputs, output: Path) -> Bundle:
    """Build the evidence bundle of a data set.

    Args:
        dataset: Name of the data set.
        inputs: Paths of the source files.
        output: Folder of the new bundle.

    Returns:
        The opened bundle.

    Raises:
        InvalidEvidence: An input is missing or invalid.
    """
    write_bundle(gather(dataset, inputs), output)
    return open_bundle(output)


def embedding_cache(settings: Settings) -> Path:
    """Return the folder in which a build caches embeddings, so that an interrupted build can resume."""
    return settings.data_dir / "cache" / "embeddings"


def expert_agreement(path: Path, mistakes: Path | None = None) -> Agreement:
    """Compare the verdicts of a bundle with the judgments of experts.

    Args:
        path: The bundle.
        mistakes: The metadata folder of imagenet-mistakes; None: the judgments that the bundle contains.

    Raises:
        InvalidEvidence: There are no judgments about images of the bundle.
    """
    bundle = open_bundle(path)
    judgments = bundle.expert_judgments
    if mistakes is not None:
        names = [name.encode() for name in bundle.judged_names]
        judgments = unpack_judgments(pack_judgments(read_expert_judgments(mistakes), names))
    counted = {pair: judgment for pair, judgment in judgments.items() if not bundle.evidence.problematic[pair[0]]}
    if not counted:
        raise InvalidEvidence(
            f"{path}: no expert judged its images. Add --mistakes DIR, the metadata folder of imagenet-mistakes.",
            field="mistakes",
        )
    rows, predicted = np.array(list(counted)).T
    types = error_types(decide_each(bundle.evidence.take(rows), predicted.astype(np.int16)))
    return measure_agreement(types, list(counted.values()), bundle.manifest.abstained)
