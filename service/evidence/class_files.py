"""Read the classes of a label space: CSV or JSON, and CSV files of overlaps, superclasses, and groups.

CSV columns: `index,id,name,synonyms,superclasses,groups,synset`. Only `name` is required. `;` separates several values.
JSON: `{"classes": [{"name": …}, …], "overlaps": [[class, also correct], …]}`. A class has the same fields as in CSV.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from errata.errors import InvalidEvidence
from errata.json_input import parse_json
from numpy.typing import NDArray

from service.domain import IMAGENET_1K, MAX_CLASSES, ClassPairs, LabelSpace, create_label_space
from service.evidence.class_lookup import ClassLookup
from service.evidence.class_rules import LISTS, describe_count, find_problems
from service.evidence.input_files import Problems, SimilarNames, check_containers, csv_rows, read_text, to_unique_dict
from service.evidence.label_space_json import MAX_BYTES, to_json

COLUMNS: Mapping[str, Sequence[str]] = {
    "index": (),
    "id": (),
    "name": (),
    "synonyms": (),
    "superclasses": ("superclass",),
    "groups": ("group",),
    "synset": (),
}
OVERLAP_COLUMNS: Mapping[str, Sequence[str]] = {"class": (), "also_correct": ()}
MAX_COUNTED = 100_000  # classes that are counted for the message if there are too many
MAX_OVERLAPS = 1_000_000
MAX_CONTAINERS = 2_000_000  # objects and lists of a JSON file, which take 30 times the memory of their text


@dataclass(frozen=True)
class _Pair:
    """Two texts that name classes. A prediction of the second class is also correct for the first class."""

    line: int
    texts: tuple[str, str]


def read_classes(path: Path, name: str, overlaps: Path | None = None) -> LabelSpace:
    """Read a label space.

    Args:
        path: File of classes, CSV or JSON.
        name: Name of the label space.
        overlaps: CSV file `class,also_correct`, in addition to the overlaps of a JSON file.

    Raises:
        InvalidEvidence: A file cannot be read, or has invalid rows; `violations` has the lines.
    """
    if name == IMAGENET_1K:
        raise InvalidEvidence(f"The name {IMAGENET_1K} is reserved. Choose another name.", field="dataset")
    text = read_text(path, "classes")
    is_json = text.lstrip()[:1] in ("{", "[")
    problems = Problems(path.name, "class" if is_json else "line")
    raw = _parse_json(text, path.name) if is_json else {}
    entries = _json_entries(raw["classes"], problems) if is_json else _csv_entries(text, problems)
    listed = list(islice(entries, MAX_CLASSES + 1))
    if len(listed) > MAX_CLASSES:
        count = len(listed) + sum(1 for _ in islice(entries, MAX_COUNTED))
        more = "more than " if count > MAX_COUNTED else ""
        problems.add("classes", describe_count(count, more))
        problems.check()
    rows, lines = _order(listed, problems)
    places = [f"{'class' if is_json else 'line'} {line}" for line in lines]
    for problem in find_problems(rows, places):
        problems.add(problem.field, problem.description, None if problem.row is None else lines[problem.row])
    problems.check()
    label_space = create_label_space(name, rows)
    pairs = _json_pairs(raw.get("overlaps", []), label_space, path.name)
    label_space = replace(label_space, overlaps=ClassPairs.of(pairs, label_space.num_classes))
    _check_size(label_space, path.name)
    return label_space if overlaps is None else read_overlaps(overlaps, label_space)


def read_overlaps(path: Path, label_space: LabelSpace) -> LabelSpace:
    """Add the overlaps of a file `class,also_correct` to those of a label space. Return the new label space."""
    problems = Problems(path.name)
    rows = csv_rows(read_text(path, "overlaps"), problems, OVERLAP_COLUMNS, (*OVERLAP_COLUMNS,))
    pairs = [_Pair(line, (row["class"], row["also_correct"])) for line, row in rows]
    both = np.concatenate([label_space.overlaps.as_array(), _resolve(pairs, label_space, problems)])
    label_space = replace(label_space, overlaps=ClassPairs.of(both, label_space.num_classes))
    _check_size(label_space, path.name)
    return label_space


def read_superclasses(path: Path, label_space: LabelSpace) -> LabelSpace:
    """Return a label space whose classes have the superclasses that a file `class,superclasses` lists for them."""
    return _with_lists(path, label_space, "superclasses")


def read_groups(path: Path, label_space: LabelSpace) -> LabelSpace:
    """Return a label space whose classes have the groups that a file `class,groups` lists for them."""
    return _with_lists(path, label_space, "groups")


def _with_lists(path: Path, label_space: LabelSpace, field: str) -> LabelSpace:
    problems, lookup, text = Problems(path.name), ClassLookup(label_space), read_text(path, field)
    if text.lstrip().startswith("{"):
        raise InvalidEvidence(
            f"{path.name} is a JSON file. For your own classes, write a CSV file with the columns class and {field}.",
            field=field,
        )
    rows = parse_json(to_json(label_space))["classes"]
    line_of: dict[int, int] = {}
    columns = {"class": (), field: COLUMNS[field]}
    for line, values in csv_rows(text, problems, columns, ("class", field)):
        class_ = lookup.find(values["class"])
        if class_ is None:
            problems.add("class", partial(lookup.describe_problem, values["class"]), line)
        elif (first := line_of.setdefault(class_, line)) != line:
            problems.add(
                "class",
                f"class {values['class']!r:.60} is also {problems.locate(first)}; write one row per class",
                line,
            )
        else:
            rows[class_] = {**rows[class_], field: _split(values[field])}
    places = [f"line {line_of[row]}" if row in line_of else f"class {row}" for row in range(len(rows))]
    for problem in find_problems(rows, places):
        problems.add(problem.field, problem.description, None if problem.row is None else line_of.get(problem.row))
    problems.check()
    changed = create_label_space(label_space.name, rows, label_space.overlaps.as_array())
    _check_size(changed, path.name)
    return changed


def _check_size(label_space: LabelSpace, source: str) -> None:
    if (size := len(to_json(label_space))) > MAX_BYTES:
        raise InvalidEvidence(
            f"{source}: the classes need {size / (1 << 20):,.1f} MiB in a bundle. Expected at most {MAX_BYTES >> 20} "
            "MiB. Use shorter names, or fewer synonyms and superclasses.",
            field="classes",
        )


def _csv_entries(text: str, problems: Problems) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, values in csv_rows(text, problems, COLUMNS, ("name",)):
        yield line, _entry({field: _split(value) if field in LISTS else value for field, value in values.items()})


def _json_entries(raw: Sequence[Any], problems: Problems) -> Iterator[tuple[int, dict[str, Any]]]:
    similar_names = SimilarNames(COLUMNS)
    names = {alias: field for field, aliases in COLUMNS.items() for alias in (field, *aliases)}
    for number, item in enumerate(raw, start=1):
        if not isinstance(item, dict):
            problems.add("classes", f'{item!r:.40} is not an object; write {{"name": …}}', number)
            continue
        for key in item:
            if similar := similar_names.find(key):
                problems.add("classes", f"unknown field {key!r:.40}; rename it to {similar!r}", number)
        for field, aliases in COLUMNS.items():
            if any(field in item and alias in item for alias in aliases):
                problems.add(field, f"{' and '.join((field, *aliases))} in one class; keep one", number)
        values = {names[key]: value for key, value in item.items() if key in names and value is not None}
        lists = {field: _split(values[field]) for field in LISTS if isinstance(values.get(field), str)}
        yield number, _entry(values | lists)


def _entry(values: dict[str, Any]) -> dict[str, Any]:
    """Return a class with all fields. A class without an ID has its name as the ID."""
    texts = ("index", "id", "name", "synset")
    entry: dict[str, Any] = dict.fromkeys(texts, "") | {field: [] for field in LISTS} | values
    for field in LISTS:
        if isinstance(entry[field], list) and all(isinstance(value, str) for value in entry[field]):
            entry[field] = list(dict.fromkeys(map(str.strip, entry[field])))
    entry |= {field: entry[field].strip() for field in texts if isinstance(entry[field], str)}
    return entry if entry["id"] != "" else entry | {"id": entry["name"]}


def _order(entries: Sequence[tuple[int, dict[str, Any]]], problems: Problems) -> tuple[list[dict[str, Any]], list[int]]:
    """Return the classes and their lines, in the order of the indices, or of the rows if there are no indices."""
    if not any(entry["index"] != "" for _, entry in entries):
        return [entry for _, entry in entries], [line for line, _ in entries]
    line_of: dict[int, int] = {}
    last = len(entries) - 1
    by_index: dict[int, tuple[int, dict[str, Any]]] = {}
    for line, entry in entries:
        index = _parse_index(entry["index"])
        if index is None or index > last:
            problems.add("index", f"invalid index {entry['index']!r:.40}; use each index from 0 to {last} once", line)
        elif (first := line_of.setdefault(index, line)) != line:
            problems.add("index", f"duplicate index {index}, also {problems.locate(first)}; use each index once", line)
        else:
            by_index[index] = (line, entry)
    missing = [index for index in range(len(entries)) if index not in by_index]
    if missing:
        shown = ", ".join(map(str, missing[:5])) + (" …" if len(missing) > 5 else "")
        problems.add("index", f"no class has the index {shown}; number all classes from 0 to {last}")
        problems.check()
    ordered = [by_index[index] for index in range(len(entries))]
    return [entry for _, entry in ordered], [line for line, _ in ordered]


def _parse_index(value: Any) -> int | None:
    text = str(value)
    is_index = not isinstance(value, bool) and text.isascii() and text.isdigit() and len(text) < 10
    return int(text) if is_index else None


def _parse_json(text: str, source: str) -> dict[str, Any]:
    check_containers(text, MAX_CONTAINERS, source, "classes")
    try:
        raw = parse_json(text, to_unique_dict)
        if not isinstance(raw, dict) or not isinstance(raw.get("classes"), list):
            raise ValueError("no list 'classes'")
        similar_names = SimilarNames({"classes": (), "overlaps": ()})
        for key in raw:
            if similar := similar_names.find(key):
                raise ValueError(f"unknown field {key!r:.40}, which seems to mean {similar!r}")
    except ValueError as error:
        raise InvalidEvidence(
            f'{source}: not a JSON file of classes: {error!s:.100}. Write {{"classes": [{{"name": …}}, …]}}.',
            field="classes",
        ) from error
    return raw


def _json_pairs(raw: Any, label_space: LabelSpace, source: str) -> NDArray[np.int64]:
    problems = Problems(source, "overlap")
    if not isinstance(raw, list):
        raise InvalidEvidence(f"{source}: overlaps is {raw!r:.40}. Write a list of pairs of classes.", field="overlaps")
    pairs = []
    for number, pair in enumerate(raw, start=1):
        is_pair = isinstance(pair, list) and len(pair) == 2
        if is_pair and all(isinstance(item, int | str) and not isinstance(item, bool) for item in pair):
            pairs.append(_Pair(number, (str(pair[0]), str(pair[1]))))
        else:
            problems.add("overlaps", f"{pair!r:.40} is not a pair; write [class, also correct]", number)
    return _resolve(pairs, label_space, problems)


def _resolve(pairs: Sequence[_Pair], label_space: LabelSpace, problems: Problems) -> NDArray[np.int64]:
    """Return the classes of pairs, (P, 2)."""
    if len(pairs) > MAX_OVERLAPS:
        problems.add("overlaps", f"{len(pairs):,} overlaps; use at most {MAX_OVERLAPS:,}")
    lookup = ClassLookup(label_space)
    resolved: list[tuple[int, int]] = []
    for pair in pairs:
        first, second = map(lookup.find, pair.texts)
        if first is None or second is None:
            position = 0 if first is None else 1
            field, text = (*OVERLAP_COLUMNS,)[position], pair.texts[position]
            problems.add(field, partial(lookup.describe_problem, text), pair.line)
        elif first == second:
            problems.add("also_correct", f"{pair.texts[1]!r:.40} is the class itself; remove the pair", pair.line)
        else:
            resolved.append((first, second))
    problems.check()
    return np.array(resolved, dtype=np.int64).reshape(-1, 2)


def _split(text: str) -> list[str]:
    return [value for value in map(str.strip, text.split(";")) if value]
