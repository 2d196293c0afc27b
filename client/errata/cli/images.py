"""errata images: the images of an analysis, with facet counts."""

from collections.abc import Mapping

import click
from rich.console import Console

from errata import pb
from errata.cli.commands import command
from errata.cli.connect import Target, connect, json_option, server_options
from errata.cli.console import safe, stdout_console
from errata.cli.limit import limit_option, print_limit_hint
from errata.cli.resolve import resolve
from errata.cli.value_names import ClassKey, distinct_names
from errata.cli.views import new_table, show_owner_and_coverage
from errata.error_types import ERROR_TYPES, title_of
from errata.messages import format_count, format_optional
from errata.proto_json import to_json

TYPES = [error_type.key for error_type in ERROR_TYPES]
PROBLEMATIC = {"exclude": False, "include": None, "only": True}  # as on the pages of images
ORDERS = [f"{name}{suffix}" for name in ("severity", "confidence", "class", "models") for suffix in ("", " desc")]
FACETS: Mapping[str, str] = {
    "error_types": "error type",
    "target_classes": "class",
    "predicted_classes": "predicted class",
    "superclasses": "superclass",
    "groups": "group",
}
EXAMPLES = """
errata images 01kb4t9z
errata images 01kb4t9z --type model_failure --target "great white shark" --limit 10
errata images 01kb4t9z --min-probability 0.9 --sort "confidence desc" --facets
errata images 01kb4t9z --baseline 01k9zq3m --change broken --json
"""


@command(examples=EXAMPLES)
@click.argument("analysis")
@click.option("--type", "error_type", type=click.Choice(TYPES, case_sensitive=False), help="Only this error type.")
@click.option("--target", "target_class", default="", metavar="CLASS", help="Only images of this class.")
@click.option("--predicted", default="", metavar="CLASS", help="Only images with this prediction.")
@click.option("--superclass", default="", help="Only images of a class in this superclass.")
@click.option("--group", default="", metavar="NAME", help="Only images of this group of the label space.")
@click.option(
    "--min-probability", type=click.FloatRange(0, 1), help="Only images whose prediction has at least this probability."
)
@click.option(
    "--problematic",
    type=click.Choice([*PROBLEMATIC]),
    default="exclude",
    show_default=True,
    help="Whether to list problematic images.",
)
@click.option("--baseline", default="", metavar="ANALYSIS", help="Another analysis with the same evidence.")
@click.option(
    "--change", default="", help="With --baseline: fixed, broken, or two error types, such as correct:model_failure."
)
@click.option("--sort", type=click.Choice(ORDERS), default="severity desc", show_default=True, help="The order.")
@click.option(
    "--facets", is_flag=True, help="Also show the number of images for the 20 most frequent values of each facet."
)
@limit_option(50, "Maximum number of images.")
@json_option
@server_options
def images(
    analysis: str,
    error_type: str | None,
    target_class: str,
    predicted: str,
    superclass: str,
    group: str,
    min_probability: float | None,
    problematic: str,
    baseline: str,
    change: str,
    sort: str,
    facets: bool,
    limit: int,
    as_json: bool,
    target: Target,
) -> None:
    """List the images of ANALYSIS, the most severe errors first.

    A CLASS is an index, an ID, or a unique name. The class of an image is its original label,
    or its first label if the labels reject the original label. Problematic images are excluded by
    default, as on the pages of images.
    """
    condition = pb.ImageFilter(
        error_type=error_type or "",
        target_class=target_class,
        predicted_class=predicted,
        superclass=superclass,
        group=group,
        min_probability=min_probability,
        problematic=PROBLEMATIC[problematic],
        change=change,
    )
    with connect(target) as connection:
        client = connection.client
        if baseline:
            condition.baseline = resolve(client, baseline)
        name = resolve(client, analysis)
        response = client.list_images(name, limit, sort, condition)
        details = client.get(name)
    if as_json:
        click.echo(to_json(response))
        return
    console = stdout_console()
    show_owner_and_coverage(details, console)
    _print_images(response, bool(baseline), console)
    if facets:
        _print_facets(response.facets, console)
    if response.total_size > len(response.images):
        print_limit_hint(len(response.images), "image", total=response.total_size)


def _print_images(response: pb.ListImagesResponse, has_baseline: bool, console: Console) -> None:
    titles = ["image", "error type", "class", "predicted", *(["baseline"] if has_baseline else [])]
    table = new_table(*titles, "probability", "failing analyses", left=len(titles))
    names = distinct_names(item for image in response.images for item in _classes_of(image))
    for image in response.images:
        target, predicted, baseline = (names[item] for item in _classes_of(image))
        cells = [
            image.file_name,
            title_of(image.error_type) + (" (problematic)" if image.problematic else ""),
            target,
            predicted,
            *([baseline] if has_baseline else []),
        ]
        # Earlier versions of the service do not set `num_predicting`.
        failing = f"{image.num_failing}" + (f" of {image.num_predicting}" if image.num_predicting else "")
        table.add_row(*map(safe, cells), format_optional(image, "probability"), failing)
    console.print(table)


def _classes_of(image: pb.AnalyzedImage) -> tuple[ClassKey, ClassKey, ClassKey]:
    """Return the class of an image, the predicted class, and the one that the baseline predicted."""
    return (
        (image.effective_target, image.effective_target_name),
        (image.predicted, image.predicted_name),
        (image.baseline_predicted, image.baseline_predicted_name),
    )


def _print_facets(facets: pb.ImageFacets, console: Console) -> None:
    for field, title in FACETS.items():
        facet = getattr(facets, field)
        if not facet.counts:
            continue
        console.print()
        table = new_table(title, "images")
        names = distinct_names((count.value, count.display_name) for count in facet.counts)
        for count in facet.counts:
            name = title_of(count.value) if field == "error_types" else names[count.value, count.display_name]
            table.add_row(safe(name), format_count(count.num_images))
        if facet.num_values > len(facet.counts):
            table.add_row(f"{format_count(facet.num_values - len(facet.counts))} more", "")
        console.print(table)
