"""Builds and verifies evidence bundles."""

from pathlib import Path

from service.evidence.array_file import ArrayFile
from service.evidence.build import digest_of, write_bundle
from service.evidence.bundle import Bundle, open_bundle, verify
from service.evidence.layout import VERDICTS
from service.evidence.recipes import Inputs, gather
from service.settings import Settings

__all__ = ["Inputs", "build_evidence", "embedding_cache", "verify_evidence"]


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


def verify_evidence(path: Path) -> list[str]:
    """Verify a bundle; return the problems, or an empty list."""
    bundle = open_bundle(path)
    arrays = {name: ArrayFile(path / f"{name}.npy").read() for name in bundle.arrays if name != VERDICTS}
    return verify(bundle, digest_of(bundle.dataset, bundle.manifest.superclasses, arrays))
