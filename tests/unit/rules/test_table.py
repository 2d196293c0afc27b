"""The bytes of the verdict table, and the lookup of a model's verdicts."""

import numpy as np
import pytest
from example_counts import max_examples
from hypothesis import given
from hypothesis import strategies as st
from oracle.verdicts import Verdict, byte

from service.domain import ProblematicTag
from service.rules.table import add_first_tags, counts, error_types, judge, tags

TOP1 = st.lists(st.integers(-1, 999), min_size=1, max_size=30)
FIRST_TAGS = ["EMPTY_CORRECT", "EMPTY_CORRECT_BY_OVERLAP", "EMPTY_WRONG", "CORRECT_BUT_WRONG_LABEL"]
VERDICTS = [  # one per valid byte
    Verdict(error_type, [*first, *last])
    for error_type in range(1, 9)
    for first in [[], *([name] for name in FIRST_TAGS)]
    for last in [[], *{5: [["OOV_SIMILAR_TO_TARGET"]], 6: [["CO_OCCURRENCE_WITH_TARGET"]]}.get(error_type, [])]
]


@max_examples(100)
@given(TOP1, st.integers(0, 2**32 - 1))
def test_verdicts_are_looked_up_by_prediction(top1: list[int], seed: int) -> None:
    table = np.random.default_rng(seed).integers(1, 256, (len(top1), 1000), dtype=np.uint8)

    verdicts = judge(table, np.arange(len(top1)), np.array(top1, dtype=np.int16))

    assert verdicts.dtype == np.uint8
    assert verdicts.tolist() == [0 if class_ < 0 else int(table[row, class_]) for row, class_ in enumerate(top1)]


def test_no_samples_have_no_verdicts() -> None:
    assert judge(np.zeros((0, 1000), np.uint8), np.zeros(0, np.intp), np.zeros(0, np.int16)).shape == (0,)


@pytest.mark.parametrize("verdict", VERDICTS, ids=lambda verdict: f"{verdict.error_type}-{'-'.join(verdict.tags)}")
def test_byte_of_a_problematic_sample_is_decoded(verdict: Verdict) -> None:
    value = byte(verdict)

    assert error_types(np.array([value], dtype=np.uint8)).tolist() == [verdict.error_type]
    assert [tag.name for tag in tags(value, True)] == (verdict.tags or ["UNTAGGED"])
    assert tags(value, False) == ()


@pytest.mark.parametrize(("tag", "name"), list(enumerate(FIRST_TAGS, start=1)))
def test_first_tag_occupies_bits_4_to_6(tag: int, name: str) -> None:
    verdicts = add_first_tags(np.array([1, 8, 0x86], dtype=np.uint8), np.full(3, ProblematicTag[name], dtype=np.uint8))

    assert verdicts.tolist() == [tag * 16 + 1, tag * 16 + 8, 128 + tag * 16 + 6]


def test_counts_ignore_tags() -> None:
    verdicts = np.array([0, 1, 1, 0x95, 0x05, 0xB6, 8], dtype=np.uint8)

    assert counts(verdicts).tolist() == [1, 2, 0, 0, 0, 2, 1, 0, 1]
