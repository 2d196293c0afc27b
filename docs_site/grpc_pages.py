"""The reference of the gRPC API, from the comments of the proto.

protoc writes a FileDescriptorSet with source information; comments are found there by the path of each element
(https://protobuf.dev/reference/cpp/api-docs/google.protobuf.descriptor/, SourceCodeInfo.Location.path).
"""

import re
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path

import grpc
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
)
from grpc_tools import protoc

from docs_site.errors_page import iterate_errors
from docs_site.tables import as_sentence, format_table

ROOT = Path(__file__).resolve().parents[1]
PROTO = "errata/v1/errata.proto"
MESSAGE, ENUM, SERVICE = 4, 5, 6  # field numbers of FileDescriptorProto
FIELD, VALUE, METHOD = 2, 2, 2  # field numbers of DescriptorProto, EnumDescriptorProto, ServiceDescriptorProto

SERVICES_INTRODUCTION = """# gRPC services

The API is the package `errata.v1` in `protos/errata/v1/errata.proto`. Server reflection is enabled:

```console
$ grpcurl -plaintext 127.0.0.1:50051 list
```

Send a token as the metadata `authorization: Bearer TOKEN`. A failed call returns one of the
[error reasons](../errors.md).

This page is generated from the comments of the proto.

"""
MESSAGES_INTRODUCTION = """# gRPC messages

Fields are listed in the order of the proto. See also the [services](services.md) and [enums](enums.md).

This page is generated from the comments of the proto.

"""
ENUMS_INTRODUCTION = """# gRPC enums

Every enum begins with a value `…_UNSPECIFIED` with number 0. See also the [messages](messages.md).

This page is generated from the comments of the proto.

"""


@cache
def read_proto() -> tuple[FileDescriptorProto, dict[tuple[int, ...], str]]:
    """Return the proto's descriptor, and the comment of each element by its path."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "errata.binpb"
        code = protoc.main(
            [
                "protoc",
                f"-I{ROOT / 'protos'}",
                f"-I{files('grpc_tools') / '_proto'}",
                "--include_source_info",
                f"--descriptor_set_out={output}",
                PROTO,
            ]
        )
        if code != 0:
            raise RuntimeError(f"protoc exited with code {code}. See its messages above.")
        (proto,) = FileDescriptorSet.FromString(output.read_bytes()).file
    comments = {
        tuple(location.path): " ".join(location.leading_comments.split())
        for location in proto.source_code_info.location
        if location.leading_comments
    }
    return proto, comments


def render_services() -> str:
    """Return the page of services and their RPCs."""
    proto, comments = read_proto()
    parts = [SERVICES_INTRODUCTION]
    for place, service in enumerate(proto.service):
        parts.append(f"## {service.name}\n\n{comments[SERVICE, place]}\n\n")
        rows = [
            (f"[`{method.name}`](#{method.name.lower()})", _first_sentence(comments[SERVICE, place, METHOD, number]))
            for number, method in enumerate(service.method)
        ]
        parts.append(format_table(("RPC", "purpose"), rows) + "\n")
        for number, method in enumerate(service.method):
            parts.append(_render_method(method, comments[SERVICE, place, METHOD, number]))
    return "".join(parts)


def render_messages() -> str:
    """Return the page of messages."""
    proto, comments = read_proto()
    parts = [MESSAGES_INTRODUCTION]
    for place, message in sorted(enumerate(proto.message_type), key=lambda item: item[1].name):
        parts.append(f"## {message.name}\n\n{comments[MESSAGE, place]}\n\n")
        rows = [
            (f"`{field.name}`", _describe_field(field, message), str(field.number), comment)
            for number, field in enumerate(message.field)
            for comment in [comments[MESSAGE, place, FIELD, number]]
        ]
        parts.append(format_table(("field", "type", "number", "meaning"), rows) + "\n" if rows else "No fields.\n\n")
    return "".join(parts)


def render_enums() -> str:
    """Return the page of enums."""
    proto, comments = read_proto()
    parts = [ENUMS_INTRODUCTION]
    for place, enum in sorted(enumerate(proto.enum_type), key=lambda item: item[1].name):
        parts.append(f"## {enum.name}\n\n{comments[ENUM, place]}\n\n")
        rows = [
            (f"`{value.name}`", str(value.number), comments[ENUM, place, VALUE, number])
            for number, value in enumerate(enum.value)
        ]
        parts.append(format_table(("value", "number", "meaning"), rows) + "\n")
    return "".join(parts)


PAGES: dict[str, Callable[[], str]] = {
    "services.md": render_services,
    "messages.md": render_messages,
    "enums.md": render_enums,
}


def iterate_rpcs() -> Iterator[str]:
    """Yield the name of each RPC."""
    for service in read_proto()[0].service:
        for method in service.method:
            yield method.name


def _render_method(method: MethodDescriptorProto, comment: str) -> str:
    description, _, errors = comment.partition("Errors:")
    rows = [
        ("request", _stream(method.client_streaming) + _link(method.input_type)),
        ("response", _stream(method.server_streaming) + _link(method.output_type)),
    ]
    if errors:
        rows.append(("errors", re.sub(r"\b(?:[A-Z]+(?:_[A-Z]+)+|UNAVAILABLE)\b", _link_error, errors)))
    return f"### {method.name}\n\n{description.strip()}\n\n{format_table(('part', 'type'), rows)}\n"


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
    if type_name.startswith(".google.protobuf."):
        name = type_name.rpartition(".")[2]
        return f"[`{name}`](https://protobuf.dev/reference/protobuf/google.protobuf/#{name.lower()})"
    name = type_name.removeprefix(".errata.v1.")
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
