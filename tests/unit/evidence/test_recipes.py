"""Recipes: the evidence of each data set, missing inputs, and abstentions."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from errata.errors import InvalidEvidence
from oracle import cooccurrence as oracle
from unit.evidence.encoders import Describing
from unit.evidence.files import write
from unit.evidence.official import Row, wordnet_id, write_artefacts, write_json, write_mistakes

from service.bootstrap.build import Inputs, build_evidence, verify_evidence
from service.domain import ErrorType, LabelSource
from service.evidence.bundle import Bundle
from service.evidence.labels import annotated_images, original_labels, validation_name
from service.evidence.recipes import gather
from service.evidence.repository import EvidenceRepository
from service.taxonomy.superclasses import default_grouping

HASH = "service.evidence.encoder:HashEncoder"
NUMBERS = (5, 1, 64, 2, 50_000)
DOGS = {"dogs": [["dog"]], "more dogs": [["hunting_dog"], ["working_dog"]]}


def target(number: int) -> int:
    return int(original_labels()[number - 1])


def row(number: int) -> Row:
    return Row(validation_name(number), target(number), [target(number), 7], [8], problematic=number == 64)


def validation_samples(numbers: tuple[int, ...]) -> list[tuple[str, int]]:
    return sorted((f"{wordnet_id(target(number))}/{validation_name(number)}", target(number)) for number in numbers)


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    """All inputs of the data set imagenet, for five images."""
    samples = validation_samples(NUMBERS)
    neighbors = np.random.default_rng(0).integers(0, 1000, (len(samples), 50))
    return Inputs(
        annotations=write_json(tmp_path / "annotation.json", [row(number) for number in NUMBERS]),
        mistakes=write_mistakes(tmp_path / "mistakes", [validation_name(1), validation_name(3)]),
        artefacts=write_artefacts(tmp_path / "artefacts", "imagenet", samples, neighbors, DOGS),
        encoder=HASH,
        cache=tmp_path / "cache",
    )


def build(dataset: str, inputs: Inputs, tmp_path: Path) -> Bundle:
    return build_evidence(dataset, inputs, tmp_path / "bundle")


# imagenet


def test_imagenet_with_all_inputs_has_no_abstentions(inputs: Inputs, tmp_path: Path) -> None:
    bundle = build("imagenet", inputs, tmp_path)

    assert bundle.manifest.abstained == ()
    assert bundle.manifest.superclasses == ("dogs", "more dogs")
    assert bundle.judged_names == [validation_name(number) for number in sorted(NUMBERS)]
    assert bundle.evidence.targets.tolist() == [target(number) for number in sorted(NUMBERS)]
    assert bundle.evidence.problematic.tolist() == [False, False, False, True, False]
    assert bundle.evidence.non_prototypical is not None
    assert bundle.evidence.non_prototypical.tolist() == [True, False, False, False, False]  # 3 isn't annotated
    assert len(bundle.arrays["names"]) == 50_000
    named = {source.name for source in bundle.manifest.sources}
    assert {"multi-label annotation", "superclasses.json", "samples_info.npz", "valid_clip_knn.npz"} <= named
    assert {"CLIP encoder", "non-prototypical images"} <= named


def test_manifest_describes_the_model_of_the_encoder(inputs: Inputs, tmp_path: Path) -> None:
    name = "unit.evidence.encoders:Describing"

    manifest = build("imagenet", replace(inputs, encoder=name), tmp_path).manifest

    assert manifest.encoder == Describing.INFO
    (source,) = [source for source in manifest.sources if source.name == "CLIP encoder"]
    assert source.origin == f"{name}, hash-32, weights seeds, activation gelu, hashlib 1"
    assert source.sha256 == Describing.INFO.weights_sha256


def test_encoder_without_a_description_is_accepted(inputs: Inputs, tmp_path: Path) -> None:
    assert build("imagenet", inputs, tmp_path).manifest.encoder is None


def test_neighbors_and_embeddings_match_their_images(inputs: Inputs, tmp_path: Path) -> None:
    bundle = build("imagenet", inputs, tmp_path)

    samples = [name for name, _ in validation_samples(NUMBERS)]
    neighbors = np.random.default_rng(0).integers(0, 1000, (5, 50))
    from service.evidence.encoder import HashEncoder

    for place, number in enumerate(sorted(NUMBERS)):
        path = f"{wordnet_id(target(number))}/{validation_name(number)}"
        assert bundle.arrays["neighbors"][place].tolist() == neighbors[samples.index(path), :10].tolist()
        assert np.array_equal(bundle.arrays["image_embeddings"][place], HashEncoder().embed_images([path])[0])


ABSTAINS = {
    "mistakes": ErrorType.NON_PROTOTYPICAL,
    "encoder": ErrorType.FINE_GRAINED_OOV,
}


@pytest.mark.parametrize("part", ABSTAINS)
def test_missing_input_makes_its_rule_abstain(inputs: Inputs, tmp_path: Path, part: str) -> None:
    bundle = build("imagenet", replace(inputs, **{part: "" if part == "encoder" else None}), tmp_path)

    assert bundle.manifest.abstained == (ABSTAINS[part],)
    types = bundle.verdicts[~bundle.evidence.problematic] & 0x0F
    assert ABSTAINS[part] not in np.unique(types)


def test_encoder_without_neighbors_is_refused(inputs: Inputs, own: Inputs, tmp_path: Path) -> None:
    (tmp_path / "artefacts" / "imagenet" / "valid_clip_knn.npz").unlink()

    for dataset, incomplete in (("imagenet", inputs), ("mine", replace(own, encoder="no.such:Thing"))):
        with pytest.raises(InvalidEvidence, match=r"Add --train-images DIR, or --artefacts DIR") as error:
            gather(dataset, incomplete)
        assert error.value.violations[0].field == "train_images"


@pytest.mark.parametrize("option", ["images", "train_images"])
def test_images_without_an_encoder_are_refused(own: Inputs, tmp_path: Path, option: str) -> None:
    with pytest.raises(InvalidEvidence, match=r"has no effect without an encoder\. Add --encoder") as error:
        gather("mine", replace(own, **{option: tmp_path}))

    assert error.value.violations[0].field == option


def test_images_of_a_built_in_data_set_with_other_labels_are_refused_without_an_encoder(tmp_path: Path) -> None:
    folder = made_folder(tmp_path / "images")
    labels = write(tmp_path / "labels.csv", "file_name,labels\na.jpg,150\n")
    artefacts = write_artefacts(tmp_path / "artefacts", "imagenet-a", A_SAMPLES)

    for inputs in (Inputs(labels=labels), Inputs(artefacts=artefacts)):
        assert len(gather("imagenet-a", inputs).labels.names)
        with pytest.raises(InvalidEvidence, match=r"--images has no effect without an encoder") as error:
            gather("imagenet-a", replace(inputs, images=folder))
        assert error.value.violations[0].field == "images"


@pytest.mark.parametrize("option", ["images", "train_images"])
def test_folders_of_images_are_checked_before_images_are_embedded(own: Inputs, tmp_path: Path, option: str) -> None:
    name = tmp_path / "train" / wordnet_id(2)
    name.mkdir(parents=True)
    for number in range(10):
        (name / f"{number}.jpg").touch()
    folders = {"train_images": tmp_path / "train"} | {option: tmp_path / "nowhere"}

    with pytest.raises(InvalidEvidence, match="nowhere") as error:
        gather("mine", replace(own, encoder=HASH, **folders))

    assert error.value.violations[0].field == option
    assert not (tmp_path / "cache").exists()


def test_input_that_cannot_be_read_is_not_reported_as_the_output(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gather_nothing(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "metadata.json")

    monkeypatch.setattr("service.bootstrap.build.gather", gather_nothing)

    with pytest.raises(InvalidEvidence, match=r"Cannot read metadata\.json: Permission denied"):
        build("imagenet", inputs, tmp_path)


def test_annotation_is_the_only_required_input(inputs: Inputs, tmp_path: Path) -> None:
    bundle = build("imagenet", Inputs(annotations=inputs.annotations), tmp_path)

    assert bundle.manifest.abstained == (ErrorType.FINE_GRAINED_OOV, ErrorType.NON_PROTOTYPICAL)
    assert bundle.manifest.superclasses == default_grouping().ids


@pytest.mark.slow
def test_neighbors_without_sample_order_are_sorted_by_path(inputs: Inputs, tmp_path: Path) -> None:
    folder = tmp_path / "all"
    neighbors = np.tile(np.arange(50_000)[:, None] % 1000, (1, 10))
    write_artefacts(folder, "imagenet", neighbors=neighbors, superclasses=DOGS)
    paths = sorted(f"{wordnet_id(target(index))}/{validation_name(index)}" for index in range(1, 50_001))

    facts = gather("imagenet", replace(inputs, artefacts=folder))

    assert facts.clip is not None
    for place, number in enumerate(sorted(NUMBERS)):
        at = paths.index(f"{wordnet_id(target(number))}/{validation_name(number)}")
        assert facts.clip.neighbors[place].tolist() == [at % 1000] * 10


def test_neighbors_without_sample_order_need_one_row_per_image(inputs: Inputs, tmp_path: Path) -> None:
    (tmp_path / "artefacts" / "imagenet" / "samples_info.npz").unlink()

    with pytest.raises(InvalidEvidence, match=r"valid_clip_knn\.npz: 5 rows, but 50000 images"):
        gather("imagenet", inputs)


def test_artefacts_of_another_data_set_are_rejected(inputs: Inputs, tmp_path: Path) -> None:
    other = [(f"{wordnet_id(index)}/0.0001_{index}.jpg", index) for index in range(5)]
    write_artefacts(tmp_path / "artefacts", "imagenet", other)

    with pytest.raises(InvalidEvidence, match=r"samples_info\.npz"):
        gather("imagenet", inputs)


def test_sample_order_without_an_image_is_rejected_by_name(inputs: Inputs, tmp_path: Path) -> None:
    rest = validation_samples(NUMBERS[1:])
    write_artefacts(tmp_path / "artefacts", "imagenet", rest, np.zeros((len(rest), 10), dtype=int))

    with pytest.raises(InvalidEvidence, match=validation_name(NUMBERS[0])):
        gather("imagenet", inputs)


def test_imagenet_without_an_annotation_is_rejected() -> None:
    with pytest.raises(InvalidEvidence, match="annotation") as error:
        gather("imagenet")

    assert error.value.violations[0].field == "annotations"


@pytest.mark.slow
def test_imagenet_m_samples_come_from_the_annotation(inputs: Inputs, tmp_path: Path) -> None:
    rows = [row(number) for number in NUMBERS]
    named = write_json(tmp_path / "m.json", rows, imagenet_m={validation_name(2): {}, validation_name(5): {}})

    with_m = build("imagenet", replace(inputs, annotations=named), tmp_path)
    without = gather("imagenet", inputs)

    assert with_m.imagenet_m is not None
    assert with_m.imagenet_m.tolist() == [False, True, True, False, False]
    assert without.imagenet_m is None


# superclasses


def test_superclasses_file_precedes_artefacts_and_default(inputs: Inputs, tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text('{"birds": [["bird"]]}\n')
    plain = replace(inputs, encoder="")

    assert gather("imagenet", replace(plain, superclasses=tmp_path / "mine.json")).label_space.superclasses.ids == (
        "birds",
    )
    assert gather("imagenet", plain).label_space.superclasses.ids == tuple(DOGS)
    (tmp_path / "artefacts" / "superclasses.json").unlink()
    assert gather("imagenet", plain).label_space.superclasses.ids == default_grouping().ids


def test_manifest_names_the_source_of_the_superclasses(inputs: Inputs, tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text('{"birds": [["bird"]]}\n')

    custom = gather("imagenet", replace(inputs, encoder="", superclasses=tmp_path / "mine.json"))
    fallen_back = gather("imagenet", Inputs(annotations=inputs.annotations))

    def origins(facts: object) -> list[str]:
        return [source.origin for source in facts.sources if source.name == "superclasses"]

    assert len(origins(custom)) == 1 and "mine.json" in origins(custom)[0]
    assert len(origins(fallen_back)) == 1 and "default" in origins(fallen_back)[0]
    # a file that was read but not used isn't a source
    assert "superclasses.json" not in [source.name for source in custom.sources]


# co-occurrence


def test_annotated_images_do_not_count_for_co_occurrence(inputs: Inputs, label_sets: dict[str, set[int]]) -> None:
    several = [name for name, labels in label_sets.items() if len(labels) > 1][:40]
    rows = [Row(name, target(int(name[15:23])), [target(int(name[15:23]))]) for name in several]
    assert inputs.annotations is not None
    annotations = write_json(inputs.annotations.parent / "several.json", rows)
    own = write_json(inputs.annotations.parent / "own.json", [])

    for annotation, counted in ((annotations, {*label_sets} - {*several}), (own, {*label_sets})):
        pairs = gather("imagenet", Inputs(annotations=annotation)).pairs
        assert pairs is not None
        result = dict(zip(map(tuple, pairs.classes.tolist()), pairs.counts.tolist(), strict=True))
        assert result == oracle.count_pairs(label_sets[name] for name in counted)


@pytest.mark.parametrize("form", ["{}.JPEG", "val/n01440764/{}.JPEG", "{}"])
def test_own_labels_of_imagenet_classes_have_their_own_pairs(inputs: Inputs, tmp_path: Path, form: str) -> None:
    """Images with the names of validation images have no other pairs either."""
    stems = [form.format(validation_name(number).removesuffix(".JPEG")) for number in (1, 2, 3)]
    rows = f"{stems[0]},0;817\n{stems[1]},0;817\n{stems[2]},0\n"
    labels = write(tmp_path / "labels.csv", f"file_name,labels\n{rows}")

    bundle = build_evidence("street", Inputs(labels=labels, annotations=inputs.annotations), tmp_path / "bundle")

    assert bundle.manifest.counts["co_occurrence_pairs"] == 1
    assert int(bundle.verdicts[bundle.row(stems[2]), 817]) == ErrorType.SPURIOUS_CORRELATION.id
    assert "multi-label annotation" not in [source.name for source in bundle.manifest.sources]


@pytest.mark.parametrize("is_annotated", [False, True])
def test_judged_validation_images_do_not_count_for_co_occurrence(
    inputs: Inputs, tmp_path: Path, label_sets: dict[str, set[int]], is_annotated: bool
) -> None:
    several = [int(name[15:23]) for name, labels in label_sets.items() if len(labels) > 1]
    judged = [number for number in several if not annotated_images()[number - 1]][:40]
    artefacts = write_artefacts(tmp_path / "artefacts", "imagenet-sketch", validation_samples(tuple(judged)))

    annotations = inputs.annotations if is_annotated else None
    facts = gather("imagenet-sketch", Inputs(artefacts=artefacts, annotations=annotations))

    annotated = NUMBERS if is_annotated else (np.flatnonzero(annotated_images()) + 1).tolist()
    uncounted = {validation_name(number) for number in (*judged, *annotated)}
    assert facts.pairs is not None
    counts = dict(zip(map(tuple, facts.pairs.classes.tolist()), facts.pairs.counts.tolist(), strict=True))
    assert counts == oracle.count_pairs(label_sets[name] for name in {*label_sets} - uncounted)
    (source,) = [source for source in facts.sources if source.name == "co-occurrence"]
    assert source.origin.endswith("neither in the multi-label annotation nor in the data set")


def test_the_rule_abstains_if_no_other_validation_image_is_left(
    tmp_path: Path, label_sets: dict[str, set[int]]
) -> None:
    samples = validation_samples(tuple(int(name[15:23]) for name in label_sets))
    artefacts = write_artefacts(tmp_path / "artefacts", "imagenet-sketch", samples)

    assert gather("imagenet-sketch", Inputs(artefacts=artefacts)).pairs is None


# imagenet-a

A_SAMPLES = [(f"{wordnet_id(item)}/{name}", item) for item in (150, 6, 988) for name in ("b.jpg", "a.jpg")]


def made_folder(folder: Path) -> Path:
    for name, _ in A_SAMPLES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def test_imagenet_a_from_samples_equals_imagenet_a_from_folders(tmp_path: Path) -> None:
    artefacts = write_artefacts(tmp_path / "artefacts", "imagenet-a", A_SAMPLES)

    from_samples = build_evidence("imagenet-a", Inputs(artefacts=artefacts), tmp_path / "one")
    from_folder = build_evidence("imagenet-a", Inputs(images=made_folder(tmp_path / "images")), tmp_path / "two")

    assert from_samples.digest == from_folder.digest
    assert from_samples.judged_names == sorted(name for name, _ in A_SAMPLES)  # bare names repeat
    assert not from_samples.evidence.problematic.any()
    for place, name in enumerate(from_samples.judged_names):
        own = dict(A_SAMPLES)[name]
        assert from_samples.evidence.labels.of(place).tolist() == [own]  # M = {t}
        assert from_samples.evidence.labels.sources_of(place) == [LabelSource.ORIGINAL]
    assert from_samples.classes.sum() == 200  # of the data set, also of its other images


def test_neighbors_of_imagenet_a_match_their_samples(tmp_path: Path) -> None:
    neighbors = np.arange(60).reshape(6, 10)
    artefacts = write_artefacts(tmp_path / "artefacts", "imagenet-a", A_SAMPLES, neighbors)

    facts = gather("imagenet-a", Inputs(artefacts=artefacts, encoder=HASH, cache=tmp_path / "cache"))

    assert facts.clip is not None
    of_name = {name: row for (name, _), row in zip(A_SAMPLES, neighbors.tolist(), strict=True)}
    for name, row_neighbors in zip(facts.labels.names.tolist(), facts.clip.neighbors.tolist(), strict=True):
        assert row_neighbors == of_name[name.decode()]


def test_annotation_affects_only_the_co_occurrence_of_imagenet_a(inputs: Inputs, tmp_path: Path) -> None:
    artefacts = write_artefacts(tmp_path / "a", "imagenet-a", A_SAMPLES)
    assert inputs.annotations is not None

    facts = gather("imagenet-a", Inputs(artefacts=artefacts, annotations=inputs.annotations))
    imagenet = gather("imagenet", Inputs(annotations=inputs.annotations))
    without = gather("imagenet-a", Inputs(artefacts=artefacts))

    assert len(facts.labels.names) == 6
    assert facts.pairs is not None and imagenet.pairs is not None and without.pairs is not None
    assert np.array_equal(facts.pairs.counts, imagenet.pairs.counts)
    assert facts.pairs.counts.sum() > without.pairs.counts.sum()  # five images instead of the official 20,000
    assert facts.imagenet_m is None


def test_imagenet_a_without_annotation_counts_the_pairs_of_the_official_one(tmp_path: Path) -> None:
    artefacts = write_artefacts(tmp_path / "a", "imagenet-a", A_SAMPLES)

    pairs = gather("imagenet-a", Inputs(artefacts=artefacts)).pairs

    assert pairs is not None
    assert len(pairs.counts) == 5_456  # spec: "Co-occurrence pairs"
    assert (pairs.counts >= 2).sum() == 1_659


# imagenet-real


def test_imagenet_real_finds_the_artefacts_of_imagenet(tmp_path: Path) -> None:
    artefacts = write_artefacts(
        tmp_path / "artefacts", "imagenet", validation_samples(NUMBERS), np.zeros((len(NUMBERS), 10), dtype=int), DOGS
    )

    facts = gather("imagenet-real", Inputs(artefacts=artefacts))

    assert facts.label_space.superclasses.ids == tuple(DOGS)
    assert "samples_info.npz" in [source.name for source in facts.sources]
    with pytest.raises(InvalidEvidence, match=r"samples_info.npz: image .* is missing"):  # five images only
        gather("imagenet-real", Inputs(artefacts=artefacts, encoder=HASH, cache=tmp_path / "cache"))


def test_imagenet_a_uses_the_list_of_mistakes(tmp_path: Path) -> None:
    artefacts = write_artefacts(tmp_path / "a", "imagenet-a", A_SAMPLES)
    mistakes = write_mistakes(tmp_path / "mistakes", ["ILSVRC2012_val_00000001.JPEG"])

    with_list = build_evidence("imagenet-a", Inputs(artefacts=artefacts, mistakes=mistakes), tmp_path / "one")
    without = build_evidence("imagenet-a", Inputs(artefacts=artefacts), tmp_path / "two")

    assert with_list.manifest.abstained == (ErrorType.FINE_GRAINED_OOV,)
    assert without.manifest.abstained == (ErrorType.FINE_GRAINED_OOV, ErrorType.NON_PROTOTYPICAL)


def test_imagenet_a_without_samples_is_rejected() -> None:
    with pytest.raises(InvalidEvidence, match=r"samples_info"):
        gather("imagenet-a")


# a data set of one's own


@pytest.fixture
def own(tmp_path: Path) -> Inputs:
    (tmp_path / "labels.csv").write_text("file_name,labels\nb.jpg,3 5\na.jpg,999\nn01440764/c.jpg,0\n")
    return Inputs(labels=tmp_path / "labels.csv", cache=tmp_path / "cache")


def test_custom_data_set_uses_the_same_rules(own: Inputs, tmp_path: Path) -> None:
    bundle = build("mine", own, tmp_path)

    assert bundle.dataset == "mine"
    assert bundle.judged_names == ["a.jpg", "b.jpg", "n01440764/c.jpg"]
    assert [bundle.evidence.labels.of(place).tolist() for place in range(3)] == [[999], [3, 5], [0]]
    assert [int(bundle.verdicts[1, predicted]) for predicted in (3, 5)] == [1, 3]
    assert bundle.manifest.abstained == (
        ErrorType.FINE_GRAINED_OOV,
        ErrorType.SPURIOUS_CORRELATION,  # no pair of labels is in two images
        ErrorType.NON_PROTOTYPICAL,
    )


def test_neighbors_can_come_from_training_images(own: Inputs, tmp_path: Path) -> None:
    from service.evidence.encoder import HashEncoder

    names = [f"{wordnet_id(item)}/t{number}.jpg" for item in (2, 700) for number in range(9)]
    for name in names:
        (tmp_path / "train" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "train" / name).write_bytes(name.encode())

    facts = gather("mine", replace(own, encoder=HASH, train_images=tmp_path / "train"))

    assert facts.clip is not None
    train = HashEncoder().embed_images(names).astype(float)
    paths = [f"{wordnet_id(999)}/a.jpg", f"{wordnet_id(3)}/b.jpg", "n01440764/c.jpg"]
    for image, row_neighbors in zip(HashEncoder().embed_images(paths).astype(float), facts.clip.neighbors, strict=True):
        nearest = sorted(range(18), key=lambda number, image=image: -float(image @ train[number]))[:10]
        assert row_neighbors.tolist() == [2 if number < 9 else 700 for number in nearest]


def test_nine_training_images_are_too_few(own: Inputs, tmp_path: Path) -> None:
    for number in range(9):
        path = tmp_path / "train" / wordnet_id(2) / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    with pytest.raises(InvalidEvidence, match=r"Only 9 training images\. Pass at least 10"):
        gather("mine", replace(own, encoder=HASH, train_images=tmp_path / "train"))


@pytest.mark.parametrize("name", ["", "Mine", "../mine", "a/b", ".hidden", "a" * 65, "mine\n", "-x"])
def test_invalid_data_set_name_is_rejected(own: Inputs, name: str) -> None:
    with pytest.raises(InvalidEvidence) as error:
        gather(name, own)

    assert error.value.violations[0].field == "dataset"


def test_custom_data_set_requires_labels_and_built_in_data_sets_reject_them(own: Inputs) -> None:
    with pytest.raises(InvalidEvidence, match="--labels"):
        gather("mine")
    with pytest.raises(InvalidEvidence, match="built-in labels"):
        gather("imagenet-real", own)


def test_classes_without_labels_are_refused(tmp_path: Path) -> None:
    (tmp_path / "classes.csv").write_text(OWN_CLASSES)

    with pytest.raises(InvalidEvidence, match=r"'mine' has classes, but no labels\. Add --labels FILE"):
        gather("mine", Inputs(classes=tmp_path / "classes.csv"))


# own label spaces

OWN_CLASSES = """id,name,superclasses,groups,synset
sku-1,cup,dishes,kitchen,
sku-2,water bottle,,kitchen,
sku-3,saucer,dishes,,
sku-4,spoon,,,
"""
OWN_LABELS = """file_name,target,labels,problematic
a.jpg,cup,water bottle,
b.jpg,cup,cup;spoon,
c.jpg,cup,cup;spoon,
d.jpg,cup,cup;saucer,
e.jpg,cup,cup;saucer,
f.jpg,spoon,water bottle;spoon,
g.jpg,spoon,water bottle;spoon,blurred
h.jpg,spoon,,no label
"""


@pytest.fixture
def products(tmp_path: Path) -> Inputs:
    return Inputs(
        classes=write(tmp_path / "classes.csv", OWN_CLASSES),
        labels=write(tmp_path / "labels.csv", OWN_LABELS),
        cache=tmp_path / "cache",
    )


def pairs_of(facts: object) -> dict[tuple[int, int], tuple[int, list[str]]]:
    """Return the number of images and the names of the examples of each pair."""
    pairs = facts.pairs
    assert pairs is not None and pairs.names is not None
    names = [name.decode() for name in pairs.names.tolist()]
    return {
        tuple(pair): (count, [names[number - 1] for number in examples if number])
        for pair, count, examples in zip(
            pairs.classes.tolist(), pairs.counts.tolist(), pairs.examples.tolist(), strict=True
        )
    }


def test_own_label_space_is_built_and_opened(products: Inputs, tmp_path: Path) -> None:
    bundle = build("products", products, tmp_path)

    assert bundle.manifest.label_space == bundle.label_space.name == "products"
    assert bundle.label_space.names == ("cup", "water bottle", "saucer", "spoon")
    assert bundle.manifest.counts == {
        "images": 8,
        "judged": 8,
        "problematic": 2,
        "rejected_targets": 1,
        "classes": 4,
        "superclasses": 1,
        "co_occurrence_pairs": 1,
    }
    assert verify_evidence(bundle.path) == []
    assert bundle.evidence.effective_targets.tolist() == [1, 0, 0, 0, 0, 3, 3, 3]
    verdicts = {  # of the prediction of each class for an image: the numbers of the rules
        "a.jpg": [8, 3, 8, 8],  # the target cup is rejected: a prediction of it is an error
        "b.jpg": [1, 8, 4, 3],
        "d.jpg": [1, 8, 3, 6],  # cup and spoon occur together in b.jpg and c.jpg
    }
    for name, expected in verdicts.items():
        row = bundle.row(name)
        assert [int(bundle.verdict(row, predicted)[0]) & 0x0F for predicted in range(4)] == expected, name
    assert bundle.manifest.abstained == (ErrorType.FINE_GRAINED_OOV, ErrorType.NON_PROTOTYPICAL)


def test_sources_are_the_files_with_their_digests(products: Inputs, tmp_path: Path) -> None:
    inputs = replace(
        products,
        overlaps=write(tmp_path / "overlaps.csv", "class,also_correct\n0,2\n"),
        superclasses=write(tmp_path / "superclasses.csv", "class,superclasses\nspoon,dishes\n"),
        groups=write(tmp_path / "groups.csv", "class,groups\nspoon,cutlery\n"),
        cooccurrence=write(tmp_path / "training.csv", "file_name,labels\nx,0;1\ny,0;1\n"),
    )

    facts = gather("products", inputs)

    digests = {source.origin.removeprefix("local file "): source.sha256 for source in facts.sources}
    files = ("classes", "labels", "overlaps", "superclasses", "groups", "training")
    assert digests == {
        f"{name}.csv": hashlib.sha256((tmp_path / f"{name}.csv").read_bytes()).hexdigest() for name in files
    }
    assert facts.label_space.overlaps.as_array().tolist() == [[0, 2]]
    assert facts.label_space.superclasses.names_of(3) == ("dishes",)
    assert facts.label_space.groups == ("kitchen", "cutlery")


def test_pairs_are_counted_in_the_labels_of_the_data_set(products: Inputs) -> None:
    facts = gather("products", products)

    assert pairs_of(facts) == {(0, 2): (2, ["d.jpg", "e.jpg"]), (0, 3): (2, ["b.jpg", "c.jpg"])}, "g.jpg adds no pair"
    assert facts.min_cooccurrence == 2


def test_minimum_of_one_image_keeps_all_pairs(products: Inputs, tmp_path: Path) -> None:
    facts = gather("products", replace(products, min_cooccurrence=1))

    assert pairs_of(facts)[1, 3] == (1, ["f.jpg"])
    assert gather("products", replace(products, min_cooccurrence=3)).pairs is None
    bundle = build_evidence("products", replace(products, min_cooccurrence=1), tmp_path / "bundle")
    assert bundle.manifest.min_cooccurrence == 1
    assert bundle.manifest.counts["co_occurrence_pairs"] == 2  # cup and saucer share a superclass


def test_rule_abstains_without_frequent_pairs(products: Inputs, tmp_path: Path) -> None:
    labels = write(tmp_path / "single.csv", "file_name,labels\na.jpg,cup\nb.jpg,spoon\nc.jpg,cup;spoon\n")

    bundle = build("products", replace(products, labels=labels), tmp_path)

    assert ErrorType.SPURIOUS_CORRELATION in bundle.manifest.abstained
    assert bundle.pairs is None


def test_pairs_of_a_second_file_replace_those_of_the_data_set(products: Inputs, tmp_path: Path) -> None:
    rows = "a.jpg,2;3,\nh.jpg,2;3,\nx.jpg,2;1,\ny.jpg,1;2,\nz.jpg,2;1,\nv.jpg,0;3,\nw.jpg,0;3,blurred\n"
    training = write(tmp_path / "training.csv", f"file_name,labels,problematic\n{rows}")

    facts = gather("products", replace(products, cooccurrence=training))

    assert pairs_of(facts) == {(1, 2): (3, ["x.jpg", "y.jpg", "z.jpg"])}, "a.jpg and h.jpg are judged"


@pytest.mark.parametrize("form", ["val/{}.jpg", "D:\\val\\{}.jpg", "{}.PNG", "{}", "val/{}.png"])
def test_judged_images_of_a_second_file_are_found_with_folders_and_other_extensions(
    products: Inputs, tmp_path: Path, form: str
) -> None:
    rows = "".join(f"{form.format(name)},2;3\n" for name in "ah")
    training = write(tmp_path / "training.csv", f"file_name,labels\n{rows}x.jpg,2;1\ny.jpg,1;2\n")

    facts = gather("products", replace(products, cooccurrence=training))

    assert pairs_of(facts) == {(1, 2): (2, ["x.jpg", "y.jpg"])}, "a.jpg and h.jpg are judged"


def test_images_of_a_second_file_in_other_folders_count(products: Inputs, tmp_path: Path) -> None:
    labels = write(tmp_path / "labels.csv", "file_name,labels\nkitchen/1.jpg,cup\nkitchen/2.jpg,spoon\n")
    training = write(tmp_path / "training.csv", "file_name,labels\nbath/1.jpg,cup;spoon\nbath/2.jpg,cup;spoon\n")

    facts = gather("products", replace(products, labels=labels, cooccurrence=training))

    assert [names for _, names in pairs_of(facts).values()] == [["bath/1.jpg", "bath/2.jpg"]]


def test_rule_abstains_if_a_second_file_has_judged_images_only(products: Inputs, tmp_path: Path) -> None:
    bundle = build("products", replace(products, cooccurrence=products.labels), tmp_path)

    assert ErrorType.SPURIOUS_CORRELATION in bundle.manifest.abstained
    (source,) = [source for source in bundle.manifest.sources if source.name == "co-occurrence"]
    assert source.origin == "local file labels.csv; all of its images are images of the data set, and ignored"


def test_second_file_can_have_imagenet_classes(own: Inputs, tmp_path: Path) -> None:
    training = write(tmp_path / "training.csv", "file_name,labels\nx,1 20\ny,20 1\nz,1 5\n")

    facts = gather("mine", replace(own, cooccurrence=training))

    assert pairs_of(facts) == {(1, 20): (2, ["x", "y"])}


INVALID: dict[str, tuple[str, dict[str, object], str]] = {
    "annotations": ("products", {"annotations": Path("x")}, "--annotations is about images of ImageNet-1k"),
    "mistakes": ("products", {"mistakes": Path("x")}, "--mistakes is about images of ImageNet-1k"),
    "artefacts": ("products", {"artefacts": Path("x")}, "--artefacts is about images of ImageNet-1k"),
    "overlaps": ("products", {"classes": None, "overlaps": Path("x")}, "Add --classes FILE"),
    "groups": ("products", {"classes": None, "groups": Path("x")}, "Add --classes FILE"),
    "vocabulary": ("products", {"classes": None, "vocabulary": Path("x")}, "Add --classes FILE"),
    "no labels": ("products", {"labels": None}, "--labels FILE"),
    "reserved name": ("imagenet-1k", {}, "reserved"),
    "built-in name": ("imagenet-real", {}, "built-in labels"),
    "built-in classes": ("imagenet-real", {"labels": None}, "Choose another name to use --classes"),
    "built-in pairs": (
        "imagenet-real",
        {"labels": None, "classes": None, "cooccurrence": Path("x")},
        "Choose another name to use --cooccurrence",
    ),
    "built-in minimum": (
        "imagenet-real",
        {"labels": None, "classes": None, "min_cooccurrence": 3},
        "Remove --min-cooccurrence",
    ),
    "minimum": ("products", {"min_cooccurrence": 0}, "at least 1"),
}


@pytest.mark.parametrize("case", INVALID)
def test_inputs_that_make_no_sense_are_refused_with_the_remedy(products: Inputs, case: str) -> None:
    dataset, changes, words = INVALID[case]

    with pytest.raises(InvalidEvidence, match=words):
        gather(dataset, replace(products, **changes))


def test_reference_bundle_of_cifar_100_has_the_published_numbers(reference: Path, tmp_path: Path) -> None:
    folder = reference / "cifar100"

    bundle = build("own-cifar-100", Inputs(classes=folder / "classes.csv", labels=folder / "labels.csv"), tmp_path)

    counts = bundle.manifest.counts
    assert (counts["judged"], counts["problematic"], counts["rejected_targets"]) == (10_000, 247, 318)
    assert (counts["classes"], counts["superclasses"]) == (100, 20)
    assert ErrorType.SPURIOUS_CORRELATION in bundle.manifest.abstained, "no pair of labels occurs in two images"
    repository = EvidenceRepository({"own-cifar-100": [bundle.path]}, tmp_path / "data")
    repository.check()
    assert "own-cifar-100" in repository.datasets()
    served = repository.find("own-cifar-100", bundle.digest[:8])
    assert (served.digest, served.label_space.names) == (bundle.digest, bundle.label_space.names)
