"""The axes of the metrics of a trend, and titles of metrics and models."""

from collections.abc import Mapping

from errata import v1 as pb
from errata.messages import METRIC_NAMES, PORTION_NAMES, metric_name


def metric_axes(trend: pb.Trend) -> Mapping[str, tuple[str, str]]:
    """Map each metric to the accuracy on its axis and the errors that it is a portion of, as names in the API.

    Responses of earlier versions lack the field `metrics`. Their metrics all have top-1 accuracy on
    the axis, and are portions of the top-1 errors.
    """
    axes = {
        metric: ("top1_accuracy", "" if metric == "multi_label_accuracy" else "top1_errors") for metric in METRIC_NAMES
    }
    return axes | {item.metric: (item.axis, item.portion_of) for item in trend.metrics}


def value_title(trend: pb.Trend, metric: str) -> str:
    """Return the title of a metric and the errors that it is a portion of: "model failure, of top-1 errors"."""
    portion_of = metric_axes(trend).get(metric, ("", ""))[1]
    return (
        f"{metric_name(metric)}, of {PORTION_NAMES[portion_of]}" if portion_of in PORTION_NAMES else metric_name(metric)
    )


def model_title(model: pb.TrendModel) -> str:
    """Return the name of a model of a trend, with the number of its analyses if there are several."""
    return f"{model.display_name} ({model.num_analyses} analyses)" if model.num_analyses > 1 else model.display_name
