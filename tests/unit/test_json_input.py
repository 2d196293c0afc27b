"""Untrusted JSON: the limit on nesting depth, and each reader's error for deeper texts."""

import base64
import json
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest
from errata import v1 as pb
from errata.cli.folder import read_analysis
from errata.errors import ErrataError, InvalidEvidence, InvalidInput, InvalidPageToken, InvalidSetting, ModelRefused
from errata.json_input import MAX_DEPTH, parse_json

from service.archive.archive import FileArchive
from service.archive.files import FolderFiles
from service.evidence.annotation import read_annotation
from service.evidence.artefacts import read_artefacts, read_grouping
from service.evidence.class_files import read_classes
from service.evidence.label_files import read_labels
from service.evidence.manifest import read_manifest
from service.evidence.prototype import read_non_prototypical
from service.predictions.models.model_folder import read_json_beside
from service.settings import read_settings
from service.taxonomy.imagenet_1k import imagenet_1k
from service.wire.paging import page_offset

DEPTHS = [MAX_DEPTH + 1, 900, 950, 990, 100_000]  # Python can parse some of them, but cannot print the values


def nested(depth: int, start: str = "[", end: str = "]") -> str:
    return start * depth + end * depth


@pytest.mark.parametrize("text", ["1", "null", '"[[["', "[]", '{"a": [1, {"b": 2}]}', nested(MAX_DEPTH), b"[1]"])
def test_text_within_the_depth_limit_is_parsed(text: str) -> None:
    assert parse_json(text) == json.loads(text)


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize(("start", "end"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
def test_deeper_text_is_a_value_error(depth: int, start: str, end: str) -> None:
    text = start * depth + "1" + end * depth

    with pytest.raises(ValueError, match="levels deep"):
        parse_json(text)


@pytest.mark.parametrize("text", ["", "{", "[1,]", b"\xff", "nan", "9" * 5000])
def test_malformed_text_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the message depends on the text
        parse_json(text)


READERS: dict[str, tuple[str, Callable[[Path], object], type[ErrataError]]] = {
    "own labels": ("labels.json", lambda folder: read_labels(folder / "labels.json", imagenet_1k()), InvalidEvidence),
    "own classes": ("classes.json", lambda folder: read_classes(folder / "classes.json", "mine"), InvalidEvidence),
    "annotation": ("labels.json", lambda folder: read_annotation(folder / "labels.json"), InvalidEvidence),
    "superclasses": ("superclasses.json", lambda folder: read_grouping(folder / "superclasses.json"), InvalidEvidence),
    "labels_map": ("labels_map.json", lambda folder: read_artefacts(folder, "imagenet"), InvalidEvidence),
    "class ids": ("imagenet_wnet_id_to_target.json", lambda folder: read_artefacts(folder, "x"), InvalidEvidence),
    "mistakes": ("greedy_soups_mistakes.json", read_non_prototypical, InvalidEvidence),
    "manifest": ("manifest.json", read_manifest, InvalidEvidence),
    "config beside a model": (
        "config.json",
        lambda folder: read_json_beside(folder, PurePosixPath("weights.safetensors"), "config.json"),
        ModelRefused,
    ),
    "summary of a folder": ("summary.json", read_analysis, InvalidInput),
    "setting": (
        "evidence.json",
        lambda folder: read_settings({"ERRATA_EVIDENCE": (folder / "evidence.json").read_text()}),
        InvalidSetting,
    ),
}


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("reader", READERS)
def test_each_reader_rejects_a_deeply_nested_file(tmp_path: Path, reader: str, depth: int) -> None:
    name, read, error = READERS[reader]
    for text in (nested(depth), '{"a": ' + nested(depth) + "}"):
        (tmp_path / name).write_text(text)

        with pytest.raises(error):
            read(tmp_path)


@pytest.mark.parametrize("depth", DEPTHS)
def test_deeply_nested_page_token_is_rejected(depth: int) -> None:
    with pytest.raises(InvalidPageToken):
        page_offset(base64.urlsafe_b64encode(nested(depth).encode()).decode(), pb.ListAnalysesRequest())


@pytest.mark.parametrize("depth", DEPTHS)
def test_deeply_nested_archive_document_is_skipped(tmp_path: Path, depth: int) -> None:
    (tmp_path / "abc.json").write_text(nested(depth))

    assert FileArchive(FolderFiles(tmp_path)).get("abc") is None
