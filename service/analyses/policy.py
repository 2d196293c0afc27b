"""Policy: a gate's YAML file becomes a GatePolicy, or an error that names field and line.

Its JSON Schema is that of `Document` (`errata gate --schema`, deploy/gate-policy.schema.json).
"""

import re
from collections.abc import Hashable, Iterator
from typing import Annotated, Any, ClassVar, Literal

import yaml
from errata.errors import InvalidPolicy, InvalidRequest, Violation
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from service.domain import DEFAULT_MIN_SAMPLES, TOP1_ERROR_TYPES, Bound, ErrorType, GatePolicy, Group, Measure
from service.summary.gate import OF_TYPES, TESTED

MAX_BYTES = 64 << 10
MAX_BOUNDS = 200
MAX_EVENTS = 5000  # names, values, and where lists and mappings begin and end
MAX_DEPTH = 20  # levels
SHOWN = 10  # violations
_COUNTS = (Measure.COUNT, Measure.IMAGENET_M_ERRORS)
_ON_VALUE, _ON_CHANGE = ("min", "max"), ("max_increase", "max_decrease")

TypeName = Literal[
    "CLASS_OVERLAP",
    "MULTI_LABEL",
    "FINE_GRAINED",
    "FINE_GRAINED_OOV",
    "SPURIOUS_CORRELATION",
    "NON_PROTOTYPICAL",
    "MODEL_FAILURE",
]


class _Loader(yaml.SafeLoader):
    """Text, plain decimal numbers, true and false: no dates, no merge keys, no numbers of base 60."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - as the base class has it


_NUMBER_STARTS = list("-+0123456789.")
for _tag, _form, _starts in (
    ("bool", "true|false", list("tf")),
    ("null", "null|~|", ["n", "~", ""]),
    ("int", "[-+]?[0-9]+", _NUMBER_STARTS),
    ("float", r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?", _NUMBER_STARTS),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_form})$"), _starts)


def _listed(value: Any) -> Any:
    """Take one name for a list of one."""
    return [value] if isinstance(value, str) else value


def _whole(value: Any) -> Any:
    """Take a whole number alone: 1.0 and true equal 1."""
    if type(value) is not int:
        raise ValueError(f"expected 1, got {_shown(value)}")
    return value


def _shown(value: Any) -> str:
    """Return a value as an error shows it."""
    try:
        return f"{value!r:.80}"
    except ValueError:  # an int of thousands of digits
        return "a number that is too long"


class BoundDocument(BaseModel):
    """A bound: on a value (min, max), or on its change against the baseline (max_increase, max_decrease)."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, title="bound")

    measure: Annotated[Measure, Field(strict=False, description="what is bounded; all but counts are fractions of 1")]
    name: Annotated[str, Field(max_length=120, description="what reasons call it")] = ""
    types: Annotated[
        list[TypeName],
        BeforeValidator(_listed),
        Field(max_length=len(TOP1_ERROR_TYPES), description="error types of count, rate and the portions: their sum"),
    ] = []
    group: Annotated[Group, Field(strict=False, description="the group of samples")] = Group.ALL
    min: Annotated[float | None, Field(ge=0, description="the least that passes")] = None
    max: Annotated[float | None, Field(ge=0, description="the most that passes")] = None
    max_increase: Annotated[
        float | None, Field(ge=0, description="the most by which it may be over the baseline's")
    ] = None
    max_decrease: Annotated[
        float | None, Field(ge=0, description="the most by which it may be under the baseline's")
    ] = None
    alpha: Annotated[
        float | None,
        Field(gt=0, lt=1, description="a change counts only if McNemar's p-value, over images, is below"),
    ] = None
    undecided_within_interval: Annotated[
        bool, Field(description="undecided while the 95 % interval of the change holds the bound")
    ] = False

    @model_validator(mode="after")
    def _consistent(self) -> "BoundDocument":
        on_value = [name for name in _ON_VALUE if getattr(self, name) is not None]
        on_change = [name for name in _ON_CHANGE if getattr(self, name) is not None]
        if bool(on_value) == bool(on_change):
            raise ValueError(f"expected {' or '.join(_ON_VALUE)}, or {' or '.join(_ON_CHANGE)}, got both or neither")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"expected min up to max, got {self.min:g} and {self.max:g}")
        if (self.measure in OF_TYPES) != bool(self.types):
            wanted = "types" if self.measure in OF_TYPES else "no types"
            raise ValueError(f"expected {wanted} for {self.measure.value}, got {', '.join(self.types) or 'none'}")
        if self.measure is Measure.IMAGENET_M_ERRORS and self.group is not Group.ALL:
            raise ValueError(f"expected group all for {self.measure.value}, got {self.group.value}")
        if self.measure is Measure.PORTION_OF_MULTI_LABEL_ERRORS and {"CLASS_OVERLAP", "MULTI_LABEL"} & {*self.types}:
            raise ValueError("expected types that are multi-label errors, got class overlap or missing multi-label")
        self._check_numbers([*on_value, *on_change])
        if not on_change and (self.alpha is not None or self.undecided_within_interval):
            raise ValueError("expected alpha and undecided_within_interval only for bounds on a change")
        if self.alpha is not None and self.measure not in TESTED:
            raise ValueError(f"expected no alpha for {self.measure.value}, which has no paired test")
        if self.undecided_within_interval and not self._has_interval():
            raise ValueError(f"expected no undecided_within_interval for {self.measure.value}: it has no interval")
        return self

    def _check_numbers(self, names: list[str]) -> None:
        for name in names:
            value = getattr(self, name)
            if self.measure in _COUNTS and value != int(value):
                raise ValueError(f"expected a whole number as {name} of {self.measure.value}, got {value:g}")
            if self.measure not in _COUNTS and value > 1:
                raise ValueError(f"expected a fraction of 1 as {name} of {self.measure.value}, got {value:g}")

    def _has_interval(self) -> bool:
        accuracies = (Measure.TOP1_ACCURACY, Measure.MULTI_LABEL_ACCURACY)
        rates = (Measure.TOP1_ERROR_RATE, Measure.MULTI_LABEL_ERROR_RATE, Measure.SEVERE_ERROR_RATE)
        return self.measure in (*accuracies, *rates) or (self.measure is Measure.RATE and len(self.types) == 1)


class Document(BaseModel):
    """What a model must meet before it is shipped."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        extra="forbid", strict=True, allow_inf_nan=False, title="Errata gate policy"
    )

    version: Annotated[Literal[1], BeforeValidator(_whole), Field(description="of this format")]
    name: Annotated[str, Field(max_length=120, description="what reports call it")] = "gate"
    min_samples: Annotated[int, Field(ge=0, description="a bound on a group of fewer samples is undecided")] = (
        DEFAULT_MIN_SAMPLES
    )
    min_coverage: Annotated[
        float | None, Field(ge=0, le=1, description="share of the judged images that must have a prediction")
    ] = None
    bounds: Annotated[list[BoundDocument], Field(min_length=1, max_length=MAX_BOUNDS)]


def parse_policy(text: str | bytes) -> GatePolicy:
    """Return the policy of a YAML text; raise InvalidPolicy with fields and lines."""
    node = _composed(text)
    lines = dict(_lines(node, ()))
    try:
        values = _Loader("").construct_document(node)
    except Exception as error:  # its constructors raise what int, float and datetime do
        raise _no_yaml(error) from None
    try:
        document = Document.model_validate(values)
    except ValidationError as error:
        result = [_violation(item, lines) for item in error.errors(include_url=False)]
        where = f" (line {result[0].line})" if result[0].line else ""
        raise InvalidPolicy(f"{result[0].field}: {result[0].description}{where}", violations=result[:SHOWN]) from None
    return GatePolicy(
        name=document.name,
        bounds=tuple(_bound(number, each) for number, each in enumerate(document.bounds, 1)),
        min_samples=document.min_samples,
        min_coverage=document.min_coverage,
    )


def check_baseline(policy: GatePolicy, baseline: str) -> None:
    """Raise InvalidRequest for a policy that bounds changes where there is nothing to hold them against."""
    if policy.needs_baseline and not baseline:
        names = ", ".join(repr(bound.name) for bound in policy.bounds if bound.is_on_change)
        raise InvalidRequest(
            f"expected a baseline, since the policy bounds changes ({names:.200}), got none", field="baseline"
        )


def policy_schema() -> dict[str, Any]:
    """Return the JSON Schema of a policy."""
    schema = Document.model_json_schema()
    names = schema["$defs"]["BoundDocument"]["properties"]["types"]
    one = {"type": "string", "enum": names["items"]["enum"]}
    names["anyOf"] = [one, {key: names.pop(key) for key in ("type", "items", "maxItems")}]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _bound(number: int, document: BoundDocument) -> Bound:
    fields = document.model_dump(exclude={"types", "name"})
    types = tuple(dict.fromkeys(ErrorType[name] for name in document.types))
    return Bound(name=document.name or f"bound {number}", types=types, **fields)


def _composed(text: str | bytes) -> yaml.Node:
    """Return the tree of a YAML text; raise InvalidPolicy for one that is too large, repeats keys or has aliases."""
    size = len(text.encode(errors="surrogatepass") if isinstance(text, str) else text)
    if size > MAX_BYTES:
        raise InvalidPolicy(f"expected a policy of at most {MAX_BYTES} bytes, got {size}", field="policy")
    try:
        _check_events(text)
        node = yaml.compose(text, Loader=_Loader)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise _no_yaml(error) from None
    if not isinstance(node, yaml.MappingNode):
        raise InvalidPolicy("expected a policy with version and bounds, got no mapping", field="policy")
    return node


def _check_events(text: str | bytes) -> None:
    """Raise InvalidPolicy for aliases, tags and deep nesting, as soon as they come."""
    depth = 0
    for number, event in enumerate(yaml.parse(text, Loader=_Loader)):
        wrong = f"at most {MAX_EVENTS} values" if number > MAX_EVENTS else ""
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            wrong = f"at most {MAX_DEPTH} levels" if depth > MAX_DEPTH else wrong
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.AliasEvent):
            wrong = "no aliases"
        if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) and event.tag is not None:
            wrong = "no tags"
        if wrong:
            raise InvalidPolicy(f"expected {wrong} in a policy, got some", field="policy", line=_line(event))


def _no_yaml(error: Exception) -> InvalidPolicy:
    """Return the error for a text that isn't YAML, with its line where the parser knows it."""
    mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
    return InvalidPolicy(
        f"expected YAML, got {str(error) or repr(error):.200}", field="policy", line=_line(mark) if mark else None
    )


def _line(place: Any) -> int:
    mark = place.start_mark if hasattr(place, "start_mark") else place
    return int(mark.line) + 1


def _lines(node: yaml.Node, path: tuple[Hashable, ...]) -> Iterator[tuple[tuple[Hashable, ...], int]]:
    """Yield the line of each field; raise InvalidPolicy for a key that comes twice."""
    yield path, _line(node)
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise InvalidPolicy(
                    "expected a name as key, got none", field=_dotted(path) or "policy", line=_line(key)
                )
            if key.value == "<<":
                raise InvalidPolicy("expected no merge keys in a policy, got one", field="policy", line=_line(key))
            if key.value in seen:
                raise InvalidPolicy(
                    f"expected {key.value!r:.40} once, got it on lines {seen[key.value]} and {_line(key)}",
                    field=_dotted((*path, key.value)),
                    line=_line(key),
                )
            seen[key.value] = _line(key)
            yield from _lines(value, (*path, key.value))
            yield (*path, key.value), _line(key)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _lines(value, (*path, index))


def _violation(error: Any, lines: dict[tuple[Hashable, ...], int]) -> Violation:
    path = tuple(error["loc"])
    known = next((path[:end] for end in range(len(path), -1, -1) if path[:end] in lines), ())
    if error["type"] == "missing":
        message, got = "expected it, got none", ""
    else:
        message = error["msg"].removeprefix("Value error, ").replace("Input should be", "expected", 1)
        if error["type"] == "extra_forbidden":
            message = "expected no such field"
        got = "" if "got" in message else f", got {_shown(error['input'])}"
    return Violation(_dotted(path) or "policy", f"{message}{got}", lines.get(known))


def _dotted(path: tuple[Hashable, ...]) -> str:
    """Return where a field stands; names are short, and nothing that a message can't carry."""
    result = ""
    for part in path:
        result += f"[{part}]" if isinstance(part, int) else f".{_name(part)}" if result else _name(part)
    return result


def _name(part: Hashable) -> str:
    text = str(part)
    return text if text.isprintable() and len(text) <= 60 else f"{text[:40]!a}"
