"""Gate results as Markdown: one table with a row for each bound; untrusted names remain text."""

import unicodedata
from itertools import pairwise

import pytest
from errata import pb
from errata.cli.markdown import escape, to_markdown
from example_counts import max_examples
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from unit.client.gate_messages import gate_reason, gate_result

from service.domain import Bound, ErrorType, GateDecision, GateReason, GateResult, Measure, UndecidedReason
from service.wire import to_gate_result

PARSER = MarkdownIt("commonmark").enable("table")
PLAIN = {"heading", "paragraph", "table", "thead", "tbody", "tr", "th", "td"}  # types of permitted tokens
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
    "\u202eevil\u202c",
    "\U0001f600 \U0001f468\u200d\U0001f469",
    ":smile:",
    "$x$ and $$y$$",
    "[^1] and [ ] and [x]",
    "x" * 10_000,
]


def result_of(
    *decisions: GateDecision, name: str = "bound", policy: str = "release", baseline: str = ""
) -> pb.GateResult:
    worst = max(decisions, default=GateDecision.PASS)
    return gate_result(
        worst, policy, "analyses/1", baseline, tuple(gate_reason(name, decision, "why") for decision in decisions)
    )


def tokens(markdown: str) -> list[Token]:
    """Parse; check that the result has only headings, paragraphs, and tables of plain text."""
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
    """Return the rows of the one table, the head first."""
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
    """Return the texts of the headings or of the paragraphs."""
    result = tokens(markdown)
    return [
        rendered(after)
        for before, after in pairwise(result)
        if before.type == f"{kind}_open" and after.type == "inline"
    ]


def visible(text: str) -> str:
    return "".join(item for item in text if unicodedata.category(item) not in INVISIBLE)


@pytest.mark.parametrize("decision", DECISIONS)
def test_the_heading_and_the_row_have_the_decision(decision: GateDecision) -> None:
    word = decision.name.lower()

    markdown = to_markdown(result_of(decision), "a model", "It is wrong on 2 of 10 images.")

    assert texts(markdown, "heading") == [f"Errata: release – {word}"]
    assert texts(markdown, "paragraph") == ["It is wrong on 2 of 10 images."]
    assert cells(markdown) == [["bound", "decision", "reason"], ["bound", word, "why"]]


@pytest.mark.parametrize("number", [0, 1, 2, 30])
def test_the_table_has_a_row_for_each_reason(number: int) -> None:
    decisions = (DECISIONS * 6)[:number]

    head, *rows = cells(to_markdown(result_of(*decisions), "a model", ""))

    assert len(head) == 3
    assert [row[1] for row in rows] == [decision.name.lower() for decision in decisions]
    assert {len(row) for row in rows} <= {3}


def test_without_a_headline_the_title_is_shown() -> None:
    assert texts(to_markdown(result_of(GateDecision.PASS), "a model", ""), "paragraph") == ["a model"]


def test_the_baseline_is_shown_if_there_is_one() -> None:
    markdown = to_markdown(result_of(GateDecision.PASS, baseline="analyses/0"), "a model", "")

    assert any("analyses/0" in text for text in texts(markdown, "paragraph"))
    assert "Baseline" not in to_markdown(result_of(GateDecision.PASS), "a model", "")


def test_a_result_of_the_service_is_shown_with_its_reasons() -> None:
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
        to_markdown(to_gate_result(GateResult(GateDecision.FAIL, "p", "id", "", reasons)), "", "")
    )

    assert first[:2] == ["few_failures", "fail"]
    assert "3.00 %" in first[2] and "2.00 %" in first[2]
    assert second[:2] == ["spurious*", "undecided"]
    assert third[1] == "pass"
    assert "99.0 %" in third[2]


@pytest.mark.parametrize("decision", [GateDecision.PENDING, GateDecision.ERROR])
def test_an_analysis_without_a_result_has_a_reason(decision: GateDecision) -> None:
    cause = UndecidedReason.NOT_FINISHED if decision is GateDecision.PENDING else UndecidedReason.ENDED_WITHOUT_RESULT
    result = GateResult(decision, "p", "id", "", (GateReason(decision, None, causes=(cause,)),))

    _, (_, word, reason) = cells(to_markdown(to_gate_result(result), "a model", ""))

    assert word == decision.name.lower()
    assert reason.startswith("The analysis")


@pytest.mark.parametrize("name", HOSTILE, ids=lambda item: ascii(item)[:30])
def test_hostile_names_remain_text(name: str) -> None:
    reasons = tuple(gate_reason(name, decision, name) for decision in DECISIONS)
    markdown = to_markdown(gate_result(GateDecision.FAIL, name, name, name, reasons), name, "")

    head, *rows = cells(markdown)
    assert head == ["bound", "decision", "reason"]
    assert [[visible(cell) for cell in row] for row in rows] == [
        [visible(name), decision.name.lower(), visible(name)] for decision in DECISIONS
    ]
    assert [visible(text) for text in texts(markdown, "heading")] == [visible(f"Errata: {name} – fail")]
    paragraphs = [visible(text) for text in texts(markdown, "paragraph")]
    assert paragraphs in (
        [visible(name), visible(f"Baseline: {name}.")],
        [visible(f"Baseline: {name}.")],  # the name has only invisible characters
    )


@pytest.mark.parametrize("name", HOSTILE, ids=lambda item: ascii(item)[:30])
def test_a_hostile_headline_remains_text(name: str) -> None:
    headline = f"{name} is wrong on 2 of 10 images."

    markdown = to_markdown(result_of(GateDecision.PASS), name, headline)

    assert [visible(text) for text in texts(markdown, "paragraph")] == [visible(headline)]


def test_the_rendered_page_has_no_tag_from_a_name() -> None:
    name = "<script>alert(1)</script><img src=x> [a](javascript:alert(1)) ![b](x) `c` **d**"

    html = PARSER.render(to_markdown(result_of(GateDecision.FAIL, name=name, policy=name, baseline=name), name, name))

    assert not [item for item in ("<script", "<img", "<a ", "<code", "<strong", "<em") if item in html]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


ANY_TEXT = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=20),
    st.text("|\\`*_[]()<>&#;!~-+=@:/.1a \t\n\r", max_size=20),
    st.sampled_from(HOSTILE),
)


@max_examples(400)
@given(ANY_TEXT, ANY_TEXT, ANY_TEXT)
@example("\\", "|", "\\|")
def test_any_text_stays_in_its_cell(policy: str, name: str, message: str) -> None:
    result = gate_result(GateDecision.FAIL, policy, "", policy, (gate_reason(name, GateDecision.FAIL, message),))

    markdown = to_markdown(result, "a model", "")

    _, row = cells(markdown)
    assert [visible(item) for item in row] == [visible(name), "fail", visible(message)]
    assert [visible(text) for text in texts(markdown, "heading")] == [visible(f"Errata: {policy} – fail")]


@max_examples(200)
@given(ANY_TEXT)
def test_escaped_text_is_one_line_and_can_be_encoded(text: str) -> None:
    result = escape(text)

    assert len(result.splitlines()) <= 1
    result.encode()


@pytest.mark.parametrize(
    "title", ["1. evil", "123456789. z", "\u200b \u200b \u200b \u200b \u200b x", "\x00 \x01 \x01 \x01 \x01 y"]
)
def test_a_title_that_looks_like_a_list_or_like_code_is_a_paragraph(title: str) -> None:
    kinds = {token.type for token in tokens(to_markdown(result_of(GateDecision.PASS), title, ""))}

    assert not kinds & {"ordered_list_open", "bullet_list_open", "code_block"}


@pytest.mark.parametrize("name", ["@org/team", "#123", "see @user, #4"])
def test_no_user_is_mentioned_and_no_issue_is_linked(name: str) -> None:
    """GitHub finds users and issues in the rendered text, escaped or not."""
    (text,) = texts(to_markdown(result_of(GateDecision.PASS), name, ""), "paragraph")

    assert visible(text) == visible(name)
    assert not [pair for pair in pairwise(text) if pair[0] in "@#" and pair[1].isalnum()]
