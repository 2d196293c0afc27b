"""Encoders: validation and caching of embeddings, and interrupted builds."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from errata.errors import InvalidEvidence
from example_counts import max_examples
from hypothesis import example, given
from hypothesis import strategies as st
from unit.evidence.encoders import Counting, Other, SameAnswers
from unit.evidence.official import wordnet_id, write_artefacts

from service import image_formats
from service.bootstrap.build import Inputs, build_evidence
from service.evidence.encoder import (
    CHUNK,
    PROBE_TEXTS,
    CachedEncoder,
    Encoder,
    HashEncoder,
    load_encoder,
    validate_embeddings,
)
from service.evidence.recipes import gather

NAMES = [f"{wordnet_id(number % 1000)}/{number}.JPEG" for number in range(2 * CHUNK + 100)]  # three chunks


def ignore_progress(what: str, done: int, total: int) -> None:
    """Do nothing."""


def cached(encoder: Encoder, cache: Path) -> CachedEncoder:
    return CachedEncoder(encoder, cache, ignore_progress)


# validation of embeddings


def unit(rows: int, dimensions: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((rows, dimensions))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@max_examples(50)
@given(st.integers(1, 5), st.integers(1, 40), st.integers(0, 2**32))
def test_unit_vectors_are_unchanged(rows: int, dimensions: int, seed: int) -> None:
    vectors = unit(rows, dimensions, seed)

    result = validate_embeddings(vectors, rows, dimensions, "images")

    assert result.dtype == np.float32
    assert result.tobytes() == vectors.tobytes()


@pytest.mark.parametrize("scale", [1e-6, 0.5, 1.01, 300.0])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_other_vectors_are_normalized(scale: float, kind: type) -> None:
    vectors = unit(4, 16)

    result = validate_embeddings((vectors * scale).astype(kind), 4, 0, "texts")

    assert result.dtype == np.float32
    assert np.allclose(result, vectors, atol=1e-6)


def test_half_precision_is_accepted() -> None:
    result = validate_embeddings((7 * unit(4, 16)).astype(np.float16), 4, 16, "texts")

    assert result.dtype == np.float32
    assert np.allclose(np.linalg.norm(result, axis=1), 1, atol=1e-6)


WRONG: dict[str, Callable[[np.ndarray], object]] = {
    "NaN": lambda output: np.where(np.arange(16) == 3, np.nan, output),
    "above the range of float32": lambda output: output.astype(np.float64) * 1e300,
    "infinity": lambda output: np.where(np.arange(16) == 3, np.inf, output),
    "a row less": lambda output: output[:-1],
    "a row more": lambda output: np.vstack([output, output[:1]]),
    "no rows": lambda output: output[:0],
    "other dimensions": lambda output: output[:, :-1],
    "no dimensions": lambda output: output[:, :0],
    "one vector": lambda output: output[0],
    "three axes": lambda output: output[None],
    "turned": lambda output: output.T,
    "integers": lambda output: (output * 100).astype(np.int64),
    "booleans": lambda output: output > 0,
    "complex numbers": lambda output: output.astype(complex),
    "objects": lambda output: output.astype(object),
    "text": lambda output: output.astype(str),
    "zeros": lambda output: output * (np.arange(4) != 2)[:, None],
    "nothing": lambda output: None,
    "lists of different lengths": lambda output: [[1.0], [1.0, 2.0]],
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_invalid_embeddings_are_rejected(wrong: Callable[[np.ndarray], object]) -> None:
    with pytest.raises(InvalidEvidence, match="Embeddings of images") as error:
        validate_embeddings(wrong(unit(4, 16)), 4, 16, "images")

    assert error.value.violations[0].field == "encoder"


def test_message_names_the_row_that_is_not_finite() -> None:
    vectors = unit(4, 16)
    vectors[2, 5] = np.nan

    with pytest.raises(InvalidEvidence, match="row 2"):
        validate_embeddings(vectors, 4, 16, "texts")


def test_one_number_above_the_range_of_float32_is_rejected_with_its_row() -> None:
    vectors = unit(4, 16).astype(np.float64)
    vectors[1, 2] = -1e39

    with pytest.raises(InvalidEvidence, match=r"row 1: expected finite numbers in the range of float32"):
        validate_embeddings(vectors, 4, 16, "texts")


def test_hash_encoder_derives_unit_vectors_from_names() -> None:
    encoder = HashEncoder()

    separate = np.concatenate([encoder.embed_images([name]) for name in NAMES[:5]])

    assert np.array_equal(encoder.embed_images(NAMES[:5]), separate)
    assert np.array_equal(encoder.embed_images([f"/far/away/{NAMES[0]}"])[0], separate[0])
    assert np.allclose(np.linalg.norm(separate, axis=1), 1, atol=1e-6)
    assert not np.array_equal(encoder.embed_texts(["x"]), encoder.embed_images(["x"]))


# the cache


def embedded_names(encoder: Counting) -> list[str]:
    """Return the embedded names, without the probes of the cache key."""
    probes = [list(PROBE_TEXTS), NAMES[:1]]
    return [name for names in encoder.calls if names not in probes for name in names]


def test_second_run_uses_the_cache(tmp_path: Path) -> None:
    texts = [f"A photo of a {name}" for name in NAMES]
    first, second = Counting(), Counting()
    images = cached(first, tmp_path).images(NAMES)
    prompts = cached(first, tmp_path).texts(texts)

    assert cached(second, tmp_path).images(NAMES).tobytes() == images.tobytes()
    assert cached(second, tmp_path).texts(texts).tobytes() == prompts.tobytes()

    assert embedded_names(first) == NAMES + texts  # each once, in order
    assert embedded_names(second) == []
    assert images.tobytes() == HashEncoder().embed_images(NAMES).tobytes()
    assert prompts.tobytes() == HashEncoder().embed_texts(texts).tobytes()


@pytest.mark.parametrize("fails_at", [3, 4, 5])
def test_interrupted_run_continues(tmp_path: Path, fails_at: int) -> None:
    # calls 1 and 2 are the probes of the key
    before, after = Counting(fails_at=fails_at), Counting()
    with pytest.raises(InvalidEvidence, match="power"):
        cached(before, tmp_path).images(NAMES)

    result = cached(after, tmp_path).images(NAMES)

    assert embedded_names(after) == NAMES[(fails_at - 3) * CHUNK :]
    assert result.tobytes() == HashEncoder().embed_images(NAMES).tobytes()


def folders(cache: Path) -> set[str]:
    return {path.name for path in cache.iterdir()}


@pytest.mark.parametrize("other", [Other(), SameAnswers(), HashEncoder(16)], ids=["answers", "name", "dimensions"])
def test_another_encoder_has_another_cache(tmp_path: Path, other: HashEncoder) -> None:
    cached(HashEncoder(), tmp_path).images(NAMES[:10])
    own = folders(tmp_path)

    result = cached(other, tmp_path).images(NAMES[:10])

    assert len(folders(tmp_path) - own) == 1
    assert result.tobytes() == other.embed_images(NAMES[:10]).tobytes()


def test_other_names_have_another_cache(tmp_path: Path) -> None:
    encoder = Counting()
    for names in (NAMES[:10], NAMES[:9], NAMES[:10][::-1]):
        assert np.array_equal(cached(encoder, tmp_path).images(names), HashEncoder().embed_images(names))

    assert len(folders(tmp_path)) >= 3


def test_changed_file_is_embedded_again(tmp_path: Path) -> None:
    image = tmp_path / wordnet_id(0) / "a.jpg"
    image.parent.mkdir()
    image.write_bytes(b"one")
    paths = [str(image), str(tmp_path / "b.jpg")]
    cached(Counting(), tmp_path / "cache").images(paths)
    again, changed = Counting(), Counting()

    cached(again, tmp_path / "cache").images(paths)
    image.write_bytes(b"three")
    cached(changed, tmp_path / "cache").images(paths)

    assert paths not in again.calls
    assert paths in changed.calls


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_images_that_decode_otherwise_are_embedded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    paths = [str(tmp_path / other) for other in ("first.jpg", name)]
    for path in paths:
        Path(path).write_bytes(b"one")
    cached(Counting(), tmp_path / "cache").images(paths)
    monkeypatch.setattr(image_formats, "DECODING", "3")
    again = Counting()

    cached(again, tmp_path / "cache").images(paths)

    assert (paths in again.calls) == (name == "a.png")


@pytest.fixture(scope="module")
def worn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes, Path]:
    """A cache of one chunk whose file a test can damage."""
    cache = tmp_path_factory.mktemp("cache")
    cached(HashEncoder(), cache).images(NAMES[:10])
    (file,) = cache.rglob("*.npy")
    return cache, file.read_bytes(), file


@max_examples(100)
@given(st.integers(0, 127) | st.integers(0, 10**6))
def test_truncated_cache_file_is_replaced(worn: tuple[Path, bytes, Path], length: int) -> None:
    cache, sound, file = worn
    file.write_bytes(sound[: length % len(sound)])

    result = cached(HashEncoder(), cache).images(NAMES[:10])

    assert result.tobytes() == HashEncoder().embed_images(NAMES[:10]).tobytes()
    assert file.read_bytes() == sound


@pytest.mark.parametrize(
    "array",
    [np.zeros((9, 32), np.float32), np.zeros((10, 32), np.float64), np.zeros(10, np.float32), np.zeros((10, 1, 32))],
    ids=["rows", "kind", "one axis", "three axes"],
)
def test_invalid_cache_file_is_ignored(worn: tuple[Path, bytes, Path], array: np.ndarray) -> None:
    cache, _, file = worn
    np.save(file, array)

    assert np.array_equal(cached(HashEncoder(), cache).images(NAMES[:10]), HashEncoder().embed_images(NAMES[:10]))


@max_examples(100)
@given(st.integers(0, 127), st.integers(1, 255))
@example(place=65, bits=1)  # 22 instead of 32 values for each image
def test_cache_file_with_a_damaged_header_is_ignored(worn: tuple[Path, bytes, Path], place: int, bits: int) -> None:
    cache, sound, file = worn
    damaged = bytearray(sound)
    damaged[place] ^= bits
    file.write_bytes(damaged)

    result = cached(HashEncoder(), cache).images(NAMES[:10])

    assert result.shape == (10, 32)
    file.write_bytes(sound)


def test_progress_is_reported_per_chunk(tmp_path: Path) -> None:
    progress: list[tuple[str, int, int]] = []

    CachedEncoder(HashEncoder(), tmp_path, lambda *call: progress.append(call)).images(NAMES)

    assert progress == [("images", done, len(NAMES)) for done in (0, CHUNK, 2 * CHUNK, len(NAMES))]


def test_progress_distinguishes_cached_chunks(tmp_path: Path) -> None:
    with pytest.raises(InvalidEvidence, match="the power went out"):
        cached(Counting(fails_at=4), tmp_path).images(NAMES)
    progress: list[tuple[str, int, int]] = []

    list(CachedEncoder(Counting(), tmp_path, lambda *call: progress.append(call)).image_chunks(NAMES, "training"))

    assert progress == [
        ("training (cached)", 0, len(NAMES)),
        ("training (cached)", CHUNK, len(NAMES)),
        ("training", CHUNK, len(NAMES)),
        ("training", 2 * CHUNK, len(NAMES)),
        ("training", len(NAMES), len(NAMES)),
    ]


# in a build


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Inputs]:
    """Inputs of the data set `mine`: three chunks of images, with neighbors."""
    folder = tmp_path_factory.mktemp("mine")
    targets = [number % 1000 for number in range(len(NAMES))]
    rows = "".join(f"{name},{target}\n" for name, target in zip(NAMES, targets, strict=True))
    (folder / "labels.csv").write_text(f"file_name,labels\n{rows}")
    neighbors = np.random.default_rng(0).integers(0, 1000, (len(NAMES), 10))
    artefacts = write_artefacts(folder / "artefacts", "mine", list(zip(NAMES, targets, strict=True)), neighbors)

    def inputs_for(encoder: str, cache: Path) -> Inputs:
        name = encoder if ":" in encoder else f"unit.evidence.encoders:{encoder}"
        return Inputs(labels=folder / "labels.csv", artefacts=artefacts, encoder=name, cache=cache)

    return inputs_for


BUILD = """
import sys
from pathlib import Path
from service.bootstrap.build import Inputs, build_evidence
labels, artefacts, cache, output = map(Path, sys.argv[1:])
inputs = Inputs(labels=labels, artefacts=artefacts, encoder="unit.evidence.encoders:Stoppable", cache=cache)
print(build_evidence("mine", inputs, output).digest)
"""


@pytest.mark.processes
def test_killed_build_continues_with_the_same_result(
    inputs: Callable[..., Inputs], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_to = inputs("Stoppable", tmp_path / "cache")
    requests = tmp_path / "requests"
    paths = [given_to.labels, given_to.artefacts, given_to.cache, tmp_path / "bundle"]
    with subprocess.Popen(
        [sys.executable, "-c", BUILD, *map(str, paths)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "LOG": str(requests), "STOP_AT": "2"},
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"half way\n"
        child.send_signal(signal.SIGKILL)
        assert child.wait(10) == -signal.SIGKILL
    assert not (tmp_path / "bundle").exists()
    assert len(requests.read_text().splitlines()) == 2

    monkeypatch.setenv("LOG", str(requests))
    resumed = build_evidence("mine", given_to, tmp_path / "bundle")
    together = requests.read_text().splitlines()
    monkeypatch.setenv("LOG", str(tmp_path / "undisturbed"))
    whole = build_evidence("mine", inputs("Stoppable", tmp_path / "other cache"), tmp_path / "whole")

    assert resumed.digest == whole.digest
    assert together == (tmp_path / "undisturbed").read_text().splitlines()  # no chunk was embedded twice
    assert len(together) == 3
    assert (resumed.path / "verdicts.npy").read_bytes() == (whole.path / "verdicts.npy").read_bytes()


@pytest.mark.slow
def test_digest_depends_on_the_embeddings_only(inputs: Callable[..., Inputs], tmp_path: Path) -> None:
    names = {"service.evidence.encoder:HashEncoder": "one", "Other": "two", "SameAnswers": "three"}
    cache = tmp_path / "cache"

    one, two, three = (build_evidence("mine", inputs(order, cache), tmp_path / name) for order, name in names.items())

    assert one.digest != two.digest
    assert one.digest == three.digest  # the embeddings are equal, under another name
    images = [name for name in folders(cache) if "-images-" in name]
    texts = [name for name in folders(cache) if "-texts-" in name]
    assert len({name.split("-")[0] for name in images}) == 3
    assert len({name.split("-")[0] for name in texts}) == 3


@pytest.mark.parametrize("encoder", ["NotANumber", "OneRowLess", "OtherDimensions"])
def test_invalid_encoder_leaves_no_bundle(inputs: Callable[..., Inputs], tmp_path: Path, encoder: str) -> None:
    with pytest.raises(InvalidEvidence, match="expected"):
        build_evidence("mine", inputs(encoder, tmp_path / "cache"), tmp_path / "bundle")

    assert not (tmp_path / "bundle").exists()


FAILURES = {
    "FailingConstructor": "RuntimeError: No CUDA GPUs are available",
    "FailingTexts": "cannot embed texts: MemoryError: CUDA out of memory",
    "Tensors": "TypeError: can't convert cuda:0 device type tensor to numpy",
    "Dictionaries": r"expected shape \(3, d\), got \(\)",
    "DescribesWithDictionary": r"describe .* returned {'architecture': 'hash-32'}\. Expected an EncoderInfo",
    "DescribesWithNumber": r"describe .* returned EncoderInfo\(.*library=1\)\. Expected an EncoderInfo",
    "FailingDescription": "cannot describe its model: KeyError: 'weights'",
}


@pytest.mark.parametrize("encoder", FAILURES)
def test_errors_of_an_encoder_are_errors_of_the_input(
    inputs: Callable[..., Inputs], tmp_path: Path, encoder: str
) -> None:
    with pytest.raises(InvalidEvidence, match=FAILURES[encoder]) as error:
        build_evidence("mine", inputs(encoder, tmp_path / "cache"), tmp_path / "bundle")

    assert error.value.violations[0].field == "encoder"
    assert not (tmp_path / "bundle").exists()


def test_encoder_that_reads_files_needs_them(inputs: Callable[..., Inputs], tmp_path: Path) -> None:
    without = inputs("ReadsFiles", tmp_path / "cache")

    with pytest.raises(InvalidEvidence, match=r"FileNotFoundError: .* If the encoder reads .* add --images DIR"):
        build_evidence("mine", without, tmp_path / "bundle")

    for name in NAMES:
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / name).touch()
    with pytest.raises(InvalidEvidence, match=r"OSError: cannot identify image file '.*0\.JPEG'\.$") as error:
        build_evidence("mine", replace(without, images=tmp_path / "images"), tmp_path / "bundle")
    assert error.value.violations[0].field == "encoder"


def test_cache_that_cannot_be_written_is_named(inputs: Callable[..., Inputs], tmp_path: Path) -> None:
    (tmp_path / "cache").touch()

    with pytest.raises(InvalidEvidence, match=r"Cannot write the embeddings to .*cache: .* ERRATA_DATA_DIR"):
        build_evidence("mine", inputs("Other", tmp_path / "cache"), tmp_path / "bundle")


# loading


def test_encoder_is_loaded_by_module_and_class() -> None:
    assert isinstance(load_encoder("unit.evidence.encoders:SameAnswers"), SameAnswers)


@pytest.mark.parametrize(
    "name",
    [
        "service.evidence.encoder",
        ":HashEncoder",
        "service.evidence.encoder:",
        "service.evidence.encoder:NoSuchClass",
        "no_such_module:Encoder",
        ".encoder:HashEncoder",
        "service.evidence.encoder:CHUNK",
        "os:getcwd",
        "unit.evidence.encoders:OnlyTexts",
        "unit.evidence.encoders:NeedsArguments",
        "a b:c d",
    ],
)
def test_invalid_encoder_name_is_rejected(name: str) -> None:
    with pytest.raises(InvalidEvidence) as error:
        load_encoder(name)

    assert name in error.value.message
    assert error.value.violations[0].field == "encoder"


def test_module_with_a_syntax_error_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "damaged_encoder.py").write_text("class Mean(:\n")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(InvalidEvidence, match="Cannot create the encoder 'damaged_encoder:Mean': SyntaxError: invalid"):
        load_encoder("damaged_encoder:Mean")


def test_encoder_requires_a_cache_folder(inputs: Callable[..., Inputs], tmp_path: Path) -> None:
    given_to = inputs("Other", tmp_path)

    with pytest.raises(InvalidEvidence, match="embeddings"):
        gather("mine", Inputs(labels=given_to.labels, artefacts=given_to.artefacts, encoder=given_to.encoder))
