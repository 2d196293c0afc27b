"""The API follows the AIPs (https://google.aip.dev) in what `buf lint` does not check."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from errata import names
from errata import v1 as pb
from google.api import field_behavior_pb2, resource_pb2
from google.api.field_behavior_pb2 import IDENTIFIER, OPTIONAL, REQUIRED
from google.protobuf.message import Message

from docs_site.grpc_pages import read_protos
from service.api.server import SERVICES

MESSAGES = [value.DESCRIPTOR for value in vars(pb).values() if isinstance(value, type) and issubclass(value, Message)]
METHODS = [method for service in SERVICES for method in service.methods]
RESOURCES = {
    message.GetOptions().Extensions[resource_pb2.resource].type: message
    for message in MESSAGES
    if message.GetOptions().HasExtension(resource_pb2.resource)
}
REQUESTS = {method.input_type.name: method.input_type for method in METHODS}
INPUTS = [*REQUESTS.values(), *(message for message in MESSAGES if message.name.endswith(("Filter", "Header")))]
LISTS = [method for method in METHODS if method.name.startswith("List")]
OTHER_ITEMS = {"ErrorTypeInfo", "AnalyzedImage", "ReviewQueueItem", "AuditEvent"}  # of lists, without a name
STANDARD = ("Get", "List", "Create", "Delete")


def behaviors(field: Any) -> list[int]:
    return list(field.GetOptions().Extensions[field_behavior_pb2.field_behavior])


def reference(field: Any) -> resource_pb2.ResourceReference:
    result: resource_pb2.ResourceReference = field.GetOptions().Extensions[resource_pb2.resource_reference]
    return result


def references() -> Iterator[tuple[str, str]]:
    for message in MESSAGES:
        for field in message.fields:
            resource = reference(field)
            if resource.type or resource.child_type:
                yield f"{message.name}.{field.name}", resource.type or resource.child_type


def test_the_resources_are_named_by_collections() -> None:
    patterns = {
        kind: list(message.GetOptions().Extensions[resource_pb2.resource].pattern)
        for kind, message in RESOURCES.items()
    }

    assert patterns == {
        "errata/Analysis": ["analyses/{analysis}"],
        "errata/Verdict": ["analyses/{analysis}/verdicts/{verdict}"],
        "errata/Dataset": ["datasets/{dataset}"],
        "errata/Evidence": ["datasets/{dataset}/evidence/{evidence}"],
        "errata/Class": ["datasets/{dataset}/evidence/{evidence}/classes/{class}"],
        "errata/Model": ["models/{model}"],
        "errata/Review": ["datasets/{dataset}/images/{image}/reviews/{review}"],
    }
    assert names.dataset_name("dataset") == "datasets/dataset"
    assert names.evidence_name("dataset", "evidence") == "datasets/dataset/evidence/evidence"
    assert names.class_name("datasets/d/evidence/e", 7) == "datasets/d/evidence/e/classes/7"
    assert names.class_name("datasets/d/evidence/e", "a/b") == "datasets/d/evidence/e/classes/a%2Fb"
    assert names.model_name("model") == "models/model"
    assert names.review_name("d", "a/b c.jpg", "r") == "datasets/d/images/a%2Fb%20c.jpg/reviews/r"
    assert names.verdict_name("analysis", "verdict") == "analyses/analysis/verdicts/verdict"


@pytest.mark.parametrize("message", RESOURCES.values(), ids=lambda message: message.name)
def test_every_field_of_a_resource_has_a_behavior(message: Any) -> None:
    assert (message.fields[0].name, behaviors(message.fields[0])) == ("name", [IDENTIFIER])  # AIP-122, AIP-203
    assert [field.name for field in message.fields if not behaviors(field)] == []


@pytest.mark.parametrize("message", INPUTS, ids=lambda message: message.name)
def test_every_field_of_a_request_is_required_or_optional(message: Any) -> None:
    assert [field.name for field in message.fields if not {REQUIRED, OPTIONAL} & {*behaviors(field)}] == []


def test_every_name_and_parent_refers_to_a_resource() -> None:
    for message in REQUESTS.values():
        for field in message.fields:
            if field.name in ("name", "parent"):
                assert behaviors(field) == [REQUIRED], message.name
                assert reference(field).child_type if field.name == "parent" else reference(field).type, message.name
    assert {kind for _, kind in references()} == set(RESOURCES)


def test_a_field_named_name_is_a_resource_name() -> None:
    """AIP-122: another name is a `display_name`, and a reference is named after its resource."""
    named = {message.name for message in MESSAGES if "name" in message.fields_by_name}

    assert named - set(REQUESTS) == {message.name for message in RESOURCES.values()}


@pytest.mark.parametrize("method", LISTS, ids=lambda method: method.name)
def test_every_list_has_pages(method: Any) -> None:  # AIP-132, AIP-158
    request, response = method.input_type.fields_by_name, method.output_type.fields_by_name

    assert {"page_size", "page_token"} <= {*request}
    assert "next_page_token" in response
    assert method.output_type.fields[0].is_repeated


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_standard_methods_are_about_resources_and_others_have_other_verbs(method: Any) -> None:
    """AIP-131, AIP-132, AIP-133, AIP-135, and AIP-136."""
    verb, noun = re.fullmatch(r"([A-Z][a-z]+)(\w+)", method.name).groups()  # type: ignore[union-attr]
    resources = {message.name: message for message in RESOURCES.values()}
    if verb not in STANDARD:
        return
    if verb == "List":
        item = method.output_type.fields[0].message_type
        assert item in resources.values() or item.name in OTHER_ITEMS
        return
    assert noun in resources
    if verb == "Delete":
        assert method.output_type.full_name == "google.protobuf.Empty"
    else:
        assert method.output_type == resources[noun]
    if verb == "Create":
        assert method.input_type.fields_by_name[noun.lower()].message_type == resources[noun]
        assert "request_id" in method.input_type.fields_by_name  # AIP-155
    else:
        assert method.input_type.fields[0].name == "name"


def test_every_resource_can_be_read() -> None:
    standard = {method.name for method in METHODS}

    for message in RESOURCES.values():
        assert f"Get{message.name}" in standard
    assert len(LISTS) == len(RESOURCES) + len(OTHER_ITEMS)


def test_the_comments_do_not_assume_a_label_space() -> None:
    comments = [
        text for elements in read_protos() for element in elements for text in (element.comment, *element.parts)
    ]

    assert len(comments) > 400
    assert [text for text in comments if re.search(r"\b999\b|\b1000 classes|WordNet ID", text)] == []
