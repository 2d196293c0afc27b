"""Render: a view becomes one self-contained HTML file. Everything is escaped: names of models and files are hostile."""

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from service.domain import ERROR_TYPES, SEVERITY
from service.report.charts import draw
from service.report.view import ReportView
from service.report.words import ERROR_TYPE_WORDS, SEVERITY_WORDS, number


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("service.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    return environment


def render_report(view: ReportView) -> str:
    """Return the report as HTML that needs nothing from anywhere."""
    legend = [
        {
            "css": f"type-{int(each)}",
            "title": ERROR_TYPE_WORDS[each].title,
            "sentence": ERROR_TYPE_WORDS[each].sentence,
            "severity": SEVERITY_WORDS[SEVERITY[each]],
        }
        for each in ERROR_TYPES[1:]
    ]
    return _environment().get_template("report.html").render(view=view, bars=draw(view.bars), legend=legend)
