"""Messages of the images of an analysis."""

from collections.abc import Callable
from typing import Any

from errata import v1 as pb

from service.domain import ALL, LabelSpace, class_name_of
from service.domain.images import Facet, ImageFacets, ImageQuery, ImageRow
from service.wire.names import analysis_id, error_type_of, optional, optional_class, to_class_index


def image_query(request: pb.ListImagesRequest, label_space: LabelSpace) -> ImageQuery:
    """Convert the request of ListImages, whose classes belong to a label space."""
    condition = request.filter
    return ImageQuery(
        analysis=analysis_id(request.parent, "parent"),
        error_type=error_type_of(condition.error_type, "filter.error_type") if condition.error_type else None,
        class_id=optional_class(condition.target_class, "filter.target_class", label_space),
        predicted_id=optional_class(condition.predicted_class, "filter.predicted_class", label_space),
        superclass=condition.superclass,
        group=condition.group or ALL,
        min_confidence=optional(condition, "min_probability"),
        problematic=optional(condition, "problematic"),
        baseline=analysis_id(condition.baseline, "filter.baseline") if condition.baseline else "",
        change=condition.change,
        sort=request.order_by or "severity desc",
    )


def to_image(image: ImageRow, label_space: LabelSpace) -> pb.AnalyzedImage:
    """Convert an image."""
    names = label_space.names
    message = pb.AnalyzedImage(
        file_name=image.file_name,
        target=image.target,
        target_name=names[image.target],
        effective_target=image.effective_target,
        effective_target_name=names[image.effective_target],
        predicted=to_class_index(image.predicted),
        predicted_name=class_name_of(names, image.predicted),
        probability=image.probability,
        error_type=image.error_type.key,
        problematic=image.problematic,
        num_failing=image.num_failing,
        num_predicting=image.num_predicting,
        baseline_predicted=None if image.baseline_predicted is None else to_class_index(image.baseline_predicted),
    )
    if image.baseline_predicted is not None:
        message.baseline_predicted_name = class_name_of(names, image.baseline_predicted)
    if image.baseline_type is not None:
        message.baseline_error_type = image.baseline_type.key
    return message


def to_facets(facets: ImageFacets, label_space: LabelSpace) -> pb.ImageFacets:
    """Convert the facets of images."""

    def of_classes(facet: Facet[int]) -> pb.ImageFacet:
        return _to_facet(facet, label_space.ids.__getitem__, label_space.names.__getitem__)

    return pb.ImageFacets(
        error_types=_to_facet(facets.error_types, lambda error_type: error_type.key),
        target_classes=of_classes(facets.classes),
        predicted_classes=of_classes(facets.predicted),
        superclasses=_to_facet(facets.superclasses, str),
        groups=_to_facet(facets.groups, str),
    )


def _to_facet(facet: Facet[Any], key: Callable[[Any], str], name: Callable[[Any], str] | None = None) -> pb.ImageFacet:
    counts = [
        pb.ImageCount(value=key(item.value), display_name=(name or key)(item.value), num_images=item.count)
        for item in facet.counts
    ]
    return pb.ImageFacet(counts=counts, num_values=facet.num_values)
