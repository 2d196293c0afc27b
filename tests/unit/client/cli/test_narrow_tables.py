"""Tables in a terminal of 80 columns: times and IDs stay whole, and no name is cut."""

import io
from types import ModuleType

import pytest
from errata import pb
from errata.cli import audit, images, review
from errata.cli.console import stderr_console, stdout_console
from errata.cli.output import PIPE_WIDTH
from rich.console import Console

IMAGE = "validation/ILSVRC2012_val_00000293.JPEG"
IDENTIFIER = "1m8gjjm78yatht4tadvh4"
SECONDS = 1_790_000_000  # 2026-09-21 14:13:20


def narrow_console(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> io.StringIO:
    """Replace the console of a command; return its output."""
    output = io.StringIO()
    monkeypatch.setattr(module, "stdout_console", lambda: Console(width=80, file=output, highlight=False))
    return output


def column(output: str, title: str, following: str) -> str:
    """Return the text of a column between two titles, without its line breaks."""
    header, *lines = output.splitlines()
    start, end = header.index(title), header.index(following)
    return "".join(line[start:end].strip() for line in lines)


def test_a_table_of_reviews_cuts_no_name_id_or_time(monkeypatch: pytest.MonkeyPatch) -> None:
    output = narrow_console(monkeypatch, review)
    item = pb.Review(name="datasets/d/images/i/reviews/0193e1b2c4d5f", file_name=IMAGE, reviewer="newcomer")
    item.comment = "Both are visible in the other image."
    item.create_time.seconds = SECONDS

    review._print_reviews([item])

    assert "0193e1b2c4d5  2026-09-21 14:13  " in output.getvalue()
    assert column(output.getvalue(), "image", "statements") == IMAGE
    assert "…" not in output.getvalue()


def test_a_table_of_audit_events_cuts_no_id_or_time(monkeypatch: pytest.MonkeyPatch) -> None:
    output = narrow_console(monkeypatch, audit)
    event = pb.AuditEvent(
        actor="unauthenticated",
        action=pb.AuditEvent.ACTION_CREATE,
        dataset="datasets/imagenet-real",
        analysis=f"analyses/{IDENTIFIER}",
        details={"title": "resnet50-of-june.csv", "predictions_sha256": "a" * 64},
    )
    event.create_time.seconds = SECONDS

    audit._print_table([event])

    assert "2026-09-21 14:13:20  " in output.getvalue()
    assert f"  {IDENTIFIER}  " in output.getvalue()
    assert "…" not in output.getvalue()


def test_an_audit_event_has_the_first_digits_of_its_evidence(monkeypatch: pytest.MonkeyPatch) -> None:
    output = narrow_console(monkeypatch, audit)
    event = pb.AuditEvent(
        actor="boss",
        action=pb.AuditEvent.ACTION_SET_DEFAULT,
        dataset="datasets/demo",
        evidence=f"datasets/demo/evidence/{'0123456789abcdef' * 4}",
        details={"previous": "x"},
    )

    audit._print_table([event])

    assert "evidence: 0123456789ab, previous: x" in " ".join(output.getvalue().split())


def test_lines_in_a_pipe_are_not_wrapped_for_a_dumb_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")

    assert stdout_console().width == stderr_console().width == PIPE_WIDTH


def test_a_table_of_images_cuts_no_name() -> None:
    output = io.StringIO()
    response = pb.ListImagesResponse(num_models=3)
    response.images.add(
        file_name=IMAGE,
        error_type="fine_grained_oov",
        effective_target_name="great white shark",
        predicted_name="hammerhead",
        problematic=True,
        num_failing=1,
        num_predicting=2,
    )

    images._print_images(response, True, Console(width=80, file=output, highlight=False))

    assert "1 of 2" in output.getvalue(), "the other analyses with a prediction for the image"

    assert column(output.getvalue().partition("\n")[2], "image", "error type") == IMAGE
    assert "…" not in output.getvalue()


def test_failing_analyses_of_an_earlier_service_have_no_total() -> None:
    output = io.StringIO()

    images._print_images(
        pb.ListImagesResponse(images=[pb.AnalyzedImage(num_failing=2)], num_models=3), False, Console(file=output)
    )

    assert output.getvalue().split()[-1] == "2"
