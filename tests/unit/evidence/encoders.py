"""Encoders for tests, loaded as MODULE:CLASS: they hash names, and count calls, stop, or return invalid embeddings."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from service.evidence.encoder import HashEncoder
from service.evidence.inputs import EncoderInfo


class Other(HashEncoder):
    """An encoder with negated vectors."""

    def embed_images(self, paths: Sequence[str]) -> np.ndarray:
        return super().embed_images(paths)[:, ::-1]


class SameAnswers(HashEncoder):
    """An encoder with another name and the embeddings of HashEncoder."""


class Counting(HashEncoder):
    """Records the embedded names. Can fail at a call."""

    def __init__(self, dimensions: int = 32, fails_at: int = 0) -> None:
        super().__init__(dimensions)
        self.calls: list[list[str]] = []
        self._fails_at = fails_at

    def embed_images(self, paths: Sequence[str]) -> np.ndarray:
        self._note(paths)
        return super().embed_images(paths)

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        self._note(texts)
        return super().embed_texts(texts)

    def _note(self, names: Sequence[str]) -> None:
        self.calls.append(list(names))
        if len(self.calls) == self._fails_at:
            raise RuntimeError("the power went out")


class Stoppable(HashEncoder):
    """Writes one line per chunk of images to the file LOG, and kills its process before the chunk STOP_AT."""

    def embed_images(self, paths: Sequence[str]) -> np.ndarray:
        if len(paths) > 1:  # one is the probe
            log = Path(os.environ["LOG"])
            before = log.read_text().splitlines() if log.is_file() else []
            if str(len(before)) == os.environ.get("STOP_AT"):
                sys.stdout.write("half way\n")
                sys.stdout.flush()
                sys.stdin.read()
            log.write_text("\n".join([*before, f"{len(paths)} from {paths[0]}"]) + "\n")
        return super().embed_images(paths)


class Describing(HashEncoder):
    """An encoder that describes its model."""

    INFO = EncoderInfo("hash-32", "seeds", "ab" * 32, "gelu", "hashlib 1")

    def describe(self) -> EncoderInfo:
        return self.INFO


class NeedsArguments(HashEncoder):
    def __init__(self, weights: str) -> None:
        super().__init__()


class OnlyTexts:
    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        return HashEncoder().embed_texts(texts)


class NotANumber(HashEncoder):
    def embed_images(self, paths: Sequence[str]) -> np.ndarray:
        result = super().embed_images(paths)
        result[-1, 0] = np.nan
        return result


class OneRowLess(HashEncoder):
    def embed_images(self, paths: Sequence[str]) -> np.ndarray:
        return super().embed_images(paths)[:-1]


class OtherDimensions(HashEncoder):
    """Text embeddings with other dimensions than image embeddings."""

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        return super().embed_texts(texts)[:, 1:]


class ReadsFiles(HashEncoder):
    """An encoder that opens the files of images."""

    def embed_images(self, paths: Sequence[str]) -> np.ndarray:
        for path in paths:
            if not Path(path).read_bytes():
                raise OSError(f"cannot identify image file {path!r}")
        return super().embed_images(paths)


class FailingConstructor(HashEncoder):
    def __init__(self) -> None:
        raise RuntimeError("No CUDA GPUs are available")


class FailingTexts(HashEncoder):
    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        raise MemoryError("CUDA out of memory")


class Tensors(HashEncoder):
    """Returns tensors that numpy cannot convert."""

    class _Tensor:
        def __array__(self, *_: object, **__: object) -> np.ndarray:
            raise TypeError("can't convert cuda:0 device type tensor to numpy")

    def embed_texts(self, texts: Sequence[str]) -> object:  # type: ignore[override]
        return self._Tensor()


class Dictionaries(HashEncoder):
    def embed_texts(self, texts: Sequence[str]) -> object:  # type: ignore[override]
        return {"embeddings": super().embed_texts(texts)}


class DescribesWithDictionary(HashEncoder):
    def describe(self) -> object:
        return {"architecture": "hash-32"}


class DescribesWithNumber(HashEncoder):
    def describe(self) -> object:
        return EncoderInfo("hash-32", "seeds", "", "gelu", 1)  # type: ignore[arg-type]


class FailingDescription(HashEncoder):
    def describe(self) -> object:
        raise KeyError("weights")
