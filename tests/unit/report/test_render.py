"""Pages as HTML: hostile names are text, nothing external is loaded, and only the scripts of the package run."""

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from errata.messages import LABEL_SOURCE_NAMES, OUTCOME_NAMES
from jinja2 import UndefinedError
from markupsafe import Markup

from service.domain import (
    ERROR_TYPES,
    TOP1_ERROR_TYPES,
    ChangeQuery,
    ErrorType,
    ExpertJudgment,
    ExpertSeverity,
    Labels,
    LabelSource,
    Outcome,
    ProblematicTag,
    ProposedText,
    VocabularyEvidence,
)
from service.report.agreement_view import AgreementRow, AgreementView
from service.report.breakdown_view import CountCell, GainRow, GroupRow, SeverityRow
from service.report.calibration_view import BinRow, CalibrationView, ConfidenceRow
from service.report.change_view import ChangeTableRow, GroupChangeTables
from service.report.class_view import ClassRow
from service.report.comparison_page import ChangeGrid, ComparisonPage
from service.report.comparison_view import (
    ChangedImageRow,
    ComparisonView,
    GroupChangeRow,
    IntervalRow,
    MatrixCell,
    MatrixRow,
    Side,
    TestRow,
)
from service.report.confusion_chart import ConfusionCell
from service.report.confusion_view import ConfusionMap, ConfusionRow
from service.report.elements import BarSegment, Chart, LinkedText, Property
from service.report.error_table import ClassPair, ErrorTable
from service.report.error_view import ErrorRow
from service.report.grid_view import ActiveFilter, FacetItem, FacetView, GridImage, GridView, SelectView
from service.report.image_view import Example, Examples, ImageView, OtherRow, TextBar
from service.report.listing_view import AnalysisRow, Column, FilterLink, ListView, PendingView
from service.report.messages.pages import COLUMN_NAMES
from service.report.percentile_view import PercentileRow
from service.report.render import content_security_policy, render, render_comparison, render_report, render_trend
from service.report.report_view import (
    KeyFigure,
    ReportView,
    SourceRow,
)
from service.report.slices_view import ContrastCells, SliceChangeRow, SliceRowView
from service.report.static_files import HTMX
from service.report.trend_view import FitRow, LegendEntry, ModelRow, PercentileTable, ShiftRow, TrendView
from service.web.analysis_list import PARAMETERS
from service.web.upload_form import UploadFields, UploadView

TestRow.__test__ = False  # type: ignore[attr-defined] # a record of the page, whatever its name begins with
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7 * 7 }}</title></style>&amp;<!--\u2028]]>"
VOID = {"meta", "br", "img", "input", "link", "hr"}
LOADS = {"src", "href", "srcset", "action", "data", "poster", "background", "formaction", "ping", "xlink:href"}
LOADERS = {"iframe", "object", "embed", "audio", "video", "source", "base", "image", "use", "foreignobject", "frame"}


class Page(HTMLParser):
    """A parsed page: tags, attributes, texts, scripts, styles, and open tags."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.comments: list[str] = []
        self.scripts: list[tuple[dict[str, str], str]] = []
        self.styles: list[tuple[dict[str, str], str]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag in ("script", "style"):
            (self.scripts if tag == "script" else self.styles).append(
                ({name: value or "" for name, value in attrs}, "")
            )
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    def handle_data(self, data: str) -> None:
        inside = self.open[-1] if self.open else ""
        if inside in ("script", "style"):
            blocks = self.scripts if inside == "script" else self.styles
            attributes, before = blocks[-1]
            blocks[-1] = (attributes, before + data)
        else:
            self.texts.append(data)

    @property
    def text(self) -> str:
        """The visible text with normalized white space."""
        return re.sub(r"\s+", " ", " ".join(self.texts))

    def values(self, name: str) -> list[str]:
        return [value for _, attribute, value in self.attributes if attribute == name]

    @property
    def data(self) -> Any:
        """The embedded data."""
        ((_, text),) = [script for script in self.scripts if script[0].get("id") == "errors-data"]
        return json.loads(text)


SVG = Markup('<svg xmlns="http://www.w3.org/2000/svg" aria-hidden="true"><rect width="1"/></svg>')
PERCENTILE = PercentileRow("model failure", "12.5 %", "multi-label errors", "13", "3 to 41", "fewer than most")
CHART = Chart(SVG, ("what it shows",))
TYPE = LinkedText("model failure", "#errors?type=model_failure")
BAR = (
    BarSegment("type-4", 0.0, 25.0, "fine-grained: 1", "#errors?type=fine_grained"),
    BarSegment("type-8", 25.0, 75.0, "model failure: 3", "#errors?type=model_failure"),
)
ERROR = ErrorRow(
    "x.jpg",
    "goldfish",
    "tench",
    "fine-grained",
    "type-4",
    "87.5 %",
    True,
    ("odd",),
    ("l",),
    ("r",),
    ("t",),
    ("time: night",),
)
SLICE = SliceRowView(
    "weather: rain", "31", ContrastCells("41.5 %", "19.5 %", "0.003", True), ContrastCells("–", "–", "–", False)
)
SLICE_CHANGE = SliceChangeRow("weather: rain", "31", "7", "3", "41.5 %", "19.5 %", "0.004", True)


def table(**changes: Any) -> ErrorTable:
    error_table = ErrorTable(
        names=["dir/x.jpg", "dir/y.jpg"],
        targets=np.array([0, 1], np.int16),
        predicted=np.array([1, 2], np.int16),
        types=np.array([4, 8], np.uint8),
        problematic=np.array([False, True]),
        tags={1: [ProblematicTag.EMPTY_WRONG]},
        probability=np.array([0.5, 0.25], np.float16),
        labels=Labels(np.array([0, 1, 1], np.int32), np.array([3], np.int16), np.array([2], np.uint8)),
        groups={"organism": np.zeros(2, bool)},
        total=2,
        abstained=(),
        class_names=["tench", "goldfish", "shark", "ray"],
        superclasses={"fish": [0, 1, 2, 3]},
        pairs={(3, 1): ClassPair(12, ("z.jpg",))},
        overlaps={(0, 1): "They are the same."},
        texts={0: VocabularyEvidence(True, (ProposedText("a carp", 0.5, True),), 1234)},
        pictures={"x.jpg": "data:image/jpeg;base64,AAAA"},
        agreement={ErrorType.FINE_GRAINED: "Experts agreed in 248."},
        experts={0: ExpertJudgment(ErrorType.FINE_GRAINED, ExpertSeverity.MAJOR)},
    )
    return replace(error_table, **changes)


def part(name: str) -> ClassRow:
    counts = tuple(LinkedText("1", "#errors?type=a") for _ in TOP1_ERROR_TYPES)
    failures = LinkedText("7", "#errors?type=b")
    return ClassRow(name, "organism", "9", "8", "50.0 %", failures, BAR, "1 fine-grained", counts, "+0.10", "+0.20")


def view(**changes: Any) -> ReportView:
    cells = tuple(CountCell(str(error_type.id), "14.3 %") for error_type in TOP1_ERROR_TYPES)
    whole = ReportView(
        title="net",
        identity="analyses/a1, owner: me",
        summary="net makes 7 top-1 errors on 9 images.",
        key_figures=(KeyFigure("top-1 accuracy", "60.0 %", "how it is read", "higher than most"),),
        warnings=("careful",),
        is_implausible=False,
        assumptions="The columns are `image` as the file name.",
        abstained=("CLIP was away.",),
        labels_accuracy="accuracy against the labels",
        breakdown_chart=CHART,
        type_titles=tuple(error_type.title for error_type in TOP1_ERROR_TYPES),
        groups=(GroupRow("all images", "9", "22.2 %", "44.4 %", "55.0 %", "50.0 %", "60.0 %", "70.0 %", "7", cells),),
        severities=(SeverityRow("type-8", "severe", "Plain failures.", (TYPE,), "5", "71.4 %", "55.6 %", TYPE.url),),
        gains_chart=CHART,
        gains=(GainRow("fine-grained", "type-4", "minor", "+1.00", "+2.00"),),
        superclasses=(part("dog"),),
        classes=(part("pug"),),
        num_superclasses=2345,
        num_classes=1234,
        confusions=(ConfusionRow("goldfish", "tench", "3", "3 fine-grained", "c.jpg"),),
        confusion_map=ConfusionMap(CHART, (ConfusionCell("goldfish", "tench", 3, "#errors?class=1"),)),
        calibration=CalibrationView(
            "On average.",
            CHART,
            (BinRow("0.0 % to 50.0 %", "4", "25.1 %", "26.2 %", "27.3 %", "#errors?min_confidence=0"),),
            (ConfidenceRow("model failure", "type-8", "3", ("11.1 %", "22.3 %", "33.4 %")),),
        ),
        percentiles=(PERCENTILE,),
        notes=("The superclasses differ.",),
        errors=(ERROR,),
        table=table(),
        provenance=(Property("data set", "demo"),),
        sources=(SourceRow("ReaL", "https://example.org/real", "Apache-2.0"),),
        agreement=AgreementView(
            (AgreementRow("type-4", "fine-grained", "290", "248", "85.5 %", "79.5 %", "0.54", "64.5 %"),),
            ("Experts judged 484.",),
            "Severity is not harm.",
            {ErrorType.FINE_GRAINED: "Experts agreed in 248."},
        ),
        slices=(SLICE,),
        num_slices=3,
    )
    return replace(whole, **changes)


def comparison() -> ComparisonView:
    flip = ChangedImageRow(
        "f.jpg", "goldfish", "tench", "goldfish", "fine-grained", "type-4", "top-1 correct", "type-1"
    )
    line = ChangeTableRow("dog", "", "9", "1", "2", "12.5 %", "25.0 %", "−2.00 to +1.00", "< 0.001", "0.042", True)
    kind = replace(line, name="fine-grained", css_class="type-4", adjusted_p_value="0.41", significant=False)
    cells = tuple(MatrixCell(str(error_type_.id), "heat-1 worse") for error_type_ in ERROR_TYPES)
    return ComparisonView(
        title="old → new",
        summary="new fixes 1.",
        sides=(
            Side("A", "a1", "old", "old is wrong.", "analyses/a1"),
            Side("B", "b2", "new", "new is wrong.", "analyses/b2"),
        ),
        matrix_samples="1,233",
        num_excluded="3",
        abstained=("CLIP was away.",),
        type_titles=tuple(error_type_.title for error_type_ in ERROR_TYPES),
        matrix=(MatrixRow("fine-grained", "type-4", cells, "36"),),
        matrix_totals=tuple("7" for _ in ERROR_TYPES),
        top1_changes=("11", "13"),
        tests=(TestRow("top-1 accuracy", "B has more.", "17", "19", "p < 0.001"),),
        chart=CHART,
        intervals=(IntervalRow("top-1", "25.0 %", "20.0 %", "+5.00 points"),),
        groups=(GroupChangeRow("organisms", "21", "1 → 2 %", "3 → 4 %", "5 → 6 %", "fixes 2"),),
        changes=(
            GroupChangeTables("all images", (kind,), (line,), (line,), 5, 1234),
            GroupChangeTables("organisms", (kind,), (), (), 0, 0),
        ),
        fixed=(flip,),
        broken=(flip,),
        num_fixed=2345,
        num_broken=3456,
        provenance=(Property("data set", "demo"),),
        slices=(SLICE_CHANGE,),
        num_slices=2,
    )


def comparison_on_site() -> ComparisonView:
    whole = comparison()
    image = GridImage(
        "g.jpg",
        "/datasets/demo/images/g.jpg?analysis=b2",
        "/datasets/demo/thumbnails/g.jpg",
        "eel",
        "goldfish",
        "",
        "top-1 correct",
        "type-1",
        ("before: tench (fine-grained)",),
    )
    images = "/analyses/b2/images?baseline=a1&change=fixed"
    linked = tuple(replace(cell, url=images) for cell in whole.matrix[0].cells)
    (classes,) = whole.changes[0].classes
    page = ComparisonPage(
        query=ChangeQuery("fixed"),
        changes=(("fixed", "Fixed"),),
        classes=(("n01440764", "tench"),),
        superclasses=(("fish", "fish"),),
        is_filtered=True,
        reset_url="/compare?a=a1&b=b2",
        swap_url="/compare?a=b2&b=a1",
        grids=(
            ChangeGrid("fixed", "Fixed", images, 14, (image, replace(image, thumbnail=""))),
            ChangeGrid("broken", "Broken", images, 0, ()),
        ),
    )
    rows = (replace(classes, url="/compare?a=a1&b=b2&class=n01440764", url_a=images, url_b=images),)
    return replace(
        whole,
        matrix=(replace(whole.matrix[0], cells=linked),),
        changes=(replace(whole.changes[0], classes=rows), *whole.changes[1:]),
        page=page,
    )


def trend() -> TrendView:
    return TrendView(
        title="Error types and accuracy: demo",
        summary="Error types.",
        dataset="demo",
        group="all",
        by="size",
        group_names=(("all", "all images"), ("other", "other")),
        by_names=(("", "nothing"), ("size", "size")),
        x="top1_accuracy",
        y="model_failure",
        x_names=(("", "as in the paper"), ("top1_accuracy", "top-1 accuracy")),
        y_names=(("", "all"), ("model_failure", "model failure")),
        selected_ids=("a1",),
        notes=("No models are published.",),
        charts=(CHART, CHART),
        legend=(LegendEntry("cnn", 1), LegendEntry("vit", 0)),
        num_reference="900",
        percentiles=(
            PercentileTable(
                "my net",
                (PercentileRow("model failure", "12.5 %", "multi-label errors", "13", "3 to 41", "fewer than most"),),
            ),
        ),
        top1_title="top-1, all images",
        metric_titles=("model failure", "multi-label accuracy"),
        portions_note="Portions of errors.",
        models=(ModelRow("a1", "my net", "cnn", "75.0 %", ("1.0 %", "2.0 %"), True, "me"),),
        num_models=1234,
        shifts=(ShiftRow("cnn", "12", ("+1.00", "–")),),
        fits=(FitRow("model failure", "all models", "12", "+0.50", "0.88", "–"),),
        evidence="e" * 64,
    )


def analyses() -> ListView:
    done = AnalysisRow(
        id="a1",
        short_id="a",
        title="net",
        model=FilterLink("timm:net", "model=timm%3Anet"),
        dataset="demo",
        owner=FilterLink("me", "owner=me"),
        created="2024-02-29",
        state="succeeded",
        css_class="state-succeeded",
        is_implausible=True,
        is_final=True,
        has_result=True,
        progress="",
        top1="1 %",
        multi_label="2 %",
        severe="3 %",
        segments=BAR,
        labels=(FilterLink("size=big", "label=size%3Dbig"),),
    )
    open_one = replace(
        done, id="a2", state="running", is_final=False, has_result=False, progress="5 of 20 images", segments=()
    )
    return ListView(
        rows=(done, open_one),
        caption="Analyses 1 to 2 of 1,234",
        is_live=True,
        columns={name: Column(title, f"order={name}", "", False) for name, title in COLUMN_NAMES.items()}
        | {"display_name": Column("name", "order=display_name", "descending", True)},
        states=(("failed", "failed"),),
        orders=(("title", "by name"), ("title desc", "backwards")),
        datasets=(("demo", "demo"),),
        selection=dict.fromkeys(PARAMETERS, "") | {"search": "net 5 %", "dataset": "demo", "label": "size=5 %"},
        is_filtered=True,
        previous="before=1",
        next="after=3",
        is_incomplete=True,
    )


def opened() -> PendingView:
    failure = "MODEL_NOT_FOUND: none"
    return PendingView("a1", "net", "demo", "analyses/a1, owner: me", "running", "5 of 20 images", 5, 20, failure, True)


def upload() -> UploadView:
    fields = UploadFields("demo", "net 5 %", "size=5 %", "file-name", True, request_id="r")
    return UploadView(fields, ("demo", "other"), 2_000_000, "2 MB", "The file is bad.", ("Line 3: bad.",))


def image() -> ImageView:
    example = Example("y.jpg", "/datasets/demo/thumbnails/y.jpg", "/datasets/demo/images/y.jpg?analysis=a1")
    return ImageView(
        "a1",
        "net",
        ERROR,
        picture="/datasets/demo/pictures/x.jpg",
        review="/review/demo/x.jpg?analysis=a1",
        grid="/analyses/a1/images",
        position="Image 2 of 3",
        previous="/datasets/demo/images/w.jpg?analysis=a1",
        next="/datasets/demo/images/y.jpg?analysis=a1",
        examples=(Examples("Examples of a and b together", (example, replace(example, thumbnail="", url=""))),),
        texts=(TextBar("a fish", "12.5 %", 12.5),),
        others=(OtherRow("net2", "/datasets/demo/images/x.jpg", "/analyses/a2", "a2", "tench", "other", "type-4"),),
        others_note="Other analyses: 1.",
        agreement="Experts agreed in 7 of 9.",
        coverage="Coverage: 1 of 2 images (50.0 %).",
    )


def images() -> GridView:
    shown = GridImage(
        "x.jpg", "/datasets/demo/images/x.jpg", "/datasets/demo/thumbnails/x.jpg", "goldfish", "tench", "87.5 %",
        "fine-grained", "type-4", ("error in 1 of 2 other analyses",),
    )  # fmt: skip
    item = FacetItem("class-1", "tench", "1,234", "/analyses/a1/images?class=1", True, "type-4")
    other = replace(item, id="class-2", is_selected=False, css_class="")
    return GridView(
        analysis="a1",
        dataset="demo",
        title="net",
        images=(shown, replace(shown, thumbnail="", probability="")),
        facets=(FacetView("class", "class", (item, other), 12, (("sort", "class"),)),),
        filters=(
            ActiveFilter("class", "class: tench", "/analyses/a1/images"),
            ActiveFilter("group", "group: other", "/"),
        ),
        reset="/analyses/a1/images",
        coverage="Coverage: 1 of 2 images (50.0 %).",
        total=200,
        first=61,
        last=120,
        page=2,
        num_pages=4,
        first_page="/analyses/a1/images",
        previous_page="/analyses/a1/images",
        next_page="/analyses/a1/images?page=3",
        last_page="/analyses/a1/images?page=4",
        hidden=(("class", "1"),),
        options=(SelectView("sort", "order", "class", (("class", "class"), ("models", "models"))),),
    )


def same(value: Any) -> Any:
    return value


def poisoned(value: Any) -> Any:
    """Return a view with every text replaced by a hostile one, except for charts."""
    if isinstance(value, Markup):
        return value
    if isinstance(value, str):
        return HOSTILE
    if isinstance(value, ErrorTable):
        return poisoned_table()
    if isinstance(value, tuple):
        return tuple(poisoned(item) for item in value)
    if isinstance(value, dict):
        return {name: poisoned(item) for name, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        texts = {field.name: poisoned(getattr(value, field.name)) for field in fields(value)}
        return replace(value, **(texts | ({"url": f"#errors?{HOSTILE}"} if "url" in texts else {})))
    return value


def poisoned_table() -> ErrorTable:
    return table(
        names=[f"{HOSTILE}x{HOSTILE}", f"{HOSTILE}y{HOSTILE}"],
        class_names=[f"{HOSTILE}{index}" for index in range(4)],
        superclasses={HOSTILE: [0, 1]},
        pairs={(3, 1): ClassPair(12, (HOSTILE,))},
        overlaps={(0, 1): HOSTILE},
        texts={0: VocabularyEvidence(True, (ProposedText(HOSTILE, 0.5, True),), 1234)},
        pictures={HOSTILE: "data:image/jpeg;base64,AAAA"},
    )


PAGES: dict[str, Callable[[Callable[[Any], Any]], str]] = {
    "report": lambda transform: render_report(transform(view())),
    "report on a site": lambda transform: render_report(
        transform(view(table=table(page_base="/analyses/a1/errors/"))), transform("a1"), site=True
    ),
    "comparison": lambda transform: render_comparison(transform(comparison())),
    "comparison on a site": lambda transform: render_comparison(transform(comparison_on_site()), site=True),
    "trend": lambda transform: render_trend(transform(trend())),
    "trend on a site": lambda transform: render_trend(transform(trend()), site=True),
    "analyses": lambda transform: render("analyses.html", site=True, view=transform(analyses())),
    "no analyses": lambda transform: render(
        "analyses.html", site=True, view=transform(replace(analyses(), rows=(), previous="", next="", is_live=False))
    ),
    "analysis": lambda transform: render("analysis.html", site=True, view=transform(opened())),
    "deletion": lambda transform: render(
        "delete.html", site=True, view=transform(replace(opened(), is_live=False)), form_token="t"
    ),
    "upload": lambda transform: render("upload.html", site=True, view=transform(upload()), form_token="t"),
    "image": lambda transform: render("image.html", site=True, view=transform(image())),
    "images": lambda transform: render("images.html", site=True, view=transform(images())),
    "no images": lambda transform: render(
        "images.html", site=True, view=transform(replace(images(), images=(), facets=(), filters=(), num_pages=1))
    ),
    "message": lambda transform: render(
        "message.html",
        site=True,
        title=transform("Not found"),
        message=transform("There is none."),
        details=[transform("Try again.")],
    ),
}
ALONE = ["report", "comparison", "trend"]
every_page = pytest.mark.parametrize("name", list(PAGES))
poison_or_not = pytest.mark.parametrize("transform", [same, poisoned], ids=["clean", "hostile"])


def digest(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


def policy_of(page: Page) -> dict[str, list[str]]:
    """Return the directives of the Content-Security-Policy of a page."""
    (text,) = [value for tag, name, value in page.attributes if tag == "meta" and name == "content" and "src" in value]
    return {name: values for name, *values in (part.split() for part in text.split(";"))}


@every_page
@poison_or_not
def test_pages_are_well_formed_html(name: str, transform: Callable[[Any], Any]) -> None:
    html = PAGES[name](transform)
    page = Page(html)

    assert html.startswith("<!doctype html>")
    assert page.open == []
    assert ("html", "lang", "en") in page.attributes
    assert ("meta", "charset", "utf-8") in page.attributes
    assert {"title", "main", "h1"} <= page.tags
    assert page.comments == []


@every_page
def test_hostile_names_are_text(name: str) -> None:
    page = Page(PAGES[name](poisoned))
    clean = Page(PAGES[name](same))

    assert page.tags == clean.tags
    assert {(tag, name) for tag, name, _ in page.attributes} == {(tag, name) for tag, name, _ in clean.attributes}
    assert page.styles == clean.styles
    assert len(page.scripts) == len(clean.scripts)
    texts = " ".join(page.texts)
    assert HOSTILE in texts
    assert "49" not in texts, "a name was run as a template"


@every_page
@poison_or_not
def test_no_attribute_contains_script_or_style(name: str, transform: Callable[[Any], Any]) -> None:
    page = Page(PAGES[name](transform))

    assert not [attribute for attribute in page.attributes if attribute[1].startswith("on")]
    assert not page.values("style")
    assert not page.tags & LOADERS
    assert not [value for value in page.values("href") + page.values("src") if value.lower().startswith("javascript")]


@every_page
@poison_or_not
def test_only_script_and_style_are_those_of_the_policy(name: str, transform: Callable[[Any], Any]) -> None:
    page = Page(PAGES[name](transform))
    policy = policy_of(page)

    run = [(attributes, text) for attributes, text in page.scripts if attributes.get("type") != "application/json"]
    data = [attributes for attributes, _ in page.scripts if attributes.get("type") == "application/json"]
    *loaded, (attributes, script) = run
    assert attributes == {}
    assert policy["script-src"] == [digest(script), *([] if name in ALONE else [f"'{HTMX.integrity}'"])]
    htmx = {"src": HTMX.url, "integrity": HTMX.integrity, "defer": ""}
    assert loaded == ([(htmx, "")] if name.endswith("images") else [])
    ((_, style),) = page.styles
    assert policy["style-src"] == [digest(style)]
    assert data == ([{"type": "application/json", "id": "errors-data"}] if name.startswith("report") else [])


@every_page
def test_policy_allows_nothing_external(name: str) -> None:
    page = Page(PAGES[name](same))
    policy = policy_of(page)

    assert policy["default-src"] == ["'none'"]
    assert policy["base-uri"] == ["'none'"]
    if name in ALONE:
        assert policy["img-src"] == ["data:"]
        assert policy["form-action"] == ["'none'"]
        assert "connect-src" not in policy
    allowed = {"'none'", "'self'", "data:"}
    assert {value for values in policy.values() for value in values if not value.startswith("'sha256-")} <= allowed
    assert content_security_policy(name not in ALONE) in page.values("content")


@pytest.mark.parametrize("name", ALONE)
@poison_or_not
def test_stand_alone_page_loads_nothing(name: str, transform: Callable[[Any], Any]) -> None:
    page = Page(PAGES[name](transform))

    loaded = [value for _, attribute, value in page.attributes if attribute in LOADS]
    assert all(value.startswith(("data:", "#")) for value in loaded)
    assert ("link", "href", "data:,") in page.attributes
    ((_, style),) = page.styles
    assert not re.findall(r"url\(|@import|expression\(|https?:", style)


@pytest.mark.parametrize("name", [name for name in PAGES if name not in ALONE])
def test_served_page_links_only_to_the_site(name: str) -> None:
    page = Page(PAGES[name](same))

    loaded = [value for _, attribute, value in page.attributes if attribute in LOADS]
    assert all(value.startswith(("data:", "#")) or re.match(r"/(?!/)", value) for value in loaded)
    assert any(value.startswith("/") for value in loaded)


@every_page
def test_ids_are_unique_and_references_resolve(name: str) -> None:
    page = Page(PAGES[name](same))

    ids = page.values("id")
    assert len(ids) == len(set(ids))
    targets = [item[1:] for item in page.values("href") if item.startswith("#")]
    targets += [item for value in page.values("aria-labelledby") for item in value.split()]
    targets += [*page.values("list"), *page.values("for")]
    assert set(targets) <= set(ids)


@every_page
def test_same_view_gives_the_same_bytes(name: str) -> None:
    assert PAGES[name](same) == PAGES[name](same)


DIGESTS = """
import hashlib
from unit.report.test_render import PAGES, same
for name, page in PAGES.items():
    print(name, hashlib.sha256(page(same).encode()).hexdigest())
"""


@pytest.mark.processes
def test_same_view_gives_the_same_bytes_in_each_process() -> None:
    """The order of a set of texts differs between processes."""
    first, second = (
        subprocess.run(
            [sys.executable, "-c", DIGESTS],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    )

    assert [line.rpartition(" ")[0] for line in first.splitlines()] == [*PAGES]
    assert first == second


# The block of data.


def data_text(html: str) -> str:
    match = re.search(r'<script type="application/json" id="errors-data">(.*?)</script>', html, re.DOTALL)
    assert match is not None
    return match[1]


@pytest.mark.parametrize(
    "evil",
    [
        HOSTILE,
        "</script>",
        "</ScRiPt ><script>alert(1)</script>",
        "<!--",
        "<!--<script>",
        "-->",
        "]]>",
        "\u2028",
        "\u2029",
        "\\u003c",
        "\\",
        '"',
        "\x00\x01\x1f\x7f",
        "\U0001f41f",
        "&lt;&amp;",
    ],
)
def test_embedded_data_cannot_end_its_element_and_is_lossless(evil: str) -> None:
    names = [f"{evil}x", f"{evil}y{evil}"]
    hostile = table(
        names=names,
        class_names=[evil, f"{evil}1", f"{evil}2", f"{evil}3"],
        superclasses={evil: [0, 1]},
        overlaps={(0, 1): evil},
        pairs={(3, 1): ClassPair(12, (evil,))},
        texts={0: VocabularyEvidence(True, (ProposedText(evil, 0.5, True),), 1234)},
    )
    html = render_report(view(table=hostile))

    text = data_text(html)
    assert not set(text) & set("<>&\u2028\u2029")
    data = Page(html).data
    assert data == json.loads(text)
    assert [data["prefix"] + item + data["suffix"] for item in data["file"]] == names
    assert data["classes"] == {"0": evil, "1": f"{evil}1", "2": f"{evil}2", "3": f"{evil}3"}
    assert data["superclasses"] == {evil: [0, 1]}
    assert data["overlaps"] == {"0 1": evil}
    assert data["pairs"] == {"3 1": ["12 images", [evil]]}
    assert data["texts"]["0"][2] == [[evil, 0.5]]


def test_data_contains_all_messages_of_the_script() -> None:
    page = Page(PAGES["report"](same))
    ((script,),) = [[text for attributes, text in page.scripts if not attributes]]
    data = page.data

    assert {*re.findall(r"\bmessages\.(\w+)", script)} <= {*data["messages"]}
    assert {*re.findall(r"\bdata\.outcomes\.(\w+)", script)} <= {*data["outcomes"]}
    assert {*re.findall(r"\bdata\.(\w+)", script)} <= {*data}
    assert data["outcomes"] == {item.name: OUTCOME_NAMES[item] for item in Outcome}
    assert data["sources"] == [LABEL_SOURCE_NAMES[item] for item in LabelSource]


def test_elements_that_the_script_needs_are_in_the_report() -> None:
    page = Page(PAGES["report"](same))
    ((script,),) = [[text for attributes, text in page.scripts if not attributes]]

    assert {*re.findall(r'getElementById\("([\w-]+)"\)', script)} <= {*page.values("id")}


# Content of the pages.


def test_report_shows_all_values_of_its_view() -> None:
    text = Page(render_report(view())).text

    for expected in (
        "net makes 7 top-1 errors on 9 images.",
        "60.0 %",
        "how it is read",
        "higher than most",
        "CLIP was away.",
        "careful",
        "14.3 %",
        "Plain failures.",
        "71.4 %",
        "+1.00",
        "+2.00",
        "dog",
        "pug",
        "1 of 1,234 classes with errors",
        "3 fine-grained",
        "c.jpg",
        "On average.",
        "0.0 % to 50.0 %",
        "25.1 %",
        "22.3 %",
        "fewer than most",
        "The superclasses differ.",
        "x.jpg",
        "87.5 %",
        "Errors, worst first: 1 of 2.",
        "https://example.org/real",
        "Apache-2.0",
        "what it shows",
        "Slices: 1 of 3.",
        "weather: rain",
        "41.5 %",
        "0.003",
        "time: night",
    ):
        assert expected in text


def test_comparison_shows_all_values_of_its_view() -> None:
    text = Page(render_comparison(comparison())).text

    for expected in (
        "new fixes 1.",
        "old is wrong.",
        "new is wrong.",
        "1,234",
        "only one analysis has a prediction: 3.",
        "CLIP was away.",
        "Images by top-1 correctness only: 11 fixed, 13 broken.",
        "B has more.",
        "p < 0.001",
        "+5.00 points",
        "fixes 2",
        "−2.00 to +1.00",
        "Fixed: 2,345",
        "Broken: 3,456",
        "f.jpg",
        "demo",
        "Slices with changes: 1 of 2.",
        "weather: rain",
        "0.004",
    ):
        assert expected in text


def test_trend_shows_all_values_of_its_view() -> None:
    text = Page(render_trend(trend())).text

    for expected in (
        "Error types.",
        "No models are published.",
        "900 reference models",
        "my net",
        "1 of 1,234 models",
    ):
        assert expected in text
    for expected in ("fewer than most", "75.0 %", "+0.50", "0.88", "+1.00", "cnn", "vit", "e" * 64):
        assert expected in text


def test_list_shows_all_values_of_its_view() -> None:
    page = Page(PAGES["analyses"](same))

    assert "Analyses 1 to 2 of 1,234" in page.text
    for expected in ("net", "demo", "2024-02-29", "succeeded", "running", "implausible", "5 of 20 images", "size=big"):
        assert expected in page.text
    links = {"/analyses/a1", "/analyses/a2", "/?before=1", "/?after=3", "/?model=timm%3Anet", "/?owner=me"}
    assert links | {"/?label=size%3Dbig", "/?order=display_name", "/"} <= {*page.values("href")}
    assert ("th", "aria-sort", "descending") in page.attributes
    assert "/analyses/a1/delete" in page.values("href") and "/analyses/a2/delete" not in page.values("href")
    marks = [value for tag, name, value in page.attributes if (tag, name) == ("input", "value")]
    assert marks == ["net 5 %", "", "size=5 %", "", "a1"], "inputs keep their spaces"


def test_percentages_do_not_break_across_lines() -> None:
    for name in ("report", "comparison", "trend", "analyses"):
        assert not re.findall(r"\d %", "".join(Page(PAGES[name](same)).texts)), name
    page = Page(render_trend(replace(trend(), num_reference="> 99.9 % and < 0.1 % of 5 < 6")))
    assert ">_99.9_% and <_0.1_% of 5 < 6" in "".join(page.texts).replace("\N{NO-BREAK SPACE}", "_")


def test_right_to_left_names_are_isolated_from_arrows_and_numbers() -> None:
    target, predicted = "חתול", "قط"
    page = image()
    row = replace(page.row, target=target, predicted=predicted)
    grid = images()
    shown = replace(grid.images[0], target=target, predicted=predicted)
    report = view(errors=(row,))

    arrow = f"<bdi>{target}</bdi> → <strong><bdi>{predicted}</bdi></strong>"
    assert arrow in render("image.html", site=True, view=replace(page, row=row))
    assert arrow in render_report(report)
    assert f"<strong><bdi>{predicted}</bdi></strong> 87.5" in render(
        "images.html", site=True, view=replace(grid, images=(shown,))
    )


def test_upload_page_keeps_the_fields_and_shows_the_problems() -> None:
    page = Page(PAGES["upload"](same))

    assert "The file is bad." in page.text and "Line 3: bad." in page.text and "2 MB" in page.text
    assert ("form", "enctype", "multipart/form-data") in page.attributes
    assert ("form", "data-max-bytes", "2000000") in page.attributes
    assert {"net 5 %", "file-name", "t"} <= {*page.values("value")}
    token = page.attributes.index(("input", "name", "form_token"))
    assert token < page.attributes.index(("input", "type", "file")), "the token is checked before the file is stored"


def test_deletion_of_an_open_analysis_is_not_offered() -> None:
    page = Page(render("delete.html", site=True, view=opened(), form_token="t"))

    assert "form" not in page.tags and "errata cancel a1" in page.text
    assert ("form", "method", "post") in Page(PAGES["deletion"](same)).attributes


def test_empty_list_states_the_reason() -> None:
    nothing = replace(analyses(), rows=())

    assert "No analyses match the filters." in Page(render("analyses.html", site=True, view=nothing)).text
    unfiltered = replace(nothing, is_filtered=False)
    assert "run errata analyze." in Page(render("analyses.html", site=True, view=unfiltered)).text


@pytest.mark.parametrize(("name", "make_view"), [("analyses.html", analyses), ("analysis.html", opened)])
def test_page_refreshes_only_while_an_analysis_is_unfinished(name: str, make_view: Callable[[], Any]) -> None:
    live = Page(render(name, site=True, view=make_view()))
    final = Page(render(name, site=True, view=replace(make_view(), is_live=False)))

    assert "refresh" in live.values("http-equiv")
    assert "data-live" in {attribute for _, attribute, _ in live.attributes}
    assert "refresh" not in final.values("http-equiv")
    assert "data-live" not in {attribute for _, attribute, _ in final.attributes}


def test_legend_describes_every_error_type() -> None:
    text = Page(render_report(view())).text

    for error_type in TOP1_ERROR_TYPES:
        assert error_type.title in text
        assert error_type.row.description in text


def test_report_without_errors_is_valid() -> None:
    nothing = table(
        names=[],
        targets=np.zeros(0, np.int16),
        predicted=np.zeros(0, np.int16),
        types=np.zeros(0, np.uint8),
        problematic=np.zeros(0, bool),
        tags={},
        probability=None,
        labels=Labels(np.zeros(1, np.int32), np.zeros(0, np.int16), np.zeros(0, np.uint8)),
        groups={},
        total=0,
        texts={},
        pictures={},
    )
    empty = view(
        key_figures=(),
        warnings=(),
        abstained=(),
        groups=(),
        severities=(),
        gains=(),
        superclasses=(),
        classes=(),
        num_classes=0,
        confusions=(),
        calibration=None,
        percentiles=(),
        notes=(),
        errors=(),
        table=nothing,
        provenance=(),
        sources=(),
    )
    page = Page(render_report(empty))

    assert page.open == []
    assert "No errors." in page.text
    assert not {"confusions", "superclasses", "calibration", "percentiles", "errors-table"} & {*page.values("id")}
    assert page.data["file"] == []


def test_report_states_that_the_table_is_incomplete() -> None:
    part_of_all = Page(render_report(view(table=table(total=25_000)))).text
    everything = Page(render_report(view())).text

    assert (
        "The table contains the 2 worst of 25,000 errors. To get all errors, run errata show --export." in part_of_all
    )
    assert "Errors, worst first: 1 of 25,000." in part_of_all
    assert "The table contains" not in everything


def test_report_states_that_superclasses_are_left_out() -> None:
    note = "Superclasses with the most model failures: 1 of 2,345 superclasses with errors"

    text = Page(render_report(view())).text
    assert note in text and "Superclasses of the ground truth, sorted by model failures." in text
    assert "Superclasses with the most model failures" not in Page(render_report(view(num_superclasses=1))).text


def test_report_without_superclasses_has_the_table_of_classes() -> None:
    page = render_report(view(superclasses=(), num_superclasses=0))

    assert '<h2 id="superclasses">Classes</h2>' in page
    assert "Superclasses and classes" not in page and "Superclasses of the ground truth" not in page
    assert "pug" in page


def test_stand_alone_report_embeds_thumbnails_and_has_no_links() -> None:
    page = Page(render_report(view()))

    assert ("img", "src", "data:image/jpeg;base64,AAAA") in page.attributes
    assert "Image details" not in page.text


def test_served_report_links_to_image_pages_with_encoded_names() -> None:
    result = replace(ERROR, file_name='dir/a b?#&".jpg')
    hostile = view(
        errors=(result,), table=table(page_base="/datasets/d/images/", page_query="?analysis=a1", pictures={})
    )
    page = Page(render_report(hostile, "a1", site=True))

    assert "/datasets/d/images/dir/a%20b%3F%23%26%22.jpg?analysis=a1" in page.values("href")
    assert "/analyses/a1/report.html" in page.values("href")


def test_every_error_type_has_a_color_in_the_style() -> None:
    rows = tuple(GainRow(error_type.title, f"type-{error_type.id}", "x", "1", "2") for error_type in TOP1_ERROR_TYPES)
    page = Page(render_report(view(gains=rows)))
    ((_, style),) = page.styles
    used = {name for value in page.values("class") for name in value.split()}

    for error_type in TOP1_ERROR_TYPES:
        assert f"type-{error_type.id}" in used
        assert re.search(rf"\.bar \.type-{error_type.id} {{ fill: var\(--t{error_type.id}\)", style)
        assert re.search(rf"\.stripe\.type-{error_type.id} {{ border-color: var\(--t{error_type.id}\)", style)
    assert "type-1" not in used


def test_page_of_a_comparison_has_filters_and_grids_instead_of_tables_of_images() -> None:
    html = render_comparison(comparison_on_site(), site=True)
    page = Page(html)

    for expected in ("Fixed: 14", "All images (14)", "Broken: 0", "No images.", "g.jpg", "eel", "goldfish", "1,233"):
        assert expected in page.text
    assert "f.jpg" not in page.text
    assert page.values("src") == ["/datasets/demo/thumbnails/g.jpg"]
    assert '<option value="fixed" selected>Fixed</option>' in html
    assert page.values("href").count("/analyses/b2/images?baseline=a1&change=fixed") == len(ERROR_TYPES) + 3
    assert "/compare?a=a1&b=b2&class=n01440764" in page.values("href")


def test_every_chart_is_hidden_from_screen_readers_and_has_a_description() -> None:
    for name in ALONE:
        page = Page(PAGES[name](same))
        hidden = [value for tag, attribute, value in page.attributes if (tag, attribute) == ("svg", "aria-hidden")]
        svgs = PAGES[name](same).count("<svg ")

        assert hidden == ["true"] * svgs
        assert "what it shows" in page.text


def test_contents_lists_all_sections() -> None:
    page = Page(render_report(view()))
    sections = [value for tag, name, value in page.attributes if (tag, name) == ("section", "aria-labelledby")]
    targets = [value.removeprefix("#") for value in page.values("href") if value.startswith("#")]

    assert targets[:1] == ["main"]
    contents = ["main", *sections]
    assert targets[1 : 1 + 2 * len(contents)] == contents * 2  # the menu of narrow windows, and the list of wide ones
    assert set(contents) <= set(page.values("id"))


def test_contents_leaves_out_missing_sections() -> None:
    page = Page(render_report(view(calibration=None, slices=(), confusions=(), confusion_map=None, classes=())))

    assert {"#calibration", "#slices", "#confusions", "#superclasses"}.isdisjoint(page.values("href"))


def test_picture_is_embedded_once() -> None:
    pictures = {"x.jpg": "data:image/jpeg;base64,AAAA", "y.jpg": "data:image/jpeg;base64,BBBB"}
    html = render_report(view(table=table(pictures=pictures)))

    assert (html.count("AAAA"), html.count("BBBB")) == (1, 1)
    assert Page(html).data["pictures"] == {"y.jpg": pictures["y.jpg"]}
    assert ("img", "data-file", "x.jpg") in Page(html).attributes


def test_missing_template_value_raises_an_error() -> None:
    with pytest.raises(UndefinedError, match="undefined"):
        render("message.html", site=True, title="a")


def test_report_has_the_agreement_with_experts_beside_each_error_type() -> None:
    text = Page(PAGES["report"](same)).text

    assert "Experts agreed in 248." in text
    assert "Experts judged 484." in text
    assert "Severity is not harm." in text
    assert "290 248 85.5 % 79.5 % 0.54 64.5 %" in text


def test_data_set_without_expert_judgments_has_no_agreement() -> None:
    assert "experts" not in Page(render_report(view(agreement=None))).text.lower()
