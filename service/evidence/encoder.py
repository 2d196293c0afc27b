"""Encoders embed images and texts into one vector space. This module loads them and caches their embeddings.

The name of an encoder is MODULE:CLASS. Image paths are paths of files, or `wnid/file` if there are no image files.
Texts are complete prompts. The cache stores chunks of embeddings, so an interrupted build can continue. The key of
the cache includes the embeddings of probe inputs, so an encoder never reads the embeddings of another one.

CACHE/KEY-images-NAMES/00000000.npy …   (n, d) float32, a chunk of images; NAMES is a digest of their names
CACHE/KEY-texts-NAMES/00000000.npy …
"""

import hashlib
import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from errata.errors import InvalidEvidence
from numpy.typing import NDArray

from service.evidence.inputs import EncoderInfo
from service.image_formats import decoding_suffix
from service.storage import write_array

CHUNK = 512  # images or texts per file of the cache
PROBE_TEXTS = ("A photo of a dog", "A photo of a paper towel", "A photo of a sea snake")
FROM_CACHE = " (cached)"  # suffix of a stage that reads the cache, so that its speed is measured separately
NORM_TOLERANCE = 1e-5  # maximum deviation of the norm of a normalized vector from 1

Embeddings = NDArray[np.float32]  # (n, d), L2-normalized
Progress = Callable[[str, int, int], None]  # stage, number done, total; first called before the work of a stage starts


class Encoder(Protocol):
    """Embeds images and texts into one vector space. It may also have `describe() -> EncoderInfo`."""

    def embed_images(self, paths: Sequence[str]) -> NDArray[np.float32]:
        """Return the embeddings of images, (n, d)."""
        ...

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the embeddings of texts, (n, d)."""
        ...


class HashEncoder:
    """In-memory encoder for tests and demonstrations. Derives vectors from names, so it needs no image files."""

    def __init__(self, dimensions: int = 32) -> None:
        self._dimensions = dimensions

    def embed_images(self, paths: Sequence[str]) -> NDArray[np.float32]:
        """Return one unit vector per path, derived from its last two parts."""
        return self._embed(["image " + "/".join(path.split("/")[-2:]) for path in paths])

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one unit vector per text."""
        return self._embed(["text " + text for text in texts])

    def _embed(self, names: Sequence[str]) -> NDArray[np.float32]:
        seeds = [int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) for name in names]
        vectors = [np.random.default_rng(seed).standard_normal(self._dimensions) for seed in seeds]
        array = np.array(vectors, dtype=np.float32).reshape(len(names), self._dimensions)
        return np.asarray(array / np.linalg.norm(array, axis=1, keepdims=True), dtype=np.float32)


def load_encoder(name: str) -> Encoder:
    """Create an encoder.

    Args:
        name: MODULE:CLASS. The class is called without arguments.

    Raises:
        InvalidEvidence: If the class does not exist, cannot be created, or lacks a method.
    """
    module_name, colon, class_name = name.partition(":")
    if not colon or not module_name or not class_name:
        raise InvalidEvidence(f"Invalid encoder {name!r:.80}. Use the form MODULE:CLASS.", field="encoder")
    try:
        encoder: Encoder = getattr(importlib.import_module(module_name), class_name)()
    except InvalidEvidence:
        raise
    except Exception as error:  # the code of the module and of the class can raise any error
        hint = " Install errata-service[clip]." if "open_clip" in str(error) else ""
        raise InvalidEvidence(
            f"Cannot create the encoder {name!r:.80}: {_cause(error)}. Expected a class without required arguments."
            f"{hint}",
            field="encoder",
        ) from error
    if not all(callable(getattr(encoder, method, None)) for method in ("embed_images", "embed_texts")):
        raise InvalidEvidence(
            f"The encoder {name!r:.80} lacks a method. Expected embed_images and embed_texts.", field="encoder"
        )
    return encoder


def describe(encoder: Encoder) -> EncoderInfo | None:
    """Return the description of an encoder's model; None if the encoder does not provide one.

    Raises:
        InvalidEvidence: If the method raises an error, or returns something else.
    """
    describe_model: Callable[[], EncoderInfo] | None = getattr(encoder, "describe", None)
    if describe_model is None:
        return None
    with _errors_of(encoder, "describe its model"):
        info = describe_model()
    if not isinstance(info, EncoderInfo) or not all(isinstance(value, str) for value in asdict(info).values()):
        raise InvalidEvidence(
            f"The method describe of the encoder {_name(encoder)} returned {info!r:.120}. Expected an EncoderInfo of "
            "texts.",
            field="encoder",
        )
    return info


def embed_texts(encoder: Encoder, texts: Sequence[str], dimensions: int = 0) -> Embeddings:
    """Return the validated, normalized embeddings of texts, (n, d). `validate_embeddings` describes the errors."""
    with _errors_of(encoder, "embed texts"):
        raw = encoder.embed_texts(texts)
    return validate_embeddings(raw, len(texts), dimensions, "texts")


def embed_images(encoder: Encoder, paths: Sequence[str], dimensions: int = 0) -> Embeddings:
    """Return the validated, normalized embeddings of images, (n, d). `validate_embeddings` describes the errors."""
    has_files = all(Path(path).is_absolute() for path in paths[:1])
    hint = "" if has_files else " If the encoder reads image files, add --images DIR."
    with _errors_of(encoder, "embed images", hint):
        raw = encoder.embed_images(paths)
    return validate_embeddings(raw, len(paths), dimensions, "images")


@contextmanager
def _errors_of(encoder: Encoder, task: str, hint: str = "") -> Iterator[None]:
    """Raise InvalidEvidence for each error of an encoder's method."""
    try:
        yield
    except InvalidEvidence as error:
        if not hint:
            raise
        raise InvalidEvidence(f"{error.message}{hint}", field="images") from error
    except Exception as error:  # the method can raise any error, such as those of the libraries that it uses
        raise InvalidEvidence(
            f"The encoder {_name(encoder)} cannot {task}: {_cause(error)}.{hint}", field="encoder"
        ) from error


def _name(encoder: Encoder) -> str:
    return f"{type(encoder).__module__}:{type(encoder).__qualname__}"


def _cause(error: Exception) -> str:
    """Return the type and the message of an error."""
    message = " ".join(str(error).split()).rstrip(".")
    return f"{type(error).__name__}: {message:.300}" if message else type(error).__name__


@dataclass(frozen=True)
class CachedEncoder:
    """An encoder with validated, normalized, and cached embeddings."""

    encoder: Encoder
    cache: Path
    progress: Progress

    def texts(self, prompts: Sequence[str]) -> Embeddings:
        """Return the embeddings of texts, (n, d)."""
        return np.concatenate(list(self._chunks("texts", prompts, embed_texts, "texts")))

    def images(self, paths: Sequence[str]) -> Embeddings:
        """Return the embeddings of images, (n, d)."""
        return np.concatenate(list(self.image_chunks(paths, "images")))

    def image_chunks(self, paths: Sequence[str], stage: str) -> Iterator[Embeddings]:
        """Yield the embeddings of images in chunks, because the memory can be too small for all embeddings."""
        yield from self._chunks("images", paths, embed_images, stage)

    def _chunks(
        self, kind: str, names: Sequence[str], embed: Callable[[Encoder, Sequence[str], int], Embeddings], stage: str
    ) -> Iterator[Embeddings]:
        key = self._key(kind, names[:1])
        folder = self.cache / f"{key}-{kind}-{_digest(_identities(kind, names))}"
        dimensions = 0
        current_stage = ""
        for start in range(0, len(names), CHUNK):
            chunk_names = names[start : start + CHUNK]
            file = folder / f"{start:08d}.npy"
            chunk = _read(file, len(chunk_names))
            chunk_stage = stage if chunk is None else f"{stage}{FROM_CACHE}"
            if chunk_stage != current_stage:
                current_stage = chunk_stage
                self.progress(current_stage, start, len(names))
            if chunk is None:
                chunk = embed(self.encoder, chunk_names, dimensions)
                self._write(file, chunk)
            dimensions = dimensions or chunk.shape[1]
            if chunk.shape[1] != dimensions:
                raise InvalidEvidence(
                    f"Embeddings of {kind}: expected {dimensions} dimensions, got {chunk.shape[1]}.", field="encoder"
                )
            self.progress(current_stage, start + len(chunk_names), len(names))
            yield chunk

    def _key(self, kind: str, first: Sequence[str]) -> str:
        """Return a key of the encoder: a digest of its class name and of its embeddings of the probe inputs."""
        probe = embed_texts(self.encoder, PROBE_TEXTS).tobytes()
        if kind == "images":
            probe += embed_images(self.encoder, first).tobytes()
        return hashlib.sha256(_name(self.encoder).encode() + probe).hexdigest()[:16]

    def _write(self, file: Path, chunk: Embeddings) -> None:
        try:
            write_array(file, chunk)
        except OSError as error:
            raise InvalidEvidence(
                f"Cannot write the embeddings to {self.cache}: {error.strerror or error}. Free space, or change "
                "ERRATA_DATA_DIR.",
                field="cache",
            ) from error


def validate_embeddings(raw: object, count: int, dimensions: int, kind: str) -> Embeddings:
    """Validate and normalize the embeddings of an encoder. Vectors that are already normalized do not change.

    Args:
        raw: Result of the encoder.
        count: Expected number of rows.
        dimensions: Expected number of columns; 0: any.
        kind: "images" or "texts", for messages.

    Returns:
        (count, dimensions) normalized embeddings.

    Raises:
        InvalidEvidence: If the shape or type is wrong, or if a vector is zero or not finite.
    """
    subject = f"Embeddings of {kind}"
    try:
        array = np.asarray(raw)
    except Exception as error:  # the tensors of libraries raise other types than ValueError
        raise InvalidEvidence(f"{subject}: expected an array of numpy: {_cause(error)}.", field="encoder") from error
    expected = f"({count}, {dimensions or 'd'})"
    if array.ndim != 2 or len(array) != count or array.shape[1] == 0 or (dimensions and array.shape[1] != dimensions):
        raise InvalidEvidence(f"{subject}: expected shape {expected}, got {array.shape}.", field="encoder")
    if array.dtype.kind != "f":
        raise InvalidEvidence(f"{subject}: expected floating-point numbers, got {array.dtype}.", field="encoder")
    with np.errstate(over="ignore"):  # the next check finds values above the range of float32
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        row = int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])
        raise InvalidEvidence(
            f"{subject}, row {row}: expected finite numbers in the range of float32, got NaN, infinity, or a larger "
            "number.",
            field="encoder",
        )
    norms = np.linalg.norm(array.astype(np.float64), axis=1, keepdims=True)
    if (norms == 0).any():
        raise InvalidEvidence(f"{subject}: expected nonzero vectors, got zeros.", field="encoder")
    return np.where(np.abs(norms - 1) <= NORM_TOLERANCE, array, (array / norms).astype(np.float32))


def _identities(kind: str, names: Sequence[str]) -> list[str]:
    """Return the names. Add the states of files, so that files that changed or decode otherwise are embedded again."""
    if kind == "texts":
        return list(names)
    identities = []
    for name in names:
        path = Path(name)
        stat = path.stat() if path.is_absolute() and path.is_file() else None
        identities.append(name if stat is None else f"{name} {stat.st_size} {stat.st_mtime_ns}{decoding_suffix(name)}")
    return identities


def _digest(names: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


def _read(file: Path, count: int) -> Embeddings | None:
    """Return a chunk of the cache; None if it is missing, incomplete, or damaged."""
    try:
        with file.open("rb") as stream:
            chunk = np.load(stream, allow_pickle=False)
            is_whole = not stream.read(1)  # if a damaged header describes fewer values, bytes remain
    except Exception:  # for a damaged header, numpy raises errors of ast and tokenize
        return None
    is_chunk = chunk.ndim == 2 and len(chunk) == count and chunk.dtype == np.float32
    return chunk if is_whole and is_chunk else None
