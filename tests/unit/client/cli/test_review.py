"""errata review: the statements of reviews in one line, also from hostile texts."""

import pytest
from errata import pb
from errata.cli.review import _print_reviews, describe_statements


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"confirmed_classes": ["a", "b"], "rejected_classes": ["c"]}, "confirms a, b; rejects c"),
        ({"added_classes": ["a"], "problematic": False}, "adds a; not problematic"),
        ({"problematic": True, "reason": "blurred", "comment": "x"}, "problematic: blurred; “x”"),
        ({"undoes": f"datasets/d/images/i/reviews/{'1' * 32}", "undone": True}, "undoes 111111111111 (undone)"),
    ],
)
def test_statements_are_described(fields: dict[str, object], text: str) -> None:
    assert describe_statements(pb.Review(**fields)) == text  # type: ignore[arg-type]


def test_hostile_texts_do_not_control_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = "\x1b[2J[bold red]x[/]\nnext\x07"
    review = pb.Review(
        name=f"datasets/d/images/i/reviews/{hostile}", file_name=hostile, reviewer=hostile, comment=hostile,
        reason=hostile, problematic=True, added_classes=[hostile],
    )  # fmt: skip
    review.create_time.seconds = 1 << 60
    _print_reviews([review])
    output = capsys.readouterr().out

    assert len(output.splitlines()) == 2
    assert "\x1b" not in output
    assert "\x07" not in output
    assert "[bold red]" in output
