"""Parse the YAML of a gate policy; errors name the field and the line.

`errata gate --schema` and deploy/gate-policy.schema.json have the JSON Schema of `Document`.
"""

import re
from collections.abc import Collection, Hashable, Iterator, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeAlias

import yaml
from errata.errors import InvalidPolicy, InvalidRequest, Violation
from errata.groups import unknown_group
from errata.messages import list_names
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from service.domain import (
    ALL,
    CORRECT_TYPES,
    DEFAULT_MIN_COVERAGE,
    DEFAULT_MIN_SAMPLES,
    TOP1_ERROR_TYPES,
    Bound,
    ErrorType,
    GatePolicy,
    Measure,
)
from service.summary.gate import TESTED, has_interval
from service.summary.measures import OF_TYPES

MAX_BYTES = 64 << 10
MAX_BOUNDS = 200
MAX_EVENTS = 5000  # events of the YAML parser: names, values, and starts and ends of lists and mappings
MAX_DEPTH = 20  # levels
MAX_DIGITS = 300  # of an integer; a longer one is read as text, which is not a valid number
MAX_VIOLATIONS = 10  # violations in one error
_COUNTS = (Measure.COUNT, Measure.IMAGENET_M_ERRORS)
_ON_VALUE, _ON_CHANGE = ("min", "max"), ("max_increase", "max_decrease")

if TYPE_CHECKING:
    TypeName: TypeAlias = str
else:
    TypeName = Literal[tuple(error_type.name for error_type in TOP1_ERROR_TYPES)]


class _Loader(yaml.SafeLoader):
    """Loads text, decimal numbers, and booleans, but no dates, merge keys, or numbers of base 60."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - as in the base class


_NUMBER_STARTS = list("-+0123456789.")
for _tag, _pattern, _starts in (
    ("bool", "true|false", list("tf")),
    ("null", "null|~|", ["n", "~", ""]),
    ("int", f"[-+]?[0-9]{{1,{MAX_DIGITS}}}", _NUMBER_STARTS),
    ("float", r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?", _NUMBER_STARTS),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$"), _starts)


def _to_list(value: Any) -> Any:
    """Return a single name as a list."""
    return [value] if isinstance(value, str) else value


def _check_integer(value: Any) -> Any:
    """Raise ValueError unless the value is an integer, because 1.0 and True equal 1."""
    if type(value) is not int:
        raise ValueError(f"invalid version {_to_text(value)}; use 1")
    return value


def _to_text(value: Any) -> str:
    """Format a value for an error message."""
    try:
        return f"{value!r:.80}"
    except ValueError:  # an int of thousands of digits
        return "a number that is too long"


class BoundDocument(BaseModel):
    """A bound: on a value (min, max), or on its change against the baseline (max_increase, max_decrease)."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, title="bound")

    measure: Annotated[
        Measure, Field(strict=False, description="the bounded measure; all measures but counts are fractions of 1")
    ]
    name: Annotated[str, Field(max_length=120, description="the name in the reasons of a result")] = ""
    types: Annotated[
        list[TypeName],
        BeforeValidator(_to_list),
        Field(
            max_length=len(TOP1_ERROR_TYPES),
            description="the error types whose sum is bounded, for count, rate, and portions",
        ),
    ] = []
    group: Annotated[str, Field(description="the group of samples: all, or a group of the label space")] = ALL
    slice: Annotated[
        str,
        Field(max_length=250, description="the slice of samples, such as time=night, or night if the value is unique"),
    ] = ""
    min: Annotated[float | None, Field(ge=0, description="the minimum value")] = None
    max: Annotated[float | None, Field(ge=0, description="the maximum value")] = None
    max_increase: Annotated[float | None, Field(ge=0, description="the maximum increase over the baseline")] = None
    max_decrease: Annotated[float | None, Field(ge=0, description="the maximum decrease below the baseline")] = None
    alpha: Annotated[
        float | None,
        Field(gt=0, lt=1, description="a change counts only if the p-value of McNemar's test over images is lower"),
    ] = None
    undecided_within_interval: Annotated[
        bool, Field(description="undecided if the bound is inside the 95 % interval of the change")
    ] = False
    test: Annotated[
        Literal["non-inferiority"] | None,
        Field(
            description="non-inferiority: passes if the one-sided 95 % confidence limit of the change is below the "
            "bound, and fails if the opposite limit is not below it"
        ),
    ] = None

    @model_validator(mode="after")
    def _check_consistency(self) -> "BoundDocument":
        on_value = [name for name in _ON_VALUE if getattr(self, name) is not None]
        on_change = [name for name in _ON_CHANGE if getattr(self, name) is not None]
        if bool(on_value) == bool(on_change):
            raise ValueError(
                f"the bound limits {'both the value and the change' if on_value else 'nothing'}; use either "
                f"{' and '.join(_ON_VALUE)}, or {' and '.join(_ON_CHANGE)}"
            )
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is greater than max {self.max:g}; exchange them")
        if (self.measure in OF_TYPES) != bool(self.types):
            if self.types:
                raise ValueError(f"{self.measure.value} has no types, but types is set; remove types")
            raise ValueError(f"{self.measure.value} needs types, but types is missing; list the error types to count")
        if self.measure is Measure.IMAGENET_M_ERRORS and self.group != ALL:
            raise ValueError(f"{self.measure.value} has no group {self.group:.80}; use the group all, or remove group")
        if self.measure is Measure.IMAGENET_M_ERRORS and self.slice:
            raise ValueError(f"{self.measure.value} has no slices; remove slice")
        correct = [error_type.name for error_type in TOP1_ERROR_TYPES if error_type in CORRECT_TYPES]
        if self.measure is Measure.PORTION_OF_MULTI_LABEL_ERRORS and {*correct} & {*self.types}:
            raise ValueError(f"{list_names(correct)} are not multi-label errors; remove them from types")
        self._check_numbers([*on_value, *on_change])
        self._check_statistics(on_change)
        return self

    def _check_statistics(self, on_change: list[str]) -> None:
        if not on_change and (self.alpha is not None or self.undecided_within_interval or self.test is not None):
            raise ValueError(
                "alpha, undecided_within_interval, and test apply only to a change; remove them, or limit the change"
            )
        if self.alpha is not None and self.measure not in TESTED:
            raise ValueError(f"{self.measure.value} has no paired test; remove alpha")
        if self.undecided_within_interval and not has_interval(self.measure, self.types):
            raise ValueError(f"{self.measure.value} with these types has no interval; remove undecided_within_interval")
        if self.test is not None and self.measure not in TESTED:
            raise ValueError(f"{self.measure.value} has no test of non-inferiority; remove test")
        if self.test is not None and (self.alpha is not None or self.undecided_within_interval):
            raise ValueError("a test of non-inferiority uses neither alpha nor undecided_within_interval; remove them")

    def _check_numbers(self, names: list[str]) -> None:
        for name in names:
            value = getattr(self, name)
            if self.measure in _COUNTS and value != int(value):
                raise ValueError(f"{name} is {value:g}, but {self.measure.value} is a count; use a whole number")
            if self.measure not in _COUNTS and value > 1:
                raise ValueError(
                    f"{name} is {value:g}, but {self.measure.value} is a fraction; use a number from 0 to 1"
                )


class Document(BaseModel):
    """A gate policy: bounds that a model must meet before its release."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        extra="forbid", strict=True, allow_inf_nan=False, title="Errata gate policy"
    )

    version: Annotated[Literal[1], BeforeValidator(_check_integer), Field(description="the version of this format")]
    name: Annotated[str, Field(max_length=120, description="the name of the policy in reports")] = "gate"
    min_samples: Annotated[
        int, Field(ge=0, description="the minimum number of samples of a group; bounds on smaller groups are undecided")
    ] = DEFAULT_MIN_SAMPLES
    min_coverage: Annotated[
        float | None,
        Field(
            ge=0,
            le=1,
            description="the minimum share of the evaluated images, or of those of the subset, that have a prediction; "
            "null: any share",
        ),
    ] = DEFAULT_MIN_COVERAGE
    bounds: Annotated[list[BoundDocument], Field(min_length=1, max_length=MAX_BOUNDS)]


def parse_policy(text: str | bytes) -> GatePolicy:
    """Return the policy of a YAML text; raise InvalidPolicy with fields and lines."""
    node = _compose(text)
    lines = dict(_lines(node, ()))
    try:
        values = _Loader("").construct_document(node)
    except Exception as error:  # PyYAML's constructors raise the errors of int and float
        raise _not_yaml(error) from None
    try:
        document = Document.model_validate(values)
    except ValidationError as error:
        raise _invalid_fields([_violation(details, lines) for details in error.errors(include_url=False)]) from None
    return GatePolicy(
        name=document.name,
        bounds=tuple(
            _bound(number, bound, lines.get(("bounds", number, "group")))
            for number, bound in enumerate(document.bounds)
        ),
        min_samples=document.min_samples,
        min_coverage=document.min_coverage,
    )


def with_min_coverage(policy: GatePolicy, min_coverage: float | None) -> GatePolicy:
    """Return a policy with another minimum coverage; None: return the policy unchanged.

    Raises:
        InvalidRequest: The coverage is not a fraction from 0 to 1.
    """
    if min_coverage is None:
        return policy
    check_coverage(min_coverage)
    return replace(policy, min_coverage=min_coverage)


def check_coverage(min_coverage: float) -> None:
    """Raise InvalidRequest unless a minimum coverage is a fraction from 0 to 1."""
    if not 0 <= min_coverage <= 1:
        raise InvalidRequest(
            f"Invalid minimum coverage {min_coverage:g}. Use a fraction from 0 to 1.", field="min_coverage"
        )


def check_baseline(policy: GatePolicy, baseline: str) -> None:
    """Raise InvalidRequest if a policy bounds changes but there is no baseline."""
    if policy.needs_baseline and not baseline:
        names = ", ".join(repr(bound.name) for bound in policy.bounds if bound.is_on_change)
        raise InvalidRequest(
            f"The policy limits changes ({names:.200}), but there is no baseline. Name one, for example with "
            "--baseline.",
            field="baseline",
        )


def check_groups(policy: GatePolicy, groups: Collection[str]) -> None:
    """Raise InvalidPolicy if a bound is on a group that the data set does not have.

    Args:
        policy: The policy.
        groups: The groups of the data set; they may include `all`.
    """
    for number, bound in enumerate(policy.bounds):
        if bound.group != ALL and bound.group not in groups:
            problem = unknown_group(bound.group, groups).removesuffix(".")
            raise _invalid_fields([Violation(f"bounds[{number}].group", problem, bound.group_line)])


def policy_schema() -> dict[str, Any]:
    """Return the JSON Schema of a policy."""
    schema = Document.model_json_schema()
    names = schema["$defs"]["BoundDocument"]["properties"]["types"]
    single = {"type": "string", "enum": names["items"]["enum"]}
    names["anyOf"] = [single, {key: names.pop(key) for key in ("type", "items", "maxItems")}]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _bound(number: int, document: BoundDocument, group_line: int | None) -> Bound:
    fields = document.model_dump(exclude={"types", "name", "test"})
    types = tuple(dict.fromkeys(ErrorType[name] for name in document.types))
    name = document.name or f"bound {number + 1}"
    return Bound(name=name, types=types, non_inferiority=document.test is not None, group_line=group_line, **fields)


def _compose(text: str | bytes) -> yaml.Node:
    """Return the tree of a YAML text; raise InvalidPolicy if it is too large, or has aliases or tags."""
    size = len(text.encode(errors="surrogatepass") if isinstance(text, str) else text)
    if size > MAX_BYTES:
        raise _invalid(f"it has {size} bytes. Use at most {MAX_BYTES} bytes.")
    try:
        _check_events(text)
        node = yaml.compose(text, Loader=_Loader)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise _not_yaml(error) from None
    if not isinstance(node, yaml.MappingNode):
        raise _invalid("the document is not a mapping. Write a mapping with 'version' and 'bounds'.")
    return node


def _check_events(text: str | bytes) -> None:
    """Raise InvalidPolicy for aliases, tags, too many values, and deep nesting, while the text is parsed."""
    depth = 0
    for number, event in enumerate(yaml.parse(text, Loader=_Loader)):
        problem = f"more than {MAX_EVENTS} values" if number > MAX_EVENTS else ""
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            problem = f"more than {MAX_DEPTH} levels" if depth > MAX_DEPTH else problem
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.AliasEvent):
            problem = "aliases"
        if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) and event.tag is not None:
            problem = "tags"
        if problem:
            raise _invalid(f"{problem} are not allowed. Write plain YAML without them.", line=_line(event))


def _invalid(problem: str, field: str = "policy", line: int | None = None) -> InvalidPolicy:
    return InvalidPolicy(f"Invalid gate policy: {problem}", field=field, line=line)


def _invalid_fields(violations: Sequence[Violation]) -> InvalidPolicy:
    """Return the error for the violations of fields; its message states the first one."""
    first = violations[0]
    line = f" (line {first.line})" if first.line else ""
    return InvalidPolicy(
        f"Invalid gate policy: {first.field}: {first.description}{line}.", violations=violations[:MAX_VIOLATIONS]
    )


def _not_yaml(error: Exception) -> InvalidPolicy:
    """Return the error for invalid YAML, with its line if the parser reports it."""
    text, line = (str(error) or repr(error)).partition("\n")[0], None  # next lines: the place in "<unicode string>"
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        line = _line(error.problem_mark)
        text = f"{': '.join(filter(None, [error.context, error.problem])):.200} (line {line})."
    return _invalid(f"not valid YAML: {text:.250}", line=line)


def _line(node: Any) -> int:
    """Return the 1-based line of a node, an event, or a mark."""
    mark = node.start_mark if hasattr(node, "start_mark") else node
    return int(mark.line) + 1


def _lines(node: yaml.Node, path: tuple[Hashable, ...]) -> Iterator[tuple[tuple[Hashable, ...], int]]:
    """Yield the line of each field; raise InvalidPolicy for repeated keys and merge keys."""
    yield path, _line(node)
    if isinstance(node, yaml.MappingNode):
        line_of: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _invalid("a key is not a name. Use text as keys.", _dotted_path(path) or "policy", _line(key))
            if key.value == "<<":
                raise _invalid("merge keys (<<) are not allowed. Write out the fields.", line=_line(key))
            if key.value in line_of:
                raise _invalid(
                    f"{key.value!r:.40} is repeated on lines {line_of[key.value]} and {_line(key)}. Remove one of "
                    "them.",
                    _dotted_path((*path, key.value)),
                    _line(key),
                )
            line_of[key.value] = _line(key)
            yield from _lines(value, (*path, key.value))
            yield (*path, key.value), _line(key)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _lines(value, (*path, index))


def _violation(details: Any, lines: dict[tuple[Hashable, ...], int]) -> Violation:
    """Return the violation of a field from the details of a pydantic error."""
    path = tuple(details["loc"])
    known_path = next((path[:end] for end in range(len(path), -1, -1) if path[:end] in lines), ())
    if details["type"] == "missing":
        message = "the field is missing; add it"
    elif details["type"] == "extra_forbidden":
        message = f"unknown field, with the value {_to_text(details['input'])}; remove it, or correct its name"
    elif details["type"] == "value_error":
        message = details["msg"].removeprefix("Value error, ")
    elif details["type"] == "too_short":
        message = "the list is empty; add an entry"
    else:
        message = f"{details['msg'].replace('Input should be', 'expected', 1)}, got {_to_text(details['input'])}"
        names = re.findall(r"'(\w+)'", str(details.get("ctx", {}).get("expected", "")))
        if similar := get_close_matches(_to_text(details["input"]), names, n=1):
            message += f"; similar name: {similar[0]}"
    return Violation(_dotted_path(path) or "policy", message, lines.get(known_path))


def _dotted_path(path: tuple[Hashable, ...]) -> str:
    """Return the path of a field, with short printable names."""
    result = ""
    for part in path:
        result += f"[{part}]" if isinstance(part, int) else f".{_name(part)}" if result else _name(part)
    return result


def _name(part: Hashable) -> str:
    text = str(part)
    return text if text.isprintable() and len(text) <= 60 else f"{text[:40]!a}"
