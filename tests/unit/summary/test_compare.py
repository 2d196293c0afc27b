"""Comparisons of two models, compared with loops over images and with small examples."""

from collections import Counter
from collections.abc import Iterable

import numpy as np
import pytest
from example_counts import max_examples
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import binomtest, false_discovery_control, norm
from unit.summary.test_score_interval import score

from service.domain import (
    ALL,
    AdjustedTest,
    ChangeRow,
    ErrorType,
    GroupComparison,
    Interval,
    Mask,
    PairedMetric,
    Superclasses,
)
from service.summary.compare import (
    Matches,
    Pair,
    changed_classes,
    changed_superclasses,
    compare_groups,
    discordant_counts,
    pair_verdicts,
    paired_test,
    split_groups,
)
from service.summary.score_interval import score_intervals

DRAWS = 2000  # spec/statistics
CLASSES = (0, 1, 500, 998, 999)
NUM_CLASSES = 1000
NAMES = [f"class {index}" for index in range(NUM_CLASSES)]
SUPERCLASSES = {
    "low": {0, 1},
    "odd": {1, 999},
    "lonely": {7},
    "nobody": set(),
}  # class 1 is in two, 500 and 998 are in none
GROUPS = ("organism", "artifact", "other")
CORRECT = {1, 2, 3}
HOLDS = {PairedMetric.TOP1: {1}, PairedMetric.MULTI_LABEL: CORRECT, PairedMetric.SEVERE: {8}}

# type in A and in B (0: no prediction), target, problematic, groups
Row = tuple[int, int, int, bool, frozenset[str]]
ROWS = st.lists(
    st.tuples(
        st.integers(0, 8),
        st.integers(0, 8),
        st.sampled_from(CLASSES),
        st.booleans(),
        st.frozensets(st.sampled_from(GROUPS)),
    ),
    max_size=40,
)


def pair(rows: Iterable[Row]) -> Pair:
    rows = list(rows)
    return pair_verdicts(
        np.array([row[0] for row in rows], dtype=np.uint8),
        np.array([row[1] for row in rows], dtype=np.uint8),
        np.array([row[2] for row in rows], dtype=np.int16),
        np.array([row[3] for row in rows], dtype=bool),
    )


def groups_of(rows: Iterable[Row]) -> dict[str, GroupComparison]:
    rows = list(rows)
    return compare_groups(pair(rows), members_of(rows))


def members_of(rows: Iterable[Row]) -> dict[str, Mask]:
    return {group: np.array([group in row[4] for row in rows], dtype=bool) for group in GROUPS}


def superclass_rows(rows: Iterable[Row]) -> tuple[ChangeRow, ...]:
    members = np.array([[index in own for index in range(NUM_CLASSES)] for own in SUPERCLASSES.values()])
    return changed_superclasses(pair(rows), Superclasses.from_members(list(SUPERCLASSES), members))


def swapped(rows: Iterable[Row]) -> list[Row]:
    return [(b, a, *rest) for a, b, *rest in rows]


def counted(rows: Iterable[Row], group: str = ALL) -> list[Row]:
    """Return the rows of a group that have two verdicts and are not problematic."""
    return [row for row in rows if row[0] and row[1] and not row[3] and (group == ALL or group in row[4])]


def plain(*cells: tuple[int, int, int], target: int = 0) -> list[Row]:
    """Create images from cells: (type in A, type in B, number of images)."""
    return [(a, b, target, False, frozenset()) for a, b, images in cells for _ in range(images)]


def whole(rows: Iterable[Row]) -> GroupComparison:
    return groups_of(rows)[ALL]


def p_value(only_a: int, only_b: int) -> float:
    return binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0


@max_examples(100)
@given(ROWS)
def test_transitions_of_every_group_agree_with_a_loop(rows: list[Row]) -> None:
    groups = groups_of(rows)

    assert set(groups) == {ALL, *GROUPS}
    for group, compared in groups.items():
        here = counted(rows, group)
        cells = Counter((a, b) for a, b, *_ in here)
        assert compared.num_samples == len(here) == compared.transitions.sum()
        assert compared.transitions.tolist() == [[cells[a, b] for b in range(1, 9)] for a in range(1, 9)]


@max_examples(100)
@given(ROWS)
def test_fixed_and_broken_follow_their_definition(rows: list[Row]) -> None:
    for group, compared in groups_of(rows).items():
        pairs = [(a, b) for a, b, *_ in counted(rows, group)]
        assert compared.fixed() == sum(a not in CORRECT and b in CORRECT for a, b in pairs)
        assert compared.broken() == sum(a in CORRECT and b not in CORRECT for a, b in pairs)
        for kind in list(ErrorType)[3:]:
            assert compared.fixed(kind) == sum(a == kind.id and b in CORRECT for a, b in pairs)
            assert compared.broken(kind) == sum(a in CORRECT and b == kind.id for a, b in pairs)
        assert compared.top1_fixed == sum(a != 1 and b == 1 for a, b in pairs)
        assert compared.top1_broken == sum(a == 1 and b != 1 for a, b in pairs)


@max_examples(100)
@given(ROWS)
def test_fixed_and_broken_masks_agree_with_a_loop(rows: list[Row]) -> None:
    result = pair(rows)

    both = [bool(counted([row])) for row in rows]
    assert result.counted.tolist() == both
    fixed = [there and row[0] > 3 and row[1] <= 3 for there, row in zip(both, rows, strict=True)]
    broken = [there and row[0] <= 3 and row[1] > 3 for there, row in zip(both, rows, strict=True)]
    assert (result.fixed.tolist(), result.broken.tolist()) == (fixed, broken)


@max_examples(100)
@given(ROWS)
def test_paired_tests_agree_with_scipy(rows: list[Row]) -> None:
    for group, compared in groups_of(rows).items():
        pairs = [(a, b) for a, b, *_ in counted(rows, group)]
        for metric, kinds in HOLDS.items():
            only_a = sum(a in kinds and b not in kinds for a, b in pairs)
            only_b = sum(b in kinds and a not in kinds for a, b in pairs)
            test = compared.tests[metric]
            assert (test.metric, test.only_a, test.only_b) == (metric, only_a, only_b)
            assert test.p_value == pytest.approx(p_value(only_a, only_b))
            assert test.significant == (p_value(only_a, only_b) < 0.05)


@pytest.mark.slow
@max_examples(100)
@given(ROWS, st.sets(st.sampled_from(list(ErrorType))))
def test_discordant_counts_of_types_agree_with_a_loop(rows: list[Row], kinds: set[ErrorType]) -> None:
    pairs = [(a, b) for a, b, *_ in counted(rows)]
    ids = {kind.id for kind in kinds}
    only_a = sum(a in ids and b not in ids for a, b in pairs)
    only_b = sum(b in ids and a not in ids for a, b in pairs)

    assert discordant_counts(tuple(kinds), whole(rows).transitions) == (only_a, only_b)


@pytest.mark.slow
@max_examples(80)
@given(ROWS)
def test_rates_are_shares_of_the_samples(rows: list[Row]) -> None:
    for group, compared in groups_of(rows).items():
        here = counted(rows, group)
        if not here:
            assert (compared.rates, compared.types, compared.multi_label_accuracy) == ({}, {}, None)
            continue
        for kinds, interval in [
            *((HOLDS[metric], interval) for metric, interval in compared.rates.items()),
            *(({kind.id}, interval) for kind, interval in compared.types.items()),
        ]:
            in_a, in_b = (sum(row[model] in kinds for row in here) / len(here) for model in (0, 1))
            balanced(interval, in_a, in_b)
        assert set(compared.rates) == set(PairedMetric)
        assert list(compared.types) == list(ErrorType)


@max_examples(80)
@given(ROWS)
@example([(4, 1, 999, False, frozenset())] * 2)  # all draws are equal
def test_multi_label_accuracy_is_a_mean_over_target_classes(rows: list[Row]) -> None:
    for group, compared in groups_of(rows).items():
        here = counted(rows, group)
        targets = sorted({row[2] for row in here})
        if not here:
            assert compared.multi_label_accuracies is None
            continue
        means = [
            sum(
                sum(row[model] in CORRECT for row in here if row[2] == target) / sum(row[2] == target for row in here)
                for target in targets
            )
            / len(targets)
            for model in (0, 1)
        ]
        assert compared.multi_label_accuracies == pytest.approx(means)
        changes = [[(b in CORRECT) - (a in CORRECT) for a, b, at, *_ in here if at == target] for target in targets]
        has_pair, varies = any(len(change) > 1 for change in changes), any(len(set(change)) > 1 for change in changes)
        if not has_pair or (not varies and any(any(change) for change in changes)):
            assert compared.multi_label_accuracy is None
        else:
            assert compared.multi_label_accuracy is not None
            balanced(compared.multi_label_accuracy, *means)


def balanced(interval: Interval, in_a: float, in_b: float) -> None:
    """Compare the rates, and check the bounds of the interval."""
    assert (interval.a, interval.b) == pytest.approx((in_a, in_b), abs=1e-12)
    assert interval.difference == pytest.approx(in_b - in_a, abs=1e-12)
    assert -1 - 1e-12 <= interval.low <= interval.high <= 1 + 1e-12


def expected_rows(rows: list[Row], parts: dict[str, set[int]]) -> dict[str, tuple[int, int, int, float, float]]:
    """Return samples, fixed, broken, and both error rates of the parts with changes."""
    result = {}
    for name, own in parts.items():
        here = [row for row in counted(rows) if row[2] in own]
        fixed = sum(row[0] > 3 and row[1] <= 3 for row in here)
        broken = sum(row[0] <= 3 and row[1] > 3 for row in here)
        if fixed or broken:
            errors = [sum(row[model] > 3 for row in here) / len(here) for model in (0, 1)]
            result[name] = (len(here), fixed, broken, *errors)
    return result


def agree(actual: tuple[ChangeRow, ...], expected: dict[str, tuple[int, int, int, float, float]]) -> None:
    assert sorted(row.name for row in actual) == sorted(expected)
    for row in actual:
        samples, fixed, broken, in_a, in_b = expected[row.name]
        assert (row.num_samples, row.fixed, row.broken) == (samples, fixed, broken)
        balanced(row.errors, in_a, in_b)
        low, high = score_intervals(samples, fixed, broken)
        assert (row.errors.low, row.errors.high) == (low, high)
    adjusted_by_scipy([(row.fixed, row.broken, row.test) for row in actual])


def adjusted_by_scipy(rows: list[tuple[int, int, AdjustedTest]]) -> None:
    """Compare the tests of one table with scipy, and check their order."""
    p_values = [p_value(only_a, only_b) for only_a, only_b, _ in rows]
    adjusted = false_discovery_control(p_values) if rows else []
    for (_, _, test), expected, expected_adjusted in zip(rows, p_values, adjusted, strict=True):
        assert (test.p_value, test.adjusted_p_value) == pytest.approx((expected, expected_adjusted))
        assert test.significant == (test.adjusted_p_value <= 0.05)
    order = [test.adjusted_p_value for *_, test in rows]
    assert order == sorted(order)


@max_examples(100)
@given(ROWS)
def test_changed_classes_agree_with_a_loop(rows: list[Row]) -> None:
    result = changed_classes(pair(rows), NAMES)

    agree(result, expected_rows(rows, {NAMES[index]: {index} for index in CLASSES}))
    assert [row.name for row in result] == [NAMES[row.class_index] for row in result]


@max_examples(100)
@given(ROWS)
def test_changed_superclasses_agree_with_a_loop(rows: list[Row]) -> None:
    result = superclass_rows(rows)

    agree(result, expected_rows(rows, SUPERCLASSES))
    assert all(row.class_index is None for row in result)


def test_image_counts_in_every_superclass_of_its_target() -> None:
    result = superclass_rows(plain((8, 1, 3), target=1) + plain((1, 4, 1), target=0) + plain((1, 1, 2), target=999))

    assert [(row.name, row.num_samples, row.fixed, row.broken) for row in result] == [
        ("odd", 5, 3, 0),
        ("low", 4, 3, 1),
    ]


def test_rows_are_sorted_by_adjusted_p_value() -> None:
    changed = (
        plain((4, 1, 1), (1, 4, 1), target=0)  # p = 1
        + plain((1, 8, 8), target=998)  # p = 2 / 2^8
        + plain((8, 1, 6), target=500)  # p = 2 / 2^6
        + plain((4, 1, 12), (1, 4, 4), target=999)  # p = 0.077, with the largest net change
        + plain((4, 5, 9), (1, 2, 9), target=1)  # no error is fixed or broken
    )

    rows = changed_classes(pair(changed), NAMES)

    assert [row.class_index for row in rows] == [998, 500, 999, 0]
    assert [row.test.p_value for row in rows[:2]] == [2 / 2**8, 2 / 2**6]
    assert [row.test.adjusted_p_value for row in rows[:2]] == pytest.approx([4 * 2 / 2**8, 2 * 2 / 2**6])
    assert [row.test.significant for row in rows] == [True, False, False, False]


def test_chance_makes_few_discoveries() -> None:
    """Given 400 classes without a change and 20 changes each, at most 5 % of the tables have a discovery."""
    generator = np.random.default_rng(23)
    tables = 0
    for _ in range(100):
        broken = generator.binomial(20, 0.5, size=400)
        rows = [(int(number), 20 - int(number)) for number in broken]
        types_a = np.concatenate([np.repeat([1, 8], row) for row in rows]).astype(np.uint8)
        types_b = np.concatenate([np.repeat([8, 1], row) for row in rows]).astype(np.uint8)
        targets = np.repeat(np.arange(400), 20).astype(np.int16)
        both = pair_verdicts(types_a, types_b, targets, np.zeros(8000, dtype=bool))
        tables += any(row.test.significant for row in changed_classes(both, NAMES))

    assert tables <= 10  # P(Binomial(100, 0.05) > 10) = 1 %; the discrete test has a lower rate


def test_interval_of_a_class_with_one_image_is_wide() -> None:
    (row,) = changed_classes(pair(plain((1, 8, 1))), NAMES)

    assert (row.errors.difference, row.errors.high) == (1, pytest.approx(1))
    assert row.errors.low < 0


@max_examples(40)
@given(ROWS)
def test_each_group_has_a_family_of_tests_of_its_own(rows: list[Row]) -> None:
    for group, part in split_groups(pair(rows), members_of(rows)).items():
        here = [row for row in rows if group == ALL or group in row[4]]
        agree(changed_classes(part, NAMES), expected_rows(here, {NAMES[index]: {index} for index in CLASSES}))


@max_examples(40)
@given(ROWS)
def test_changes_of_types_agree_with_a_loop(rows: list[Row]) -> None:
    for group, compared in groups_of(rows).items():
        pairs = [(a, b) for a, b, *_ in counted(rows, group)]
        expected = {}
        for kind in list(ErrorType)[1:]:
            only_a = sum(a == kind.id != b for a, b in pairs)
            only_b = sum(b == kind.id != a for a, b in pairs)
            if only_a or only_b:
                expected[kind] = (only_a, only_b)
        assert {row.error_type: (row.only_a, row.only_b) for row in compared.type_changes} == expected
        adjusted_by_scipy([(row.only_a, row.only_b, row.test) for row in compared.type_changes])
        for row in compared.type_changes:
            assert row.share == compared.types[row.error_type]
            low, high = score_intervals(len(pairs), row.only_a, row.only_b)
            assert (row.share.low, row.share.high) == (low, high)


@max_examples(100)
@given(ROWS)
def test_comparison_of_a_model_with_itself_has_no_changes(rows: list[Row]) -> None:
    same = [(a, a, *rest) for a, _, *rest in rows]

    for compared in groups_of(same).values():
        assert np.array_equal(compared.transitions, np.diag(np.diag(compared.transitions)))
        flips = (compared.top1_fixed, compared.top1_broken)
        assert (compared.fixed(), compared.broken(), *flips) == (0, 0, 0, 0)
        for test in compared.tests.values():
            assert (test.only_a, test.only_b, test.p_value, test.significant) == (0, 0, 1, False)
        intervals = [*compared.rates.values()]
        if compared.multi_label_accuracy is not None:
            intervals.append(compared.multi_label_accuracy)
        for interval in intervals:
            assert (interval.difference, interval.low, interval.high) == (0, 0, 0)
        assert compared.type_changes == ()
        assert all(interval.low < interval.difference == 0 < interval.high for interval in compared.types.values())
    assert not pair(same).fixed.any()
    assert not pair(same).broken.any()
    assert changed_classes(pair(same), NAMES) == ()
    assert superclass_rows(same) == ()


@pytest.mark.slow
@max_examples(100)
@given(ROWS)
def test_swapping_the_models_mirrors_the_counts(rows: list[Row]) -> None:
    mirrored_groups = groups_of(swapped(rows))
    for group, one in groups_of(rows).items():
        other = mirrored_groups[group]
        assert np.array_equal(one.transitions, other.transitions.T)
        assert (one.fixed(), one.top1_fixed) == (other.broken(), other.top1_broken)
        assert (one.broken(), one.top1_broken) == (other.fixed(), other.top1_fixed)
        for metric, test in one.tests.items():
            mirrored = other.tests[metric]
            assert (test.only_a, test.only_b) == (mirrored.only_b, mirrored.only_a)
            assert (test.p_value, test.significant) == (mirrored.p_value, mirrored.significant)
            if one.num_samples:
                rate, back = one.rates[metric], other.rates[metric]
                assert (rate.a, rate.b) == (back.b, back.a)
    for of in (lambda rows: changed_classes(pair(rows), NAMES), superclass_rows):
        assert [(row.name, row.num_samples, row.fixed, row.broken, row.errors.a, row.errors.b) for row in of(rows)] == [
            (row.name, row.num_samples, row.broken, row.fixed, row.errors.b, row.errors.a) for row in of(swapped(rows))
        ]


# 1,000 images of three classes; A is better at 500, B at 0
MANY = (
    plain((1, 1, 300), (1, 8, 10), (8, 1, 40), (4, 4, 50))
    + plain((1, 1, 200), (2, 6, 60), (7, 3, 20), (8, 8, 120), target=500)
    + plain((1, 3, 100), (3, 3, 80), (5, 8, 20), target=999)
)


def test_swapping_the_models_mirrors_the_intervals() -> None:
    one, other = whole(MANY), whole(swapped(MANY))

    for interval, back in [
        *((one.rates[metric], other.rates[metric]) for metric in PairedMetric),
        *((one.types[type_], other.types[type_]) for type_ in one.types),
        (one.multi_label_accuracy, other.multi_label_accuracy),
    ]:
        width = interval.high - interval.low
        assert (interval.low, interval.high) == pytest.approx((-back.high, -back.low), abs=0.1 * width)


def interval_of(draws: np.ndarray, actual: Interval, tail: float = 2.5) -> None:
    low, high = np.percentile(draws, (tail, 100 - tail))
    assert (actual.low, actual.high) == pytest.approx((low, high), abs=0.08 * (high - low))


def test_intervals_of_rates_agree_with_resampled_images() -> None:
    types = np.array([row[:2] for row in MANY])
    generator = np.random.default_rng(42)
    drawn = [types[generator.integers(0, len(types), len(types))] for _ in range(DRAWS)]
    compared = whole(MANY)

    for metric, actual in compared.rates.items():
        inside = np.isin(drawn, list(HOLDS[metric])).mean(axis=1)
        interval_of(inside[:, 1] - inside[:, 0], actual)


def test_interval_of_multi_label_accuracy_agrees_with_images_resampled_within_classes() -> None:
    generator = np.random.default_rng(43)
    means = []
    for target in (0, 500, 999):
        right = np.array([[row[0] <= 3, row[1] <= 3] for row in MANY if row[2] == target], dtype=float)
        drawn = [right[generator.integers(0, len(right), len(right))].mean(axis=0) for _ in range(DRAWS)]
        means.append([in_b - in_a for in_a, in_b in drawn])
    compared = whole(MANY)
    two_sided, one_sided = compared.multi_label_accuracy, compared.multi_label_accuracy_limits

    assert two_sided is not None and one_sided is not None
    interval_of(np.mean(means, axis=0), two_sided)
    interval_of(np.mean(means, axis=0), one_sided, tail=5)
    assert two_sided.low < one_sided.low < one_sided.high < two_sided.high


def pair_of_classes(samples: np.ndarray, only_a: np.ndarray, only_b: np.ndarray) -> Pair:
    """Return analyses whose classes have so many samples, and so many that are correct only in A or only in B."""
    kinds = np.array([[1, 8, 1], [8, 1, 1]], dtype=np.uint8)  # correct and model failure, in A and in B
    counts = np.stack([only_a, only_b, samples - only_a - only_b], axis=1).ravel()
    types_a, types_b = (np.repeat(np.tile(row, len(samples)), counts) for row in kinds)
    targets = np.repeat(np.arange(len(samples), dtype=np.int16), samples)
    return pair_verdicts(types_a, types_b, targets, np.zeros(len(targets), dtype=bool))


@pytest.mark.parametrize(
    "sizes",
    [[385, 5, 5, 5], [395, 5], [298, 2], [200, 133, 88, 59, 39, 26, 17, 11, 8, 5]],
    ids=lambda sizes: len(sizes),
)
def test_intervals_of_unequal_classes_cover_the_change(sizes: list[int]) -> None:
    """The bootstrap alone covers the decrease in 25 to 86 % of many draws."""
    generator, samples, draws = np.random.default_rng(7), np.array(sizes), 100
    two_sided, one_sided = 0, 0
    for counts in generator.multinomial(samples, [[0.025, 0.005, 0.97]] * len(samples), size=(draws, len(samples))):
        compared = compare_groups(pair_of_classes(samples, counts[:, 0], counts[:, 1]), {})[ALL]
        interval, limits = compared.multi_label_accuracy, compared.multi_label_accuracy_limits
        assert interval is not None and limits is not None
        two_sided += interval.low <= -0.02 <= interval.high
        one_sided += limits.low <= -0.02

    assert two_sided >= 0.93 * draws
    assert one_sided >= 0.93 * draws


def test_limits_of_unequal_classes_are_those_of_the_score_test_of_as_many_effective_images() -> None:
    samples, only_a, only_b = np.array([385, 5, 5, 5]), np.array([8, 0, 0, 0]), np.array([2, 0, 0, 0])
    compared = compare_groups(pair_of_classes(samples, only_a, only_b), {})[ALL]

    effective = 4**2 / (1 / 385 + 3 / 5)  # variance of the mean of four means, solved for the number of images
    in_a, in_b = effective * 8 / 385 / 4, effective * 2 / 385 / 4
    estimate, quantile = (in_b - in_a) / effective, norm.ppf(0.95)
    low = brentq(lambda change: score(effective, in_a, in_b, change) - quantile, -1 + 1e-9, estimate - 1e-9)
    assert compared.multi_label_accuracy_limits is not None
    assert compared.multi_label_accuracy_limits.low == pytest.approx(low, abs=1e-4)
    assert low < -0.05, "the bootstrap's limit is -0.0071, because the three small classes have no variance"


def test_a_change_of_all_images_has_an_interval() -> None:
    wrong, right = (np.full(6, kind.id, dtype=np.uint8) for kind in (ErrorType.MODEL_FAILURE, ErrorType.CORRECT))
    pair = pair_verdicts(wrong, right, np.arange(6, dtype=np.int16), np.zeros(6, dtype=bool))

    rate = compare_groups(pair, {})[ALL].rates[PairedMetric.TOP1]

    low = brentq(lambda change: score(6, 0, 6, change) - norm.ppf(0.975), -1 + 1e-9, 1 - 1e-9)
    assert (rate.low, rate.high) == pytest.approx((low, 1), abs=1e-4)


def test_interval_of_a_clear_difference_excludes_zero() -> None:
    compared = whole(MANY)

    severe = compared.rates[PairedMetric.SEVERE]  # 160 of 1,000 in A, 150 in B: 40 gone, 30 new
    assert (severe.a, severe.b) == (0.16, 0.15)
    assert severe.low < 0 < severe.high
    right = compared.types[ErrorType.CORRECT]  # 610 and 540
    assert (right.a, right.b) == (0.61, 0.54)
    assert right.high < 0


@pytest.mark.parametrize(("broken", "significant"), [(5, False), (6, True)])
def test_significance_level_is_five_percent(broken: int, significant: bool) -> None:
    # 2 / 2**5 = 0.0625, 2 / 2**6 = 0.03125
    transitions = np.zeros((8, 8), dtype=np.int64)
    transitions[0, 0], transitions[0, 7] = 100, broken

    for metric in PairedMetric:
        test = paired_test(metric, transitions)
        assert test.p_value == pytest.approx(2 / 2**broken)
        assert test.significant is significant


def test_top1_flips_are_counted_separately() -> None:
    compared = whole(plain((1, 2, 3), (3, 1, 2), (4, 1, 1), (2, 8, 5), (8, 7, 4), (6, 8, 7)))

    assert (compared.fixed(), compared.broken()) == (1, 5)
    assert (compared.top1_fixed, compared.top1_broken) == (3, 3)
    assert compared.fixed(ErrorType.FINE_GRAINED) == 1
    assert compared.broken(ErrorType.MODEL_FAILURE) == 5


def test_sample_counts_in_each_of_its_groups() -> None:
    groups = groups_of([(8, 1, 0, False, frozenset({"organism", "artifact"})), (1, 1, 0, False, frozenset())])

    assert {group: compared.num_samples for group, compared in groups.items()} == {
        ALL: 2,
        "organism": 1,
        "artifact": 1,
        "other": 0,
    }
    assert [groups[group].fixed() for group in ("organism", "artifact")] == [1, 1]


def test_problematic_and_unpaired_samples_are_not_counted() -> None:
    rows: list[Row] = [
        (8, 1, 0, True, frozenset(GROUPS)),
        (0, 1, 0, False, frozenset(GROUPS)),
        (1, 0, 0, False, frozenset(GROUPS)),
        (0, 0, 0, False, frozenset(GROUPS)),
    ]

    assert all(compared.num_samples == 0 for compared in groups_of(rows).values())
    assert not pair(rows).counted.any()
    assert changed_classes(pair(rows), NAMES) == ()
    assert superclass_rows(rows) == ()


def test_comparison_without_samples_has_no_rates() -> None:
    compared = whole([])

    assert (compared.rates, compared.types, compared.multi_label_accuracy) == ({}, {}, None)
    assert all((test.p_value, test.significant) == (1, False) for test in compared.tests.values())


def test_comparison_is_deterministic() -> None:
    one, other = whole(MANY), whole(MANY)

    assert (one.rates, one.types) == (other.rates, other.types)
    assert one.multi_label_accuracy == other.multi_label_accuracy
    assert changed_classes(pair(MANY), NAMES) == changed_classes(pair(MANY), NAMES)


def test_left_out_samples_are_those_of_one_model_only() -> None:
    """Images with verdicts in A only, B only, neither, and both, and a problematic image in A only."""
    types_a = np.array([1, 0, 0, 8, 1], dtype=np.uint8)
    types_b = np.array([0, 1, 0, 8, 0], dtype=np.uint8)
    problematic = np.array([False, False, False, False, True])

    result = pair_verdicts(types_a, types_b, np.zeros(5, dtype=np.int16), problematic)

    assert result.num_left_out == 2
    assert result.counted.tolist() == [False, False, False, True, False]


@max_examples(60)
@given(st.lists(st.tuples(*[st.integers(1, 8)] * 2, *[st.booleans()] * 4), min_size=1, max_size=40))
def test_rejected_targets_separate_top1_correctness_from_types(
    rows: list[tuple[int, int, bool, bool, bool, bool]],
) -> None:
    types_a, types_b, *masks = (np.array(column) for column in zip(*rows, strict=True))
    target_a, target_b, label_a, label_b = masks
    paired = pair_verdicts(
        types_a.astype(np.uint8),
        types_b.astype(np.uint8),
        np.zeros(len(rows), dtype=np.int16),
        np.zeros(len(rows), dtype=bool),
        (Matches(target_a, label_a), Matches(target_b, label_b)),
    )

    compared = compare_groups(paired, {})[ALL]

    fixed, broken = int((~target_a & target_b).sum()), int((target_a & ~target_b).sum())
    assert (compared.top1_fixed, compared.top1_broken) == (fixed, broken)
    test, rate = compared.tests[PairedMetric.TOP1], compared.rates[PairedMetric.TOP1]
    assert (test.only_a, test.only_b) == (broken, fixed)
    assert test.p_value == pytest.approx(p_value(broken, fixed))
    assert (rate.a, rate.b) == pytest.approx((target_a.mean(), target_b.mean()))
    assert rate.low - 1e-12 <= rate.difference <= rate.high + 1e-12 or len(rows) < 10
    against = compared.accuracy_against_labels
    assert against is not None
    assert (against.a, against.b) == pytest.approx((label_a.mean(), label_b.mean()))


@pytest.mark.parametrize(("other", "metric"), [(2, PairedMetric.TOP1), (3, PairedMetric.MULTI_LABEL)])
def test_equal_rates_have_equal_intervals(other: int, metric: PairedMetric) -> None:
    """Labels count missing multi-labels (3) as correct, and class overlaps (2) as errors."""
    types_a, types_b = np.random.default_rng(1).choice([1, 1, other, 4, 8], (2, 500)).astype(np.uint8)
    paired = pair_verdicts(types_a, types_b, np.zeros(500, dtype=np.int16), np.zeros(500, dtype=bool))

    compared = compare_groups(paired, {})[ALL]

    assert compared.accuracy_against_labels == compared.rates[metric]


def test_equal_rates_have_equal_intervals_if_targets_are_rejected() -> None:
    """Equally many predictions are the original label as are correct by their type, but of other images."""
    types_a, types_b = np.random.default_rng(1).choice([1, 1, 4, 8], (2, 500)).astype(np.uint8)
    matches = Matches(np.roll(types_a == 1, 1), types_a == 1), Matches(np.roll(types_b == 1, 1), types_b == 1)
    paired = pair_verdicts(types_a, types_b, np.zeros(500, dtype=np.int16), np.zeros(500, dtype=bool), matches)

    compared = compare_groups(paired, {})[ALL]

    assert compared.top1_table is not None
    assert compared.accuracy_against_labels == compared.rates[PairedMetric.TOP1]
