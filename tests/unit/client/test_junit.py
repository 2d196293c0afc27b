"""Gate results as JUnit XML: valid, with correct counts, whatever the names are."""

from xml.etree import ElementTree

import pytest
import xmlschema
from errata import pb
from errata.cli.junit import to_junit
from example_counts import max_examples
from hypothesis import example, given
from hypothesis import strategies as st
from unit.client.gate_messages import gate_reason, gate_result

from service.domain import Bound, ErrorType, GateDecision, GateReason, GateResult, Measure, UndecidedReason
from service.wire import to_gate_result

FORM = xmlschema.XMLSchema(
    """<?xml version="1.0" encoding="UTF-8"?>
    <xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" elementFormDefault="qualified">
      <xs:attributeGroup name="counts">
        <xs:attribute name="tests" type="xs:nonNegativeInteger" use="required"/>
        <xs:attribute name="failures" type="xs:nonNegativeInteger" use="required"/>
        <xs:attribute name="errors" type="xs:nonNegativeInteger" use="required"/>
        <xs:attribute name="skipped" type="xs:nonNegativeInteger"/>
        <xs:attribute name="time" type="xs:decimal"/>
      </xs:attributeGroup>
      <xs:complexType name="problem">
        <xs:simpleContent>
          <xs:extension base="xs:string">
            <xs:attribute name="message" type="xs:string"/>
            <xs:attribute name="type" type="xs:string" use="required"/>
          </xs:extension>
        </xs:simpleContent>
      </xs:complexType>
      <xs:element name="testsuites">
        <xs:complexType>
          <xs:sequence>
            <xs:element name="testsuite" maxOccurs="unbounded">
              <xs:complexType>
                <xs:sequence>
                  <xs:element name="properties" minOccurs="0">
                    <xs:complexType>
                      <xs:sequence>
                        <xs:element name="property" maxOccurs="unbounded">
                          <xs:complexType>
                            <xs:attribute name="name" type="xs:string" use="required"/>
                            <xs:attribute name="value" type="xs:string" use="required"/>
                          </xs:complexType>
                        </xs:element>
                      </xs:sequence>
                    </xs:complexType>
                  </xs:element>
                  <xs:element name="testcase" minOccurs="0" maxOccurs="unbounded">
                    <xs:complexType>
                      <xs:sequence>
                        <xs:choice minOccurs="0">
                          <xs:element name="failure" type="problem"/>
                          <xs:element name="error" type="problem"/>
                          <xs:element name="skipped" type="problem"/>
                        </xs:choice>
                        <xs:element name="system-out" type="xs:string" minOccurs="0"/>
                      </xs:sequence>
                      <xs:attribute name="classname" type="xs:string" use="required"/>
                      <xs:attribute name="name" type="xs:string" use="required"/>
                      <xs:attribute name="time" type="xs:decimal" use="required"/>
                    </xs:complexType>
                  </xs:element>
                </xs:sequence>
                <xs:attribute name="name" type="xs:string" use="required"/>
                <xs:attributeGroup ref="counts"/>
              </xs:complexType>
            </xs:element>
          </xs:sequence>
          <xs:attribute name="name" type="xs:string"/>
          <xs:attributeGroup ref="counts"/>
        </xs:complexType>
      </xs:element>
    </xs:schema>"""
)
SHOWN_AS = {
    GateDecision.PASS: "system-out",
    GateDecision.FAIL: "failure",
    GateDecision.UNDECIDED: "error",
    GateDecision.PENDING: "error",
    GateDecision.ERROR: "error",
}
HOSTILE = [
    "]]>",
    "<script>alert(1)</script>",
    "a & b &amp; c &#0; &bogus;",
    '" onload="x',
    "'",
    "<!-- -- -->",
    "<![CDATA[x]]>",
    "<?xml version='1.0'?>",
    "tab\there, line\nand return\rthere",
    "".join(map(chr, range(32))),
    "\x7f\x80\x85\x9f",
    "\ufffe\uffff",
    "\U0001f600 emoji \U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\u202eright to left",
    "\U0010ffff\U0001fffe",
    "",
    " ",
    "x" * 100_000,
]


def result_of(
    *decisions: GateDecision, name: str = "bound", policy: str = "release", baseline: str = ""
) -> pb.GateResult:
    worst = max(decisions, default=GateDecision.PASS)
    reasons = tuple(
        gate_reason(f"{name} {number}", outcome, f"reason for {name}") for number, outcome in enumerate(decisions)
    )
    return gate_result(worst, policy, "analyses/1", baseline, reasons)


def parsed(content: bytes) -> ElementTree.Element:
    """Parse, and validate against the schema."""
    root = ElementTree.fromstring(content)
    FORM.validate(root)
    return root


def of(suite: ElementTree.Element, name: str) -> int:
    return int(suite.attrib[name])


def check_counts(root: ElementTree.Element) -> None:
    """Compare each count with the number of elements."""
    for item in (root, *root.iter("testsuite")):
        assert of(item, "tests") == len(list(item.iter("testcase")))
        assert of(item, "failures") == len(list(item.iter("failure")))
        assert of(item, "errors") == len(list(item.iter("error")))
        assert int(item.get("skipped", 0)) == len(list(item.iter("skipped")))


def properties(root: ElementTree.Element) -> dict[str, str]:
    return {item.attrib["name"]: item.attrib["value"] for item in root.iter("property")}


@pytest.mark.parametrize(("decision", "tag"), SHOWN_AS.items())
def test_a_bound_is_shown_by_its_decision(decision: GateDecision, tag: str) -> None:
    root = parsed(to_junit(result_of(decision), "a model"))

    (case,) = root.iter("testcase")
    (element,) = case
    assert element.tag == tag
    assert element.text == "reason for bound"
    assert case.attrib["name"] == "bound 0"
    assert case.attrib["classname"] == "errata.release"
    if tag != "system-out":
        assert element.attrib["message"] == "reason for bound"
    check_counts(root)


@pytest.mark.parametrize("decision", set(SHOWN_AS) - {GateDecision.PASS})
def test_everything_but_a_pass_counts_as_a_failure_or_an_error(decision: GateDecision) -> None:
    root = parsed(to_junit(result_of(GateDecision.PASS, decision), "a model"))

    assert of(root, "failures") + of(root, "errors") == 1


@max_examples(100)
@given(st.lists(st.sampled_from([*SHOWN_AS]), max_size=12))
def test_counts_add_up_and_cases_have_the_order_of_the_bounds(decisions: list[GateDecision]) -> None:
    root = parsed(to_junit(result_of(*decisions), "a model"))

    check_counts(root)
    assert of(root, "tests") == len(decisions)
    assert of(root, "failures") == decisions.count(GateDecision.FAIL)
    passed = sum(len(case.findall("system-out")) for case in root.iter("testcase"))
    assert of(root, "failures") + of(root, "errors") + passed == len(decisions)
    assert [case[0].tag for case in root.iter("testcase")] == [SHOWN_AS[decision] for decision in decisions]


@pytest.mark.parametrize(("decision", "word"), [(item, item.name.lower()) for item in SHOWN_AS])
def test_properties_have_the_decision_and_the_names(decision: GateDecision, word: str) -> None:
    root = parsed(to_junit(result_of(decision, baseline="analyses/0"), "a model"))

    assert properties(root) == {
        "decision": word,
        "analysis": "analyses/1",
        "model": "a model",
        "baseline": "analyses/0",
    }


def test_without_a_baseline_there_is_no_such_property() -> None:
    assert "baseline" not in properties(parsed(to_junit(result_of(GateDecision.PASS), "a model")))


def test_a_result_of_the_service_is_shown_with_its_reasons() -> None:
    """Given a bound that is met, one that is not met, and one that is undecided."""
    reasons = (
        GateReason(GateDecision.PASS, None, 0.99, 0.95),
        GateReason(GateDecision.FAIL, Bound("few failures", Measure.SEVERE_ERROR_RATE, max=0.02), 0.03, 0.02),
        GateReason(
            GateDecision.UNDECIDED,
            Bound("spurious", Measure.COUNT, (ErrorType.SPURIOUS_CORRELATION,), max=10),
            12,
            10,
            causes=(UndecidedReason.ABSTAINED,),
        ),
    )

    root = parsed(to_junit(to_gate_result(GateResult(GateDecision.FAIL, "release", "id", "", reasons)), "a model"))

    first, second, third = root.iter("testcase")
    assert (second.attrib["name"], third.attrib["name"]) == ("few failures", "spurious")
    assert [item[0].tag for item in (first, second, third)] == ["system-out", "failure", "error"]
    assert "3.00 %" in second[0].attrib["message"] and "2.00 %" in second[0].attrib["message"]
    check_counts(root)


def test_bounds_with_the_same_name_have_test_cases_with_different_names() -> None:
    reasons = tuple(gate_reason(name, GateDecision.PASS, "met") for name in ("a", "b", "a", "a"))

    root = parsed(to_junit(gate_result(GateDecision.PASS, "policy", "", "", reasons), "a model"))

    assert [case.attrib["name"] for case in root.iter("testcase")] == ["a", "b", "a (2)", "a (3)"]


@pytest.mark.parametrize("name", HOSTILE, ids=lambda item: ascii(item)[:30])
def test_hostile_names_stay_names(name: str) -> None:
    result = gate_result(
        GateDecision.FAIL,
        name,
        name,
        name,
        tuple(gate_reason(name, item, name) for item in SHOWN_AS),
    )

    root = parsed(to_junit(result, name))

    check_counts(root)
    assert {item.tag for item in root.iter()} <= {
        "testsuites",
        "testsuite",
        "properties",
        "property",
        "testcase",
        *SHOWN_AS.values(),
    }
    assert of(root, "tests") == len(SHOWN_AS)


@pytest.mark.parametrize("name", ["]]>", "a & b", '<b class="x">', "it's", "\U0001f600", "tab\tand\nline", "é ü 漢"])
def test_names_that_are_valid_in_xml_are_unchanged(name: str) -> None:
    root = parsed(to_junit(result_of(GateDecision.FAIL, name=name, policy=name), name))

    (case,) = root.iter("testcase")
    assert case.attrib["name"] == f"{name} 0"
    assert case.attrib["classname"] == f"errata.{name}"
    assert case[0].attrib["message"] == case[0].text == f"reason for {name}"
    assert properties(root)["model"] == name


ANY_TEXT = st.text(st.characters(codec="utf-8"), max_size=20)


@max_examples(200)
@given(ANY_TEXT, ANY_TEXT, ANY_TEXT)
@example("\x00", "\ufffe", "\x1b")
def test_any_text_gives_well_formed_xml(policy: str, name: str, message: str) -> None:
    result = gate_result(GateDecision.FAIL, policy, "", "", (gate_reason(name, GateDecision.FAIL, message),))

    check_counts(parsed(to_junit(result, name)))


def test_the_document_declares_utf8_and_ends_with_a_newline() -> None:
    content = to_junit(result_of(GateDecision.PASS, name="漢"), "é")

    assert content.startswith(b"<?xml version='1.0' encoding='utf-8'?>")
    assert content.endswith(b"</testsuites>\n")
    assert "漢".encode() in content
