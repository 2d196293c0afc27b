"""The table of error types: one row for each type, in the order of the rules. All other code reads this table.

To add a type, add its row here with the next version of the rules as `since`, and its rule in a module of
`service.rules` that has the name of the type.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, TypeVar

from errata.enums import Severity, UnknownValue

Number = TypeVar("Number", int, float)
MAX_ID = 15  # an ID has four bits in a stored verdict


class Colors(NamedTuple):
    """Colors of an error type: grays and teal if it counts as correct, else blue, brown, or red by its severity."""

    light: str  # reports in light mode, and charts of the client
    dark: str  # reports in dark mode
    dashboard: str  # the Grafana dashboard; has contrast to its light and to its dark background


@dataclass(frozen=True)
class Row:
    """A row of the table."""

    id: int  # in stored verdicts, 1 to MAX_ID: never changed, and never used for another type
    severity: Severity  # NONE: the prediction counts as correct
    title: str  # the term of the paper
    plural: str
    description: str
    colors: Colors
    since: int  # the version of the rules that introduced the type; earlier records do not count it
    needs: str = ""  # the field of the evidence without which the rule abstains
    missing: str = ""  # the sentence for the missing evidence
    column: str = ""  # in the authors' statistics of published models; empty: the type is not in them


class ErrorType(Enum):
    """Type of an error. The order of the members is the order of the rules, and the value is the stored ID."""

    CORRECT = Row(
        id=1,
        severity=Severity.NONE,
        title="top-1 correct",
        plural="correct predictions",
        description="The prediction is the original label, and the labels of the image do not reject it.",
        colors=Colors("#fff", "#15181b", "#a9b4be"),
        since=1,
        column="num_group_correct",
    )
    CLASS_OVERLAP = Row(
        id=2,
        severity=Severity.NONE,
        title="class overlap",
        plural="class overlaps",
        description=("Two classes mean the same concept, and the model predicts the other one. Counted as correct."),
        colors=Colors("#848e98", "#737d87", "#7b858f"),
        since=1,
        column="num_collapsed_mappings",
    )
    MULTI_LABEL = Row(
        id=3,
        severity=Severity.NONE,
        title="missing multi-label",
        plural="missing multi-labels",
        description=(
            "The prediction is a label of the image, but not the original label: the image has several labels, or the "
            "original label is wrong. Counted as correct."
        ),
        colors=Colors("#0b6e63", "#3fc4b0", "#26a596"),
        since=1,
        column="num_ambiguous",
    )
    FINE_GRAINED = Row(
        id=4,
        severity=Severity.MINOR,
        title="fine-grained",
        plural="fine-grained errors",
        description="The prediction and a label of the image are similar: they share a superclass.",
        colors=Colors("#4a90d9", "#9cc9f2", "#5f9fdf"),
        since=1,
        column="num_same_superclass",
    )
    FINE_GRAINED_OOV = Row(
        id=5,
        severity=Severity.MINOR,
        title="fine-grained, out of vocabulary",
        plural="out-of-vocabulary errors",
        description="The image shows an object similar to the prediction, but no class is for it.",
        colors=Colors("#1c4587", "#3f7fd0", "#3567b5"),
        since=1,
        needs="oov",
        missing="Out-of-vocabulary evidence is not available.",
        column="num_OOV_clip",
    )
    SPURIOUS_CORRELATION = Row(
        id=6,
        severity=Severity.EXPLAINABLE,
        title="spurious correlation",
        plural="spurious correlations",
        description="The predicted class is not in the image, but it often occurs together with a class that is.",
        colors=Colors("#c17d11", "#f0c060", "#dba338"),
        since=1,
        needs="cooccurrence",
        missing="Co-occurrence counts are not available.",
        column="num_common_co_occ",
    )
    NON_PROTOTYPICAL = Row(
        id=7,
        severity=Severity.EXPLAINABLE,
        title="non-prototypical",
        plural="non-prototypical errors",
        description="The image shows an unusual example of its class.",
        colors=Colors("#5c3700", "#a87319", "#996619"),
        since=1,
        needs="non_prototypical",
        missing="A list of non-prototypical images is not available.",
        column="num_non_prototypical",
    )
    MODEL_FAILURE = Row(
        id=8,
        severity=Severity.SEVERE,
        title="model failure",
        plural="model failures",
        description="No other error type explains the error.",
        colors=Colors("#cf2a2a", "#ff5a52", "#e03e36"),
        since=1,
        column="num_not_classified",
    )

    row: Row
    id: int  # the number in stored verdicts
    key: str  # the name in the API, in data frames, and on the command line, such as `model_failure`
    _value_: int
    __hash__ = object.__hash__  # valid because each member is one object; the function of Enum is slow

    def __new__(cls, row: Row | int) -> "ErrorType":
        """Create the member of a row. `ErrorType(ID)` finds an existing member and does not call this method."""
        assert isinstance(row, Row), f"This is a bug: the enumeration passes {row!r} instead of a row"
        member = object.__new__(cls)
        member._value_, member.row, member.id = row.id, row, row.id
        return member

    def __init__(self, row: Row | int) -> None:
        self.key = self.name.lower()

    @classmethod
    def _missing_(cls, value: object) -> None:
        raise UnknownValue(
            f"Unknown error type {value!r:.40}. A newer version of Errata may know it. "
            "Upgrade this installation of Errata."
        )

    @property
    def position(self) -> int:
        """Return the position in the order of the rules, starting at 0."""
        return _POSITIONS[self]

    @property
    def severity(self) -> Severity:
        """Return the severity."""
        return self.row.severity

    @property
    def counts_as_correct(self) -> bool:
        """Return whether multi-label accuracy counts the prediction as correct."""
        return self.severity is Severity.NONE

    @property
    def title(self) -> str:
        """Return the name in texts."""
        return self.row.title

    @property
    def plural(self) -> str:
        """Return the plural of the name in texts."""
        return self.row.plural


ERROR_TYPES = tuple(ErrorType)
TOP1_CORRECT_TYPES = (ErrorType.CORRECT,)  # the prediction is the original label
TOP1_ERROR_TYPES = tuple(error_type for error_type in ERROR_TYPES if error_type not in TOP1_CORRECT_TYPES)
CORRECT_TYPES = tuple(error_type for error_type in ERROR_TYPES if error_type.counts_as_correct)
MULTI_LABEL_ERROR_TYPES = tuple(error_type for error_type in ERROR_TYPES if error_type not in CORRECT_TYPES)
SEVERE_TYPES = tuple(error_type for error_type in ERROR_TYPES if error_type.severity is Severity.SEVERE)
ABSTAINING_TYPES = tuple(error_type for error_type in ERROR_TYPES if error_type.row.needs)
_POSITIONS = {error_type: position for position, error_type in enumerate(ERROR_TYPES)}
_BY_KEY = {error_type.key: error_type for error_type in ERROR_TYPES}


def find_error_type(key: str) -> ErrorType | None:
    """Return the error type with this name in the API; None if this version does not know the name."""
    return _BY_KEY.get(key)


def title_of(key: str) -> str:
    """Return the title of the error type with this name in the API; the name if this version does not know it."""
    error_type = find_error_type(key)
    return error_type.title if error_type else key


def error_keys(received: Iterable[str]) -> list[str]:
    """Return the names of all top-1 error types in the order of the rules, then the received names of newer types."""
    return [*(error_type.key for error_type in TOP1_ERROR_TYPES), *sorted({*received} - {*_BY_KEY})]


def num_errors(counts: Mapping[str, int]) -> int:
    """Return the number of verdicts other than `correct`, which are the top-1 errors unless labels reject targets."""
    return sum(count for key, count in counts.items() if key != ErrorType.CORRECT.key)


def severe_total(values: Mapping[str, Number]) -> Number:
    """Return the sum of the values of the severe error types."""
    return sum(values[error_type.key] for error_type in SEVERE_TYPES)


def parse_key(text: str) -> str:
    """Convert a name, in any case and with hyphens or underscores, to the form of the API."""
    return text.lower().replace("-", "_")
