"""Messages of the catalog: data sets, evidence bundles, models, and error types."""

from errata import v1 as pb
from errata.names import dataset_name, evidence_name, model_name

from service.analyses.ports import ModelOffer
from service.domain import ErrorType
from service.evidence.agreement import shipped_agreement
from service.evidence.bundle import Manifest

LABEL_SPACE = "imagenet-1k"  # the label space of every data set


def to_dataset(default: Manifest, has_images: bool) -> pb.Dataset:
    """Convert a data set.

    Args:
        default: The manifest of its default bundle.
        has_images: Whether a live worker has its images.
    """
    return pb.Dataset(
        name=dataset_name(default.dataset),
        num_images=default.counts["images"],
        num_judged=default.counts["judged"],
        has_images=has_images,
        default_evidence=evidence_name(default.dataset, default.digest),
        label_space=LABEL_SPACE,
    )


def to_evidence(manifest: Manifest) -> pb.Evidence:
    """Convert the manifest of an evidence bundle."""
    return pb.Evidence(
        name=evidence_name(manifest.dataset, manifest.digest),
        digest=manifest.digest,
        rules_version=manifest.rules_version,
        abstained=[error_type.key for error_type in manifest.abstained],
        counts=dict(manifest.counts),
        sources=[
            pb.Source(display_name=source.name, origin=source.origin, license=source.license, sha256=source.sha256)
            for source in manifest.sources
        ],
    )


def to_model(offer: ModelOffer) -> pb.Model:
    """Convert a model, or a pattern of models, that workers offer."""
    return pb.Model(name=model_name(offer.model), model_id=offer.model, description=offer.description)


def to_error_type(error_type: ErrorType) -> pb.ErrorTypeInfo:
    """Convert an error type, with the shipped agreement with experts."""
    values = shipped_agreement().types.get(error_type)
    has_agreement = values is not None and values.num_judged > 0
    return pb.ErrorTypeInfo(
        error_type=error_type.key,
        title=error_type.title,
        description=error_type.row.description,
        severity=pb.Severity.Name(error_type.severity),
        expert_agreement=pb.ExpertAgreement(**vars(values)) if has_agreement else None,
    )
