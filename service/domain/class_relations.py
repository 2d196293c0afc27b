"""Relations between the C classes of a label space, stored as pairs. With many classes, C² arrays are too large."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Classes = NDArray[np.int16]

DENSE_CLASSES = 2048  # up to this number of classes, lookups use a matrix of at most 4 MiB
MAX_MEMBERSHIPS = 1 << 20  # superclasses of the classes to compare at once: about 40 MB


@dataclass(frozen=True, eq=False)
class _Codes:
    """A set of numbers. `contain` is fast for many numbers, most of which are not in the set."""

    codes: NDArray[np.int64]  # (P,) ascending, distinct

    def contain(self, wanted: NDArray[np.int64]) -> Mask:
        """Return which of the wanted numbers are in the set, (n,)."""
        result = self._flags.take(_hash(wanted, len(self._flags)))
        candidates = np.flatnonzero(result)
        codes = wanted.take(candidates)
        positions = np.searchsorted(self.codes, codes)
        result[candidates] = self.codes.take(positions, mode="clip") == codes
        return np.asarray(result)

    @cached_property
    def _flags(self) -> Mask:
        """Return a mask of the hashes that occur. A lookup in it takes a tenth of the time of a binary search."""
        flags = np.zeros(1 << min(24, (16 * len(self.codes)).bit_length()), dtype=bool)  # at most 16 MiB
        flags[_hash(self.codes, len(flags))] = True
        return flags


def _hash(codes: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Return a hash below `size` for each code. `size` must be a power of 2."""
    return (codes * 0x9E3779B1 >> 16) & (size - 1)


@dataclass(frozen=True, eq=False)
class ClassPairs:
    """A set of ordered pairs of classes."""

    codes: NDArray[np.int64]  # (P,) ascending, distinct: first * num_classes + second
    num_classes: int

    @classmethod
    def of(cls, pairs: NDArray[np.integer], num_classes: int, symmetric: bool = False) -> "ClassPairs":
        """Create a relation from pairs of classes, (P, 2), in any order; `symmetric` adds the reversed pairs."""
        first, second = pairs.reshape(-1, 2).T.astype(np.int64)
        codes = first * num_classes + second
        if symmetric:
            codes = np.concatenate([codes, second * num_classes + first])
        return cls(np.unique(codes), num_classes)

    def __len__(self) -> int:
        return len(self.codes)

    def as_array(self) -> Classes:
        """Return the pairs, (P, 2), in ascending order."""
        return np.stack(np.divmod(self.codes, self.num_classes), axis=1).astype(np.int16)

    def holds(self, first: NDArray[np.integer], second: NDArray[np.integer]) -> Mask:
        """Return whether the relation contains each pair; `first` and `second` are broadcast."""
        if self.num_classes <= DENSE_CLASSES:
            return np.asarray(self._matrix[first, second])
        shape = np.broadcast_shapes(first.shape, second.shape)
        first, second = (np.broadcast_to(classes, shape).reshape(-1) for classes in (first, second))
        result = self._is_first.take(first)
        candidates = np.flatnonzero(result)
        wanted = first.take(candidates).astype(np.int64) * self.num_classes + second.take(candidates)
        result[candidates] = self._codes.contain(wanted)
        return np.asarray(result.reshape(shape))

    @cached_property
    def _is_first(self) -> Mask:
        """Return the classes that are the first class of a pair, (C,). In most relations, few classes are."""
        mask = np.zeros(self.num_classes, dtype=bool)
        mask[self.codes // self.num_classes] = True
        return mask

    @cached_property
    def _codes(self) -> _Codes:
        return _Codes(self.codes)

    @cached_property
    def _matrix(self) -> Mask:
        matrix = np.zeros(self.num_classes * self.num_classes, dtype=bool)
        matrix[self.codes] = True
        return matrix.reshape(self.num_classes, self.num_classes)


@dataclass(frozen=True, eq=False, repr=False)
class Superclasses:
    """Superclasses of C classes. A class can have several. A class without superclasses is similar only to itself."""

    ids: tuple[str, ...]  # (S,)
    offsets: NDArray[np.int32]  # (C + 1,) superclasses of class c: numbers[offsets[c]:offsets[c + 1]]
    numbers: NDArray[np.int32]  # (M,) indices into `ids`, ascending for each class

    @classmethod
    def from_members(cls, ids: Sequence[str], members: Mask) -> "Superclasses":
        """Create superclasses from a mask of their classes, (S, C)."""
        numbers = np.nonzero(members.T)[1].astype(np.int32)
        offsets = np.concatenate([[0], np.cumsum(np.count_nonzero(members, axis=0))]).astype(np.int32)
        return cls(tuple(ids), offsets, numbers)

    @classmethod
    def from_names(cls, names: Sequence[Sequence[str]]) -> "Superclasses":
        """Create superclasses from the names of the superclasses of each class, in order of first use."""
        number_of = {name: number for number, name in enumerate(dict.fromkeys(name for row in names for name in row))}
        rows = [sorted({number_of[name] for name in row}) for row in names]
        offsets = np.cumsum([0, *map(len, rows)]).astype(np.int32)
        return cls(tuple(number_of), offsets, np.array([number for row in rows for number in row], dtype=np.int32))

    @property
    def num_classes(self) -> int:
        """Return the number of classes C."""
        return len(self.offsets) - 1

    @cached_property
    def classes(self) -> Classes:
        """Return the class of each element of `numbers`, (M,), ascending."""
        return np.repeat(np.arange(self.num_classes), np.diff(self.offsets)).astype(np.int16)

    def of(self, class_index: int) -> NDArray[np.int32]:
        """Return the superclasses of one class."""
        return self.numbers[self.offsets[class_index] : self.offsets[class_index + 1]]

    def names_of(self, class_index: int) -> tuple[str, ...]:
        """Return the names of the superclasses of one class."""
        return tuple(self.ids[number] for number in self.of(class_index).tolist())

    def shared_names(self, first: int, second: int) -> tuple[str, ...]:
        """Return the names of the superclasses that two classes share, in order."""
        shared = set(self.of(second).tolist())
        return tuple(self.ids[number] for number in self.of(first).tolist() if number in shared)

    @cached_property
    def members(self) -> tuple[Classes, ...]:
        """Return the classes of each superclass, ascending, length S."""
        order = np.argsort(self.numbers, kind="stable")
        stops = np.cumsum(np.bincount(self.numbers, minlength=len(self.ids)))
        return tuple(np.split(self.classes[order], stops))[: len(self.ids)]

    def totals(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return the sum of the values (C, K) over the classes of each superclass, (S, K); exact for integers."""
        columns = [np.bincount(self.numbers, column[self.classes], len(self.ids)) for column in values.T]
        return np.stack(columns, axis=1)

    def mask(self, name: str) -> Mask | None:
        """Return the classes of a superclass as a mask, (C,); None if there is no such superclass."""
        if name not in self.ids:
            return None
        mask = np.zeros(self.num_classes, dtype=bool)
        mask[self.members[self.ids.index(name)]] = True
        return mask

    def share(self, first: NDArray[np.integer], second: NDArray[np.integer]) -> Mask:
        """Return whether two classes are equal or share a superclass; `first` and `second` are broadcast."""
        if self.num_classes <= DENSE_CLASSES:
            return np.asarray(self._matrix[first, second])
        shape = np.broadcast_shapes(first.shape, second.shape)
        first, second = (np.broadcast_to(classes, shape).reshape(-1) for classes in (first, second))
        result = np.equal(first, second)
        candidates = np.flatnonzero(self._signatures.take(first) & self._signatures.take(second))
        memberships = int(self._counts.take(first.take(candidates)).sum())
        for pairs in np.array_split(candidates, 1 + memberships // MAX_MEMBERSHIPS):
            result[pairs.take(self.shared(first.take(pairs), second.take(pairs))[0])] = True
        return np.asarray(result.reshape(shape))

    def shared(
        self, first: NDArray[np.integer], second: NDArray[np.integer]
    ) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
        """Return the superclasses that pairs of classes share.

        Args:
            first: (P,) classes.
            second: (P,) classes.

        Returns:
            (R,) indices of pairs, ascending, and (R,) indices of superclasses, ascending for each pair.
        """
        counts = self._counts.take(first)
        pairs = np.repeat(np.arange(len(first)), counts)
        starts = self.offsets.take(first) - np.cumsum(counts) + counts
        numbers = self.numbers.take(np.arange(len(pairs)) + starts.take(pairs))
        have = np.flatnonzero(self._codes.contain(second.take(pairs).astype(np.int64) * len(self.ids) + numbers))
        return pairs.take(have), numbers.take(have)

    def similar_to(self, class_index: int) -> Classes:
        """Return the class itself and the classes that share a superclass with it, ascending."""
        numbers = np.isin(self.numbers, self.of(class_index))
        return np.union1d(self.classes[numbers], [class_index]).astype(np.int16)

    @cached_property
    def _counts(self) -> NDArray[np.int32]:
        return np.diff(self.offsets)

    @cached_property
    def _signatures(self) -> NDArray[np.uint64]:
        """Return a bit mask of 64 bits for each class, (C,). Classes without a common bit share no superclass."""
        signatures = np.zeros(self.num_classes, dtype=np.uint64)
        np.bitwise_or.at(signatures, self.classes, np.uint64(1) << (self.numbers % 64).astype(np.uint64))
        return signatures

    @cached_property
    def _codes(self) -> _Codes:
        return _Codes(self.classes.astype(np.int64) * len(self.ids) + self.numbers)

    @cached_property
    def _matrix(self) -> Mask:
        matrix = np.eye(self.num_classes, dtype=bool)
        for members in self.members:
            matrix[np.ix_(members, members)] = True
        return matrix
