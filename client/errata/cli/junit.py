"""The result of a gate as JUnit XML: a test case for each reason. Undecided bounds are errors."""

import re
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

from errata import pb
from errata.cli.value_names import decision_name

_HEAD_BYTES = 200  # with the declaration and the root element
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # characters that XML 1.0 forbids


def to_junit(result: pb.GateResult, title: str) -> bytes:
    """Return a gate result as JUnit XML.

    Args:
        result: The result.
        title: Display name of the analysis.
    """
    failures = sum(reason.decision == pb.GATE_DECISION_FAIL for reason in result.reasons)
    undecided = sum(_is_error(reason) for reason in result.reasons)
    counts = {"tests": str(len(result.reasons)), "failures": str(failures), "errors": str(undecided)}
    suites = ElementTree.Element("testsuites", {"name": "errata", **counts})
    suite = ElementTree.SubElement(suites, "testsuite", {"name": _clean(result.policy), **counts, "skipped": "0"})
    properties = ElementTree.SubElement(suite, "properties")
    values = {
        "decision": decision_name(result.decision),
        "analysis": result.analysis or title,
        "model": title,
        "baseline": result.baseline,
    }
    for name, value in values.items():
        if value:
            ElementTree.SubElement(properties, "property", {"name": name, "value": _clean(value)})
    numbers: Counter[str] = Counter()
    for reason in result.reasons:
        numbers[reason.bound] += 1  # readers take test cases with equal names for one
        number = numbers[reason.bound]
        _add_case(suite, result, reason, f"{reason.bound} ({number})" if number > 1 else reason.bound)
    ElementTree.indent(suites)
    document: bytes = ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def is_of_another_program(file: Path) -> bool:
    """Return whether a file can be read, and is not a result of `to_junit`."""
    try:
        if not file.is_file():
            return False
        with file.open("rb") as opened:
            return b'<testsuites name="errata"' not in opened.read(_HEAD_BYTES)
    except OSError:
        return False


def _add_case(suite: ElementTree.Element, result: pb.GateResult, reason: pb.GateReason, name: str) -> None:
    message = _clean(reason.message)
    names = {"classname": f"errata.{_clean(result.policy)}", "name": _clean(name), "time": "0"}
    case = ElementTree.SubElement(suite, "testcase", names)
    decision = decision_name(reason.decision)
    if reason.decision == pb.GATE_DECISION_FAIL:
        ElementTree.SubElement(case, "failure", {"message": message, "type": decision}).text = message
    elif _is_error(reason):
        ElementTree.SubElement(case, "error", {"message": message, "type": decision}).text = message
    else:
        ElementTree.SubElement(case, "system-out").text = message


def _is_error(reason: pb.GateReason) -> bool:
    return reason.decision not in (pb.GATE_DECISION_PASS, pb.GATE_DECISION_FAIL)


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)
