"""A gate's result as JUnit XML, which pipelines show as tests: a test case a bound; undecided is an error."""

import re
from xml.etree import ElementTree

from service.domain import GateDecision
from service.report.gate_view import GateReasonView, GateView
from service.report.messages import DECISION_WORDS

_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # by XML 1.0


def to_junit(result: GateView, title: str) -> bytes:
    """Return the XML; title: what people call the analysis."""
    failures = sum(reason.decision is GateDecision.FAIL for reason in result.reasons)
    errors = sum(_is_error(reason) for reason in result.reasons)
    counts = {"tests": str(len(result.reasons)), "failures": str(failures), "errors": str(errors)}
    suites = ElementTree.Element("testsuites", {"name": "errata", **counts})
    suite = ElementTree.SubElement(suites, "testsuite", {"name": _clean(result.policy), **counts, "skipped": "0"})
    properties = ElementTree.SubElement(suite, "properties")
    facts = {
        "decision": DECISION_WORDS[result.decision],
        "analysis": result.analysis or title,
        "model": title,
        "baseline": result.baseline,
    }
    for name, value in facts.items():
        if value:
            ElementTree.SubElement(properties, "property", {"name": name, "value": _clean(value)})
    for reason in result.reasons:
        _case(suite, result, reason)
    ElementTree.indent(suites)
    found: bytes = ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)
    return found + b"\n"


def _case(suite: ElementTree.Element, result: GateView, reason: GateReasonView) -> None:
    message = _clean(reason.message)
    names = {"classname": f"errata.{_clean(result.policy)}", "name": _clean(reason.name), "time": "0"}
    case = ElementTree.SubElement(suite, "testcase", names)
    kind = DECISION_WORDS[reason.decision]
    if reason.decision is GateDecision.FAIL:
        ElementTree.SubElement(case, "failure", {"message": message, "type": kind}).text = message
    elif _is_error(reason):
        ElementTree.SubElement(case, "error", {"message": message, "type": kind}).text = message
    else:
        ElementTree.SubElement(case, "system-out").text = message


def _is_error(reason: GateReasonView) -> bool:
    return reason.decision not in (GateDecision.PASS, GateDecision.FAIL)


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)
