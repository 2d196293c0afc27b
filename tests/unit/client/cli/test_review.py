"""errata review: lists and their limits, and the statements of reviews in one line, also from hostile texts."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from errata import pb
from errata.cli import review
from errata.cli.review import _print_reviews, describe_statements
from errata.errors import InvalidRequest

NAME = "datasets/d/images/i/reviews/0193e1b2c4d5"


def use_client(monkeypatch: pytest.MonkeyPatch, **methods: object) -> None:
    """Replace the connection of the commands by one to a client with these methods."""

    @contextmanager
    def connect(target: object, evidence: str = "") -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(client=SimpleNamespace(**methods), evidence=evidence)

    monkeypatch.setattr(review, "connect", connect)


@pytest.mark.parametrize("arguments", [["add", "d", "i", "--confirm", "x"], ["undo", "d", "i", "0193e1"]])
@pytest.mark.parametrize(
    ("reviewer", "field", "message"),
    [
        ("", "reviewer", "The reviewer is missing. Use --reviewer NAME."),
        (" ", "reviewer", "The reviewer is missing. Use --reviewer NAME."),
        ("bob", "reviewer", "refused"),
        ("", "confirmed", "refused"),
    ],
)
def test_a_missing_reviewer_is_named_with_the_option(
    arguments: list[str], reviewer: str, field: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def create_review(*positional: object, **options: object) -> pb.Review:
        raise InvalidRequest("refused", field=field)

    use_client(monkeypatch, create_review=create_review, list_reviews=lambda *_: [pb.Review(name=NAME)])

    with pytest.raises(InvalidRequest) as error:
        CliRunner().invoke(review.review, [*arguments, "--reviewer", reviewer], catch_exceptions=False)

    assert error.value.message == message


def test_an_empty_queue_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    use_client(monkeypatch, list_review_queue=lambda *_: pb.ListReviewQueueResponse())

    for options in ([], ["--limit", "0"]):
        result = CliRunner().invoke(review.review, ["queue", "d", *options])
        assert (result.stdout, result.stderr) == ("", "No images need a review.\n")


def test_a_queue_has_the_fields_of_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    def list_review_queue(dataset: str, analysis: str, most: int, _: int) -> pb.ListReviewQueueResponse:
        items = [pb.ReviewQueueItem(file_name=f"{number}.jpg") for number in range(most)]
        return pb.ListReviewQueueResponse(items=items, total_size=1234, next_page_token="3", analysis="analyses/1")

    use_client(monkeypatch, list_review_queue=list_review_queue)

    table = CliRunner().invoke(review.review, ["queue", "d", "--limit", "3"])
    assert table.stderr == "Showing 3 of 1,234 images. Use --limit to show more.\n"
    document = json.loads(CliRunner().invoke(review.review, ["queue", "d", "--limit", "3", "--json"]).stdout)
    assert [item["file_name"] for item in document.pop("items")] == ["0.jpg", "1.jpg", "2.jpg"]
    assert document == {"total_size": 1234, "next_page_token": "3", "analysis": "analyses/1"}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("1m8gjjm7", "analyses/1m8gjjm78yatht4tadvh4"),
        ("resnet50", "analyses/1m8gjjm78yatht4tadvh4"),
        ("analyses/1m8gjjkxrqyt3n2nkhj47", "analyses/1m8gjjkxrqyt3n2nkhj47"),
        ("", ""),
    ],
)
def test_the_analysis_of_the_queue_is_a_short_id_or_a_name(
    text: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def list_analyses(id_prefix: str = "", display_name: str = "", **_: object) -> Iterator[pb.Analysis]:
        analysis = pb.Analysis(name="analyses/1m8gjjm78yatht4tadvh4", display_name="resnet50")
        if analysis.name.startswith(f"analyses/{id_prefix}") and display_name in ("", analysis.display_name):
            yield analysis

    def list_review_queue(dataset: str, analysis: str, most: int, _: int) -> pb.ListReviewQueueResponse:
        return pb.ListReviewQueueResponse(analysis=analysis)

    use_client(monkeypatch, list=list_analyses, list_review_queue=list_review_queue)

    result = CliRunner().invoke(review.review, ["queue", "d", "--analysis", text, "--json"], catch_exceptions=False)

    assert json.loads(result.stdout)["analysis"] == name


@pytest.mark.parametrize(
    ("options", "num_reviews", "hint"),
    [
        ([], 50, "Showing 50 reviews. Use --limit to show more.\n"),
        (["--limit", "1"], 1, "Showing 1 review. Use --limit to show more.\n"),
        (["--limit", "70"], 70, ""),
    ],
)
def test_the_list_of_reviews_has_a_limit_unless_it_is_json(
    options: list[str], num_reviews: int, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def some_reviews(dataset: str, image: str, reviewer: str, most: int | None) -> pb.ListReviewsResponse:
        reviews = [pb.Review(name=f"{NAME}{number}") for number in range(70)][:most]
        return pb.ListReviewsResponse(reviews=reviews, next_page_token="" if len(reviews) == 70 else "next")

    use_client(monkeypatch, some_reviews=some_reviews)

    table = CliRunner().invoke(review.review, ["list", "d", *options])
    assert (table.stdout.count("0193e1b2c4d5"), table.stderr) == (num_reviews, hint)
    document = json.loads(CliRunner().invoke(review.review, ["list", "d", *options, "--json"]).stdout)
    expected = num_reviews if options else 70
    assert (len(document["reviews"]), document["next_page_token"]) == (expected, "" if expected == 70 else "next")


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
