"""The tables of the index, and their rows.

analyses   columns for filters, sort orders, trends, and metrics
labels     the labels of each analysis, so that a query starts from the analyses of a label, newest first
search     trigram index of the text that searches compare
documents  the compressed document of each analysis, for listings
totals     the number of analyses by data set and state, which triggers of the database update
meta       the id of the archive
"""

import json
import zlib
from typing import Any
from urllib.parse import quote

from service.archive import document as documents
from service.archive.document import parse_document
from service.archive.port import Record
from service.domain import ALL, ERROR_TYPES, Analysis, ErrorType, GroupNumbers, RowOrder, State, StoredResult, Summary
from service.domain.coverage import dataset_share
from service.domain.listing import NO_VALUE, SORT_VALUES, end_of, microseconds, searchable_text, version_key

SCHEMA = 1  # increment it when the values in the tables change, so that indexes are rebuilt
RATES = ("top1_accuracy", "multi_label_accuracy", "model_failures", "severe_error_rate")  # columns and sort orders
COMPRESSION = 3  # level of zlib: 40 µs for a document of 8 kB, which becomes 1.6 kB

# Most indexes begin with the column of a filter and continue with the order of a listing, so that a page reads only its
# own rows. Absent values are NULL, and partial indexes skip them.
TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE analyses (
  id TEXT PRIMARY KEY, create_time INTEGER NOT NULL, end_time INTEGER NOT NULL, state TEXT NOT NULL,
  dataset TEXT NOT NULL, evidence TEXT NOT NULL, owner TEXT NOT NULL, model TEXT NOT NULL,
  display_name TEXT NOT NULL, searchable TEXT NOT NULL, request_id TEXT, computation TEXT,
  top1_accuracy REAL NOT NULL, multi_label_accuracy REAL NOT NULL, model_failures REAL NOT NULL,
  severe_error_rate REAL NOT NULL, version_model TEXT, version TEXT NOT NULL,
  labels TEXT NOT NULL, architecture TEXT NOT NULL, predictions_digest TEXT NOT NULL, abstained TEXT, numbers TEXT,
  implausible INTEGER NOT NULL, coverage REAL
);
CREATE INDEX by_time ON analyses (create_time, id);
CREATE INDEX by_state ON analyses (state, create_time, id);
CREATE INDEX by_dataset ON analyses (dataset, create_time, id);
CREATE INDEX by_evidence ON analyses (evidence, create_time, id);
CREATE INDEX by_owner ON analyses (owner, create_time, id);
CREATE INDEX by_model ON analyses (model, create_time, id);
CREATE INDEX by_display_name ON analyses (display_name, create_time, id);
CREATE INDEX by_name ON analyses (display_name, id);
CREATE INDEX by_top1 ON analyses (top1_accuracy, id);
CREATE INDEX by_multi_label ON analyses (multi_label_accuracy, id);
CREATE INDEX by_failures ON analyses (model_failures, id);
CREATE INDEX by_rate ON analyses (severe_error_rate, id);
CREATE INDEX by_result ON analyses (dataset, evidence, create_time, id)
  WHERE state = 'SUCCEEDED' AND implausible = 0;
CREATE INDEX by_end ON analyses (end_time);
CREATE INDEX by_request ON analyses (request_id) WHERE request_id IS NOT NULL;
CREATE INDEX by_computation ON analyses (computation, create_time, id) WHERE computation IS NOT NULL;
CREATE INDEX by_version ON analyses (version_model, version, dataset, create_time, id)
  WHERE state = 'SUCCEEDED' AND version_model IS NOT NULL;
CREATE TABLE labels (
  key TEXT, value TEXT, create_time INTEGER, id TEXT, PRIMARY KEY (key, value, create_time, id)
) WITHOUT ROWID;
CREATE INDEX labels_of ON labels (id);
CREATE VIRTUAL TABLE search USING fts5 (
  searchable, content = 'analyses', content_rowid = 'rowid', tokenize = 'trigram'
);
CREATE TRIGGER search_added AFTER INSERT ON analyses BEGIN
  INSERT INTO search (rowid, searchable) VALUES (new.rowid, new.searchable);
END;
CREATE TRIGGER search_removed AFTER DELETE ON analyses BEGIN
  INSERT INTO search (search, rowid, searchable) VALUES ('delete', old.rowid, old.searchable);
END;
CREATE TABLE documents (id TEXT PRIMARY KEY, document BLOB NOT NULL);
CREATE TABLE totals (dataset TEXT, state TEXT, number INTEGER NOT NULL, PRIMARY KEY (dataset, state)) WITHOUT ROWID;
CREATE TRIGGER count_added AFTER INSERT ON analyses BEGIN
  INSERT INTO totals VALUES (new.dataset, new.state, 1) ON CONFLICT DO UPDATE SET number = number + 1;
END;
CREATE TRIGGER count_removed AFTER DELETE ON analyses BEGIN
  UPDATE totals SET number = number - 1 WHERE dataset = old.dataset AND state = old.state;
END;
"""
# The enum names in documents. Versions of Errata with different names build different indexes: an older version cannot
# read all names of a newer one, and the documents of an older one have no counts of a new error type.
_NAMES = [member.name for member in (*ERROR_TYPES, *State, *RowOrder)]
VERSION = zlib.crc32(json.dumps([SCHEMA, documents.SCHEMA, TABLES, _NAMES]).encode()) >> 1  # SQLite stores 31 bits


def analysis_row(analysis: Analysis) -> dict[str, Any]:
    """Return the row of an analysis in the table `analyses`."""
    request, summary = analysis.request, analysis.summary
    model, version = version_key(analysis)
    return {
        "id": analysis.id,
        "create_time": microseconds(analysis.create_time),
        "end_time": microseconds(end_of(analysis)),
        "state": analysis.state.name,
        "dataset": request.dataset,
        "evidence": analysis.evidence,
        "owner": analysis.owner,
        "model": request.model,
        "display_name": analysis.title,
        "searchable": searchable_text(analysis),
        "request_id": request.request_id or None,
        "computation": analysis.computation or None,
        **{name: SORT_VALUES[name](analysis) for name in RATES},
        "version_model": None if analysis.implausible else model or None,  # not the result of a model
        "version": version,
        "labels": json.dumps(dict(request.labels), ensure_ascii=False),
        "architecture": analysis.model_info.architecture if analysis.model_info else "",
        "predictions_digest": analysis.predictions_digest,
        "abstained": json.dumps([error_type.name for error_type in summary.abstained]) if summary else None,
        "numbers": _pack_numbers(summary) if summary else None,
        "implausible": int(analysis.implausible),
        "coverage": dataset_share(analysis),
    }


def label_rows(analysis: Analysis) -> list[tuple[str, str, int, str]]:
    """Return the rows of an analysis in the table `labels`."""
    created = microseconds(analysis.create_time)
    return [(key, value, created, analysis.id) for key, value in analysis.request.labels.items()]


def pack_document(record: Record) -> bytes:
    """Return the compressed document of a record."""
    return zlib.compress(record.document, COMPRESSION)


def unpack_document(packed: bytes) -> Analysis:
    """Return the analysis of a compressed document; raise zlib.error if the bytes are damaged."""
    return parse_document(json.loads(zlib.decompress(packed)))


def stored_result(row: tuple[Any, ...]) -> StoredResult:
    """Return the result in a row with the columns RESULT_COLUMNS."""
    analysis_id, title, labels, architecture, digest, model, version, abstained, top1_accuracy, *others = row
    owner, coverage, create_time, overall, group = others
    overall_numbers = _unpack_numbers(overall)
    return StoredResult(
        analysis_id,
        title,
        json.loads(labels),
        architecture,
        digest,
        (model or "", version),
        tuple(ErrorType[name] for name in json.loads(abstained)),
        None if top1_accuracy == NO_VALUE else top1_accuracy,
        overall_numbers,
        overall_numbers if group == overall else _unpack_numbers(group),
        owner,
        coverage,
        create_time,
    )


# The parameter `group` is the JSON path of a group.
RESULT_COLUMNS = f"""
  id, display_name, labels, architecture, predictions_digest, version_model, version, abstained, top1_accuracy,
  owner, coverage, create_time, json_extract(numbers, '$.{ALL}'), json_extract(numbers, :group)
"""


def group_path(group: str) -> str:
    """Return the JSON path of a group in the column `numbers`."""
    return f'$."{_group_key(group)}"'


def _group_key(group: str) -> str:
    """Return a group as a key without quotation marks and backslashes, which paths of SQLite cannot contain."""
    return quote(group, safe=" ")


def state_names(states: frozenset[State]) -> list[str]:
    """Return the names of states, sorted."""
    return sorted(state.name for state in states)


def _unpack_numbers(numbers: str) -> GroupNumbers:
    multi_label_accuracy, counts = json.loads(numbers)
    return GroupNumbers({ErrorType[name]: count for name, count in counts.items()}, multi_label_accuracy)


def _pack_numbers(summary: Summary) -> str:
    """Return multi-label accuracy and counts by error type of each group, as JSON."""
    numbers = {
        _group_key(group): [
            values.multi_label_accuracy,
            {error_type.name: count for error_type, count in values.counts.items()},
        ]
        for group, values in summary.groups.items()
    }
    return json.dumps(numbers, separators=(",", ":"))
