"""Markdown of a gate: one table with a row for each bound, and hostile names are text."""

import unicodedata
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from service.domain import Bound, ErrorType, GateDecision, GateReason, GateResult, Measure, UndecidedReason
from service.report.gate_view import GateReasonView, GateView, gate_view
from service.report.markdown import escape, to_markdown

PARSER = MarkdownIt("commonmark").enable("table")
PLAIN = {"heading", "paragraph", "table", "thead", "tbody", "tr", "th", "td"}  # allowed block elements
DECISIONS = tuple(GateDecision)[1:]
INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"}
HOSTILE = [
    "a | b || c",
    "| x | y |\n|---|---|",
    "first\nsecond\r\nthird\u2028fourth",
    "\n\n# heading\n\n---\n\n```\ncode\n```",
    "`code` ``more`` ```",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "</td></table><b>",
    "<!-- comment",
    "<https://evil.example>",
    "https://evil.example/path",
    "[link](https://evil.example)",
    "[link][1] [1]: https://evil.example",
    "![image](https://evil.example/x.png)",
    "@everyone and @user",
    "#1 and GH-1",
    "**bold** _thin_ __bold__ *thin* ~~gone~~",
    "&lt;b&gt; &amp; &#64;user &#x3c;b&#x3e;",
    "\\",
    "\\\\|",
    "\\|",
    "ends with \\",
    "# heading",
    "> quote",
    "- item",
    "* item",
    "+ item",
    "1) item",
    "---",
    "===",
    "***",
    "~~~",
    "    indented",
    "\tindented",
    "\x00\x1b[31m\x7f",
    "\ud800",
    "\u202eevil\u202c",
    "\U0001f600 \U0001f468\u200d\U0001f469",
    ":smile:",
    "$x$ and $$y$$",
    "[^1] and [ ] and [x]",
    "x" * 10_000,
]


def gate(*decisions: GateDecision, name: str = "bound", policy: str = "release", baseline: str = "") -> GateView:
    worst = max(decisions, default=GateDecision.PASS)
    return GateView(
        worst, policy, "analyses/1", baseline, tuple(GateReasonView(name, decision, "why") for decision in decisions)
    )


def tokens(markdown: str) -> list[Token]:
    """Parse Markdown and check that it contains only headings, paragraphs, and tables of plain text."""
    result = PARSER.parse(markdown)
    for item in result:
        if item.type == "inline":
            assert {child.type for child in item.children or ()} <= {"text"}
        else:
            kind, _, side = item.type.rpartition("_")
            assert kind in PLAIN and side in ("open", "close"), item.type
    return result


def rendered(token: Token) -> str:
    return "".join(child.content for child in token.children or ())


def cells(markdown: str) -> list[list[str]]:
    """Return the rows of the only table, beginning with the header."""
    rows: list[list[str]] = []
    result = tokens(markdown)
    assert [item.type for item in result].count("table_open") == 1
    inside = False
    for item in result:
        inside = (inside or item.type == "table_open") and item.type != "table_close"
        if item.type == "tr_open":
            rows.append([])
        elif item.type == "inline" and inside:
            rows[-1].append(rendered(item))
    return rows


def texts(markdown: str, kind: str) -> list[str]:
    """Return the texts of the headings or paragraphs."""
    result = tokens(markdown)
    return [
        rendered(after)
        for before, after in pairwise(result)
        if before.type == f"{kind}_open" and after.type == "inline"
    ]


def visible(text: str) -> str:
    return "".join(item for item in text if unicodedata.category(item) not in INVISIBLE)


@pytest.mark.parametrize("decision", DECISIONS)
def test_decision_is_in_the_heading_and_in_its_row(decision: GateDecision) -> None:
    word = decision.name.lower()

    markdown = to_markdown(gate(decision), "a model", "It makes 2 top-1 errors on 10 images.")

    assert texts(markdown, "heading") == [f"Errata: release – {word}"]
    assert texts(markdown, "paragraph") == ["It makes 2 top-1 errors on 10 images."]
    assert cells(markdown) == [["bound", "decision", "reason"], ["bound", word, "why"]]


@pytest.mark.parametrize("number", [0, 1, 2, 30])
def test_table_has_one_row_per_reason(number: int) -> None:
    decisions = (DECISIONS * 6)[:number]

    head, *rows = cells(to_markdown(gate(*decisions), "a model", ""))

    assert len(head) == 3
    assert [row[1] for row in rows] == [decision.name.lower() for decision in decisions]
    assert {len(row) for row in rows} <= {3}


def test_title_replaces_a_missing_summary() -> None:
    assert texts(to_markdown(gate(GateDecision.PASS), "a model", ""), "paragraph") == ["a model"]


def test_baseline_is_named() -> None:
    markdown = to_markdown(gate(GateDecision.PASS, baseline="analyses/0"), "a model", "")

    assert any("analyses/0" in text for text in texts(markdown, "paragraph"))
    assert "Baseline" not in to_markdown(gate(GateDecision.PASS), "a model", "")


def test_gate_result_becomes_a_table() -> None:
    reasons = (
        GateReason(GateDecision.FAIL, Bound("few_failures", Measure.SEVERE_ERROR_RATE, max=0.02), 0.03, 0.02),
        GateReason(
            GateDecision.UNDECIDED,
            Bound("spurious*", Measure.COUNT, (ErrorType.SPURIOUS_CORRELATION,), max=10),
            12,
            10,
            causes=(UndecidedReason.ABSTAINED, UndecidedReason.FEW_SAMPLES),
        ),
        GateReason(GateDecision.PASS, None, 0.99, 0.95),
    )

    _, first, second, third = cells(
        to_markdown(gate_view(GateResult(GateDecision.FAIL, "p", "id", "", reasons)), "", "")
    )

    assert first[:2] == ["few_failures", "fail"]
    assert "3.00 %" in first[2] and "2.00 %" in first[2]
    assert second[:2] == ["spurious*", "undecided"]
    assert third[1] == "pass"
    assert "99.0 %" in third[2]


@pytest.mark.parametrize("decision", [GateDecision.PENDING, GateDecision.ERROR])
def test_analysis_without_a_result_states_the_reason(decision: GateDecision) -> None:
    cause = UndecidedReason.NOT_FINISHED if decision is GateDecision.PENDING else UndecidedReason.ENDED_WITHOUT_RESULT
    result = GateResult(decision, "p", "id", "", (GateReason(decision, None, causes=(cause,)),))

    _, (_, word, why) = cells(to_markdown(gate_view(result), "a model", ""))

    assert word == decision.name.lower()
    assert why.startswith("The analysis")


@pytest.mark.parametrize("name", HOSTILE, ids=lambda item: ascii(item)[:30])
def test_hostile_names_are_text(name: str) -> None:
    reasons = tuple(GateReasonView(name, decision, name) for decision in DECISIONS)
    markdown = to_markdown(GateView(GateDecision.FAIL, name, name, name, reasons), name, "")

    head, *rows = cells(markdown)
    assert head == ["bound", "decision", "reason"]
    assert [[visible(cell) for cell in row] for row in rows] == [
        [visible(name), decision.name.lower(), visible(name)] for decision in DECISIONS
    ]
    assert [visible(text) for text in texts(markdown, "heading")] == [visible(f"Errata: {name} – fail")]
    paragraphs = [visible(text) for text in texts(markdown, "paragraph")]
    assert paragraphs in (
        [visible(name), visible(f"Baseline: {name}")],
        [visible(f"Baseline: {name}")],  # a name without visible characters
    )


@pytest.mark.parametrize("name", HOSTILE, ids=lambda item: ascii(item)[:30])
def test_hostile_summary_is_text(name: str) -> None:
    headline = f"{name} makes 2 top-1 errors on 10 images."

    markdown = to_markdown(gate(GateDecision.PASS), name, headline)

    assert [visible(text) for text in texts(markdown, "paragraph")] == [visible(headline)]


def test_rendered_markdown_contains_no_tag_of_a_name() -> None:
    name = "<script>alert(1)</script><img src=x> [a](javascript:alert(1)) ![b](x) `c` **d**"

    html = PARSER.render(to_markdown(gate(GateDecision.FAIL, name=name, policy=name, baseline=name), name, name))

    assert not [item for item in ("<script", "<img", "<a ", "<code", "<strong", "<em") if item in html]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


ANY_TEXT = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=20),
    st.text("|\\`*_[]()<>&#;!~-+=@:/.1a \t\n\r", max_size=20),
    st.sampled_from(HOSTILE),
)


@settings(max_examples=400, deadline=None)
@given(ANY_TEXT, ANY_TEXT, ANY_TEXT)
@example("\\", "|", "\\|")
def test_any_text_stays_in_its_cell(policy: str, name: str, message: str) -> None:
    result = GateView(GateDecision.FAIL, policy, "", policy, (GateReasonView(name, GateDecision.FAIL, message),))

    markdown = to_markdown(result, "a model", "")

    _, row = cells(markdown)
    assert [visible(item) for item in row] == [visible(name), "fail", visible(message)]
    assert [visible(text) for text in texts(markdown, "heading")] == [visible(f"Errata: {policy} – fail")]


@settings(max_examples=200)
@given(ANY_TEXT)
def test_escaped_text_is_one_line_and_can_be_encoded(text: str) -> None:
    result = escape(text)

    assert len(result.splitlines()) <= 1
    result.encode()


@pytest.mark.parametrize(
    "title", ["1. evil", "123456789. z", "\u200b \u200b \u200b \u200b \u200b x", "\x00 \x01 \x01 \x01 \x01 y"]
)
def test_title_that_looks_like_markup_is_a_paragraph(title: str) -> None:
    kinds = {token.type for token in tokens(to_markdown(gate(GateDecision.PASS), title, ""))}

    assert not kinds & {"ordered_list_open", "bullet_list_open", "code_block"}


@pytest.mark.parametrize("name", ["@org/team", "#123", "see @user, #4"])
def test_users_and_issues_are_not_linked(name: str) -> None:
    """GitHub links users and issues in the rendered text, even if they are escaped."""
    text = "".join(texts(to_markdown(gate(GateDecision.PASS), name, ""), "p"))

    assert "@" in name or "#" in name
    assert not [pair for pair in pairwise(text) if pair[0] in "@#" and pair[1].isalnum()]
