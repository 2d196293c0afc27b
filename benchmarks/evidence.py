"""The two long steps of a build with CLIP: embedding of images, and the search for neighbors."""

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Case, Result, at_least, medians, rate, timed
from service.evidence.artefacts import NEIGHBORS
from service.evidence.encoder import CHUNK, Embeddings
from service.evidence.neighbors import nearest_classes, similarities
from service.evidence.score_blocks import NumpyScoreBlocks, ScoreBlocks
from service.predictions.process_tuning import tune_process

IMAGES, TRAIN, CLASSES, DIMENSIONS = 4096, 16_384, 32, 768
SORT_BLOCK = 2048  # images per block of the full sort
PHOTOGRAPHS, SIZE, BATCH = 128, 336, 16  # images, pixels of their sides for the model, images per batch
FULL_SORT = "float64 products and a full sort"
NUMPY = Case("evidence.neighbors", f"{IMAGES:,} images x {TRAIN:,} training images", FULL_SORT, "images/s", at_least(3))
TORCH = Case("evidence.torch", "the same with torch, as on a GPU", FULL_SORT, "images/s", at_least(3))
EMBED = Case(
    "evidence.embed",
    f"CLIP on photographs at {SIZE} px, on a simulated device as fast as one decoding thread",
    "decoding in the thread that runs the model",
    "images/s",
    at_least(1.2),
)


def measure() -> Iterator[Result]:
    """Yield the throughput of both steps; neighbors on the CPU, and on a GPU if there is one."""
    tune_process()  # before torch is imported
    yield from _measure_neighbors()
    yield _measure_embedding()


def _measure_neighbors() -> Iterator[Result]:
    import torch

    from service.evidence.torch_score_blocks import TorchScoreBlocks

    images, train, classes = _embeddings()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    implementations: dict[Case, Callable[[Embeddings], ScoreBlocks]] = {
        NUMPY: NumpyScoreBlocks,
        TORCH: lambda images: TorchScoreBlocks(images, device),
    }
    searches: list[Callable[[], NDArray[np.int16]]] = [
        lambda new_blocks=new_blocks: nearest_classes(images, _chunks(train), classes, new_blocks)  # type: ignore[misc]
        for new_blocks in implementations.values()
    ]
    searches.append(lambda: _full_sort(images, _chunks(train), classes))
    results = [search() for search in searches]
    measures = [rate(lambda search=search: len(search())) for search in searches]  # type: ignore[misc]
    *values, reference = medians(*measures, times=3, warm=0)
    for case, value, result in zip(implementations, values, results, strict=False):
        problem = "" if np.array_equal(result, results[-1]) else "the neighbors differ"
        yield case.measured(value, reference, problem=problem)


def _embeddings() -> tuple[Embeddings, Embeddings, NDArray[np.int16]]:
    """Return embeddings of images and training images, and the classes of these. Both are sorted by class."""
    random = np.random.default_rng(0)
    centers = random.standard_normal((CLASSES, DIMENSIONS))

    def near_centers(classes: NDArray[np.intp]) -> Embeddings:
        vectors = centers[classes] + 0.8 * random.standard_normal((len(classes), DIMENSIONS))
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)

    classes = np.arange(TRAIN) * CLASSES // TRAIN
    return near_centers(np.arange(IMAGES) * CLASSES // IMAGES), near_centers(classes), classes.astype(np.int16)


def _chunks(train: Embeddings) -> Iterator[Embeddings]:
    for start in range(0, len(train), CHUNK):
        yield train[start : start + CHUNK]


def _full_sort(images: Embeddings, train: Iterator[Embeddings], train_classes: NDArray[np.int16]) -> NDArray[np.int16]:
    """Return the classes of the neighbors by a stable sort of all exact scores of each chunk."""
    scores = np.full((len(images), NEIGHBORS), -np.inf, dtype=np.float32)
    neighbors = np.zeros((len(images), NEIGHBORS), dtype=np.int64)
    start = 0
    for chunk in train:
        chunk_rows = np.arange(start, start + len(chunk))
        for first in range(0, len(images), SORT_BLOCK):
            rows = slice(first, first + SORT_BLOCK)
            chunk_scores = similarities(images[rows], chunk)
            all_scores = np.concatenate([scores[rows], chunk_scores], axis=1)
            candidates = np.concatenate([neighbors[rows], np.broadcast_to(chunk_rows, chunk_scores.shape)], axis=1)
            order = np.argsort(-all_scores, axis=1, kind="stable")[:, :NEIGHBORS]
            scores[rows] = np.take_along_axis(all_scores, order, axis=1)
            neighbors[rows] = np.take_along_axis(candidates, order, axis=1)
        start += len(chunk)
    return train_classes[neighbors]


def _measure_embedding() -> Result:
    """Return the throughput of decoding together with a model that leaves the cores free, as on a GPU."""
    import torch

    from benchmarks.loader_comparison import photographs
    from service.evidence.clip import OpenClip, _open

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = [str(folder / photograph) for photograph in photographs(folder, PHOTOGRAPHS)]
        encoder = OpenClip(_small_model(folder), str(folder / "weights.pt"), "gelu", batch=BATCH)
        model, transform, _ = encoder._loaded

        def decode(start: int) -> torch.Tensor:
            return torch.stack([transform(_open(path)) for path in paths[start : start + BATCH]])

        (seconds,) = medians(timed(lambda: decode(0)), times=5, warm=1)

        def wait(batch: torch.Tensor) -> torch.Tensor:
            time.sleep(seconds * len(batch) / BATCH)
            return torch.ones(len(batch), DIMENSIONS)

        def one_thread() -> int:
            for start in range(0, len(paths), BATCH):
                wait(decode(start))
            return len(paths)

        model.encode_image = wait
        measures = rate(lambda: len(encoder.embed_images(paths))), rate(one_thread)
        return EMBED.measured(*medians(*measures, times=3, warm=1))


def _small_model(folder: Path) -> str:
    """Write the weights of a small model to `weights.pt`; return the name of its architecture."""
    import open_clip
    import torch

    name = "errata-benchmark"
    configuration = {
        "embed_dim": 64,
        "vision_cfg": {"image_size": SIZE, "layers": 1, "width": 64, "patch_size": 28},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1},
    }
    (folder / f"{name}.json").write_text(json.dumps(configuration))
    open_clip.add_model_config(folder / f"{name}.json")
    torch.save(open_clip.create_model(name).state_dict(), folder / "weights.pt")
    return name
