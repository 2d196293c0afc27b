"""The local service of a command with --local: it uses the configured archive, and memory instead of Redis."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from errata.cli.extensions import LocalService
from errata.errors import InvalidRequest
from errata.imports import without_garbage_collection
from errata.names import evidence_id

from service.cli.bundle_paths import BundlePaths
from service.evidence.manifest import folder_of, is_bundle, read_manifest
from service.settings import Settings, read_settings


@dataclass(frozen=True)
class BundleChoice:
    """The evidence that a command selects."""

    prefix: str  # prefix of a digest; empty: the default bundle of the data set
    path: Path | None = None  # path of a bundle
    dataset: str = ""  # data set of the bundle at the path


@contextmanager
def open_local_service(evidence: str = "") -> Iterator[LocalService]:
    """Run a service in this process.

    Args:
        evidence: Digest prefix, or path of a bundle. The service remembers the path in the data folder, so that later
            commands find the evidence of the analysis.

    Raises:
        InvalidInput: A setting or the bundle is invalid.
    """
    with without_garbage_collection():
        from service.bootstrap.local import local_service
        from service.telemetry import configure_logging

    choice = choose_bundle(evidence)
    configured = read_settings()
    configure_logging("warning" if configured.log_level == "info" else configured.log_level, configured.log_format)
    with local_service(_local_settings(configured, choice)) as addresses:
        yield LocalService(addresses.grpc, choice.prefix, choice.dataset)


def choose_bundle(evidence: str) -> BundleChoice:
    """Return the evidence that the value of --evidence selects.

    Raises:
        InvalidRequest: The value is a path that contains no bundle.
        InvalidEvidence: The bundle at the path is damaged.
    """
    if not evidence:
        return BundleChoice("")
    path = folder_of(Path(evidence))
    if is_bundle(path):
        manifest = read_manifest(path)
        return BundleChoice(manifest.digest, path.resolve(), manifest.dataset)
    digest = evidence_id(evidence)
    if "/" in digest or path.exists():
        raise InvalidRequest(
            f"No evidence bundle at {evidence!r:.200}. 'errata evidence build' creates one.", field="evidence"
        )
    return BundleChoice(digest)


def _local_settings(configured: Settings, choice: BundleChoice) -> Settings:
    """Return the settings of a service for one command: free ports, no tokens, no TLS, no registries."""
    overrides: dict[str, Any] = {"grpc_address": "127.0.0.1:0", "http_address": "127.0.0.1:0", "metrics_address": ""}
    overrides |= {"grace_seconds": 2.0, "registries": {}}
    overrides |= dict.fromkeys(("tokens", "tls_certificate", "tls_key", "tls_client_ca"))
    paths = BundlePaths(configured.data_dir)
    if choice.path is not None:
        paths.remember(choice.path, used=True)
    evidence = paths.add_used_bundles(configured.evidence)
    if choice.path is not None:
        others = [path for path in evidence.get(choice.dataset, ()) if path != choice.path]
        evidence = evidence | {choice.dataset: [choice.path, *others]}
    return read_settings(**overrides, evidence=evidence)
