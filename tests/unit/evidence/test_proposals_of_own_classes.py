"""Rule 5 for own label spaces: proposals from a vocabulary and from synsets, compared with slow oracles."""

import csv
import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from errata.errors import EvidenceDamaged, InvalidEvidence
from oracle import own_proposals as oracle
from oracle import proposals as wordnet_oracle
from oracle.own_proposals import OwnClass, Row
from oracle.superclasses import share_superclass
from oracle.verdicts import gate_holds
from unit.evidence.slow_comparison import compare

from service.bootstrap.build import build_evidence, verify_evidence
from service.domain import ErrorType, LabelSpace, Superclasses
from service.evidence.bundle import Bundle, open_bundle
from service.evidence.class_files import read_classes
from service.evidence.encoder import HashEncoder
from service.evidence.proposals import proposals_from_json, proposals_of, proposals_to_json
from service.evidence.recipes import Inputs
from service.evidence.vocabulary_comparison import compare_all
from service.evidence.vocabulary_file import read_vocabulary
from service.rules.table import error_types
from service.taxonomy.imagenet_1k import imagenet_1k
from service.taxonomy.proposals import Proposals

HASH = "service.evidence.encoder:HashEncoder"
CLASSES = [
    OwnClass(("espresso", "Caffè"), ("coffee", "hot drinks")),
    OwnClass(("filter_coffee",), ("coffee", "hot drinks")),
    OwnClass(("green tea", "緑茶"), ("tea", "hot drinks")),
    OwnClass(("black tea",), ("tea", "hot drinks")),
    OwnClass(("cola", "soda", "pop"), ("cold drinks",)),
    OwnClass(("lemonade",), ("cold drinks",)),
    OwnClass(("mug",)),
    OwnClass(("vase",)),
]
VOCABULARY = [
    Row("Turkish coffee", ("coffee",)),
    Row("hot_chocolate", ("hot drinks",)),
    Row("herbal tea", ("green tea", "tea")),
    Row("beer stein", ("mug", "cold drinks")),
    Row("thermos", ("mug", "espresso", "coffee")),
    Row("iced tea", ("cold drinks", "tea")),
]
IMAGES = 40
SYNSETS = {  # own names; of the last two, one has no synset, and one is an instance of a lake
    "dachs": "n02447366",  # badger, a class of ImageNet-1k
    "honey badger": "n02447762",  # ratel
    "otter": "n02444819",
    "tunny": "n02627292",
    "gin": "n07901587",
    "Waldtier": "",
    "Plattensee": "n09212935",
}
PREDATORS = ("dachs", "honey badger", "otter", "Waldtier")


def write_classes(path: Path, rows: list[dict[str, str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["name", "synonyms", "superclasses", "synset"])
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_labels(path: Path, num_classes: int, rejects_targets: bool = False) -> Path:
    lines = [
        f"{number}.png,{number % num_classes},{number % num_classes};{number * 7 % num_classes},"
        for number in range(IMAGES)
    ]
    lines[3] = f"3.png,0,{num_classes - 1},"  # a rejected target
    if rejects_targets:
        lines = [f"{number}.png,{number % num_classes},{(number + 3) % num_classes}," for number in range(IMAGES)]
    path.write_text("\n".join(["file_name,target,labels,problematic", *lines]))
    return path


def write_train_images(folder: Path, num_classes: int) -> Path:
    for class_index in range(num_classes):
        (folder / str(class_index)).mkdir(parents=True)
        for number in range(4):
            (folder / str(class_index) / f"t{number}.png").write_bytes(b"")
    return folder


def build(
    folder: Path, classes: Path, num_classes: int, vocabulary: Path | None = None, rejects_targets: bool = False
) -> Bundle:
    inputs = Inputs(
        classes=classes,
        labels=write_labels(folder / "labels.csv", num_classes, rejects_targets),
        vocabulary=vocabulary,
        encoder=HASH,
        train_images=write_train_images(folder / "train", num_classes),
        cache=folder / "cache",
    )
    return build_evidence("drinks", inputs, folder / "bundle")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with classes.csv and vocabulary.csv."""
    folder = tmp_path_factory.mktemp("drinks")
    rows = [
        {"name": own.names[0], "synonyms": ";".join(own.names[1:]), "superclasses": ";".join(own.superclasses)}
        for own in CLASSES
    ]
    write_classes(folder / "classes.csv", rows)
    lines = [f"{row.text},{' ; '.join(row.near)}" for row in VOCABULARY]
    (folder / "vocabulary.csv").write_text("\n".join(["text,near", *lines]))
    return folder


@pytest.fixture(scope="module")
def drinks(files: Path) -> LabelSpace:
    return read_classes(files / "classes.csv", "drinks")


@pytest.fixture(scope="module")
def bundle(files: Path) -> Bundle:
    return build(files, files / "classes.csv", len(CLASSES), files / "vocabulary.csv")


def score(image: np.ndarray, text: str) -> float:
    """Return the cosine similarity: exact, rounded to float32."""
    vector = HashEncoder().embed_texts([text])[0]
    return float(np.float32(math.fsum(a * b for a, b in zip(image.tolist(), vector.tolist(), strict=True))))


def neighbors_of(image: np.ndarray, num_classes: int) -> list[int]:
    """Return the classes of the ten nearest training images. The folders are named 0, 1, …"""
    names = sorted((str(class_index), f"t{number}.png") for class_index in range(num_classes) for number in range(4))
    train = HashEncoder().embed_images([f"train/{folder}/{name}" for folder, name in names])
    order = sorted(range(len(names)), key=lambda number: -float(image.astype(float) @ train[number].astype(float)))
    return [int(names[number][0]) for number in order[:10]]


# a vocabulary


def listed(proposals: Proposals, predicted: int) -> list[tuple[str, bool]]:
    rows = proposals.list_of(predicted)
    return [(proposals.texts[text], bool(out)) for text, out in zip(rows.texts, rows.outside, strict=True)]


def test_proposals_from_a_vocabulary_equal_the_oracle(files: Path, drinks: LabelSpace) -> None:
    proposals = proposals_of(drinks, read_vocabulary(files / "vocabulary.csv", drinks))

    assert proposals is not None
    for predicted in range(len(CLASSES)):
        expected = [
            (text, isinstance(proposal, str))
            for proposal in oracle.proposals(CLASSES, VOCABULARY, predicted)
            for text in oracle.texts(CLASSES, proposal)
        ]
        assert listed(proposals, predicted) == expected
    assert listed(proposals, 7) == [("A photo of a vase", False)]
    assert ("A photo of a hot chocolate", True) in listed(proposals, 0)


def test_vocabulary_blocks_no_text(files: Path, drinks: LabelSpace) -> None:
    proposals = proposals_of(drinks, read_vocabulary(files / "vocabulary.csv", drinks))

    assert proposals is not None
    for predicted in range(len(CLASSES)):
        assert proposals.allowed_texts(predicted, np.arange(len(CLASSES), dtype=np.int16)).all()


def expected_oov(image: np.ndarray, predicted: int) -> bool:
    """Return whether the gate holds, and the best proposal is no class."""
    if not gate_holds(neighbors_of(image, len(CLASSES)), predicted, oracle.members(CLASSES)):
        return False
    proposed = oracle.proposals(CLASSES, VOCABULARY, predicted)
    return isinstance(oracle.best(CLASSES, proposed, lambda text: score(image, text)), str)


def test_verdicts_of_a_built_bundle_equal_the_oracle(bundle: Bundle) -> None:
    superclasses, num_oov = oracle.members(CLASSES), 0
    images = HashEncoder().embed_images(bundle.judged_names)
    for row in range(IMAGES):
        labels = bundle.evidence.labels.of(row).tolist()
        for predicted in range(len(CLASSES)):
            is_oov = error_types(bundle.verdict(row, predicted))[0] == ErrorType.FINE_GRAINED_OOV.id
            decided_earlier = any(share_superclass(label, predicted, superclasses) for label in labels)
            expected = not decided_earlier and expected_oov(images[row], predicted)
            assert is_oov == expected, (row, predicted)
            num_oov += expected
    assert 10 < num_oov < 200
    assert ErrorType.FINE_GRAINED_OOV not in bundle.manifest.abstained
    assert "vocabulary" in {source.name for source in bundle.manifest.sources}


def test_evidence_of_a_built_bundle_equals_the_oracle(bundle: Bundle) -> None:
    images = HashEncoder().embed_images(bundle.judged_names)
    predicted = (np.arange(IMAGES) * 3 % len(CLASSES)).astype(np.int16)
    proposals, texts = bundle.proposals, bundle.arrays["text_embeddings"]
    targets = bundle.evidence.effective_targets
    assert proposals is not None

    in_batch = compare_all(images, texts, targets, predicted, bundle.arrays["neighbors"], proposals)

    for row in range(IMAGES):
        arguments = int(targets[row]), int(predicted[row]), bundle.arrays["neighbors"][row : row + 1], proposals
        evidence = compare(bundle.image_embedding(row), texts, *arguments)
        outside = {
            text: isinstance(proposal, str)
            for proposal in oracle.proposals(CLASSES, VOCABULARY, int(predicted[row]))
            for text in oracle.texts(CLASSES, proposal)
        }
        best = sorted(outside, key=lambda text, row=row: -score(images[row], text))[:5]
        assert [(item.text, item.outside) for item in evidence.best] == [(text, outside[text]) for text in best]
        assert evidence.num_texts == len(outside)
        assert [item.text for item in in_batch[row].best] == best
        assert in_batch[row].gate == evidence.gate


def test_bundle_has_the_proposals_and_its_digest_covers_them(bundle: Bundle, files: Path, tmp_path: Path) -> None:
    other = tmp_path / "vocabulary.csv"
    other.write_text((files / "vocabulary.csv").read_text().replace("mug ; cold drinks", "mug"))

    changed = build(tmp_path, files / "classes.csv", len(CLASSES), other)

    assert "proposals.npy" in bundle.manifest.files
    assert verify_evidence(bundle.path) == []
    # the decisions of rule 5 may stay equal, but the texts that the report shows do not
    assert changed.digest != bundle.digest


@pytest.mark.parametrize("content", [b"", b"{}", None])
def test_incomplete_proposals_are_rejected(bundle: Bundle, tmp_path: Path, content: bytes | None) -> None:
    copy_folder(bundle.path, tmp_path / "copy")
    file = tmp_path / "copy" / "proposals.npy"
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)

    with pytest.raises(InvalidEvidence, match=r"proposals\.npy"):
        open_bundle(tmp_path / "copy")


def test_bundle_without_the_array_is_rejected(bundle: Bundle, tmp_path: Path) -> None:
    copy_folder(bundle.path, tmp_path / "copy")
    manifest = json.loads((tmp_path / "copy" / "manifest.json").read_text())
    del manifest["files"]["proposals.npy"]
    (tmp_path / "copy" / "manifest.json").write_text(json.dumps(manifest))

    with pytest.raises(InvalidEvidence, match="the array proposals is missing"):
        open_bundle(tmp_path / "copy")


def test_changed_proposals_are_damaged(bundle: Bundle, tmp_path: Path) -> None:
    copy_folder(bundle.path, tmp_path / "copy")
    file = tmp_path / "copy" / "proposals.npy"
    file.write_bytes(file.read_bytes().replace(b"turkish", b"turkiss"))

    with pytest.raises(EvidenceDamaged, match=r"proposals\.npy"):
        _ = open_bundle(tmp_path / "copy").proposals


def copy_folder(source: Path, target: Path) -> None:
    target.mkdir()
    for file in source.iterdir():
        (target / file.name).write_bytes(file.read_bytes())


@pytest.mark.parametrize(
    "change",
    [
        {"texts": ["a"]},
        {"texts": [1] * 18},
        {"concepts": [[0]]},
        {"concepts": [[]] * 14},
        {"classes": [0]},
        {"classes": [*range(7), 14]},
        {"near_classes": []},
        {"near_superclasses": {"tea": [-1]}},
        {"near_superclasses": {"milk": [1]}},
        {"blocked": [[True]] * 8},
    ],
)
def test_invalid_content_is_rejected(bundle: Bundle, change: dict[str, object]) -> None:
    raw = json.loads(bundle.arrays["proposals"].tobytes())
    num_texts = len(raw["texts"])
    proposals_from_json(json.dumps(raw).encode(), bundle.label_space, num_texts)

    with pytest.raises(ValueError, match=r".+"):
        proposals_from_json(json.dumps(raw | change).encode(), bundle.label_space, num_texts)


def test_order_of_superclasses_does_not_matter(files: Path, drinks: LabelSpace) -> None:
    order = np.arange(len(drinks.superclasses.ids))[::-1]
    members = np.array([drinks.superclasses.mask(drinks.superclasses.ids[number]) for number in order])
    ids = [drinks.superclasses.ids[number] for number in order]
    other = replace(drinks, superclasses=Superclasses.from_members(ids, members))
    built = proposals_of(other, read_vocabulary(files / "vocabulary.csv", other))
    assert built is not None

    stored = proposals_from_json(proposals_to_json(built), drinks, len(built.texts))

    expected = proposals_of(drinks, read_vocabulary(files / "vocabulary.csv", drinks))
    assert expected is not None
    assert other.superclasses.ids != drinks.superclasses.ids
    assert [listed(stored, class_) for class_ in range(8)] == [listed(expected, class_) for class_ in range(8)]


def test_without_vocabulary_and_synsets_an_encoder_is_refused(files: Path, tmp_path: Path, drinks: LabelSpace) -> None:
    assert proposals_of(drinks, None) is None

    with pytest.raises(InvalidEvidence, match=r"--encoder needs texts .* column synset .* --vocabulary") as error:
        build(tmp_path, files / "classes.csv", len(CLASSES))

    assert error.value.violations[0].field == "vocabulary"
    assert not (tmp_path / "cache").exists()  # no image was embedded in vain


# synsets


def write_synsets(path: Path, names: list[str]) -> Path:
    rows = [
        {"name": name, "synset": SYNSETS[name], "superclasses": "predators" if name in PREDATORS else ""}
        for name in names
    ]
    return write_classes(path, rows)


def oracle_with_classes(wordnet_folder: Path, names: list[str]) -> wordnet_oracle.Taxonomy:
    """Return WordNet with a synset of each class. A class without one gets a synset that no other synset knows."""
    taxonomy = oracle.read_wordnet(wordnet_folder / "data.noun")
    for index, name in enumerate(names):
        synset = int(SYNSETS[name][1:]) if SYNSETS[name] else -1 - index
        taxonomy.synset_of_class[index] = synset
        taxonomy.lemmas.setdefault(synset, [name])
    return taxonomy


@pytest.mark.slow
def test_proposals_from_synsets_equal_the_oracle(
    wordnet_in_environment: None, wordnet_folder: Path, tmp_path: Path
) -> None:
    names = list(SYNSETS)
    proposals = proposals_of(read_classes(write_synsets(tmp_path / "classes.csv", names), "mine"))
    taxonomy = oracle_with_classes(wordnet_folder, names)
    superclasses = [{names.index(name) for name in PREDATORS}]

    assert proposals is not None
    for predicted in range(len(names)):
        for target in range(len(names)):
            expected = [
                (text, wordnet_oracle.outside_imagenet(taxonomy, synset))
                for synset, text in wordnet_oracle.texts(
                    taxonomy, wordnet_oracle.proposals(taxonomy, superclasses, target, predicted)
                )
            ]
            allowed = proposals.allowed_texts(predicted, np.array([target], dtype=np.int16))[0]
            result = [
                item for item, is_allowed in zip(listed(proposals, predicted), allowed, strict=True) if is_allowed
            ]
            assert result == expected, (names[predicted], names[target])
    assert ("A photo of a badger", False) in listed(proposals, 0)
    assert ("A photo of a sea otter", True) not in listed(proposals, 5)  # nothing is near a class without a synset
    assert ("A photo of a waldtier", False) in listed(proposals, 0)
    assert any(outside for _, outside in listed(proposals, 6))  # the instance has the siblings of its hypernym


@pytest.mark.slow
def test_first_label_blocks_proposals_if_the_target_is_rejected(
    wordnet_in_environment: None, wordnet_folder: Path, tmp_path: Path
) -> None:
    names = list(SYNSETS)
    built = build(tmp_path, write_synsets(tmp_path / "classes.csv", names), len(names), rejects_targets=True)
    taxonomy, superclasses = oracle_with_classes(wordnet_folder, names), [{names.index(name) for name in PREDATORS}]
    images, num_blocked_by_target = HashEncoder().embed_images(built.judged_names), 0

    def is_outside(row: int, blocking: int, predicted: int) -> bool:
        proposed = wordnet_oracle.proposals(taxonomy, superclasses, blocking, predicted)
        best = wordnet_oracle.best(taxonomy, proposed, lambda text: score(images[row], text))
        return wordnet_oracle.outside_imagenet(taxonomy, best)

    for row in range(IMAGES):
        target, label = int(built.evidence.targets[row]), int(built.evidence.effective_targets[row])
        neighbors = neighbors_of(images[row], len(names))
        for predicted in range(len(names)):
            is_oov = error_types(built.verdict(row, predicted))[0] == ErrorType.FINE_GRAINED_OOV.id
            decided_earlier = share_superclass(label, predicted, superclasses)
            if decided_earlier or not gate_holds(neighbors, predicted, superclasses):
                assert not is_oov, (row, predicted)
                continue
            assert is_oov == is_outside(row, label, predicted), (row, predicted)
            num_blocked_by_target += is_oov != is_outside(row, target, predicted)
    assert num_blocked_by_target > 0, "the test would prove nothing"


@pytest.mark.slow
def test_bundle_with_synsets_is_served_without_wordnet(
    wordnet_in_environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = list(SYNSETS)
    built = build(tmp_path, write_synsets(tmp_path / "classes.csv", names), len(names))
    expected = proposals_of(built.label_space)
    monkeypatch.setenv("WNSEARCHDIR", str(tmp_path / "nothing"))
    monkeypatch.setitem(sys.modules, "nltk", None)

    served = open_bundle(built.path).proposals

    assert expected is not None
    assert served is not None
    assert proposals_to_json(served) == proposals_to_json(expected)
    assert served.texts == expected.texts
    assert any(error_types(built.verdicts.reshape(-1)) == ErrorType.FINE_GRAINED_OOV.id)


@pytest.mark.processes
def test_serving_code_does_not_import_nltk() -> None:
    code = "import sys, service.evidence.bundle, service.evidence.recipes; sys.exit('nltk' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_synsets_around_imagenet_need_no_wordnet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WNSEARCHDIR", str(tmp_path / "nothing"))
    everything = imagenet_1k()
    rows = [{"name": everything.names[index], "synset": everything.synsets[index]} for index in (0, 361, 985)]
    space = read_classes(write_classes(tmp_path / "classes.csv", rows), "mine")

    proposals = proposals_of(space)

    assert proposals is not None
    assert listed(proposals, 0)[0] == ("A photo of a tench", False)
    assert any(outside for _, outside in listed(proposals, 0))


def test_missing_wordnet_is_an_error_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from service.taxonomy import nltk_wordnet

    space = read_classes(write_synsets(tmp_path / "classes.csv", list(SYNSETS)), "mine")
    monkeypatch.delenv("WNSEARCHDIR", raising=False)
    monkeypatch.setattr(nltk_wordnet, "DEBIAN_FOLDER", tmp_path)
    monkeypatch.setattr("nltk.data.path", [])

    with pytest.raises(InvalidEvidence, match=r"WordNet 3\.0 was not found\. Install the Debian packages wordnet-base"):
        proposals_of(space)
    monkeypatch.setenv("WNSEARCHDIR", str(tmp_path))
    with pytest.raises(InvalidEvidence, match=r"WNSEARCHDIR names .* no file data\.noun"):
        proposals_of(space)


@pytest.mark.slow
def test_unknown_synsets_are_listed(wordnet_in_environment: None, drinks: LabelSpace) -> None:
    synsets = ("n00000001", "n02447762", "n99999999", *[""] * 5)

    with pytest.raises(InvalidEvidence, match=r"class 0 \('espresso'\): WordNet 3\.0 has no synset n00000001") as error:
        proposals_of(replace(drinks, synsets=synsets))

    assert [violation.field for violation in error.value.violations] == ["synset", "synset"]


def test_vocabulary_with_synsets_is_rejected(files: Path, drinks: LabelSpace) -> None:
    vocabulary = read_vocabulary(files / "vocabulary.csv", drinks)

    for space in (imagenet_1k(), replace(drinks, synsets=("n02447366", *[""] * 7))):
        with pytest.raises(InvalidEvidence, match="have synsets"):
            proposals_of(space, vocabulary)
