"""Render: a view becomes one HTML file. Everything is escaped: names of models and files are hostile.

A page on its own (`site` False) needs nothing from anywhere. Style and script stand inline and are named by their
hashes in the page's Content-Security-Policy, so that nothing else of either runs.
"""

import base64
import hashlib
import json
from functools import cache
from importlib.resources import files
from typing import Any

from errata.messages import ERROR_TYPE_DESCRIPTIONS, ERROR_TYPE_TITLES, GROUP_NAMES, SEVERITY_NAMES, format_count
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from service.domain import CLASS_GROUPS, ERROR_TYPES, SEVERITY
from service.report import messages
from service.report.comparison_view import ComparisonView
from service.report.error_table import to_plain
from service.report.trend_view import TrendView
from service.report.view import ReportView

_SCRIPTS = ("errors.js", "tables.js")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("service.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = format_count
    environment.globals.update(_=messages.said, style=Markup(_style()), script=Markup(_script()))  # noqa: S704 - ours
    return environment


def content_security_policy(site: bool) -> str:
    """Return what a page may load and run: its own style and script and, on a site, pictures and itself anew."""
    more = (
        "img-src 'self' data:; connect-src 'self'; form-action 'self'" if site else "img-src data:; form-action 'none'"
    )
    return (
        f"default-src 'none'; style-src '{_hash(_style())}'; script-src '{_hash(_script())}'; {more}; base-uri 'none'"
    )


def render(template: str, site: bool, **values: Any) -> str:
    """Return a page from a template; `site`: it is served, with links to others."""
    page = _environment().get_template(template)
    return page.render(site=site, policy=Markup(content_security_policy(site)), **values)  # noqa: S704 - ours


def render_report(view: ReportView, analysis: str = "", site: bool = False) -> str:
    """Return the report as HTML; on a site it links to the pages about the analysis."""
    legend = [
        {
            "css": f"type-{int(error_type_)}",
            "title": ERROR_TYPE_TITLES[error_type_],
            "sentence": ERROR_TYPE_DESCRIPTIONS[error_type_],
            "severity": SEVERITY_NAMES[SEVERITY[error_type_]],
        }
        for error_type_ in ERROR_TYPES[1:]
    ]
    groups = [(group.value, GROUP_NAMES[group]) for group in CLASS_GROUPS]
    data = _embedded(to_plain(view.table))
    return render("report.html", site, view=view, legend=legend, groups=groups, analysis=analysis, data=data)


def render_comparison(view: ComparisonView, site: bool = False) -> str:
    """Return a comparison as HTML."""
    return render("comparison.html", site, view=view)


def render_trend(view: TrendView, site: bool = False) -> str:
    """Return a trend as HTML."""
    return render("trend.html", site, view=view)


def _embedded(plain: Any) -> Markup:
    """Return JSON that can stand in a script element: no markup can begin or end in it."""
    text = json.dumps(plain, separators=(",", ":"), ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 - nothing in it is markup


@cache
def _style() -> str:
    return _file("style.css")


@cache
def _script() -> str:
    return "\n".join(_file(name) for name in _SCRIPTS)


def _file(name: str) -> str:
    return (files("service.report") / "templates" / name).read_text(encoding="utf-8").strip()


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
