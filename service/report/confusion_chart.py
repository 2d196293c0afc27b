"""The heat map of the classes in the most frequent confusions: ground truth by prediction."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from errata.messages import format_count

from service.report.charts import Spec, draw, link_area
from service.report.direction import isolate
from service.report.named_marks import name_mark

_STEP = 30  # pixels of a cell
_MAX_NAME = 190  # pixels of a class name
_OPACITY = (0.08, 0.42)  # of the lightest and the darkest cell: texts on both have enough contrast

_CORNER = {"titleAngle": 0, "titleAlign": "right", "titleX": -5, "titleY": -12}  # of the rows: above their names


@dataclass(frozen=True)
class ConfusionCell:
    """The errors with one ground truth and one prediction."""

    target: str  # name of the class
    predicted: str
    count: int
    url: str = ""


def confusion_map(names: Sequence[str], cells: Sequence[ConfusionCell], caption: tuple[str, str]) -> str:
    """Draw the heat map.

    Args:
        names: Names of the classes, (k,), in the order of both axes.
        cells: The cells with errors.
        caption: Titles of the rows and of the columns.

    Returns:
        The SVG.
    """
    most = max((cell.count for cell in cells), default=1)
    low, high = _OPACITY
    values = [
        {
            "target": cell.target,
            "predicted": cell.predicted,
            "opacity": round(low + (high - low) * (cell.count / most) ** 0.5, 3),
            "text": format_count(cell.count),
            "mark": name_mark(
                f"{isolate(cell.target)} → {isolate(cell.predicted)}: {format_count(cell.count)}", cell.url
            ),
        }
        for cell in cells
    ]
    x = _axis("predicted", names, caption[1], orient="top", labelAngle=-60)
    y = _axis("target", names, caption[0], **_CORNER)
    diagonal = [{"target": name, "predicted": name} for name in names]
    layers: list[Spec] = [
        {
            "data": {"values": diagonal},
            "mark": {"type": "rect", "color": "var(--line)"},
            "encoding": {"x": x, "y": y},
        },
        {
            "mark": {"type": "rect", "color": "var(--t4)"},
            "encoding": {"x": x, "y": y, "fillOpacity": {"field": "opacity", "type": "quantitative", "scale": None}},
        },
        {
            "mark": {"type": "text", "baseline": "middle", "fontSize": 11},
            "encoding": {"x": x, "y": y, "text": {"field": "text"}},
        },
        {**link_area({"x": x, "y": y}), "mark": {"type": "rect", "color": "transparent"}},
    ]
    size = {"width": {"step": _STEP}, "height": {"step": _STEP}}
    return draw({"data": {"values": values}, **size, "view": {"stroke": "var(--line)"}, "layer": layers})


def _axis(field: str, names: Sequence[str], title: str, **options: Any) -> Spec:
    axis = {"title": title, "domain": False, "ticks": False, "grid": False, "labelLimit": _MAX_NAME, **options}
    return {"field": field, "type": "nominal", "scale": {"domain": [*names]}, "axis": axis}
