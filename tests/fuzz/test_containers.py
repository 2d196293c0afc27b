"""Parquet and ZIP files from a grammar, with wrong values in their parts, are read or refused."""

from hypothesis import given, target

from .checks import check_parse
from .conftest import FUZZ
from .files import TWELVE
from .parquet_grammar import CLASSES, ROW_GROUPS, SCHEMA, parquet_files
from .parser import JUDGED, PATHS, Parser
from .zip_grammar import zip_files


@FUZZ
@given(content=parquet_files(page_lies=0, footer_lies=0))
def test_a_parquet_file_of_the_grammar_without_a_lie_is_read(parser: Parser, content: bytes) -> None:
    outcome = check_parse(parser, content)

    assert (outcome.end, outcome.classes) == ("read", tuple(CLASSES[row] for row in JUDGED)), outcome.detail


@FUZZ
@given(content=parquet_files(page_lies=0, within=SCHEMA))
def test_a_parquet_file_whose_schema_lies_is_read_or_rejected_in_bounded_memory(parser: Parser, content: bytes) -> None:
    target(float(check_parse(parser, content).memory_growth), label="MiB")


@FUZZ
@given(content=parquet_files(page_lies=0, within=ROW_GROUPS))
def test_a_parquet_file_whose_row_groups_lie_is_read_or_rejected_in_bounded_memory(
    parser: Parser, content: bytes
) -> None:
    target(float(check_parse(parser, content).memory_growth), label="MiB")


@FUZZ
@given(content=parquet_files(footer_lies=0))
def test_a_parquet_file_whose_pages_lie_is_read_or_rejected_in_bounded_memory(parser: Parser, content: bytes) -> None:
    target(float(check_parse(parser, content).memory_growth), label="MiB")


@FUZZ
@given(content=parquet_files())
def test_a_parquet_file_that_lies_anywhere_is_read_or_rejected_in_bounded_memory(
    parser: Parser, content: bytes
) -> None:
    target(float(check_parse(parser, content).memory_growth), label="MiB")


@FUZZ
@given(content=zip_files(lies=0))
def test_an_archive_of_the_grammar_without_a_lie_is_read(parser: Parser, content: bytes) -> None:
    outcome = check_parse(parser, content)

    by_path = tuple(TWELVE[PATHS.index(image)] for image in JUDGED)
    assert (outcome.end, outcome.classes) == ("read", by_path), outcome.detail


@FUZZ
@given(content=zip_files())
def test_an_archive_that_lies_is_read_or_rejected_in_bounded_memory(parser: Parser, content: bytes) -> None:
    target(float(check_parse(parser, content).memory_growth), label="MiB")
