"""Conversion between errata.v1 messages and domain records."""

from service.analyses.class_names import class_named
from service.wire.analyses import (
    analysis_filter,
    from_analysis,
    request_from_create,
    request_from_header,
    to_analysis,
    to_breakdown,
)
from service.wire.audit import audit_filter, to_audit_event, to_progress
from service.wire.catalog import to_classes, to_dataset, to_error_type, to_evidence, to_model
from service.wire.comparison import to_comparison
from service.wire.gate import to_gate_result
from service.wire.images import image_query, to_facets, to_image
from service.wire.names import (
    analysis_id,
    analysis_name,
    class_ids,
    evidence_ids,
    evidence_of,
    image_ids,
    is_id,
    optional_class,
    required_dataset,
    review_ids,
    verdict_ids,
)
from service.wire.paging import (
    cursor_token,
    fields_key,
    page_of,
    page_of_query,
    page_of_records,
    page_offset,
    page_size,
    page_token,
    query_key,
    token_cursor,
)
from service.wire.reviews import labels_export, review_request, to_queue_item, to_review
from service.wire.slices import to_slices
from service.wire.trend import to_trend, trend_request
from service.wire.verdicts import to_verdict, verdict_filter, verdict_line
