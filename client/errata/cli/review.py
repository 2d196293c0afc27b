"""errata review: reviews of the labels of images."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from errata import Client, pb
from errata.choices import enum_name, enum_names
from errata.cli.commands import FilePath, GroupWithExamples
from errata.cli.connect import Target, connect, evidence_option, json_option, server_options
from errata.cli.console import safe, stderr_console, stdout_console
from errata.cli.limit import is_limit_set, limit_option, print_limit_hint
from errata.cli.output import STDOUT, output_path, print_path, write_output
from errata.cli.resolve import resolve
from errata.cli.value_names import creation_time
from errata.cli.views import new_table
from errata.errors import InvalidRequest, ReviewNotFound
from errata.files import describe_read_error
from errata.messages import MISSING, format_count, format_optional, pluralize
from errata.names import DATASETS, image_name
from errata.proto_json import to_json

FORMATS = [name.replace("_", "-") for name in enum_names(pb.ReviewFormat)]
FILE_NAMES = {"jsonl": "reviews.jsonl", "labels-csv": "labels.csv", "labels-jsonl": "labels.jsonl"}
MAX_MODELS = 200  # that vote on labels
SHORT_ID = 12  # digits of an ID in a table
EXAMPLES = """
errata review queue products
errata review add products img/17.jpg --reject shoe --add boot
errata review list products
errata review export products --format labels-csv --output labels.csv
"""
reviewer_option = click.option(
    "--reviewer", default="", metavar="NAME", help="Your name. With a token, the token's name is the reviewer."
)


@click.group(cls=GroupWithExamples, examples=EXAMPLES)
def review() -> None:
    """Review the labels of images, and export the reviewed labels.

    Reviews cannot be changed: 'undo' creates another review, which withdraws yours. For each class, the newest
    statement of each reviewer counts, and the majority decides.
    """


@review.command(
    "queue",
    examples="""
errata review queue products
errata review queue products --analysis 01kb4t9z --limit 20 --json
""",
)
@click.argument("dataset")
@click.option(
    "--analysis", default="", help="The analysis whose severe errors are in the queue. Default: the newest one."
)
@click.option(
    "--min-agreement",
    type=click.IntRange(1, MAX_MODELS),
    metavar="N",
    help="Number of models that must predict a suggested class. Default: half of the models, and at least 3.",
)
@limit_option(50, "Maximum number of images.")
@json_option
@server_options
def queue(dataset: str, analysis: str, min_agreement: int | None, limit: int, as_json: bool, target: Target) -> None:
    """List the images of DATASET that people should review, the most urgent first."""
    with connect(target) as connection:
        client = connection.client
        analysis = analysis and resolve(client, analysis)
        response = client.list_review_queue(dataset, analysis, limit, min_agreement or 0)
    if as_json:
        click.echo(to_json(response))
        return
    if not response.total_size:
        stderr_console().print("No images need a review.")
        return
    table = new_table("image", "reason", "class", "models", "probability", left=3)
    for item in response.items:
        agreement = f"{item.num_agreeing} of {item.num_models}" if item.HasField("predicted") else MISSING
        table.add_row(
            safe(item.file_name),
            enum_name(pb.ReviewQueueItem.Reason, item.reason).replace("_", " "),
            safe(item.predicted_name) or MISSING,
            agreement,
            format_optional(item, "probability"),
        )
    stdout_console().print(table)
    if response.total_size > len(response.items):
        print_limit_hint(len(response.items), "image", total=response.total_size)


@review.command(
    "list",
    examples="""
errata review list products
errata review list products img/17.jpg
errata review list products --reviewer alice --json
""",
)
@click.argument("dataset")
@click.argument("image", default="")
@click.option("--reviewer", default="", metavar="NAME", help="Only reviews of this reviewer.")
@limit_option(50, "Maximum number of reviews. With --json, there is no maximum by default.")
@json_option
@server_options
def list_reviews(dataset: str, image: str, reviewer: str, limit: int, as_json: bool, target: Target) -> None:
    """List the reviews of DATASET, or of its IMAGE, newest first."""
    is_unlimited = as_json and not is_limit_set()
    with connect(target) as connection:
        response = connection.client.some_reviews(dataset, image, reviewer, None if is_unlimited else limit)
    if as_json:
        click.echo(to_json(response))
        return
    _print_reviews(response.reviews)
    if response.next_page_token:
        print_limit_hint(len(response.reviews), "review")


@review.command(
    "add",
    examples="""
errata review add products img/17.jpg --confirm shoe
errata review add products img/17.jpg --reject shoe --add boot --comment "Both are visible in img/18.jpg."
errata review add products img/99.jpg --problematic --reason blurred --reviewer alice
""",
)
@click.argument("dataset")
@click.argument("image")
@click.option(
    "--confirm", "confirmed", multiple=True, metavar="CLASS", help="A label that is correct. Can be repeated."
)
@click.option("--add", "added", multiple=True, metavar="CLASS", help="A further correct class. Can be repeated.")
@click.option("--reject", "rejected", multiple=True, metavar="CLASS", help="A wrong class. Can be repeated.")
@click.option("--problematic/--not-problematic", default=None, help="Whether the image should be set aside.")
@click.option("--reason", default="", help="Why the image is problematic.")
@click.option("--comment", default="", help="A comment.")
@reviewer_option
@evidence_option
@json_option
@server_options
def add(
    dataset: str,
    image: str,
    reviewer: str,
    evidence: str,
    as_json: bool,
    target: Target,
    confirmed: tuple[str, ...],
    added: tuple[str, ...],
    rejected: tuple[str, ...],
    problematic: bool | None,
    reason: str,
    comment: str,
) -> None:
    """Review the labels of IMAGE in DATASET. A CLASS is an index, an ID, or a unique name."""
    with connect(target, evidence) as connection, _reviewer_remedy(reviewer):
        result = connection.client.create_review(
            dataset,
            image,
            reviewer,
            evidence=connection.evidence,
            confirmed=confirmed,
            added=added,
            rejected=rejected,
            reason=reason,
            comment=comment,
            problematic=problematic,
        )
    _print_review(result, as_json)


@review.command(
    "undo",
    examples="""
errata review undo products img/17.jpg 0193e1b2c4d5
errata review undo products img/17.jpg 0193e1b2c4d5 --reviewer alice
""",
)
@click.argument("dataset")
@click.argument("image")
@click.argument("review_id", metavar="REVIEW")
@reviewer_option
@json_option
@server_options
def undo(dataset: str, image: str, review_id: str, reviewer: str, as_json: bool, target: Target) -> None:
    """Withdraw your REVIEW of IMAGE in DATASET. REVIEW is an ID or its start, as 'errata review list' shows it."""
    with connect(target) as connection:
        name = _find_review(connection.client, dataset, image, review_id)
        with _reviewer_remedy(reviewer):
            result = connection.client.create_review(dataset, image, reviewer, undoes=name)
    _print_review(result, as_json)


@review.command(
    "export",
    examples="""
errata review export products > reviews.jsonl
errata review export products --format labels-csv --only-reviewed --output labels.csv
errata review export products --format labels-jsonl --min-reviews 2 --evidence 3f2a90 --output labels.jsonl
""",
)
@click.argument("dataset")
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default=FORMATS[0],
    show_default=True,
    help="The reviews, or the labels that the reviews have corrected.",
)
@click.option(
    "--min-reviews",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="For labels: number of reviewers that must have voted on a class.",
)
@click.option("--only-reviewed", is_flag=True, help="For labels: only images with reviews.")
@click.option(
    "--output",
    type=FilePath(str),
    default=str(STDOUT),
    show_default=True,
    metavar="PATH",
    help="The file to write, or a folder for it; '-' for stdout.",
)
@evidence_option
@server_options
def export(
    dataset: str, form: str, min_reviews: int, only_reviewed: bool, output: str, evidence: str, target: Target
) -> None:
    """Export the reviews of DATASET, or the labels that the reviews have corrected, as a file."""
    if form == FORMATS[0] and (min_reviews > 1 or only_reviewed):
        raise InvalidRequest(
            f"--min-reviews and --only-reviewed select labels. Add --format {' or '.join(FORMATS[1:])}.", field="format"
        )
    with connect(target, evidence) as connection:
        chunks = connection.client.export_reviews(dataset, form, connection.evidence, min_reviews, only_reviewed)
        content = b"".join(chunks)
    path = output_path(output, FILE_NAMES[form])
    write_output(path, content)
    if path != STDOUT:
        print_path("Written", path)


@review.command(
    "import",
    examples="""
errata review import products reviews.jsonl
errata review import products backup.jsonl --keep-authentication
errata review import products labels.csv --reviewer ann
""",
)
@click.argument("dataset")
@click.argument("file", type=FilePath())
@click.option(
    "--keep-authentication",
    is_flag=True,
    help="Keep reviewers authenticated if the file marks them so. Use it to restore a backup of the same service.",
)
@click.option(
    "--reviewer", default="", metavar="NAME", help="For labels: your name. With a token, its name is the reviewer."
)
@server_options
def import_reviews(dataset: str, file: Path, keep_authentication: bool, reviewer: str, target: Target) -> None:
    """Import reviews of DATASET from FILE, which 'errata review export' wrote. A repeated import adds nothing.

    A labels file, perhaps corrected by another tool, becomes your reviews of the images whose labels differ from the
    current ones. Needs a token with the scope admin, because JSON lines name the reviewers.
    """
    try:
        opened = file.open("rb")
    except OSError as error:
        raise InvalidRequest(describe_read_error(file, error), field="file") from error
    with opened, connect(target) as connection, _reviewer_remedy(reviewer):
        result = connection.client.import_reviews(opened, dataset, keep_authentication, reviewer)
    added, existing = pluralize(result.num_added, "review"), format_count(result.num_existing)
    stderr_console().print(f"Imported {added}. {existing} existed before.")


@contextmanager
def _reviewer_remedy(reviewer: str) -> Iterator[None]:
    """Change the error for a missing reviewer to one that names the option --reviewer."""
    try:
        yield
    except InvalidRequest as error:
        if reviewer.strip() or all(violation.field != "reviewer" for violation in error.violations):
            raise
        raise InvalidRequest("The reviewer is missing. Use --reviewer NAME.", field="reviewer") from error


def _find_review(client: Client, dataset: str, image: str, text: str) -> str:
    """Return the name of a review of an image from its name, its ID, or the start of its ID."""
    prefix = text if text.startswith(DATASETS) else f"{image_name(dataset, image)}/reviews/{text}"
    names = [item.name for item in client.list_reviews(dataset, image) if text and item.name.startswith(prefix)]
    if not names:
        raise ReviewNotFound(
            f"Review {text!r:.80} of {image!r:.120} not found. 'errata review list' shows the reviews of an image.",
            field="review",
        )
    if len(names) > 1:
        raise InvalidRequest(f"{len(names)} reviews match {text!r:.80}. Use more digits.", field="review")
    return names[0]


def _print_review(item: pb.Review, as_json: bool) -> None:
    if as_json:
        click.echo(to_json(item))
    else:
        _print_reviews([item])


def _print_reviews(reviews: Sequence[pb.Review]) -> None:
    titles = ("review", "time (UTC)", "reviewer", "image", "statements")
    table = new_table(*titles, left=len(titles), unbroken=titles[:2])
    for item in reviews:
        table.add_row(
            safe(item.name.rpartition("/")[2][:SHORT_ID]),
            creation_time(item),
            safe(item.reviewer) + ("" if item.authenticated else " (unauthenticated)"),
            safe(item.file_name),
            safe(describe_statements(item)),
        )
    stdout_console().print(table)


def describe_statements(item: pb.Review) -> str:
    """Return the statements of a review in one line, such as "rejects shoe; adds boot (undone)"."""
    parts = [*_class_parts(item)]
    if item.undoes:
        parts.append(f"undoes {item.undoes.rpartition('/')[2][:SHORT_ID]}")
    if item.HasField("problematic"):
        reason = f": {item.reason}" if item.reason else ""
        parts.append(f"problematic{reason}" if item.problematic else "not problematic")
    if item.comment:
        parts.append(f"“{item.comment}”")
    return "; ".join(parts) + (" (undone)" if item.undone else "")


def _class_parts(item: pb.Review) -> Iterable[str]:
    for verb, classes in (
        ("confirms", item.confirmed_classes),
        ("adds", item.added_classes),
        ("rejects", item.rejected_classes),
    ):
        if classes:
            yield f"{verb} {', '.join(classes)}"
