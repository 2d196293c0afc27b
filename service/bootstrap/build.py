"""Build: evidence bundles from their sources."""

from pathlib import Path

from service.errors import InvalidRequest
from service.evidence.build import digest_of, write_bundle
from service.evidence.bundle import Bundle, open_bundle, verify
from service.evidence.recipes import RECIPES, gather


def build_evidence(dataset: str, output: Path) -> Bundle:
    """Build the bundle of a data set that needs no download, and open it; raise InvalidRequest for another."""
    if dataset not in RECIPES:
        raise InvalidRequest(
            f"expected one of the data sets {', '.join(RECIPES)}, got {dataset!r:.80}", field="dataset"
        )
    write_bundle(gather(dataset), output)
    return open_bundle(output)


def verify_evidence(path: Path) -> list[str]:
    """Return what is wrong with a bundle; empty if all is well."""
    bundle = open_bundle(path)
    arrays = {name: array for name, array in bundle.arrays.items() if name != "verdicts"}
    return verify(bundle, digest_of(bundle.dataset, bundle.manifest.superclasses, arrays))
