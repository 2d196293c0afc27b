"""Results of the client: messages that notebooks can show, plot, and convert to data frames."""

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from google.protobuf.message import Message

from errata import frames, html, plots
from errata import v1 as pb
from errata.choices import enum_name
from errata.names import dataset_id

if TYPE_CHECKING:
    import altair
    import pandas as pd

    # Type checkers see a subclass of the message, because a result has all of its attributes.
    AnalysisMessage = pb.Analysis
    ComparisonMessage = pb.Comparison
    TrendMessage = pb.Trend
else:
    AnalysisMessage = ComparisonMessage = TrendMessage = object

AnyMessage = TypeVar("AnyMessage", bound=Message)


class Result(Generic[AnyMessage]):
    """A wrapper of a message. All attributes of the message are attributes of the result."""

    message: AnyMessage
    """The wrapped message, for code that does not accept the wrapper."""

    def __init__(self, message: AnyMessage) -> None:
        self.message = message

    def __getattr__(self, name: str) -> Any:
        if name == "message":  # while pickle creates the object
            raise AttributeError(name)
        return getattr(self.message, name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *dir(self.message)})

    def __eq__(self, other: object) -> bool:
        return self.message == (other.message if isinstance(other, Result) else other)

    __hash__ = None  # type: ignore[assignment]  # as for messages, which are mutable

    def __str__(self) -> str:
        return str(self.message)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._description()}>"

    def _description(self) -> str:
        raise NotImplementedError("This is a bug: each result describes itself.")


class Analysis(Result[pb.Analysis], AnalysisMessage):
    """An analysis. It has the fields of the message `errata.v1.Analysis`, such as `name`, `state`, and `summary`."""

    def to_pandas(self) -> "pd.DataFrame":
        """Return the summary as a data frame.

        Returns:
            A row for each group and error type with the columns `group`, `error_type`, `severity`, `count`, `samples`
            (number in the group), `portion_of_top1_errors`, `portion_of_multi_label_errors`, `top1_gain_if_fixed`,
            `multi_label_gain_if_fixed` (fractions of 1, missing where they are not defined), and `evaluated` (false if
            the rule has no evidence).

        Raises:
            NotReady: If the analysis has not succeeded.
            MissingPackage: If `errata-client[pandas]` is not installed.
        """
        return frames.frame_of(frames.analysis_rows(self.message))

    def plot(self) -> "altair.Chart":
        """Return a chart of the error types in each group, as portions of the top-1 errors.

        Raises:
            NotReady: If the analysis has not succeeded.
            MissingPackage: If `errata-client[pandas]` is not installed.
        """
        return plots.analysis_chart(self.message)

    def _description(self) -> str:
        state = enum_name(pb.Analysis.State, self.message.state)
        return f"{self.message.name}: {self.message.display_name!r} on {dataset_id(self.message.dataset)!r}, {state}"

    def _repr_html_(self) -> str:
        return html.analysis_html(self.message)


class Comparison(Result[pb.Comparison], ComparisonMessage):
    """A comparison of two analyses. It has the fields of the message `errata.v1.Comparison`."""

    def to_pandas(self) -> "pd.DataFrame":
        """Return the transitions between error types as a data frame.

        Returns:
            A row for each group and pair of error types with the columns `group`, `error_type_a`, `error_type_b`, and
            `count` (samples).

        Raises:
            MissingPackage: If `errata-client[pandas]` is not installed.
        """
        return frames.frame_of(frames.comparison_rows(self.message))

    def changes_to_pandas(self, by: str = "class") -> "pd.DataFrame":
        """Return the changed classes, superclasses, or error types as a data frame.

        Args:
            by: `class`, `superclass`, or `error_type`.

        Returns:
            A row for each group and name, with the smallest adjusted p-value first in each group, and the columns
            `group`, `name`, `samples`, `only_a` and `only_b` (samples with a multi-label error, or with the error type,
            in A only and in B only), `rate_a`, `rate_b`, `difference`, `low` and `high` (the 95 % interval of the
            difference), `p_value` (McNemar's exact test), `adjusted_p_value` (Benjamini and Hochberg, among the rows of
            the group), `significant` (at a false discovery rate of 5 %), and `class_index` (None unless `by` is
            `class`).

        Raises:
            InvalidRequest: If `by` is unknown.
            MissingPackage: If `errata-client[pandas]` is not installed.
        """
        return frames.frame_of(frames.change_rows(self.message, by), frames.CHANGE_COLUMNS)

    def plot(self) -> "altair.LayerChart":
        """Return a heat map of the transitions from error types in A to error types in B, over all samples.

        Raises:
            MissingPackage: If `errata-client[pandas]` is not installed.
        """
        return plots.comparison_chart(self.message)

    def _description(self) -> str:
        return f"of {self.message.display_name_a!r} and {self.message.display_name_b!r}: {self.message.headline}"

    def _repr_html_(self) -> str:
        return html.comparison_html(self.message)


class Trend(Result[pb.Trend], TrendMessage):
    """Models by accuracy. It has the fields of the message `errata.v1.Trend`."""

    def to_pandas(self) -> "pd.DataFrame":
        """Return the models as a data frame.

        Returns:
            A row for each model and metric with the columns `model`, `analysis` (empty for a published model), `label`,
            `requested`, `num_analyses` (of the same model version), `top1_accuracy` and `multi_label_accuracy` over
            all samples, `metric`, `portion_of` (`top1_errors`, `multi_label_errors`, or `all_errors`), `value`
            (fractions of 1), and `percentile` among reference models of similar accuracy, with its 95 % interval
            `percentile_low` to `percentile_high`. The percentile is missing if the interval spans more than half of the
            scale.

        Raises:
            MissingPackage: If `errata-client[pandas]` is not installed.
        """
        return frames.frame_of(frames.trend_rows(self.message), frames.TREND_COLUMNS)

    def plot(self, metric: str = "multi_label_accuracy") -> "altair.LayerChart":
        """Return a chart of a metric by accuracy: a point for each model, and the range of published models.

        As in the paper, the accuracy is top-1 accuracy for `class_overlap` and `multi_label`, and multi-label accuracy
        for the other error types.

        Args:
            metric: A name in the column `metric` of `to_pandas`, such as `model_failure`.

        Raises:
            InvalidRequest: If no model has the metric.
            MissingPackage: If `errata-client[pandas]` is not installed.
        """
        return plots.trend_chart(self.message, metric)

    def _description(self) -> str:
        return f"of {len(self.message.models)} models on {dataset_id(self.message.dataset)!r}"

    def _repr_html_(self) -> str:
        return html.trend_html(self.message)
