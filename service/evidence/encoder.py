"""Encoders: what turns images and texts into comparable vectors, loaded by MODULE:CLASS; and a cache of what they gave.

The port is two methods; `paths` are files where there are images and `wnid/file` where there are none, texts are whole
prompts. The cache holds chunks of embeddings under a key of the encoder's own answers, so that another encoder never
reads them, and a build that was killed goes on where it was.

CACHE/KEY-images-NAMES/00000000.npy …   (n, d) float32, a chunk of the images, NAMES a digest of their names
CACHE/KEY-texts-NAMES/00000000.npy …
"""

import hashlib
import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from errata.errors import InvalidEvidence
from numpy.typing import NDArray

from service.storage import write_array

CHUNK = 512  # images or texts embedded between two writes of the cache
PROBE_TEXTS = ("A photo of a dog", "A photo of a paper towel", "A photo of a sea snake")
UNIT = 1e-5  # how far a norm may be from 1 and the vector still counts as normalized

Embeddings = NDArray[np.float32]  # (n, d), L2-normalized
Progress = Callable[[str, int, int], None]  # what is embedded, done, total


class Encoder(Protocol):
    """Embeds images and texts into one space."""

    def embed_images(self, paths: Sequence[str]) -> NDArray[np.float32]:
        """Return the embeddings of images, (n, d)."""
        ...

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the embeddings of prompts, (n, d)."""
        ...


class HashEncoder:
    """An encoder that hashes names: the twin of a real one. Any text, and any image without a file, has a vector."""

    def __init__(self, dimensions: int = 32) -> None:
        self._dimensions = dimensions

    def embed_images(self, paths: Sequence[str]) -> NDArray[np.float32]:
        """Return a unit vector a path, by its last two parts."""
        return self._embed(["image " + "/".join(path.split("/")[-2:]) for path in paths])

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return a unit vector a text."""
        return self._embed(["text " + text for text in texts])

    def _embed(self, names: Sequence[str]) -> NDArray[np.float32]:
        seeds = [int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) for name in names]
        vectors = [np.random.default_rng(seed).standard_normal(self._dimensions) for seed in seeds]
        result = np.array(vectors, dtype=np.float32).reshape(len(names), self._dimensions)
        return np.asarray(result / np.linalg.norm(result, axis=1, keepdims=True), dtype=np.float32)


def load_encoder(name: str) -> Encoder:
    """Return a new instance of MODULE:CLASS; raise InvalidEvidence if there is none or it lacks a method."""
    module_name, colon, class_name = name.partition(":")
    if not colon or not module_name or not class_name:
        raise InvalidEvidence(f"expected an encoder as MODULE:CLASS, got {name!r:.80}", field="encoder")
    try:
        encoder: Encoder = getattr(importlib.import_module(module_name), class_name)()
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        hint = "; install errata-service[clip]" if "open_clip" in str(error) else ""
        raise InvalidEvidence(
            f"expected an encoder class at {name!r:.80} that is made without arguments, got {error}{hint}",
            field="encoder",
        ) from error
    if not all(callable(getattr(encoder, method, None)) for method in ("embed_images", "embed_texts")):
        raise InvalidEvidence(
            f"{name}: expected the methods embed_images and embed_texts, got a class without", field="encoder"
        )
    return encoder


@dataclass(frozen=True)
class CachedEncoder:
    """An encoder whose answers are checked, normalized and kept in a folder."""

    encoder: Encoder
    cache: Path
    progress: Progress

    def texts(self, prompts: Sequence[str]) -> Embeddings:
        """Return the embeddings of prompts, (n, d)."""
        return np.concatenate(list(self._chunks("texts", prompts, self.encoder.embed_texts)))

    def images(self, paths: Sequence[str]) -> Embeddings:
        """Return the embeddings of images, (n, d)."""
        return np.concatenate(list(self.image_chunks(paths)))

    def image_chunks(self, paths: Sequence[str]) -> Iterator[Embeddings]:
        """Yield the embeddings of images chunk by chunk: for more than memory holds."""
        yield from self._chunks("images", paths, self.encoder.embed_images)

    def _chunks(
        self, what: str, names: Sequence[str], embed: Callable[[Sequence[str]], NDArray[np.float32]]
    ) -> Iterator[Embeddings]:
        key = self._key(what, names[:1])
        folder = self.cache / f"{key}-{what}-{_digest(_identity(what, names))}"
        size = 0
        for start in range(0, len(names), CHUNK):
            some = names[start : start + CHUNK]
            file = folder / f"{start:08d}.npy"
            chunk = _read(file, len(some))
            if chunk is None:
                chunk = checked(embed(some), len(some), size, what)
                write_array(file, chunk)
            size = size or chunk.shape[1]
            if chunk.shape[1] != size:
                raise InvalidEvidence(
                    f"the encoder's {what}: expected {size} dimensions, got {chunk.shape[1]}", field="encoder"
                )
            self.progress(what, start + len(some), len(names))
            yield chunk

    def _key(self, what: str, first: Sequence[str]) -> str:
        """Return what names the encoder: its class, and its own answers to a probe."""
        probe = checked(self.encoder.embed_texts(PROBE_TEXTS), len(PROBE_TEXTS), 0, "texts").tobytes()
        if what == "images":
            probe += checked(self.encoder.embed_images(first), len(first), 0, what).tobytes()
        kind = type(self.encoder)
        return hashlib.sha256(f"{kind.__module__}:{kind.__qualname__}".encode() + probe).hexdigest()[:16]


def checked(raw: object, count: int, dimensions: int, what: str) -> Embeddings:
    """Return an encoder's answer as normalized float32; raise InvalidEvidence for NaN or another shape.

    A vector whose norm is 1 already is left as it is, to the last bit.
    """
    try:
        result = np.asarray(raw)
    except ValueError as error:
        raise InvalidEvidence(f"the encoder's {what}: expected an array, got {error}", field="encoder") from error
    expected = f"({count}, {dimensions or 'd'})"
    if (
        result.ndim != 2
        or len(result) != count
        or result.shape[1] == 0
        or (dimensions and result.shape[1] != dimensions)
    ):
        raise InvalidEvidence(f"the encoder's {what}: expected shape {expected}, got {result.shape}", field="encoder")
    if result.dtype.kind != "f":
        raise InvalidEvidence(
            f"the encoder's {what}: expected floating-point numbers, got {result.dtype}", field="encoder"
        )
    if not np.isfinite(result).all():
        row = int(np.flatnonzero(~np.isfinite(result).all(axis=1))[0])
        raise InvalidEvidence(
            f"the encoder's {what}, row {row}: expected finite numbers, got NaN or infinity", field="encoder"
        )
    result = result.astype(np.float32)
    norms = np.linalg.norm(result.astype(np.float64), axis=1, keepdims=True)
    if (norms == 0).any():
        raise InvalidEvidence(f"the encoder's {what}: expected vectors with a direction, got zeros", field="encoder")
    return np.where(np.abs(norms - 1) <= UNIT, result, (result / norms).astype(np.float32))


def _identity(what: str, names: Sequence[str]) -> list[str]:
    """Return the names, with the size and time of those that are files: a file that changes is embedded anew."""
    if what == "texts":
        return list(names)
    result = []
    for name in names:
        path = Path(name)
        stat = path.stat() if path.is_absolute() and path.is_file() else None
        result.append(name if stat is None else f"{name} {stat.st_size} {stat.st_mtime_ns}")
    return result


def _digest(names: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


def _read(file: Path, count: int) -> Embeddings | None:
    """Return a chunk from the cache; None if it isn't there or isn't whole."""
    try:
        result = np.load(file, allow_pickle=False)
    except Exception:  # of a damaged head numpy raises what ast and tokenize do
        return None
    return result if result.ndim == 2 and len(result) == count and result.dtype == np.float32 else None
