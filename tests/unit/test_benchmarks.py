"""The harness of the benchmarks: aims, alternation, and the page of releases. No test measures a duration."""

import pytest

from benchmarks.__main__ import BENCHMARKS, REVISION
from benchmarks.harness import Case, alternate, at_least, at_most, medians, minima
from benchmarks.history import PAGE, add_release, release_cells
from benchmarks.processes import CHECKOUT

DURATION = Case("upload", "an upload", "an echo", "ms", at_most(2.0))
THROUGHPUT = Case("inference.cpu", "a predictor", "a loop", "images/s", at_least(0.95))


@pytest.mark.parametrize(
    ("case", "value", "holds"),
    [(DURATION, 2.0, True), (DURATION, 2.1, False), (THROUGHPUT, 0.95, True), (THROUGHPUT, 0.94, False)],
)
def test_a_result_holds_if_its_ratio_is_within_the_aim(case: Case, value: float, holds: bool) -> None:
    assert case.measured(value, 1.0).holds is holds
    assert case.measured(10 * value, 10.0).holds is holds


def test_a_result_with_a_problem_does_not_hold() -> None:
    assert not DURATION.measured(1.0, 1.0, problem="3 requests lost").holds


def test_measures_alternate_and_warm_up_values_do_not_count() -> None:
    order: list[str] = []

    def measure(name: str, values: list[float]) -> float:
        order.append(name)
        return values.pop(0)

    a, b = [100.0, 1.0, 5.0, 3.0], [200.0, 2.0, 2.0, 8.0]
    values = alternate(lambda: measure("a", a), lambda: measure("b", b), times=3, warm=1)

    assert values == [[1.0, 5.0, 3.0], [2.0, 2.0, 8.0]]
    assert order == ["a", "b", "b", "a", "a", "b", "b", "a"]


def test_medians_and_minima_are_those_of_each_measure() -> None:
    measures = [lambda values=values: values.pop(0) for values in ([9.0, 1.0, 5.0, 3.0], [9.0, 2.0, 2.0, 8.0])] * 2

    assert medians(*measures[:2], times=2, warm=0) == [5.0, 5.5]
    assert minima(*measures[:2], times=2, warm=0) == [3.0, 2.0]


def test_each_listed_benchmark_is_a_module() -> None:
    modules = {file.stem for file in (CHECKOUT / "benchmarks").glob("*.py")}
    assert {*BENCHMARKS, REVISION} <= modules


def _document(ratio: float) -> dict[str, object]:
    result = DURATION.measured(ratio, 1.0)
    row = {"name": "upload", "what": "an upload", "reference": "an echo", "unit": "ms", "aim": "at most 2"}
    row |= {"value": ratio, "reference_value": 1.0, "ratio": ratio, "holds": result.holds, "problem": ""}
    return {"date": "2026-01-02", "cores": 2, "load": 1, "machine": "x86_64", "python": "3.11.9", "results": [row]}


def test_a_release_replaces_its_row_and_stays_above_older_releases() -> None:
    page = PAGE.read_text()
    for release, ratio in (("9.8", 1.9), ("9.9", 2.5), ("9.9", 1.7)):
        page = add_release(page, release, _document(ratio))
    rows = [line for line in page.splitlines() if line.startswith("| 9.")]
    assert [row.split(" | ")[0] for row in rows] == ["| 9.9", "| 9.8"]
    assert " 1.70 " in rows[0]
    assert page.startswith(PAGE.read_text().partition("## Releases")[0])
    assert page.count("| `upload` | an upload: 1,700.0 ms | an echo: 1,000.0 ms | 1.70 | at most 2 |") == 1


def test_a_missed_aim_is_bold_in_the_row_of_a_release() -> None:
    cells = release_cells("9.9", _document(2.5))
    assert cells[3:5] == ["0 of 1", "**2.50**"]
