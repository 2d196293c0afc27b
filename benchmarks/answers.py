"""Free-text answers: parsing and mapping an upload, compared with parsing the same images with names of classes."""

import csv
import io
from collections.abc import Iterator
from functools import partial

import numpy as np
import pyarrow as pa

from benchmarks.harness import Case, Result, at_most, minima, timed
from service.domain import RowOrder
from service.evidence.labels import validation_names
from service.predictions.uploads import Layout, parse_upload
from service.taxonomy.imagenet_1k import imagenet_1k
from service.taxonomy.nouns import load_nouns

MAX_BYTES = 100 << 20
PHRASES = ("{}", "a {}", "{}.", "This is a photo of a {}.", "The image shows a {}.")
REFERENCE = "parsing of the same names as classes"
NAMES = Case("answers.names", "parsing of 50,000 answers, names in 5 phrases", REFERENCE, "ms", at_most(12))
SENTENCES = Case(
    "answers.sentences", "parsing of 50,000 different sentences, each with a name", REFERENCE, "ms", at_most(250)
)


def measure() -> Iterator[Result]:
    """Yield the fastest times of both kinds of answers. The nouns of WordNet are loaded once per process, before."""
    load_nouns()
    label_space = imagenet_1k()
    names = [name for name in label_space.names if label_space.parse(name) is not None]
    files = [name.decode() for name in validation_names().tolist()]
    chosen = [names[number] for number in np.random.default_rng(0).integers(0, len(names), len(files)).tolist()]
    phrases = [PHRASES[number % len(PHRASES)].format(name) for number, name in enumerate(chosen)]
    sentences = [f"Number {number} is some {name} beside the road" for number, name in enumerate(chosen)]
    layout = Layout("imagenet", pa.array(files, pa.binary()), lambda _: np.arange(len(files)), label_space)
    few, distinct, reference = minima(
        *(
            timed(partial(_parse, content, layout))
            for content in (
                _csv(files, phrases, "answer"),
                _csv(files, sentences, "answer"),
                _csv(files, chosen, "predicted_class"),
            )
        ),
        times=5,
        warm=1,
    )
    yield NAMES.measured(few, reference)
    yield SENTENCES.measured(distinct, reference)


def _csv(files: list[str], texts: list[str], column: str) -> bytes:
    content = io.StringIO()
    csv.writer(content, lineterminator="\n").writerows([("file_name", column), *zip(files, texts, strict=True)])
    return content.getvalue().encode()


def _parse(content: bytes, layout: Layout) -> None:
    parse_upload(io.BytesIO(content), layout, RowOrder.UNSPECIFIED, MAX_BYTES)
