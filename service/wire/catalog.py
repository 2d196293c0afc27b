"""Messages of the catalog: data sets, evidence bundles, classes, models, and error types."""

from errata import v1 as pb
from errata.names import class_name, dataset_name, evidence_name, model_name

from service.analyses.ports import ModelOffer
from service.domain import ErrorType, LabelSpace
from service.evidence.agreement import shipped_agreement
from service.evidence.manifest import Manifest
from service.taxonomy.imagenet_1k import imagenet_1k


def to_dataset(default: Manifest, has_images: bool) -> pb.Dataset:
    """Convert a data set.

    Args:
        default: The manifest of the default bundle of the data set.
        has_images: Whether a live worker has the images of the data set.
    """
    return pb.Dataset(
        name=dataset_name(default.dataset),
        num_images=default.counts["images"],
        num_judged=default.counts["judged"],
        has_images=has_images,
        default_evidence=evidence_name(default.dataset, default.digest),
        label_space=default.label_space,
        num_classes=_num_classes(default),
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
        label_space=manifest.label_space,
        num_classes=_num_classes(manifest),
    )


def to_classes(label_space: LabelSpace, indices: range, evidence: str) -> list[pb.Class]:
    """Convert some classes of a label space.

    Args:
        label_space: The label space.
        indices: The indices of the classes.
        evidence: The name of the evidence bundle.
    """
    overlaps: dict[int, list[int]] = {}
    for index, prediction in label_space.overlaps.as_array().tolist():
        overlaps.setdefault(index, []).append(prediction)
    return [
        pb.Class(
            name=class_name(evidence, index),
            class_index=index,
            class_id=label_space.ids[index],
            display_name=label_space.names[index],
            synonyms=label_space.synonyms[index],
            superclasses=label_space.superclasses.names_of(index),
            groups=label_space.groups_of(index),
            synset=label_space.synsets[index],
            overlaps=overlaps.get(index, ()),
        )
        for index in indices
    ]


def _num_classes(manifest: Manifest) -> int:
    """Return the number of classes of a bundle; that of ImageNet-1k if the manifest does not state a number."""
    return manifest.counts.get("classes", imagenet_1k().num_classes)


def to_model(offer: ModelOffer) -> pb.Model:
    """Convert a model, or a pattern of models, that workers offer."""
    return pb.Model(name=model_name(offer.model), model_id=offer.model, description=offer.description)


def to_error_type(error_type: ErrorType) -> pb.ErrorTypeInfo:
    """Convert an error type, with the agreement with experts that ships with this package."""
    values = shipped_agreement().types.get(error_type)
    has_agreement = values is not None and values.num_judged > 0
    return pb.ErrorTypeInfo(
        error_type=error_type.key,
        title=error_type.title,
        description=error_type.row.description,
        severity=pb.Severity.Name(error_type.severity),
        expert_agreement=pb.ExpertAgreement(**vars(values)) if has_agreement else None,
    )
