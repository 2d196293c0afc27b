"""npz in the form of the paper's preds.npz: top1, optionally with probs. Pickles are rejected."""

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from errata.errors import InvalidUpload, TruncatedUpload, UnsupportedFormat
from pickle_trap import Trap

from service.domain import RowOrder

TWELVE = np.arange(100, 112)


def distributions(best: np.ndarray, probability: float) -> np.ndarray:
    """Rows that sum to 1, with the given class on top."""
    rows = np.full((len(best), 1000), (1 - probability) / 999, dtype=np.float32)
    rows[np.arange(len(best)), best] = probability
    return rows


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


@pytest.mark.parametrize("order", [RowOrder.PATH, RowOrder.FILE_NAME])
def test_the_file_of_the_papers_authors_is_read(small, write, order) -> None:
    top5 = np.stack([TWELVE, *(np.arange(12),) * 4], axis=1)
    content = write.npz(top1=TWELVE, top5=top5, probs=distributions(TWELVE, 0.5))

    result = small.parse(content, order)

    positions = small.order(order)
    assert result.format == "npz"
    assert result.warnings == ()
    assert [result.predictions.top1[image] for image in positions] == TWELVE.tolist()
    assert result.predictions.probability.tolist() == [0.5] * 12


def test_each_probability_goes_to_its_image(small, write) -> None:
    probs = np.concatenate([distributions(TWELVE[row : row + 1], 0.5 + row / 32) for row in range(12)])

    result = small.parse(write.npz(top1=TWELVE, probs=probs)).predictions

    assert [result.probability[image] for image in small.order(RowOrder.PATH)] == [0.5 + row / 32 for row in range(12)]


def test_top1_alone_is_enough(small, write) -> None:
    result = small.parse(write.npz(top1=TWELVE), RowOrder.FILE_NAME).predictions

    assert result.top1.tolist() == TWELVE.tolist()
    assert result.probability is None


@pytest.mark.parametrize("name", ["probability", "predicted_probability", "confidence"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_top1_can_have_one_probability_for_each_row(small, write, name, dtype) -> None:
    probability = (np.arange(12) / 16).astype(dtype)

    result = small.parse(write.npz(top1=TWELVE, **{name: probability}))

    positions = small.order(RowOrder.PATH)
    assert [result.predictions.probability[image] for image in positions] == probability.tolist()
    assert f"The file's arrays: '{name}' as the probabilities." in result.assumptions


def test_scores_have_priority_over_an_array_of_probabilities(small, write) -> None:
    content = write.npz(top1=TWELVE, probs=distributions(TWELVE, 0.5), probability=np.zeros(12))

    result = small.parse(content)

    assert result.predictions.probability.tolist() == [0.5] * 12
    assert not any("probabilities" in assumption for assumption in result.assumptions)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("score", np.arange(12.0)),
        ("score", np.array(0.76)),
        ("score", np.array(["high"] * 12)),
        ("confidence", np.full((12, 5), 0.1)),
        ("confidence", np.array([None] * 12)),
        ("conf", np.ones((10, 10), dtype=np.int64)),
        ("probability", np.ones(11)),
        ("probability", np.ones(12, dtype=np.int64)),
        ("probability", np.array([*[0.5] * 11, np.nan])),
        ("probability", np.array([*[0.5] * 11, np.nextafter(1, 2)])),
    ],
)
def test_another_array_with_a_name_of_probabilities_is_not_used(small, write, name, values) -> None:
    """Such as an accuracy, a confusion matrix, or scores. Pickled objects are not read."""
    result = small.parse(write.npz(top1=TWELVE, **{name: values}), RowOrder.FILE_NAME)

    assert result.predictions.top1.tolist() == TWELVE.tolist()
    assert result.predictions.probability is None
    note = f"The array '{name}' is not used, because it does not have a number from 0 to 1 for each row."
    assert note in result.assumptions


def test_probabilities_can_be_bfloat16(small, write) -> None:
    values = np.linspace(0, 1, 12, dtype=np.float32)
    bfloat16 = (values.view(np.uint32) >> 16).astype(np.uint16).view("V2")

    result = small.parse(write.npz(top1=TWELVE, probability=bfloat16), RowOrder.FILE_NAME)

    assert result.predictions.probability.tolist() == pytest.approx(values.tolist(), abs=0.005)


@pytest.mark.parametrize("content", [b"no header", b"\x93NUMPY\x01\x00"])
def test_a_damaged_array_of_probabilities_is_rejected(small, write, content) -> None:
    file = io.BytesIO(write.npz(top1=TWELVE))
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("probability.npy", content)

    error = small.rejection(file.getvalue())

    assert error.message.startswith("Array 'probability' has a damaged npy header.")


def test_top1_takes_precedence_over_probs_and_differing_rows_are_counted(small, write) -> None:
    probs = distributions(np.where(np.arange(12) < 3, 5, TWELVE), 0.5)

    result = small.parse(write.npz(top1=TWELVE, probs=probs), RowOrder.FILE_NAME)

    assert result.predictions.top1.tolist() == TWELVE.tolist()
    assert len(result.warnings) == 1
    assert result.warnings[0] == "Rows in which top1 is not the best class of probs: 3. Errata uses top1."


def test_a_warning_has_the_names_of_the_arrays(small, write) -> None:
    logits = np.log(distributions(np.where(np.arange(12) < 3, 5, TWELVE), 0.5))

    result = small.parse(write.npz(preds=TWELVE, logits=logits), RowOrder.FILE_NAME)

    assert result.warnings == ("Rows in which preds is not the best class of logits: 3. Errata uses preds.",)


def test_probs_that_are_no_distributions_give_no_probability(small, write) -> None:
    result = small.parse(write.npz(top1=TWELVE, probs=distributions(TWELVE, 0.5) * 9)).predictions

    assert result.probability is None


@pytest.mark.parametrize("has_probs", [False, True])
def test_an_invalid_class_is_rejected_with_its_row(small, write, expected_error, has_probs) -> None:
    classes = TWELVE.copy()
    classes[[0, 11]] = 1000, -1
    arrays = {"probs": distributions(TWELVE, 0.5)} if has_probs else {}

    error = small.rejection(write.npz(top1=classes, **arrays))

    assert error.reason == "INVALID_ROW"
    assert expected_error.lines(error) == [1, 12]


def test_rows_of_probs_with_nan_are_named_and_counted(small, write, expected_error) -> None:
    probs = distributions(TWELVE, 0.5)
    probs[1:, 17] = np.nan

    error = small.rejection(write.npz(top1=TWELVE, probs=probs))

    assert error.reason == "INVALID_ROW"
    assert expected_error.lines(error) == list(range(2, 12))
    assert expected_error.count(error, 11)


@pytest.mark.parametrize(
    ("arrays", "problem"),
    [
        ({"classes": TWELVE}, "Missing array 'top1', 'probs', or 'logits'. The npz file has 'classes'."),
        (
            {"features": distributions(TWELVE, 0.5)},
            "Missing array 'top1', 'probs', or 'logits'. The npz file has 'features'.",
        ),
        (
            {"probs": distributions(TWELVE, 0.5)[:11]},
            "Array 'probs' has shape (11, 1000). Expected (12, 1000), one row",
        ),
        (
            {"top1": TWELVE, "probs": np.full(12, 0.5)},
            "Array 'probs' has shape (12,). Expected (12, 1000), the scores of all classes. If it has one probability",
        ),
        ({"top1": TWELVE[:11]}, "Array 'top1' has shape (11,). Expected (12,), one row"),
        ({"top1": np.arange(13)}, "Array 'top1' has shape (13,). Expected (12,), one row"),
        ({"top1": TWELVE[:, None, None]}, "Array 'top1' has shape (12, 1, 1). Expected (12,), one row"),
        ({"top1": TWELVE.astype(float)}, "Array 'top1' has shape (12,) and type float64. Expected integer class"),
        (
            {"top1": TWELVE, "probs": np.zeros((11, 1000), dtype=np.float32)},
            "Array 'probs' has shape (11, 1000). Expected (12, 1000), one row",
        ),
        (
            {"top1": TWELVE, "probs": np.zeros((12, 999), dtype=np.float32)},
            "Array 'probs' has shape (12, 999). Expected (12, 1000), one column",
        ),
        (
            {"top1": TWELVE, "probs": np.zeros((12, 1000), dtype=np.int64)},
            "Array 'probs' has shape (12, 1000) and type int64. Expected floating-point scores.",
        ),
    ],
    ids=[
        *(
            "no top1",
            "other scores",
            "too few probs alone",
            "one score for each row",
            "a row too few",
            "a row too many",
            "three dimensions",
        ),
        *("classes as floats", "a row of probs too few", "a class too few", "probs as integers"),
    ],
)
def test_other_arrays_are_rejected_with_their_names(small, write, arrays, problem) -> None:
    error = small.rejection(write.npz(**arrays))

    assert isinstance(error, InvalidUpload)
    assert error.reason == "INVALID_UPLOAD"
    assert error.message.startswith(problem)


def test_a_zip_archive_without_arrays_is_rejected_with_its_files(small) -> None:
    error = small.rejection(zipped({"readme.txt": b"hello"}))

    assert error.reason == "INVALID_UPLOAD"
    assert error.message.startswith("The file is a ZIP archive with 'readme.txt', not an npz file.")


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.99])
def test_a_file_that_ends_too_early_is_rejected(small, write, share) -> None:
    content = write.npz(top1=TWELVE, probs=distributions(TWELVE, 0.5))

    error = small.rejection(content[: int(share * len(content))])

    assert isinstance(error, TruncatedUpload)
    assert error.reason == "TRUNCATED_UPLOAD"


def test_an_array_that_is_shorter_than_its_header_states_is_rejected(small, write) -> None:
    error = small.rejection(zipped({"top1.npy": write.npy(TWELVE)[:-8]}))

    assert isinstance(error, TruncatedUpload)


@pytest.mark.parametrize("member", ["top1", "probs", "arr_0"])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_bytes_after_an_array_are_rejected(small, write, member, method) -> None:
    arrays = {"top1": TWELVE, "probs": distributions(TWELVE, 0.5)}
    if member == "arr_0":
        arrays = {"arr_0": arrays["probs"]}
    members = {f"{name}.npy": write.npy(array) for name, array in arrays.items()}
    assert small.top1(zipped(members, method), RowOrder.FILE_NAME) == TWELVE.tolist()

    error = small.rejection(zipped(members | {f"{member}.npy": members[f"{member}.npy"] + write.npy(TWELVE)}, method))

    assert type(error) is InvalidUpload
    assert error.message.startswith(f"Array '{member}' ")
    assert error.message.endswith("bytes follow the array. Save one array per file.")


def test_a_header_that_promises_an_endless_array_is_rejected(small, write) -> None:
    head = write.npy_header("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 1000)}")

    error = small.rejection(zipped({"top1.npy": write.npy(TWELVE), "probs.npy": head + bytes(4000)}))

    assert error.reason == "INVALID_UPLOAD"


def test_a_directory_that_understates_a_member_is_rejected(small, write) -> None:
    """Given an archive whose directory states 100 bytes for probs, only those are read."""
    probs = write.npy(distributions(TWELVE, 0.5))
    content = zipped({"top1.npy": write.npy(TWELVE), "probs.npy": probs}, zipfile.ZIP_DEFLATED)
    directory = content.index(b"PK\x01\x02")
    size = len(probs).to_bytes(4, "little")
    assert content.count(size, directory) == 1

    error = small.rejection(content[:directory] + content[directory:].replace(size, (100).to_bytes(4, "little")))

    assert isinstance(error, InvalidUpload)


def test_more_bytes_unpacked_than_allowed_are_rejected(small, write) -> None:
    content = write.npz(top1=TWELVE, other=np.zeros(1 << 20, dtype=np.int64))

    error = small.rejection(content, max_bytes=1 << 20)

    assert error.reason == "TOO_LARGE"


def test_too_many_arrays_are_rejected(small, write) -> None:
    content = write.npz(top1=TWELVE, **{f"array{number}": TWELVE for number in range(100)})

    assert small.rejection(content).reason == "TOO_LARGE"


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("member", ["top1.npy", "probs.npy"])
def test_damaged_data_is_rejected_with_any_compression(small, write, method, member) -> None:
    noise = np.random.default_rng(3).random((12, 1000)).astype(np.float32)
    members = {"top1.npy": write.npy(TWELVE), "probs.npy": write.npy(noise)}
    assert small.top1(zipped(members, method), RowOrder.FILE_NAME) == TWELVE.tolist()
    content = bytearray(zipped(members, method))
    start = content.index(member.encode()) + len(member) + 16
    middle = start if member == "top1.npy" else start + 9000
    for place in range(middle, middle + 20):
        content[place] ^= 0xFF

    assert isinstance(small.rejection(bytes(content)), InvalidUpload)


def test_a_member_whose_name_is_not_utf8_is_rejected(small, write) -> None:
    content = bytearray(zipped({"top1.npy": write.npy(TWELVE), "é.npy": b"x"}))
    content[content.rindex("é".encode())] = 0xFF

    assert isinstance(small.rejection(bytes(content)), InvalidUpload)


def test_an_encrypted_member_is_rejected(small, write) -> None:
    content = bytearray(zipped({"top1.npy": write.npy(TWELVE)}))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1

    assert isinstance(small.rejection(bytes(content)), InvalidUpload)


@pytest.mark.parametrize("pickled", ["top1", "probs"])
def test_a_pickle_is_rejected_and_never_run(small, write, tmp_path: Path, pickled) -> None:
    """Given an array of objects that make a file when they are unpickled, nothing is made."""
    file = tmp_path / "made"
    arrays = {"top1": TWELVE, pickled: np.array([Trap(file)] * 12, dtype=object)}
    content = write.npz(**arrays)
    with np.load(io.BytesIO(content), allow_pickle=True) as loaded:
        assert loaded[pickled] is not None
    assert file.exists(), "the trap doesn't work, so the test would prove nothing"
    file.unlink()

    error = small.rejection(content)

    assert isinstance(error, UnsupportedFormat)
    assert error.reason == "UNSUPPORTED_FORMAT"
    assert not file.exists()


def test_a_pickle_that_is_not_needed_is_not_read(small, write, tmp_path: Path) -> None:
    file = tmp_path / "made"
    content = write.npz(top1=TWELVE, args=np.array([Trap(file)], dtype=object))

    assert small.top1(content, RowOrder.FILE_NAME) == TWELVE.tolist()
    assert not file.exists()


def test_a_bare_pickle_is_rejected_and_never_run(small, tmp_path: Path) -> None:
    file = tmp_path / "made"
    content = pickle.dumps(Trap(file))
    pickle.loads(content)
    assert file.exists(), "the trap doesn't work, so the test would prove nothing"
    file.unlink()

    assert isinstance(small.rejection(content), InvalidUpload)
    assert isinstance(small.rejection(zipped({"top1.npy": content})), InvalidUpload)
    assert not file.exists()


@pytest.mark.parametrize("name", ["probs", "probabilities", "softmax", "scores", "arr_0", "predictions"])
def test_scores_alone_are_enough(small, write, name) -> None:
    upload = small.parse(write.npz(**{name: distributions(TWELVE, 0.5)}), RowOrder.FILE_NAME)

    assert upload.predictions.top1.tolist() == TWELVE.tolist()
    assert upload.predictions.probability.tolist() == [0.5] * 12
    assert repr(name) in upload.assumptions[0]


def test_an_array_of_logits_gives_its_softmax_even_without_negative_values(small, write) -> None:
    logits = np.log(distributions(TWELVE, 0.5)) + 20

    upload = small.parse(write.npz(logits=logits.astype(np.float32)), RowOrder.FILE_NAME)

    assert upload.predictions.top1.tolist() == TWELVE.tolist()
    assert upload.predictions.probability.tolist() == pytest.approx([0.5] * 12, abs=1e-3)


@pytest.mark.parametrize("name", ["preds", "predictions", "arr_0"])
def test_classes_of_other_names_are_read(small, write, name) -> None:
    upload = small.parse(write.npz(**{name: TWELVE}), RowOrder.FILE_NAME)

    assert upload.predictions.top1.tolist() == TWELVE.tolist()
    assert upload.assumptions == (f"The file's arrays: {name!r} as the classes.",)


@pytest.mark.parametrize("key", ["filenames", "file_name", "Image", "paths"])
@pytest.mark.parametrize("dtype", [str, bytes, object])
@pytest.mark.parametrize("count", [12, 5])
def test_an_array_of_file_names_is_not_ignored(small, write, key, dtype, count) -> None:
    error = small.rejection(write.npz(top1=TWELVE[:count], **{key: np.array(small.names[:count], dtype=dtype)}))

    assert f"Array '{key}' has file names" in error.message and "CSV or Parquet" in error.message


def test_an_array_with_the_key_of_file_names_but_without_file_names_is_ignored(small, write) -> None:
    others = {"images": np.zeros((12, 2, 2, 3), dtype=np.uint8), "id": np.arange(12), "name": np.array("resnet50")}

    assert sorted(small.top1(write.npz(top1=TWELVE, **others))) == TWELVE.tolist()
