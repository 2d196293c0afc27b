"""The result of a gate as JUnit XML: one test case for each bound; an undecided bound is an error."""

import re
from xml.etree import ElementTree

from service.domain import GateDecision
from service.report.gate_view import GateReasonView, GateView
from service.report.messages.gate import DECISION_NAMES

_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, section 2.2


def to_junit(gate: GateView, title: str) -> bytes:
    """Format the result of a gate as JUnit XML.

    Args:
        gate: The result.
        title: Display name of the analysis.

    Returns:
        The XML document.
    """
    failures = sum(reason.decision is GateDecision.FAIL for reason in gate.reasons)
    errors = sum(_is_error(reason) for reason in gate.reasons)
    counts = {"tests": str(len(gate.reasons)), "failures": str(failures), "errors": str(errors)}
    suites = ElementTree.Element("testsuites", {"name": "errata", **counts})
    suite = ElementTree.SubElement(suites, "testsuite", {"name": _clean(gate.policy), **counts, "skipped": "0"})
    properties = ElementTree.SubElement(suite, "properties")
    values = {
        "decision": DECISION_NAMES[gate.decision],
        "analysis": gate.analysis or title,
        "model": title,
        "baseline": gate.baseline,
    }
    for name, value in values.items():
        if value:
            ElementTree.SubElement(properties, "property", {"name": name, "value": _clean(value)})
    for reason in gate.reasons:
        _add_test_case(suite, gate, reason)
    ElementTree.indent(suites)
    document: bytes = ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _add_test_case(suite: ElementTree.Element, gate: GateView, reason: GateReasonView) -> None:
    message = _clean(reason.message)
    names = {"classname": f"errata.{_clean(gate.policy)}", "name": _clean(reason.name), "time": "0"}
    case = ElementTree.SubElement(suite, "testcase", names)
    attributes = {"message": message, "type": DECISION_NAMES[reason.decision]}
    if reason.decision is GateDecision.FAIL:
        ElementTree.SubElement(case, "failure", attributes).text = message
    elif _is_error(reason):
        ElementTree.SubElement(case, "error", attributes).text = message
    else:
        ElementTree.SubElement(case, "system-out").text = message


def _is_error(reason: GateReasonView) -> bool:
    return reason.decision not in (GateDecision.PASS, GateDecision.FAIL)


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)
