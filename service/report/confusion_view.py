"""The most frequent confusions as records for the template: a list, and a heat map of their classes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from errata.messages import format_count
from numpy.typing import NDArray

from service.domain import Confusion
from service.report.confusion_chart import ConfusionCell, confusion_map
from service.report.direction import isolate
from service.report.elements import Chart, make_chart
from service.report.image_links import ImageLinks
from service.report.messages.error_types import counts_description
from service.report.messages.pages import translate

MIN_CLASSES = 3  # of a heat map; two classes are one row of the list


@dataclass(frozen=True)
class ConfusionRow:
    """A frequent confusion of two classes."""

    target: str
    predicted: str
    count: str
    types: str
    examples: str
    url: str = ""  # of the images


@dataclass(frozen=True)
class ConfusionMap:
    """The heat map, and its cells with errors."""

    chart: Chart
    cells: tuple[ConfusionCell, ...]


def confusion_row(
    confusion: Confusion, examples: Sequence[str], names: Sequence[str], links: ImageLinks
) -> ConfusionRow:
    """Convert a confusion and the names of example images for display; `names` are the names of the classes."""
    return ConfusionRow(
        names[confusion.target],
        names[confusion.predicted],
        format_count(confusion.count),
        counts_description([(error_type.title, count) for error_type, count in confusion.types.items()]),
        ", ".join(map(isolate, examples)),
        links.images(class_id=confusion.target, predicted_id=confusion.predicted, errors_only=True),
    )


def confusion_map_view(
    classes: Sequence[int], counts: NDArray[np.int64], names: Sequence[str], links: ImageLinks
) -> ConfusionMap | None:
    """Return the heat map of some classes; None if there are too few.

    Args:
        classes: The classes, (k,), in the order of both axes.
        counts: The errors by target and prediction, (k, k).
        names: The names of all classes.
        links: The links of the report.
    """
    if len(classes) < MIN_CLASSES:
        return None

    def url(target: int, predicted: int) -> str:
        return links.images(class_id=target, predicted_id=predicted, errors_only=True)

    cells = tuple(
        ConfusionCell(names[target], names[predicted], count, url(target, predicted))
        for target, row in zip(classes, counts.tolist(), strict=True)
        for predicted, count in zip(classes, row, strict=True)
        if count
    )
    titles = translate("ground truth"), translate("prediction")
    chart = make_chart(confusion_map([names[index] for index in classes], cells, titles))
    return ConfusionMap(chart, cells)
