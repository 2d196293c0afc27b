"""Charts: well-formed SVG that contains only shapes, with correct numbers and distinguishable colors."""

import colorsys
import itertools
import re
from collections.abc import Callable
from xml.etree import ElementTree

import numpy as np
import pytest
from numpy.typing import NDArray

from service.domain import (
    ALL,
    METRICS,
    QUANTILES,
    TOP1_ERROR_TYPES,
    Axis,
    AxisRange,
    Bin,
    Calibration,
    Curves,
    ErrorType,
    Interval,
    Trend,
    TrendPoint,
)
from service.report import charts
from service.report.render import style_sheet
from service.report.trend_chart import MetricTitle, TrendStyle, trend_multiples
from service.taxonomy.imagenet_1k import GROUPS

HOSTILE = "<script>alert(1)</script>\"'&amp;<a href='x'>"
SVG = "{http://www.w3.org/2000/svg}"
COUNTS = (4, 6, 10, 0, 5, 0, 15)


def kinds(counts: tuple[int, ...] = COUNTS) -> list[tuple[ErrorType, int]]:
    return [*zip(TOP1_ERROR_TYPES, counts, strict=True)]


def gain_rows() -> list[tuple[ErrorType, float, float]]:
    return [(error_type, count / 100, count / 120) for error_type, count in kinds()]


def interval_rows(*names: str) -> list[tuple[str, Interval]]:
    return [(name, Interval(0.5, 0.6 - 0.2 * number, -0.2, 0.2)) for number, name in enumerate(names)]


def calibration() -> Calibration:
    return Calibration((Bin(0, 0.5, 0, None, None, None), Bin(0.5, 1, 10, 0.75, 0.5, 0.625)), 0.25, 0.125)


def curves() -> Curves:
    knots = np.arange(0.5, 0.9, 0.005)
    rising = QUANTILES[None, :] * knots[:, None]
    rising[:3] = np.nan  # too few models
    axes = dict.fromkeys(Axis, AxisRange(0.5, 0.9, knots))
    return Curves(
        "imagenet", 900, axes, {(group, metric): rising for group in (ALL, *GROUPS) for metric in METRICS}, {}
    )


def point(accuracy: float, name: str = "") -> TrendPoint:
    values = {metric: 1 - accuracy for metric in METRICS if metric != "pooled"}
    accuracies = {Axis.TOP1: accuracy, Axis.MULTI_LABEL: accuracy + 0.05}
    return TrendPoint(name, name or "published", "cnn", bool(name), accuracies, values)


def all_multiples(
    points: list[TrendPoint], reference: Curves | None, title: str = "title", line: bool = True
) -> list[str]:
    lines = {METRICS[0]: (-0.5, 0.6)} if line else {}
    titles = [MetricTitle(metric, title, title, "accuracy", "errors", lines.get(metric)) for metric in METRICS]
    trend = Trend("imagenet", "e" * 64, ALL, "family", tuple(points), (), reference, (), False, 0)
    return trend_multiples(titles, trend, TrendStyle({"cnn": "var(--c1)"}, ["a1"], has_links=False))


def multiples(points: list[TrendPoint], reference: Curves | None, title: str = "title", line: bool = True) -> str:
    """Return the chart of the first metric, which has a line."""
    return all_multiples(points, reference, title, line)[0]


PICTURES: dict[str, Callable[[], str]] = {
    "funnel": lambda: charts.breakdown([("all images", kinds()), ("organisms", kinds((1, 2, 3, 4, 5, 6, 7)))]),
    "funnel of a group without errors": lambda: charts.breakdown([("all images", kinds()), ("other", kinds((0,) * 7))]),
    "funnel without errors": lambda: charts.breakdown([("all images", kinds((0,) * 7))]),
    "gains": lambda: charts.gains(gain_rows(), ("top-1", "multi-label")),
    "gains of nothing": lambda: charts.gains(
        [(error_type, 0.0, 0.0) for error_type in TOP1_ERROR_TYPES], ("top-1", "multi-label")
    ),
    "reliability": lambda: charts.reliability(calibration(), ("top-1", "multi-label")),
    "reliability of nothing": lambda: charts.reliability(Calibration((), None, None), ("top-1", "multi-label")),
    "intervals": lambda: charts.intervals(interval_rows("a", "b"), "points"),
    "no intervals": lambda: charts.intervals([], "points"),
    "multiples": lambda: multiples([point(0.6, "a1"), point(0.7), point(0.8)], curves()),
    "multiples of the last metric": lambda: all_multiples([point(0.6, "a1"), point(0.7), point(0.8)], curves())[-1],
    "multiples of one model": lambda: multiples([point(0.6, "a1")], None, line=False),
    "multiples without models": lambda: multiples([], curves(), line=False),
    "multiples without models and curves": lambda: multiples([], None, line=False),
}


@pytest.fixture(scope="module", params=PICTURES)
def picture(request: pytest.FixtureRequest) -> str:
    return PICTURES[request.param]()


def paths(svg: str, fill: str) -> list[str]:
    result = [item.get("d", "") for item in ElementTree.fromstring(svg).iter(f"{SVG}path") if item.get("fill") == fill]
    return [item for item in result if item]


def bar(path: str) -> tuple[float, float]:
    """Return the start and the width of a bar."""
    match = re.fullmatch(r"M([-\d.e]+),[-\d.e]+h([-\d.e]+)v.*", path)
    assert match is not None, path
    return float(match[1]), float(match[2])


def test_chart_is_scalable_svg_hidden_from_screen_readers(picture: str) -> None:
    root = ElementTree.fromstring(picture)

    assert root.tag == f"{SVG}svg"
    assert (root.get("aria-hidden"), root.get("focusable")) == ("true", "false")
    assert re.fullmatch(r"0 0 [\d.]+ [\d.]+", root.get("viewBox", ""))
    assert root.get("width") in (None, root.get("viewBox", "").split()[2]), (
        "as wide as drawn, and less where room is less"
    )
    assert root.get("height") is None


def test_chart_has_no_script_resource_or_style(picture: str) -> None:
    for item in ElementTree.fromstring(picture).iter():
        assert item.tag.removeprefix(SVG) not in {"script", "style", "image", "use", "a", "foreignObject", "animate"}
        for name, value in item.attrib.items():
            assert "href" not in name
            assert name not in {"style", "src"}
            assert not name.startswith("on")
            assert "http" not in value
            if "url(" in value:
                assert re.fullmatch(r"url\(#[\w-]+\)", value)


def test_chart_uses_only_the_colors_of_the_page(picture: str) -> None:
    known = set(re.findall(r"(--[a-z]\w*):", style_sheet()))
    painted = [
        item.get(name, "none")
        for item in ElementTree.fromstring(picture).iter()
        for name in ("fill", "stroke")
        if item.tag != f"{SVG}g" or item.get(name, "").startswith("var")
    ]

    used = {item for item in painted if item not in ("none", "transparent")}
    assert used
    assert {item for item in used if not (item.startswith("var(") and item[4:-1] in known)} == set()


def test_charts_contain_no_nan(picture: str) -> None:
    for word in ("NaN", "null", "undefined", "Infinity", "None"):
        assert word not in picture


def test_ids_in_a_chart_are_unique_and_references_resolve() -> None:
    drawn = [multiples([point(0.6, "a1"), point(0.7), point(0.8)], curves()) for _ in range(2)]

    ids = [[item.get("id") for item in ElementTree.fromstring(svg).iter() if item.get("id")] for svg in drawn]
    for svg, own in zip(drawn, ids, strict=True):
        assert len(own) == len(set(own))
        assert set(re.findall(r"url\(#([\w-]+)\)", svg)) <= set(own)
        assert own, "this picture has lines that are cut at its frame"
    assert not set(ids[0]) & set(ids[1])


@pytest.mark.parametrize("name", list(PICTURES))
def test_same_data_gives_the_same_chart_except_for_ids(name: str) -> None:
    first, second = (re.sub(r"\bp\d+-clip\d+", "", PICTURES[name]()) for _ in range(2))

    assert first == second


@pytest.mark.parametrize(
    "drawn",
    [
        lambda: charts.breakdown([(HOSTILE, kinds())]),
        lambda: charts.gains(gain_rows(), (HOSTILE, "b")),
        lambda: charts.reliability(calibration(), (HOSTILE, "b")),
        lambda: charts.intervals(interval_rows(HOSTILE), HOSTILE),
        lambda: multiples([point(0.6, HOSTILE)], curves(), HOSTILE),
    ],
    ids=["funnel", "gains", "reliability", "intervals", "multiples"],
)
def test_hostile_titles_are_text(drawn: Callable[[], str]) -> None:
    root = ElementTree.fromstring(drawn())

    assert not [item for item in root.iter() if item.tag in (f"{SVG}script", f"{SVG}a")]
    assert HOSTILE in " ".join(root.itertext())  # a long title is split into lines


@pytest.mark.parametrize("counts", [COUNTS, (1, 2, 3, 4, 5, 6, 7), (0, 0, 0, 0, 0, 0, 3), (1000, 1, 0, 0, 0, 0, 0)])
def test_bars_of_the_breakdown_are_contiguous_and_span_all_errors(counts: tuple[int, ...]) -> None:
    svg = charts.breakdown([("all images", kinds(counts))])

    end = 0.0
    widths = []
    for error_type in TOP1_ERROR_TYPES:
        (path,) = paths(svg, charts.type_color(error_type))
        start, width = bar(path)
        assert start == pytest.approx(end, abs=0.01)
        end = start + width
        widths.append(width)
    assert widths == pytest.approx([185 * count / sum(counts) for count in counts], abs=0.01)
    assert end == pytest.approx(185, abs=0.01)


def test_groups_of_the_breakdown_are_side_by_side() -> None:
    root = ElementTree.fromstring(charts.breakdown([("b group", kinds()), ("a group", kinds((1, 0, 0, 0, 0, 0, 1)))]))
    texts = [item.text for item in root.iter(f"{SVG}text")]

    assert texts.index("b group") < texts.index("a group")
    assert texts.index("class overlap") < texts.index("model failure")


def test_many_groups_of_the_breakdown_are_in_rows_of_four() -> None:
    four, seventeen = (
        ElementTree.fromstring(charts.breakdown([(f"group {number}" * 30, kinds()) for number in range(count)]))
        for count in (4, 17)
    )

    (_, _, width, height), (_, _, wrapped_width, wrapped_height) = (
        map(float, root.get("viewBox", "").split()) for root in (four, seventeen)
    )
    assert wrapped_width < width  # long names are cut
    assert 4 * height < wrapped_height < 8 * height


def test_bars_of_the_breakdown_are_labeled_with_count_and_percentage() -> None:
    texts = [item.text for item in ElementTree.fromstring(PICTURES["funnel"]()).iter(f"{SVG}text")]

    assert {"4 (10.0 %)", "6 (15.0 %)", "10 (25.0 %)", "5 (12.5 %)", "15 (37.5 %)", "0 (0.0 %)"} <= {*texts}


def test_bars_of_gains_are_proportional_and_labeled_in_points() -> None:
    svg = charts.gains(gain_rows(), ("top-1", "multi-label"))
    texts = {item.text for item in ElementTree.fromstring(svg).iter(f"{SVG}text")}

    # The scale is the same in both columns.
    widths = {
        error_type: [bar(path)[1] for path in paths(svg, charts.type_color(error_type))]
        for error_type in TOP1_ERROR_TYPES
    }
    unit = widths[ErrorType.MODEL_FAILURE][0] / 15
    for kind, count in zip(TOP1_ERROR_TYPES, COUNTS, strict=True):
        assert widths[kind] == pytest.approx([unit * count, unit * count / 1.2], abs=0.01)
    assert {"15.00", "12.50", "8.33"} <= texts


def test_gain_of_a_rule_without_evidence_is_a_dash() -> None:
    rows = [(kind, None, None) if top1 == 0 else (kind, top1, multi) for kind, top1, multi in gain_rows()]
    texts = [item.text for item in ElementTree.fromstring(charts.gains(rows, ("a", "b"))).iter(f"{SVG}text")]

    assert texts.count("–") == 2 * COUNTS.count(0)
    assert "0.00" not in texts


def test_accuracy_without_gains_has_no_column() -> None:
    rows = [(kind, None, multi) for kind, _, multi in gain_rows()]
    texts = [item.text for item in ElementTree.fromstring(charts.gains(rows, ("a", "b"))).iter(f"{SVG}text")]

    assert "b" in texts
    assert not {"a", "–"} & {*texts}


def test_long_chart_titles_are_wrapped() -> None:
    svg = multiples([point(0.6), point(0.7)], None, title="out of vocabulary to model failure, combined")
    lines = {"".join(item.itertext()) for item in ElementTree.fromstring(svg).iter(f"{SVG}tspan")}

    assert {"out of vocabulary to model failure,", "combined"} <= lines


def test_selected_analysis_has_a_diamond() -> None:
    def marks(name: str) -> int:
        roots = map(ElementTree.fromstring, all_multiples([point(0.6, name), point(0.7)], None, line=False))
        paths = [item for root in roots for item in root.iter(f"{SVG}path")]
        return len([item for item in paths if item.get("stroke-width") == "2.5" and item.get("d")])

    assert marks("a1") == len(METRICS) - 1, "one in each metric that has a value"
    assert marks("a2") == 0


# Colors: the page's own variables, tested with simulated protanopia and deuteranopia.

PROTANOPIA = np.array(  # Machado, Oliveira, Fernandes 2009, severity 1.0, on linear RGB
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
)
DEUTERANOPIA = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
)
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
TYPES = [f"t{error_type.id}" for error_type in TOP1_ERROR_TYPES]


def variables() -> dict[str, dict[str, str]]:
    """Return the colors of light and dark mode; dark mode inherits the colors that it does not define."""
    parts = re.findall(r":root \{([^}]*)\}", style_sheet())
    types, dark_types, light, dark = (dict(re.findall(r"--(\w+):\s*(#[0-9a-f]{3,6})", part)) for part in parts)
    return {"light": light | types, "dark": light | types | dark | dark_types}


def rgb(color: str) -> NDArray[np.float64]:
    digits = color.removeprefix("#")
    if len(digits) == 3:
        digits = "".join(2 * digit for digit in digits)
    return np.array([int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)])


def linear(color: str) -> NDArray[np.float64]:
    values = rgb(color)
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def contrast(first: str, second: str) -> float:
    """Return the contrast ratio of WCAG 2."""
    low, high = sorted(float(linear(item) @ [0.2126, 0.7152, 0.0722]) for item in (first, second))
    return (high + 0.05) / (low + 0.05)


def lab(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return CIE Lab of linear RGB with the white point of the display."""
    relative = (TO_XYZ @ np.clip(light, 0, 1)) / TO_XYZ.sum(axis=1)
    x, y, z = np.where(relative > (6 / 29) ** 3, np.cbrt(relative), relative / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_color_measures_match_known_values() -> None:
    assert contrast("#000", "#fff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
    assert lab(linear("#ffffff")) == pytest.approx([100, 0, 0], abs=0.01)
    assert lab(linear("#ff0000")) == pytest.approx([53.24, 80.09, 67.20], abs=0.05)
    for matrix in (PROTANOPIA, DEUTERANOPIA):
        assert matrix.sum(axis=1) == pytest.approx([1, 1, 1], abs=1e-5), "white stays white"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_chart_color_contrasts_with_the_background(theme: str) -> None:
    colors = variables()[theme]

    weak = {
        name: round(contrast(color, colors["paper"]), 2)
        for name, color in colors.items()
        if re.fullmatch(r"t[2-8]|c[1-8]|dot", name) and contrast(color, colors["paper"]) < 3
    }
    assert weak == {}
    assert {*TYPES} <= {*colors}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_contrasts_with_the_background(theme: str) -> None:
    colors = variables()[theme]

    for name in ("ink", "soft", "link"):
        for ground in ("paper", "fill"):
            assert contrast(colors[name], colors[ground]) >= 4.5


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_model_failures_are_the_only_red(theme: str) -> None:
    red = []
    for name, color in variables()[theme].items():
        hue, _, saturation = colorsys.rgb_to_hls(*rgb(color).tolist())
        degrees = 360 * hue
        if saturation > 0.2 and min(degrees, 360 - degrees) < 18:
            red.append(name)

    assert red == ["t8"]


@pytest.mark.parametrize("vision", [np.eye(3), PROTANOPIA, DEUTERANOPIA], ids=["full", "protanopia", "deuteranopia"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colors_of_error_types_are_distinguishable(theme: str, vision: NDArray[np.float64]) -> None:
    colors_in_lab = {name: lab(vision @ linear(variables()[theme][name])) for name in TYPES}

    near = {
        (first, second): round(float(np.linalg.norm(colors_in_lab[first] - colors_in_lab[second])), 1)
        for first, second in itertools.combinations(TYPES, 2)
        if np.linalg.norm(colors_in_lab[first] - colors_in_lab[second]) < 12
    }
    assert near == {}


def test_dots_of_the_reliability_diagram_are_labeled_and_visible_even_with_one_image() -> None:
    counts = (1, 999, 1000, 9949, 9950, 40_000)
    bins = tuple(
        Bin(index / 6, (index + 1) / 6, count, (index + 0.5) / 6, 0.5, 0.5) for index, count in enumerate(counts)
    )

    svg = charts.reliability(Calibration(bins, 0.1, 0.1), ("top-1", "multi-label"))

    texts = [item.text for item in ElementTree.fromstring(svg).iter(f"{SVG}text")]
    assert [text for text in texts if text in ("1", "999", "1.0k", "9.9k", "10k", "40k")] == [
        "1", "999", "1.0k", "9.9k", "10k", "40k"
    ] * 2  # fmt: skip
    radii = [float(path.split(",")[0].removeprefix("M")) for path in paths(svg, "var(--t5)")]
    assert len(radii) == 2 * len(counts) and min(radii) > 2.5


def test_dots_of_the_reliability_diagram_have_names() -> None:
    bins = (Bin(0.8, 0.9, 1234, 0.856, 0.75, None),)
    svg = charts.reliability(Calibration(bins, None, None), ("top-1", "multi-label"))

    titles = [item.text for item in ElementTree.fromstring(svg).iter(f"{SVG}title")]
    assert titles == ["top-1: confidence 85.6 %, correct 75.0 % of 1,234 images"]


def test_rows_of_the_breakdown_are_links_of_their_group_and_type() -> None:
    links = {("a & b", error_type): f"/{error_type.key}" for error_type in TOP1_ERROR_TYPES if error_type.id != 3}
    svg = charts.breakdown([("a & b", kinds((1000, 1, 0, 0, 0, 0, 0)))], links)

    root = ElementTree.fromstring(svg)
    assert [link.get("href") for link in root.iter(f"{SVG}a")] == [*links.values()]
    assert root.findtext(f".//{SVG}title") == f"a & b, {TOP1_ERROR_TYPES[0].title}: 1,000 (99.9 %)"
    starts = {bar(link[0].get("d", "")) for link in root.iter(f"{SVG}a")}
    assert starts == {(0, 185)}, "the whole row is a link"
