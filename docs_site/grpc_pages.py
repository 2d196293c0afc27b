"""The reference of the gRPC API, from the comments and annotations of the protos.

protoc writes a FileDescriptorSet with source information; comments are found there by the path of each element
(https://protobuf.dev/reference/cpp/api-docs/google.protobuf.descriptor/, SourceCodeInfo.Location.path).
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import grpc
from google.api import field_behavior_pb2, resource_pb2
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    MethodDescriptorProto,
    ServiceDescriptorProto,
)

from docs_site.errors_page import iterate_errors
from docs_site.protos import PACKAGE, describe_protos
from docs_site.tables import as_sentence, format_table

MESSAGE, ENUM, SERVICE = 4, 5, 6  # field numbers of FileDescriptorProto
FIELD, VALUE, METHOD, NESTED_ENUM = 2, 2, 2, 4  # of DescriptorProto, EnumDescriptorProto, ServiceDescriptorProto
Behavior = field_behavior_pb2.FieldBehavior

SERVICES_INTRODUCTION = """# gRPC services

The API is the package `errata.v1` in `protos/errata/v1`. It follows Google's
[API Improvement Proposals](https://google.aip.dev/). Within v1, it changes only by additions. Server reflection is
enabled:

```console
$ grpcurl -plaintext 127.0.0.1:50051 list
$ grpcurl -plaintext -d '{"name": "datasets/imagenet-real"}' 127.0.0.1:50051 errata.v1.CatalogService/GetDataset
```

Resources are named `analyses/*`, `analyses/*/verdicts/*`, `datasets/*`, `datasets/*/evidence/*`, and `models/*`. An ID
has percent-encoding, as in the path of a URL. A request can also use the ID alone, such as `imagenet-real`; only a
verdict, and a bundle without its data set, need the full name. Responses have full names.

A list has pages: send the `next_page_token` of a response as the `page_token` of the next request, with the same
filter. A `page_size` above the maximum becomes the maximum.

Send a token as the metadata `authorization: Bearer TOKEN`. A failed call returns one of the
[error reasons](../errors.md).

This page is generated from the comments of the protos.

"""
MESSAGES_INTRODUCTION = """# gRPC messages

Fields are listed in the order of the protos. See also the [services](services.md) and [enums](enums.md).

A field without another note is optional in a request. *Output only* fields have no effect in a request.

This page is generated from the comments and annotations of the protos.

"""
ENUMS_INTRODUCTION = """# gRPC enums

Every enum begins with a value `…_UNSPECIFIED` with number 0. See also the [messages](messages.md).

This page is generated from the comments of the protos.

"""
BEHAVIORS = {  # in the order of the notes; OPTIONAL is the default
    Behavior.REQUIRED: "Required",
    Behavior.OUTPUT_ONLY: "Output only",
    Behavior.INPUT_ONLY: "Input only",
}


@dataclass(frozen=True)
class Element:
    """A service, a message, or an enum: its descriptor, and the comments on it and its parts."""

    descriptor: Any
    comment: str
    parts: Sequence[str]  # comments on its methods, fields, or values


@cache
def read_protos() -> tuple[list[Element], list[Element], list[Element]]:
    """Return the services, the messages, and the enums of the package."""
    services, messages, enums = [], [], []
    for proto in describe_protos(with_comments=True).file:
        if proto.package != PACKAGE:
            continue
        comments = {
            tuple(location.path): " ".join(location.leading_comments.split())
            for location in proto.source_code_info.location
        }
        for place, service in enumerate(proto.service):
            services.append(_element(service, service.method, comments, (SERVICE, place), METHOD))
        for place, message in enumerate(proto.message_type):
            messages.append(_element(message, message.field, comments, (MESSAGE, place), FIELD))
            for number, enum in enumerate(message.enum_type):
                enums.append(_element(enum, enum.value, comments, (MESSAGE, place, NESTED_ENUM, number), VALUE))
        for place, enum in enumerate(proto.enum_type):
            enums.append(_element(enum, enum.value, comments, (ENUM, place), VALUE))
    return services, _sort(messages), _sort(enums)


def render_services() -> str:
    """Return the page of services and their RPCs."""
    parts = [SERVICES_INTRODUCTION]
    for element in read_protos()[0]:
        service: ServiceDescriptorProto = element.descriptor
        parts.append(f"## {service.name}\n\n{element.comment}\n\n")
        rows = [
            (f"[`{method.name}`](#{method.name.lower()})", _first_sentence(comment))
            for method, comment in zip(service.method, element.parts, strict=True)
        ]
        parts.append(format_table(("RPC", "purpose"), rows) + "\n")
        for method, comment in zip(service.method, element.parts, strict=True):
            parts.append(_render_method(method, comment))
    return "".join(parts)


def render_messages() -> str:
    """Return the page of messages."""
    parts = [MESSAGES_INTRODUCTION]
    for element in read_protos()[1]:
        message: DescriptorProto = element.descriptor
        parts.append(f"## {message.name}\n\n{element.comment}\n\n{_describe_resource(message)}")
        rows = [
            (f"`{field.name}`", _describe_field(field, message), str(field.number), _behavior(field) + comment)
            for field, comment in zip(message.field, element.parts, strict=True)
        ]
        parts.append(format_table(("field", "type", "number", "meaning"), rows) + "\n" if rows else "No fields.\n\n")
    return "".join(parts)


def render_enums() -> str:
    """Return the page of enums."""
    parts = [ENUMS_INTRODUCTION]
    for element in read_protos()[2]:
        enum: EnumDescriptorProto = element.descriptor
        parts.append(f"## {enum.name}\n\n{element.comment}\n\n")
        rows = [
            (f"`{value.name}`", str(value.number), comment)
            for value, comment in zip(enum.value, element.parts, strict=True)
        ]
        parts.append(format_table(("value", "number", "meaning"), rows) + "\n")
    return "".join(parts)


PAGES: dict[str, Callable[[], str]] = {
    "services.md": render_services,
    "messages.md": render_messages,
    "enums.md": render_enums,
}


def _sort(elements: list[Element]) -> list[Element]:
    return sorted(elements, key=lambda element: str(element.descriptor.name))


def _element(
    descriptor: Any, parts: Sequence[Any], comments: dict[tuple[int, ...], str], path: tuple[int, ...], kind: int
) -> Element:
    return Element(descriptor, comments[path], [comments[*path, kind, number] for number in range(len(parts))])


def _render_method(method: MethodDescriptorProto, comment: str) -> str:
    description, _, errors = comment.partition("Errors:")
    rows = [
        ("request", _stream(method.client_streaming) + _link(method.input_type)),
        ("response", _stream(method.server_streaming) + _link(method.output_type)),
    ]
    if errors:
        rows.append(("errors", re.sub(r"\b(?:[A-Z]+(?:_[A-Z]+)+|UNAVAILABLE)\b", _link_error, errors)))
    return f"### {method.name}\n\n{description.strip()}\n\n{format_table(('part', 'type'), rows)}\n"


def _describe_resource(message: DescriptorProto) -> str:
    patterns = message.options.Extensions[resource_pb2.resource].pattern
    return "".join(f"Resource name: `{pattern}`\n\n" for pattern in patterns)


def _behavior(field: FieldDescriptorProto) -> str:
    behaviors = field.options.Extensions[field_behavior_pb2.field_behavior]
    return "".join(f"*{text}.* " for behavior, text in BEHAVIORS.items() if behavior in behaviors)


def _describe_field(field: FieldDescriptorProto, message: DescriptorProto) -> str:
    entry = next((nested for nested in message.nested_type if field.type_name.endswith(f".{nested.name}")), None)
    if entry is not None:  # a map
        key, value = entry.field
        return f"map of {_name_type(key)} to {_name_type(value)}"
    label = "repeated " if field.label == FieldDescriptorProto.LABEL_REPEATED else ""
    if field.proto3_optional:
        label = "optional "
    elif field.HasField("oneof_index"):
        label = f"oneof `{message.oneof_decl[field.oneof_index].name}`: "
    return label + _name_type(field)


def _name_type(field: FieldDescriptorProto) -> str:
    if field.type == FieldDescriptorProto.TYPE_ENUM:
        return _link(field.type_name, page="enums.md")
    if field.type == FieldDescriptorProto.TYPE_MESSAGE:
        return _link(field.type_name)
    return FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()


def _link(type_name: str, page: str = "messages.md") -> str:
    name = type_name.rpartition(".")[2]
    if type_name.startswith(".google.protobuf."):
        return f"[`{name}`](https://protobuf.dev/reference/protobuf/google.protobuf/#{name.lower()})"
    return f"[`{name}`]({page}#{name.lower()})"


def _link_error(match: re.Match[str]) -> str:
    """Return a gRPC code as code, and a reason as a link to the reference of errors."""
    name = match.group()
    is_reason = name in {error.reason for error in iterate_errors()} and name not in grpc.StatusCode.__members__
    return f"[`{name}`](../errors.md#{name.lower()})" if is_reason else f"`{name}`"


def _stream(is_streaming: bool) -> str:
    return "stream of " if is_streaming else ""


def _first_sentence(comment: str) -> str:
    return as_sentence(re.split(r"(?<=[.:;])\s", comment, maxsplit=1)[0].rstrip(":;"))
