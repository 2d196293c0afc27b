"""Strategies for messages of the API, generated from their descriptors: every field and type, with extreme values."""

import math
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

TEXTS = st.sampled_from(
    [
        *("", "analyses/a1", "a1", "analyses/", "analyses/../x", "demo", "timm:resnet50", "all", "organism", "correct"),
        *("model_failure", "pooled", "version: 1\nbounds: [{measure: top1_accuracy, min: 0}]", "a" * 65, "²"),
    ]
) | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NUMBERS = {
    FieldDescriptor.TYPE_INT32: st.integers(-(2**31), 2**31 - 1) | st.integers(-2, 1001),
    FieldDescriptor.TYPE_INT64: st.integers(-(2**63), 2**63 - 1) | st.integers(-2, 2**33),
    FieldDescriptor.TYPE_ENUM: st.integers(-(2**31), 2**31 - 1) | st.integers(-1, 9),
    FieldDescriptor.TYPE_DOUBLE: st.floats(allow_nan=False) | st.floats(0, 1) | st.just(math.nan),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_STRING: TEXTS,
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=12),
}
MAX_DEPTH = 4  # levels of nested messages


def messages(kind: type[Message], depth: int = 0) -> st.SearchStrategy[Any]:
    """Return a strategy for messages of a type, with any subset of the fields."""
    fields = {
        field.name: _field(field, depth)
        for field in kind.DESCRIPTOR.fields
        if depth < MAX_DEPTH or not _is_nested(field)
    }
    alternatives = {
        oneof.name: {field.name for field in oneof.fields} for oneof in kind.DESCRIPTOR.oneofs if len(oneof.fields) > 1
    }

    def keep_one_alternative(values: dict[str, Any]) -> Message:
        for names in alternatives.values():
            for name in sorted(names & values.keys())[1:]:
                del values[name]
        return kind(**values)

    return st.fixed_dictionaries({}, optional=fields).map(keep_one_alternative)


def _is_nested(field: Any) -> bool:  # a FieldDescriptor of Python or of upb, for which the stubs have two types
    return field.type == FieldDescriptor.TYPE_MESSAGE and not field.message_type.GetOptions().map_entry


def _value(field: Any, depth: int) -> st.SearchStrategy[Any]:
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        inner: type[Message] = GetMessageClass(field.message_type)
        return st.deferred(lambda: messages(inner, depth + 1))
    return NUMBERS[field.type]


def _field(field: Any, depth: int) -> st.SearchStrategy[Any]:
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        key, value = kind.fields_by_name["key"], kind.fields_by_name["value"]
        return st.dictionaries(_value(key, depth), _value(value, depth), max_size=3)
    if field.is_repeated:
        return st.lists(_value(field, depth), max_size=3)
    return _value(field, depth)
