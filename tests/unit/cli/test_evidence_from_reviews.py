"""errata evidence build --base: evidence from reviews of a file or of the archive, without a service."""

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from errata.errors import ErrataError, InvalidEvidence
from street import build_street

from service.archive.files import open_files
from service.archive.publications import ArchivePublications
from service.archive.record_log import RecordLog
from service.cli.evidence import evidence
from service.domain import AuditAction, AuditEvent, Review
from service.evidence.bundle import Bundle, open_bundle
from service.evidence.publications import PublishedEvidence

Run = Callable[..., Result]


@pytest.fixture
def street(tmp_path: Path) -> Bundle:
    return build_street(tmp_path)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("ERRATA_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("ERRATA_ARCHIVE", str(tmp_path / "archive"))

    def invoke(*arguments: object) -> Result:
        return CliRunner().invoke(evidence, ["build", *map(str, arguments)], catch_exceptions=False)

    return invoke


def make_review(number: int = 1, **statements: object) -> Review:
    base = {"added": ("owl",)} | statements
    return Review(f"{number:032x}", "street", "a", "e" * 64, "ann", True, datetime(2026, 1, number, tzinfo=UTC), **base)


def line_of(review: Review) -> str:
    return json.dumps(asdict(review) | {"time": review.time.isoformat()})


@pytest.mark.parametrize("option", [(), ("--reviews",)])
def test_reviews_of_a_file_and_of_the_archive_give_the_same_evidence(
    street: Bundle, run: Run, tmp_path: Path, option: tuple[str, ...]
) -> None:
    reviews = [make_review(), make_review(2, added=(), rejected=("cat",))]
    (tmp_path / "reviews.jsonl").write_text("\n".join([*map(line_of, reversed(reviews)), ""]))
    log = RecordLog(open_files(str(tmp_path / "archive" / "reviews")), Review)
    for review in reviews:
        log.append(review)

    from_file = run("--base", street.path, "--reviews", tmp_path / "reviews.jsonl", "--output", tmp_path / "one")
    from_archive = run("--base", street.path, *option, "--output", tmp_path / "two", "--json")

    assert from_file.exit_code == from_archive.exit_code == 0
    one, two = open_bundle(tmp_path / "one"), open_bundle(tmp_path / "two")
    assert one.digest == two.digest
    assert one.manifest.reviews == two.manifest.reviews
    assert one.evidence.labels.of(0).tolist() == [2]
    assert one.digest in from_file.output


def test_an_archive_without_reviews_is_named(street: Bundle, run: Run, tmp_path: Path) -> None:
    with pytest.raises(InvalidEvidence, match=rf"'{tmp_path}/archive' has no reviews of street\. Set ERRATA_ARCHIVE"):
        run("--base", street.path, "--output", tmp_path / "one")


def test_a_review_of_a_file_needs_no_id_evidence_or_data_set(street: Bundle, run: Run, tmp_path: Path) -> None:
    line = {"image": "b", "reviewer": "me", "time": "2026-01-31T12:00:00Z", "problematic": True, "reason": "torn"}
    (tmp_path / "reviews.jsonl").write_text(json.dumps(line))

    run("--base", street.path, "--reviews", tmp_path / "reviews.jsonl", "--output", tmp_path / "one")

    assert open_bundle(tmp_path / "one").evidence.problematic.tolist() == [False, True, False, False]


def test_published_evidence_of_the_archive_can_be_the_base(street: Bundle, run: Run, tmp_path: Path) -> None:
    publications = ArchivePublications(str(tmp_path / "archive"))
    details = PublishedEvidence(publications, tmp_path / "elsewhere").write(street.path)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    publications.append(AuditEvent("0" * 32, now, "root", AuditAction.PUBLISH, "street", street.digest, details))
    (tmp_path / "reviews.jsonl").write_text(line_of(make_review()))

    run("--base", street.digest[:10], "--reviews", tmp_path / "reviews.jsonl", "--output", tmp_path / "one")

    assert open_bundle(tmp_path / "one").manifest.base == street.digest


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("[1]", "is not an object"),
        ('{"image": "a"', "line 2"),
        (line_of(make_review()).replace('"street"', '"road"'), "The data set is 'road'"),
        (
            line_of(make_review(added=("horse",))),
            "'horse' is no class ID of 'street'; write an ID, as `errata review export` does",
        ),
        (line_of(make_review()).replace("+00:00", ""), "has no zone"),
        (line_of(make_review()).replace('"reviewer"', '"critic"'), "'critic'"),
        (line_of(make_review()).replace('["owl"]', '"owl"'), "added"),
        (line_of(make_review(comment="other")), "another line has the ID"),
        ("[" * 100_000, "line 2"),
    ],
)
def test_an_invalid_line_is_reported_with_its_number(
    street: Bundle, run: Run, tmp_path: Path, line: str, problem: str
) -> None:
    (tmp_path / "reviews.jsonl").write_text(f"{line_of(make_review())}\n{line}\n")

    with pytest.raises(InvalidEvidence, match=r"reviews\.jsonl, line 2") as error:
        run("--base", street.path, "--reviews", tmp_path / "reviews.jsonl", "--output", tmp_path / "one")

    assert problem in error.value.message
    assert not (tmp_path / "one").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "data set is missing"),
        (("--base", "x", "--dataset", "street"), "--dataset has no effect with --base"),
        (("--base", "x", "--encoder", "a:b"), "--encoder has no effect with --base"),
        (("--dataset", "street", "--reviews", "r"), "Add --base"),
        (("--dataset", "street", "--reviews"), "Add --base"),
        (("--base", "abcdef"), "no digest starts with it"),
    ],
)
def test_options_that_make_no_sense_together_are_refused(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ErrataError, match=message):
        run(*arguments, "--output", tmp_path / "one")


def test_the_audit_log_of_the_archive_is_shown_and_exported(run: Run, tmp_path: Path) -> None:
    publications = ArchivePublications(str(tmp_path / "archive"))
    for number, action in enumerate((AuditAction.BUILD, AuditAction.SET_DEFAULT)):
        time = datetime(2026, 1, 1 + number, tzinfo=UTC)
        publications.append(AuditEvent(f"{number:032x}", time, "[b]root", action, "street", "ab" * 32, {"base": "x"}))

    shown = CliRunner().invoke(evidence, ["audit"], catch_exceptions=False).output
    exported = CliRunner().invoke(evidence, ["audit", "--json"], catch_exceptions=False).stdout

    assert "[b]root" in shown
    assert "set-default" in shown
    events = [json.loads(line) for line in exported.splitlines()]
    assert [(event["action"], event["actor"]) for event in events] == [("build", "[b]root"), ("set-default", "[b]root")]
    assert events[0]["details"] == {"base": "x"}


def test_the_bundle_that_a_build_replaces_is_backed_up(street: Bundle, run: Run, tmp_path: Path) -> None:
    labels, backup = tmp_path / "labels.csv", tmp_path / f"bundle-{street.digest[:12]}"
    arguments = ["--dataset", "street", "--classes", tmp_path / "classes.csv", "--labels", labels]

    same = run(*arguments, "--output", street.path)
    assert "backup" not in same.stderr
    assert not backup.exists()
    labels.write_text("file_name,labels\na,dog\nb,dog\n")
    changed = run(*arguments, "--output", street.path)

    assert f"Backup of the previous bundle: {backup}" in changed.stderr
    assert open_bundle(backup).digest == street.digest
    assert open_bundle(street.path).digest != street.digest
    labels.write_text("file_name,labels\na,horse\n")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InvalidEvidence, match="horse"):
        run(*arguments, "--output", street.path)
    assert sorted(tmp_path.iterdir()) == before
