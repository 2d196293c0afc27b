"""The verdict table's byte, and the gather that judges a model."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle.verdicts import Verdict, byte

from service.domain import ProblematicTag
from service.rules.table import counts, error_types, judge, tags, with_first_tag

TOP1 = st.lists(st.integers(-1, 999), min_size=1, max_size=30)
FIRST = ["EMPTY_CORRECT", "EMPTY_CORRECT_BY_OVERLAP", "EMPTY_WRONG", "CORRECT_BUT_WRONG_LABEL"]
# every byte that the spec's layout has a meaning for, with the words for it
WORDS = [
    Verdict(kind, [*first, *last])
    for kind in range(1, 9)
    for first in [[], *([name] for name in FIRST)]
    for last in [[], *{5: [["OOV_SIMILAR_TO_TARGET"]], 6: [["CO_OCCURRENCE_WITH_TARGET"]]}.get(kind, [])]
]


@settings(max_examples=100, deadline=None)
@given(TOP1, st.integers(0, 2**32 - 1))
def test_a_model_is_judged_by_one_byte_a_sample(top1: list[int], seed: int) -> None:
    table = np.random.default_rng(seed).integers(1, 256, (len(top1), 1000), dtype=np.uint8)

    verdicts = judge(table, np.array(top1, dtype=np.int16))

    assert verdicts.dtype == np.uint8
    assert verdicts.tolist() == [0 if each < 0 else int(table[row, each]) for row, each in enumerate(top1)]


def test_no_samples_have_no_verdicts() -> None:
    assert judge(np.zeros((0, 1000), dtype=np.uint8), np.zeros(0, dtype=np.int16)).shape == (0,)


@pytest.mark.parametrize("words", WORDS, ids=lambda words: f"{words.error_type}-{'-'.join(words.tags)}")
def test_the_byte_of_a_problematic_sample_reads_back(words: Verdict) -> None:
    value = byte(words)

    assert error_types(np.array([value], dtype=np.uint8)).tolist() == [words.error_type]
    assert [tag.name for tag in tags(value, True)] == (words.tags or ["UNTAGGED"])
    assert tags(value, False) == ()


@pytest.mark.parametrize(("tag", "name"), list(enumerate(FIRST, start=1)))
def test_the_first_tag_is_written_into_bits_4_to_6(tag: int, name: str) -> None:
    written = with_first_tag(np.array([1, 8, 0x86], dtype=np.uint8), np.full(3, ProblematicTag[name], dtype=np.uint8))

    assert written.tolist() == [tag * 16 + 1, tag * 16 + 8, 128 + tag * 16 + 6]


def test_types_are_counted_without_their_tags() -> None:
    verdicts = np.array([0, 1, 1, 0x95, 0x05, 0xB6, 8], dtype=np.uint8)

    assert counts(verdicts).tolist() == [1, 2, 0, 0, 0, 2, 1, 0, 1]
