"""Conversion between errata.v1 messages and domain records, and the proto3 JSON form of messages."""

from errata.proto_json import to_dict, to_json

from service.wire.analyses import (
    analysis_filter,
    from_analysis,
    request_from_create,
    request_from_header,
    to_analysis,
    to_breakdown,
    to_evidence,
    to_summary,
)
from service.wire.comparison import to_comparison
from service.wire.gate import to_gate_result
from service.wire.names import analysis_id, analysis_name, class_in, class_index, group_of
from service.wire.paging import cursor_token, page_offset, page_size, page_token, query_key, token_cursor
from service.wire.trend import to_trend
from service.wire.verdicts import to_verdict, verdict_filter, verdict_line

__all__ = [
    "analysis_filter",
    "analysis_id",
    "analysis_name",
    "class_in",
    "class_index",
    "cursor_token",
    "from_analysis",
    "from_gate_result",
    "group_of",
    "page_offset",
    "page_size",
    "page_token",
    "query_key",
    "request_from_create",
    "request_from_header",
    "to_analysis",
    "to_breakdown",
    "to_comparison",
    "to_dict",
    "to_evidence",
    "to_gate_result",
    "to_json",
    "to_summary",
    "to_trend",
    "to_verdict",
    "token_cursor",
    "verdict_filter",
    "verdict_line",
]
