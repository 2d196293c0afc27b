"""Built-in data sets from folders and labels files: their classes, their counts, and the labels of changed images."""

import csv
import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from errata.errors import InvalidEvidence
from missing_tools import skip_or_fail
from oracle import cooccurrence as oracle
from unit.evidence.files import create
from unit.evidence.official import wordnet_id

from service.bootstrap.build import Inputs, build_evidence
from service.domain import ErrorType, LabelSource
from service.evidence import labels
from service.evidence.built_in import BUILT_IN, cifar_100, find_built_in, known_classes
from service.evidence.recipes import gather
from service.rules.table import error_types
from service.taxonomy.imagenet_1k import imagenet_1k

IN_A_AND_R = 6  # stingray
IN_NEITHER = 0  # tench


def validation_path(row: int) -> str:
    return f"{wordnet_id(int(labels.original_labels()[row]))}/{labels.validation_name(row + 1)}"


# classes


@pytest.mark.parametrize("name", ["imagenet-a", "imagenet-r"])
def test_classes_are_those_that_timm_lists(name: str) -> None:
    timm = importlib.util.find_spec("timm")  # not imported: an import takes seconds
    if timm is None or timm.origin is None:
        skip_or_fail("timm is not installed")
    file = Path(timm.origin).parent / "data" / "_info" / f"{name.replace('-', '_')}_indices.txt"

    assert BUILT_IN[name].classes == {*map(int, file.read_text().split())}
    assert len(BUILT_IN[name].classes) == 200


def test_classes_of_cifar_100_are_the_published_ones(reference: Path) -> None:
    with (reference / "cifar100" / "classes.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    label_space = cifar_100()

    assert [int(row["index"]) for row in rows] == list(range(label_space.num_classes))
    assert [row["name"] for row in rows] == [*label_space.names]
    assert [(row["superclass"],) for row in rows] == [label_space.superclasses.names_of(row) for row in range(100)]
    assert [row["group"] for row in rows] == [
        next(
            group for group, members in zip(label_space.groups, label_space.group_members, strict=True) if members[row]
        )
        for row in range(100)
    ]


def test_cifar_100_has_twenty_superclasses_of_five_classes_in_alphabetical_order() -> None:
    label_space = cifar_100()
    superclasses = label_space.superclasses

    assert list(label_space.names) == sorted(label_space.names)
    assert [len(members) for members in superclasses.members] == [5] * 20
    assert len(superclasses.ids) == 20
    assert label_space.parse("aquarium_fish") == label_space.parse("1") == 1  # torchvision's name, and the index


@pytest.mark.parametrize(
    ("name", "built_in"),
    [
        ("imagenet-v2", "imagenet-v2"),
        ("imagenet-v2-top-images", "imagenet-v2"),
        ("imagenet-c-gaussian_noise-3", "imagenet-c"),
        ("imagenet-r-mine", None),
        ("imagenet-c10", None),
        ("imagenet", None),
        ("photos", None),
    ],
)
def test_name_with_a_suffix_is_a_part_of_imagenet_v2_and_imagenet_c(name: str, built_in: str | None) -> None:
    assert find_built_in(name) == built_in


# folders


def test_imagenet_v2_judges_each_image_by_the_number_of_its_folder(tmp_path: Path) -> None:
    folder = create(tmp_path / "v2", "0/a.jpeg", "10/b.jpeg", "2/c.jpeg", "2/d.jpeg")

    bundle = build_evidence("imagenet-v2-matched-frequency", Inputs(images=folder), tmp_path / "bundle")

    assert bundle.dataset == "imagenet-v2-matched-frequency"
    assert bundle.judged_names == ["0/a.jpeg", "10/b.jpeg", "2/c.jpeg", "2/d.jpeg"]
    assert bundle.evidence.targets.tolist() == [0, 10, 2, 2]
    assert bundle.evidence.labels.of(1).tolist() == [10]
    assert bundle.evidence.labels.sources_of(1) == [LabelSource.ORIGINAL]
    assert bundle.label_space.name == "imagenet-1k"
    assert bundle.manifest.sources[0].origin == "a local folder, 4 of 10,000 images"
    assert bundle.manifest.abstained == (ErrorType.FINE_GRAINED_OOV, ErrorType.NON_PROTOTYPICAL)


@pytest.mark.parametrize("name", ["imagenet-a", "imagenet-r", "imagenet-sketch"])
def test_variant_with_wordnet_ids_has_the_co_occurrence_of_imagenet_a(tmp_path: Path, name: str) -> None:
    folder = create(tmp_path, f"{wordnet_id(IN_A_AND_R)}/a.jpg", f"{wordnet_id(IN_A_AND_R)}/b.jpg")

    facts = gather(name, Inputs(images=folder))

    assert facts.labels.targets.tolist() == [IN_A_AND_R] * 2
    assert facts.pairs is not None
    assert (facts.pairs.counts >= 2).sum() == 1_659  # spec: "Co-occurrence pairs"


@pytest.mark.parametrize("name", ["imagenet-a", "imagenet-r"])
def test_class_of_another_data_set_is_refused_with_its_folder(tmp_path: Path, name: str) -> None:
    folder = create(tmp_path, f"{wordnet_id(IN_A_AND_R)}/a.jpg", f"{wordnet_id(IN_NEITHER)}/b.jpg")

    with pytest.raises(InvalidEvidence, match=rf"1 folder is not a class of {name}: n01440764 \(tench\)\. Delete it,"):
        gather(name, Inputs(images=folder))


def test_folders_of_other_classes_are_counted_and_the_first_ones_are_listed(tmp_path: Path) -> None:
    """The classes 0 to 4 are not in ImageNet-A."""
    folder = create(tmp_path, *(f"{wordnet_id(index)}/a.jpg" for index in (IN_A_AND_R, 0, 1, 2, 3)))

    listed = r"n01440764 \(tench\), n01443537 \(goldfish\), n01484850 \(great white shark\), and 1 more"
    with pytest.raises(InvalidEvidence, match=rf"4 folders are not classes of imagenet-a: {listed}\. Delete them, or"):
        gather("imagenet-a", Inputs(images=folder))


@pytest.mark.parametrize(
    ("name", "folder", "most"),
    [("imagenet-v2", "7", 10), ("imagenet-c", "fog/1/n01440764", 50), ("cifar-100", "7", 100)],
)
def test_more_images_than_published_are_refused_with_their_folder(
    tmp_path: Path, name: str, folder: str, most: int
) -> None:
    create(tmp_path, *(f"{folder}/{number}.jpg" for number in range(most)))
    assert len(gather(name, Inputs(images=tmp_path)).labels.names) == most
    create(tmp_path, f"{folder}/more.jpg")

    with pytest.raises(InvalidEvidence, match=rf"folder '{folder}' has {most + 1} images, but {name} has {most}"):
        gather(name, Inputs(images=tmp_path))


def test_more_images_than_the_data_set_has_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert BUILT_IN["imagenet-a"].num_images == 7_500  # spec: "ImageNet-A"
    monkeypatch.setitem(BUILT_IN, "imagenet-a", replace(BUILT_IN["imagenet-a"], num_images=2))
    create(tmp_path, *(f"{wordnet_id(IN_A_AND_R)}/{number}.jpg" for number in range(3)))

    with pytest.raises(InvalidEvidence, match=r"3 images, but imagenet-a has 2. Delete"):
        gather("imagenet-a", Inputs(images=tmp_path))


def test_cifar_100_is_built_from_folders_of_superclasses(tmp_path: Path) -> None:
    folder = create(tmp_path / "test", "fish/aquarium_fish/1.png", "trees/oak_tree/2.png")

    bundle = build_evidence("cifar-100", Inputs(images=folder), tmp_path / "bundle")

    assert bundle.label_space.name == "cifar-100"
    assert [bundle.label_space.names[target] for target in bundle.evidence.targets] == ["aquarium fish", "oak tree"]
    verdicts = bundle.judge(np.array([67, 67]))  # ray, another fish
    assert [*map(ErrorType, error_types(verdicts).tolist())] == [ErrorType.FINE_GRAINED, ErrorType.MODEL_FAILURE]
    assert bundle.label_space.superclasses.shared_names(1, 67) == ("fish",)


# corrupted validation images


def test_corrupted_validation_images_have_the_real_labels_of_the_originals(tmp_path: Path) -> None:
    real = labels.real_labels()
    rejected = next(
        row for row in range(1000) if len(real.of(row)) and labels.original_labels()[row] not in real.of(row)
    )
    several = next(row for row in range(1000) if len(real.of(row)) > 1)
    without = next(row for row in range(1000) if not len(real.of(row)))
    paths = [f"{part}/{validation_path(row)}" for part in ("fog/3", "snow/5") for row in (rejected, several, without)]

    bundle = build_evidence("imagenet-c", Inputs(images=create(tmp_path / "c", *paths)), tmp_path / "bundle")

    assert bundle.names.to_pylist() == sorted(path.encode() for path in paths)
    judged = {path: row for row, path in enumerate(bundle.judged_names)}
    assert judged.keys() == {path for path in paths if not path.endswith(labels.validation_name(without + 1))}
    for part in ("fog/3", "snow/5"):
        for row in (rejected, several):
            place = judged[f"{part}/{validation_path(row)}"]
            assert bundle.evidence.labels.of(place).tolist() == real.of(row).tolist()
            assert bundle.evidence.targets[place] == labels.original_labels()[row]
    assert bundle.manifest.counts["rejected_targets"] == 2
    assert bundle.manifest.sources[0].origin == "a local folder, 6 of 100,000 images"


def test_co_occurrence_of_corrupted_images_counts_each_validation_image_once(tmp_path: Path) -> None:
    several = next(row for row in range(1000) if len(labels.real_labels().of(row)) > 1)
    paths = [f"fog/{severity}/{validation_path(several)}" for severity in range(1, 6)]

    facts = gather("imagenet-c", Inputs(images=create(tmp_path, *paths)))

    sets = [{*labels.real_labels().of(row).tolist()} for row in range(50_000)]
    assert facts.pairs is not None
    pairs = dict(zip(map(tuple, facts.pairs.classes.tolist()), facts.pairs.counts.tolist(), strict=True))
    assert pairs == oracle.count_pairs(sets)


def test_images_with_other_names_keep_the_class_of_their_folder(tmp_path: Path) -> None:
    facts = gather("imagenet-c", Inputs(images=create(tmp_path, "n01440764/a.JPEG", "n01443537/b.JPEG")))

    assert facts.labels.rows.tolist() == [0, 1]
    assert facts.labels.labels.classes.tolist() == [0, 1]


def test_validation_image_in_the_folder_of_another_class_is_refused(tmp_path: Path) -> None:
    create(tmp_path, validation_path(0), f"{wordnet_id(3)}/{labels.validation_name(2)}")

    with pytest.raises(
        InvalidEvidence, match=rf"ILSVRC2012_val_00000002.JPEG' is in .* its class is {wordnet_id(970)}; 1 image has "
    ):
        gather("imagenet-c", Inputs(images=tmp_path))


def test_other_image_among_validation_images_is_refused(tmp_path: Path) -> None:
    create(tmp_path, validation_path(0), f"{wordnet_id(3)}/copy.JPEG")

    with pytest.raises(InvalidEvidence, match=r"copy.JPEG' is not an image of ImageNet's .*\(1 is not\)"):
        gather("imagenet-c", Inputs(images=tmp_path))


# labels files


def test_labels_of_cifar_100_are_names_or_indices(tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text(
        "file_name,target,labels,problematic\n0.png,aquarium_fish,1,\n1.png,maple tree,oak tree,\n2.png,99,,blurred\n"
    )

    facts = gather("cifar-100", Inputs(labels=file))

    assert facts.label_space.name == "cifar-100"
    assert facts.labels.all_targets.tolist() == [1, 47, 99]
    assert facts.labels.effective_targets.tolist() == [1, 52, 99]
    assert facts.labels.problematic.tolist() == [False, False, True]
    assert facts.pairs is None


def test_built_in_classes_give_the_verdicts_of_a_classes_file(reference: Path, tmp_path: Path) -> None:
    folder = reference / "cifar100"
    labels_file = folder / "labels.csv"

    built_in = build_evidence("cifar-100", Inputs(labels=labels_file), tmp_path / "one")
    own = build_evidence("own", Inputs(labels=labels_file, classes=folder / "classes.csv"), tmp_path / "two")

    assert np.array_equal(built_in.verdicts, own.verdicts)
    assert built_in.manifest.counts == own.manifest.counts
    assert built_in.manifest.counts["rejected_targets"] == 318  # spec: "Reference data"
    assert built_in.manifest.counts["problematic"] == 247
    assert built_in.label_space.groups == own.label_space.groups


def test_classes_file_makes_a_name_that_of_an_own_data_set(tmp_path: Path) -> None:
    (tmp_path / "classes.csv").write_text("name\ncat\ndog\n")
    (tmp_path / "labels.csv").write_text("file_name,labels\na.jpg,cat\n")

    facts = gather("cifar-100", Inputs(classes=tmp_path / "classes.csv", labels=tmp_path / "labels.csv"))

    assert facts.label_space.names == ("cat", "dog")
    assert known_classes("cifar-100", facts.label_space) == frozenset()


def test_labels_file_of_a_built_in_data_set_is_read(tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text(f"file_name,labels\nart_0.jpg,{IN_A_AND_R}\nart_1.jpg,{wordnet_id(IN_A_AND_R)}\n")

    facts = gather("imagenet-r", Inputs(labels=file))

    assert facts.dataset == "imagenet-r"
    assert facts.labels.names.tolist() == [b"art_0.jpg", b"art_1.jpg"]
    assert facts.labels.targets.tolist() == [IN_A_AND_R] * 2


def test_labels_outside_of_the_classes_of_the_data_set_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text(f"file_name,labels\na.jpg,{IN_A_AND_R} 0\nb.jpg,998 999 5\nc.jpg,0\n")

    with pytest.raises(InvalidEvidence, match=r"'a.jpg': tench .* and 1 more are no class of imagenet-r. Correct"):
        gather("imagenet-r", Inputs(labels=file))


def test_labels_file_of_validation_images_has_its_own_pairs(tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text("file_name,labels\n" + "".join(f"fog/1/{validation_path(row)},3 920\n" for row in range(3)))

    facts = gather("imagenet-c-fog-1", Inputs(labels=file))

    assert facts.pairs is not None
    assert (facts.pairs.classes.tolist(), facts.pairs.counts.tolist()) == ([[3, 920]], [3])


def test_data_set_without_images_names_the_options() -> None:
    with pytest.raises(InvalidEvidence, match=r"imagenet-v2 needs its images. Add --images DIR .*class number/file"):
        gather("imagenet-v2")


@pytest.mark.parametrize("option", ["annotations", "mistakes", "artefacts"])
def test_files_about_imagenet_are_refused_for_cifar_100(tmp_path: Path, option: str) -> None:
    folder = create(tmp_path / "images", "apple/1.png")
    if option == "annotations":
        (tmp_path / "file").write_text('{"initial_annots": {}, "problematic_images": {}}')
    else:
        (tmp_path / "file").mkdir()

    with pytest.raises(
        InvalidEvidence, match=rf"--{option} is about images of ImageNet-1k. Leave it out for cifar-100"
    ):
        gather("cifar-100", Inputs(images=folder, **{option: tmp_path / "file"}))


def test_superclasses_of_imagenet_apply_to_its_variants(tmp_path: Path) -> None:
    facts = gather("imagenet-sketch", Inputs(images=create(tmp_path, "n01440764/a.jpg")))

    assert facts.label_space.superclasses.ids == imagenet_1k().superclasses.ids
