"""Rendering of views as HTML. All values are escaped: names of models and files are untrusted input.

A stand-alone page (`site` False) loads nothing. The style and the scripts are inline, and the page's
Content-Security-Policy lists their hashes, so that no other style or script runs.
"""

import base64
import hashlib
import json
import re
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any

from errata.groups import group_title
from errata.messages import SEVERITY_NAMES, format_count
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from service.caller import CALLER
from service.domain import ERROR_TYPES, TOP1_ERROR_TYPES
from service.report.charts import type_color
from service.report.comparison_view import ComparisonView
from service.report.direction import isolate_element
from service.report.elements import css_class
from service.report.error_table import to_plain
from service.report.image_links import link_attributes
from service.report.messages.agreement import CAPTION
from service.report.messages.pages import translate
from service.report.report_view import ReportView
from service.report.static_files import HTMX
from service.report.trend_view import TrendView
from service.report.urls import quote_image

_SPACE_IN_PERCENTAGE = re.compile(r"(?<=\d) (?=%)|(?<=[<>]) (?=[\d.]+ %)")  # "5 %", "> 99.9 %"
_SCRIPTS = ("error_table.js", "tables.js", "contents.js", "mark_names.js", "images.js", "review.js", "upload.js")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("service.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.filters["number"] = format_count
    environment.filters["nobreak"] = _keep_units
    environment.filters["isolate"] = isolate_element
    environment.filters["link_attributes"] = link_attributes
    style, script = Markup(style_sheet()), Markup(_script())  # noqa: S704 - files of this package
    environment.globals.update(translate=translate, style=style, script=script, htmx=HTMX)
    return environment


def content_security_policy(site: bool) -> str:
    """Return the Content-Security-Policy of a page.

    Args:
        site: Whether the page is served, so that it may load images and refresh itself.

    Returns:
        The value of the header.
    """
    sources = (
        "img-src 'self' data:; connect-src 'self'; form-action 'self'" if site else "img-src data:; form-action 'none'"
    )
    scripts = f"'{_hash(_script())}' '{HTMX.integrity}'" if site else f"'{_hash(_script())}'"
    return f"default-src 'none'; style-src '{_hash(style_sheet())}'; script-src {scripts}; {sources}; base-uri 'none'"


def render(template: str, site: bool, **values: Any) -> str:
    """Render a template; `site`: whether the page is served and links to other pages."""
    page = _environment().get_template(template)
    can_write = CALLER.get().can_write
    return page.render(site=site, can_write=can_write, policy=Markup(content_security_policy(site)), **values)  # noqa: S704 - own text


def render_report(view: ReportView, analysis: str = "", site: bool = False) -> str:
    """Render a report; with `site`, it links to the pages of the analysis with this ID."""
    legend = [
        {
            "css_class": css_class(error_type),
            "title": error_type.title,
            "description": error_type.row.description,
            "severity": SEVERITY_NAMES[error_type.severity],
            "agreement": view.agreement.of_type.get(error_type, "") if view.agreement else "",
        }
        for error_type in TOP1_ERROR_TYPES
    ]
    groups = [(number, group_title(group)) for number, group in enumerate(view.table.groups)]
    table = view.table
    in_html = {row.file_name for row in view.errors}  # error_table.js takes these pictures from the HTML
    pictures = {name: url for name, url in table.pictures.items() if name not in in_html}
    data = _embed_json(to_plain(replace(table, pictures=pictures)))
    return render(
        "report.html",
        site,
        view=view,
        legend=legend,
        groups=groups,
        analysis=analysis,
        data=data,
        agreement_caption=CAPTION,
        image_url=lambda name: f"{table.page_base}{quote_image(name)}{table.page_query}",
    )


def render_comparison(view: ComparisonView, site: bool = False) -> str:
    """Render a comparison."""
    return render("comparison.html", site, view=view)


def render_trend(view: TrendView, site: bool = False) -> str:
    """Render a trend."""
    return render("trend.html", site, view=view)


def _finalize(value: object) -> object:
    """Keep percentages on one line in all texts; values that are escaped explicitly, as in inputs, stay unchanged."""
    return _keep_units(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _keep_units(text: str) -> str:
    """Return a text that does not break in percentages."""
    return _SPACE_IN_PERCENTAGE.sub("\N{NO-BREAK SPACE}", text) if " %" in text else text


def _embed_json(plain: Any) -> Markup:
    """Return JSON for a script element, without characters that can begin or end markup."""
    text = json.dumps(plain, separators=(",", ":"), ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 - contains no markup


@cache
def style_sheet() -> str:
    """Return the style sheet of all pages: the colors of error types, and style.css."""
    return f"{_type_styles()}\n{_read('style.css')}"


def _type_styles() -> str:
    """Return the colors of the error types: variables, and rules for the segments of bars and for stripes."""
    light, dark = (
        " ".join(f"--t{error_type.id}: {getattr(error_type.row.colors, mode)};" for error_type in ERROR_TYPES)
        for mode in ("light", "dark")
    )
    errors = " ".join(
        f".map .{css_class(error_type)}, .bar .{css_class(error_type)} {{ fill: {type_color(error_type)}; }} "
        f".stripe.{css_class(error_type)} {{ border-color: {type_color(error_type)}; }}"
        for error_type in TOP1_ERROR_TYPES
    )
    return f":root {{ {light} }}\n@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n{errors}"


@cache
def _script() -> str:
    return "\n".join(_read(name) for name in _SCRIPTS)


def _read(name: str) -> str:
    return (files("service.report") / "templates" / name).read_text(encoding="utf-8").strip()


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
