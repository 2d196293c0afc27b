"""Options for the files of your own data set, which `errata dataset check` and `errata evidence build` share."""

from collections.abc import Callable
from typing import Any

import click
from errata.cli.analyze import ROW_ORDERS
from errata.cli.commands import FilePath

from service.domain import RowOrder
from service.evidence.cooccurrence import MIN_COUNT

FILE = FilePath()
row_order_option = click.option(
    "--row-order",
    type=click.Choice(ROW_ORDERS),
    callback=lambda _, __, value: RowOrder[value.upper().replace("-", "_")] if value else RowOrder.UNSPECIFIED,
    help="The order of the rows of predictions without file names. Default: path.",
)
_OPTIONS = (
    click.option(
        "--classes",
        type=FILE,
        metavar="FILE",
        help="Classes of your own: CSV index,id,name,synonyms,superclasses,groups,synset, or JSON. Default: "
        "ImageNet-1k.",
    ),
    click.option(
        "--labels",
        type=FILE,
        metavar="FILE",
        help="Labels of your images: CSV file_name,target,labels,problematic, JSON, JSON lines, or Parquet.",
    ),
    click.option("--overlaps", type=FILE, metavar="FILE", help="CSV class,also_correct, with --classes."),
    click.option("--groups", type=FILE, metavar="FILE", help="CSV class,groups, with --classes."),
    click.option(
        "--cooccurrence",
        type=FILE,
        metavar="FILE",
        help="Labels of other images, such as the training set, in which co-occurring classes are counted. Default: "
        "the labels of the data set, or ReaL labels without --classes.",
    ),
    click.option(
        "--min-cooccurrence",
        type=click.IntRange(min=1),
        default=MIN_COUNT,
        show_default=True,
        metavar="N",
        help="The number of images in which two classes must occur together.",
    ),
    click.option(
        "--vocabulary",
        type=FILE,
        metavar="FILE",
        help="CSV file with the columns text,near: names of objects that are no class, for the out-of-vocabulary rule. "
        "Use it with --classes and --encoder.",
    ),
    click.option(
        "--superclasses",
        type=FILE,
        metavar="FILE",
        help="CSV class,superclasses with --classes; otherwise superclasses in the authors' format. Default: Errata's.",
    ),
)


def dataset_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function
