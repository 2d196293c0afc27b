"""Trees of Thrift values, and a strategy that makes their types, lengths, and structure wrong."""

from copy import deepcopy
from dataclasses import dataclass, field

from hypothesis import strategies as st
from security import thrift
from security.thrift import Kind, Value

LIES = st.sampled_from(
    [
        *(0, 1, -1, 2, 3, 4, 5, 8, 15, 16, 100, 127, 128, 255, 1000, 65_535, 1 << 20, 1 << 24),
        *((1 << 31) - 1, 1 << 31, -(1 << 31), (1 << 32) - 1, 1 << 40, (1 << 63) - 1, -(1 << 63), 1 << 64),
    ]
)
KINDS = st.sampled_from(sorted(Kind))
FIELD_NUMBERS = st.integers(-1, 20) | st.sampled_from([100, 32_767, -32_768, 40_000])
TIMES = st.sampled_from([2, 3, 20, 300, 3_000, 30_000])  # that an element of a list is repeated
DEPTHS = st.sampled_from([2, 15, 70, 1_000, 20_000])


@dataclass
class Number:
    """A number of type I16, I32 or I64, or a flag: TRUE or FALSE, which have no content."""

    value: int
    kind: Kind = Kind.I64


@dataclass
class Text:
    """Bytes, and the length to state, None for the real one."""

    content: bytes
    length: int | None = None


@dataclass
class Items:
    """A list, its element type and its stated length, None for the real ones."""

    items: "list[Tree]"
    kind: Kind | None = None
    count: int | None = None


@dataclass
class Fields:
    """A structure: numbers of fields and their values."""

    fields: "list[tuple[int, Tree]]" = field(default_factory=list)  # pairs, since a number may come twice


@dataclass
class Nested:
    """Structures or lists nested to a depth."""

    depth: int
    kind: Kind  # STRUCT or LIST


@dataclass
class Repeated:
    """A list element that is repeated many times."""

    item: "Tree"
    times: int


Tree = Number | Text | Items | Fields | Nested | Repeated


def i32(value: int) -> Number:
    """Return a number of type i32."""
    return Number(value, Kind.I32)


def fields(numbered: "dict[int, Tree]") -> Fields:
    """Return a structure of these fields."""
    return Fields(list(numbered.items()))


def encode(tree: Tree) -> Value:
    """Return a tree in the compact protocol."""
    match tree:
        case Number(_, Kind.TRUE | Kind.FALSE):
            return Value(tree.kind, [])
        case Number():
            return Value(tree.kind, [thrift.zigzag(tree.value)])
        case Text():
            return thrift.binary(tree.content, tree.length)
        case Items():
            return encode_items(tree)
        case Repeated():
            return encode(tree.item)
        case Fields():
            return thrift.struct([(number, encode(value)) for number, value in tree.fields])
        case Nested(depth, Kind.LIST):
            return Value(Kind.LIST, [bytes([0x10 | Kind.LIST]) * depth + bytes([Kind.I32])])
        case Nested(depth, _):
            return Value(Kind.STRUCT, [bytes([0x10 | Kind.STRUCT]) * depth + thrift.STOP * (depth + 1)])


def encode_items(items: Items) -> Value:
    """Return a list. A repeated element is encoded once."""
    pairs = [(encode(item), item.times if isinstance(item, Repeated) else 1) for item in items.items]
    kind = items.kind or (pairs[0][0].kind if pairs else Kind.STRUCT)
    count = sum(times for _, times in pairs) if items.count is None else items.count
    return thrift.streamed_array(kind, count, [value.content() * times for value, times in pairs])


def children(tree: Tree) -> list[Tree]:
    """Return the direct children of a node."""
    match tree:
        case Items():
            return tree.items
        case Fields():
            return [value for _, value in tree.fields]
        case Repeated():
            return [tree.item]
        case _:
            return []


@st.composite
def lying(draw: st.DrawFn, tree: Fields, max_changes: int = 4, within: int | None = None) -> Fields:
    """Return a tree in which up to `max_changes` nodes are changed.

    Args:
        draw: Draws from strategies.
        tree: The tree. It is copied, not changed.
        max_changes: The largest number of changes.
        within: The number of the field in which nodes are changed; None for all of them.
    """
    tree = deepcopy(tree)
    root: Tree = tree if within is None else dict(tree.fields)[within]
    for _ in range(draw(st.integers(0, max_changes))):
        node = root
        while (below := children(node)) and draw(st.integers(0, 3)) > 0:  # deeper in three of four cases
            node = draw(st.sampled_from(below))
        match node:
            case Repeated():
                node.times = draw(TIMES)
            case Number():
                node.value = draw(LIES | st.integers(-3, 3).map(node.value.__add__))
            case Text():
                change_text(draw, node)
            case Items():
                change_items(draw, node)
            case Fields():
                change_fields(draw, node)
            case Nested():
                node.depth = draw(DEPTHS)
    return tree


def change_text(draw: st.DrawFn, text: Text) -> None:
    """Change bytes, or the length that is stated for them."""
    if draw(st.booleans()):
        text.content = draw(st.binary(max_size=20) | st.sampled_from([b"file_name", b"top1", b"x" * 5_000]))
    else:
        text.length = draw(LIES.filter(lambda length: length >= 0))


def change_items(draw: st.DrawFn, items: Items) -> None:
    """Change a list's stated length or type, or repeat, drop or exchange its elements."""
    change = draw(st.sampled_from(["count", "kind", "repeat", "drop", "swap"]))
    if change == "count":
        items.count = draw(LIES.filter(lambda count: count >= 0))
    elif change == "kind":
        items.kind = draw(KINDS)
    elif items.items:
        place, other = draw(st.lists(st.integers(0, len(items.items) - 1), min_size=2, max_size=2))
        if change == "repeat":
            item = items.items[place]
            items.items[place] = Repeated(item.item if isinstance(item, Repeated) else item, draw(TIMES))
        elif change == "drop":
            del items.items[place]
        else:
            items.items[place], items.items[other] = items.items[other], items.items[place]


def change_fields(draw: st.DrawFn, struct: Fields) -> None:
    """Drop, double, renumber or retype a field, or add one."""
    change = draw(st.sampled_from(["drop", "double", "renumber", "retype", "nest", "add"]))
    number = draw(FIELD_NUMBERS)
    value: Tree = Number(draw(LIES), draw(st.sampled_from([Kind.I16, Kind.I32, Kind.I64, Kind.TRUE])))
    if change == "add" or not struct.fields:
        struct.fields.append((number, value))
        return
    place = draw(st.integers(0, len(struct.fields) - 1))
    known, old = struct.fields[place]
    if change == "drop":
        del struct.fields[place]
    elif change == "double":
        struct.fields.insert(place, (known, deepcopy(old)))
    elif change == "renumber":
        struct.fields[place] = (number, old)
    elif change == "retype":
        struct.fields[place] = (known, value)
    else:
        struct.fields[place] = (known, Nested(draw(DEPTHS), draw(st.sampled_from([Kind.STRUCT, Kind.LIST]))))
