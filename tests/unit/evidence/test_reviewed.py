"""Evidence from reviews, compared with a slow application of the reviews, and with bundles of corrected labels."""

import json
import random
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from errata.errors import InvalidEvidence
from example_counts import max_examples
from hypothesis import given
from hypothesis import strategies as st
from label_space_strategy import Case, cases, write_case
from oracle import label_space as space_oracle
from oracle import reviews as oracle
from oracle.cooccurrence import count_pairs
from oracle.reviews import PlainReview
from oracle.verdicts import Sample, byte
from oracle.verdicts import judge as judge_slowly
from unit.evidence.official import wordnet_id
from unit.evidence.test_proposals_of_own_classes import CLASSES, HASH, VOCABULARY, build, write_classes

from service.bootstrap.build import Inputs, build_evidence, verify_evidence
from service.domain import Decision, ErrorType, LabelSource, Review, decide_images
from service.evidence import labels
from service.evidence.build import write_bundle
from service.evidence.bundle import Bundle, open_bundle
from service.evidence.relabeled import inputs_of
from service.evidence.reviewed import apply_decisions, apply_reviews, digest_reviews

START = datetime(2026, 1, 1, tzinfo=UTC)
NOT_COMPARED = {"label_sources"}  # added labels have the source REVIEW


def review(number: int, bundle: Bundle, image: str, reviewer: str = "ann", **statements: object) -> Review:
    base = Review(f"{number:032x}", bundle.dataset, image, bundle.digest, reviewer, True, START)
    return replace(base, time=START + timedelta(minutes=number), **statements)


def reviewed(bundle: Bundle, reviews: Sequence[Review], folder: Path, min_reviews: int = 1) -> Bundle:
    write_bundle(apply_reviews(bundle, reviews, min_reviews), folder)
    assert verify_evidence(folder) == []
    return open_bundle(folder)


def assert_same_evidence(bundle: Bundle, other: Bundle) -> None:
    assert {*bundle.arrays} == {*other.arrays}
    for name in {*bundle.arrays} - NOT_COMPARED:
        assert np.array_equal(bundle.arrays[name], other.arrays[name]), name


@st.composite
def plain_reviews(draw: st.DrawFn, case: Case) -> list[PlainReview]:
    """Draw reviews of the images of a case, in which a class is never both correct and rejected."""
    names = [row["file_name"] for row in case.labels]
    reviews: list[PlainReview] = []
    for time in range(draw(st.integers(1, 8))):
        earlier = [other for other in reviews if other.undoes is None or draw(st.booleans())]
        if earlier and draw(st.integers(0, 4)) == 0:
            undone = draw(st.sampled_from(earlier))
            reviews.append(PlainReview(time, undone.reviewer, undone.image, undoes=undone.time))
            continue
        votes = draw(st.dictionaries(st.integers(0, case.num_classes - 1), st.booleans(), max_size=4))
        reviews.append(
            PlainReview(
                time,
                draw(st.sampled_from(["ann", "bob", "eve"])),
                draw(st.sampled_from(names)),
                frozenset(index for index, is_present in votes.items() if is_present),
                frozenset(index for index, is_present in votes.items() if not is_present),
                draw(st.sampled_from([None, None, True, False])),
            )
        )
    return reviews


def to_review(plain: PlainReview, bundle: Bundle) -> Review:
    ids = bundle.label_space.ids
    return review(
        plain.time + 1,
        bundle,
        plain.image,
        plain.reviewer,
        added=tuple(ids[index] for index in sorted(plain.correct)),
        rejected=tuple(ids[index] for index in sorted(plain.rejected)),
        problematic=plain.problematic,
        undoes="" if plain.undoes is None else f"{plain.undoes + 1:032x}",
    )


@pytest.mark.slow
@max_examples(60)
@given(data=st.data(), case=cases(), min_reviews=st.sampled_from([1, 1, 2]))
def test_labels_and_verdicts_agree_with_a_slow_application(data: st.DataObject, case: Case, min_reviews: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = write_case(case, folder)
        inputs = Inputs(
            classes=files.classes,
            overlaps=files.overlaps,
            labels=files.labels,
            cooccurrence=files.cooccurrence,
            min_cooccurrence=case.min_cooccurrence,
        )
        bundle = build_evidence("odd", inputs, folder / "base")
        space = space_oracle.read_space(files.classes, files.overlaps)
        plain = data.draw(plain_reviews(case))
        expected: dict[str, oracle.Image] = {}
        for row in case.labels:
            before = oracle.Image(space_oracle.parse_labels(space, row["labels"]), bool(row["problematic"].strip()))
            expected[row["file_name"]] = oracle.review_image(
                before, row["file_name"], plain, min_reviews, case.num_classes
            )
        reviews = [to_review(plain_review, bundle) for plain_review in plain]
        random.Random(len(plain)).shuffle(reviews)
        is_same = all(
            (image.labels, image.problematic)
            == (bundle.evidence.labels.of(row).tolist(), bool(bundle.evidence.problematic[row]))
            for row, image in ((bundle.row(name), image) for name, image in expected.items())
        )
        if is_same or all(image.problematic for image in expected.values()):
            with pytest.raises(InvalidEvidence, match=r"change no label|are problematic"):
                apply_reviews(bundle, reviews, min_reviews)
            return
        after = reviewed(bundle, reviews, folder / "after", min_reviews)
        targets = {name: int(after.evidence.targets[row]) for row, name in enumerate(after.judged_names)}
        samples = {
            name: Sample(
                targets[name],
                frozenset(image.labels),
                image.problematic,
                False,
                image.labels[0] if image.labels else None,
            )
            for name, image in expected.items()
        }
        other = None if files.cooccurrence is None else space_oracle.read_samples(files.cooccurrence, space)
        pairs = space_oracle.cooccurrence_pairs(samples, space, other, case.min_cooccurrence)
        facts = space_oracle.facts(space, pairs)
        for row, name in enumerate(after.judged_names):
            assert after.evidence.labels.of(row).tolist() == expected[name].labels
            sources = dict(zip(expected[name].labels, after.evidence.labels.sources_of(row), strict=True))
            assert {label for label, source in sources.items() if source is LabelSource.REVIEW} == {
                *expected[name].added
            }
            for predicted in range(case.num_classes):
                verdict = byte(judge_slowly(samples[name], row, predicted, facts))
                assert after.verdict(row, predicted).tolist() == [verdict]
        reviews.reverse()
        assert apply_reviews(bundle, reviews, min_reviews).reviews == after.manifest.reviews
        assert write_bundle(apply_reviews(bundle, reviews, min_reviews), folder / "again") == after.digest


CORRECTIONS = {  # image → (target, labels, problematic) of the bundle of drinks, with its reviews' statements
    "2.png": ("2", "2;0", ""),
    "5.png": ("5", "3;5", ""),
    "9.png": ("1", "0", ""),
    "14.png": ("6", "", "nothing in it"),
    "21.png": ("5", "5;3", "blurred"),
}


@pytest.fixture(scope="module")
def drinks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Path]:
    """A bundle with CLIP evidence of its own label space, and its folder."""
    folder = tmp_path_factory.mktemp("drinks")
    rows = [
        {"name": own.names[0], "synonyms": ";".join(own.names[1:]), "superclasses": ";".join(own.superclasses)}
        for own in CLASSES
    ]
    write_classes(folder / "classes.csv", rows)
    (folder / "vocabulary.csv").write_text(
        "\n".join(["text,near", *(f"{row.text},{' ; '.join(row.near)}" for row in VOCABULARY)])
    )
    return build(folder, folder / "classes.csv", len(CLASSES), folder / "vocabulary.csv"), folder


def decisions_of(bundle: Bundle, labels: dict[str, tuple[str, str, str]]) -> list[Review]:
    """Return reviews that turn the labels of images into others."""
    ids, reviews = bundle.label_space.ids, []
    for number, (name, (_, wanted, reason)) in enumerate(labels.items(), start=1):
        before = {ids[label] for label in bundle.evidence.labels.of(bundle.row(name)).tolist()}
        after = {ids[int(label)] for label in wanted.split(";") if label}
        reviews.append(
            review(
                number,
                bundle,
                name,
                added=tuple(sorted(after - before)),
                confirmed=tuple(sorted(after & before)),
                rejected=tuple(sorted(before - after)),
                problematic=True if reason else None,
                reason=reason,
            )
        )
    return reviews


def test_clip_evidence_equals_that_of_a_build_with_the_corrected_labels(
    drinks: tuple[Bundle, Path], tmp_path: Path
) -> None:
    bundle, folder = drinks
    rows = space_oracle.read_rows(folder / "labels.csv")
    for row in rows:
        if row["file_name"] in CORRECTIONS:
            row["target"], row["labels"], row["problematic"] = CORRECTIONS[row["file_name"]]
    path = tmp_path / "labels.csv"
    path.write_text(
        "\n".join(["file_name,target,labels,problematic", *(",".join(row.values()) for row in rows)]) + "\n"
    )
    inputs = Inputs(
        classes=folder / "classes.csv",
        labels=path,
        vocabulary=folder / "vocabulary.csv",
        encoder=HASH,
        train_images=folder / "train",
        cache=tmp_path / "cache",
    )
    corrected = build_evidence("drinks", inputs, tmp_path / "corrected")

    after = reviewed(bundle, decisions_of(bundle, CORRECTIONS), tmp_path / "after")

    for name in CORRECTIONS:
        row = after.row(name)
        assert {*after.evidence.labels.of(row).tolist()} == {*corrected.evidence.labels.of(row).tolist()}
    changed = np.flatnonzero((corrected.arrays["oov"] != bundle.arrays["oov"]).any(axis=1))
    preferred = (corrected.arrays["label_preferred"] != bundle.arrays["label_preferred"]).any()
    assert preferred, "the example does not test preferred labels"
    assert np.array_equal(after.arrays["oov"], corrected.arrays["oov"]), changed
    assert np.array_equal(after.arrays["label_preferred"], corrected.arrays["label_preferred"])
    for name in ("verdicts", "groups", "problematic", "neighbors", "image_embeddings", "proposals", "pair_classes"):
        assert np.array_equal(after.arrays[name], corrected.arrays[name]), name


def test_a_bundle_that_is_written_again_has_the_same_digest(drinks: tuple[Bundle, Path], tmp_path: Path) -> None:
    bundle, _ = drinks

    assert write_bundle(inputs_of(bundle), tmp_path / "again") == bundle.digest
    assert_same_evidence(open_bundle(tmp_path / "again"), bundle)


def test_the_human_review_of_cifar_100_gives_the_evidence_of_its_labels(reference: Path, tmp_path: Path) -> None:
    folder = reference / "cifar100"
    rows = space_oracle.read_rows(folder / "labels.csv")
    original = tmp_path / "original.csv"
    original.write_text("file_name,labels\n" + "".join(f"{row['file_name']},{row['target']}\n" for row in rows))
    base = build_evidence("own", Inputs(classes=folder / "classes.csv", labels=original), tmp_path / "base")
    corrected = build_evidence(
        "own", Inputs(classes=folder / "classes.csv", labels=folder / "labels.csv"), tmp_path / "corrected"
    )
    wanted = {
        row["file_name"]: (row["target"], row["labels"].replace(" ", ";"), row["problematic"])
        for row in rows
        if row["labels"] != row["target"] or row["problematic"]
    }

    after = reviewed(base, decisions_of(base, wanted), tmp_path / "after")

    counts = after.manifest.counts
    assert (counts["rejected_targets"], counts["problematic"]) == (318, 247)
    assert after.manifest.base == base.digest
    assert after.manifest.reviews is not None
    assert after.manifest.reviews.count == len(wanted)
    predicted = {
        row["file_name"]: int(row["predicted_class"]) for row in space_oracle.read_rows(folder / "predictions.csv")
    }
    top1 = np.array([predicted[name] for name in after.judged_names], dtype=np.int16)
    assert np.array_equal(after.judge(top1), corrected.judge(top1))
    assert np.array_equal(after.evidence.effective_targets, corrected.evidence.effective_targets)


@pytest.mark.slow
def test_corrected_real_labels_change_their_images_and_the_pairs(imagenet_real: Bundle, tmp_path: Path) -> None:
    labels, ids = imagenet_real.evidence.labels, imagenet_real.label_space.ids
    first, second, third = imagenet_real.judged_names[:3]
    only = tuple(ids[label] for label in labels.of(1).tolist())
    reviews = [
        review(1, imagenet_real, first, added=(ids[7], ids[3])),
        review(2, imagenet_real, second, rejected=only),
        review(3, imagenet_real, third, problematic=True, reason="watermark"),
        review(4, imagenet_real, "ILSVRC2012_val_00000000.JPEG", added=(ids[7],)),  # no image of the data set
        review(5, imagenet_real, first, added=("n00000000",)),  # no class
    ]

    after = reviewed(imagenet_real, reviews, tmp_path / "after")

    added = [label for label in (3, 7) if label not in labels.of(0).tolist()]
    assert after.evidence.labels.of(0).tolist() == [*labels.of(0).tolist(), *added]
    assert after.evidence.labels.of(1).tolist() == []
    assert after.evidence.problematic[:4].tolist() == [False, True, True, False]
    assert after.manifest.reviews is not None and after.manifest.reviews.count == 4
    assert after.images_digest == imagenet_real.images_digest
    for name in ("superclass_members", "rows", "all_targets"):
        assert np.array_equal(after.arrays[name], imagenet_real.arrays[name])
    assert counts_of(after) == pairs_of(after) != counts_of(imagenet_real)
    assert (after.verdicts[1] != imagenet_real.verdicts[1]).any()


def counts_of(bundle: Bundle) -> dict[tuple[int, ...], int]:
    """Return the number of images of each co-occurrence pair of a bundle."""
    assert bundle.pairs is not None
    return dict(zip(map(tuple, bundle.pairs.classes.tolist()), bundle.pairs.counts.tolist(), strict=True))


def pairs_of(bundle: Bundle) -> Counter[tuple[int, ...]]:
    """Count the pairs of labels of the images that are not problematic."""
    evidence = bundle.evidence
    rows = np.flatnonzero(~evidence.problematic).tolist()
    return Counter(pair for row in rows for pair in combinations(sorted(evidence.labels.of(row).tolist()), 2))


@pytest.mark.slow
def test_an_image_does_not_support_the_error_of_a_label_that_a_review_removed(
    imagenet_real: Bundle, tmp_path: Path
) -> None:
    """Two images have the labels 28 and 32. A review removes 32 from one of them, so the pair occurs only once."""
    name, ids = "ILSVRC2012_val_00024262.JPEG", imagenet_real.label_space.ids
    row = imagenet_real.row(name)
    assert sorted(imagenet_real.evidence.labels.of(row).tolist()) == [28, 32]
    assert counts_of(imagenet_real)[28, 32] == 2

    after = reviewed(imagenet_real, [review(1, imagenet_real, name, rejected=(ids[32],))], tmp_path / "after")

    assert counts_of(after)[28, 32] == 1
    assert after.verdicts[row, 32] == ErrorType.MODEL_FAILURE.id


def test_corrected_labels_of_corrupted_images_change_the_pairs_of_their_validation_images(tmp_path: Path) -> None:
    """A validation image counts with the labels that all of its versions have; a problematic version has none."""
    names = ["ILSVRC2012_val_00024262.JPEG", "ILSVRC2012_val_00000002.JPEG", "ILSVRC2012_val_00000003.JPEG"]
    numbers = [24_262, 2, 3]
    real, original = labels.real_labels(), labels.original_labels()
    assert sorted(real.of(24_261).tolist()) == [28, 32]
    paths = []
    for number, name in zip(numbers, names, strict=True):
        paths += [f"{part}/{wordnet_id(int(original[number - 1]))}/{name}" for part in ("fog/3", "snow/5")]
    for path in paths:
        (tmp_path / "c" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "c" / path).touch()
    base = build_evidence("imagenet-c", Inputs(images=tmp_path / "c"), tmp_path / "base")
    ids = base.label_space.ids
    reviews = [
        review(1, base, paths[0], rejected=(ids[32],)),
        review(2, base, paths[2], added=(ids[7], ids[8], ids[9])),
        review(3, base, paths[3], added=(ids[8], ids[9])),
        review(4, base, paths[5], problematic=True, reason="too dark"),
    ]

    after = reviewed(base, reviews, tmp_path / "after")

    sets = [{*real.of(row).tolist()} for row in range(50_000)]
    assert counts_of(base) == count_pairs(sets)
    sets[24_261] = {28}
    sets[1] |= {8, 9}
    sets[2] = set()
    assert counts_of(after) == count_pairs(sets)
    assert counts_of(base)[28, 32] == 2 and counts_of(after)[28, 32] == 1
    assert after.verdicts[after.row(paths[0]), 32] == ErrorType.MODEL_FAILURE.id


def test_pairs_of_real_labels_do_not_depend_on_labels_from_folders(tmp_path: Path) -> None:
    (tmp_path / "c" / "n01440764").mkdir(parents=True)
    for name in ("a.JPEG", "b.JPEG"):
        (tmp_path / "c" / "n01440764" / name).touch()
    base = build_evidence("imagenet-c", Inputs(images=tmp_path / "c"), tmp_path / "base")

    added = tuple(base.label_space.ids[index] for index in (7, 8))
    reviews = [review(number, base, name, added=added) for number, name in enumerate(base.judged_names)]

    assert counts_of(reviewed(base, reviews, tmp_path / "after")) == counts_of(base)


def test_reviews_that_change_nothing_are_refused(street: Bundle) -> None:
    for reviews in ([], [review(1, street, "a", confirmed=("cat",))], [review(1, street, "z", added=("owl",))]):
        with pytest.raises(InvalidEvidence, match="change no label"):
            apply_reviews(street, reviews)
    with pytest.raises(InvalidEvidence, match="change no label"):
        apply_reviews(street, [review(1, street, "a", added=("owl",))], min_reviews=2)
    with pytest.raises(InvalidEvidence, match="min_reviews is 0"):
        apply_reviews(street, [review(1, street, "a", added=("owl",))], min_reviews=0)
    with pytest.raises(InvalidEvidence, match="all images of street are problematic"):
        apply_reviews(street, [review(n, street, name, problematic=True) for n, name in enumerate("abcd")])


def test_an_image_that_is_no_longer_problematic_needs_a_label(street: Bundle) -> None:
    decisions = {"a": Decision(absent=frozenset({"cat"}), problematic=False), "b": Decision(problematic=False)}

    assert apply_decisions(street, decisions).problematic.tolist() == [True, False, False, False]


def test_pairs_of_the_own_labels_are_counted_again(street: Bundle, tmp_path: Path) -> None:
    assert street.pairs is None

    after = reviewed(street, [review(1, street, "d", added=("cat", "dog"))], tmp_path / "after")

    assert after.pairs is not None
    assert after.pairs.classes.tolist() == [[0, 1]]
    assert after.example_names(after.pairs.examples[0][:2]) == ["c", "d"]


def test_a_chain_of_versions_names_its_bases(street: Bundle, tmp_path: Path) -> None:
    first = reviewed(street, [review(1, street, "a", added=("owl",))], tmp_path / "one")
    second = reviewed(
        first, [review(1, street, "a", added=("owl",)), review(2, first, "b", added=("cat",))], tmp_path / "2"
    )

    assert second.manifest.base == first.digest
    origins = [
        [source.origin for source in bundle.manifest.sources if source.name == "reviews"] for bundle in (first, second)
    ]
    assert origins == [[f"{reviews} of images, at least 1 for each class"] for reviews in ("1 review", "2 reviews")]
    direct = apply_reviews(street, [review(2, first, "b", added=("cat",)), review(1, street, "a", added=("owl",))])
    assert write_bundle(direct, tmp_path / "direct") == second.digest


def test_the_digest_of_reviews_ignores_their_order_and_time_zone(street: Bundle) -> None:
    reviews = [review(number, street, "a", added=("owl",), comment="ü") for number in range(3)]
    elsewhere = [replace(item, time=item.time.astimezone(timezone(timedelta(hours=5)))) for item in reviews]

    assert digest_reviews(reviews) == digest_reviews(reversed(elsewhere))
    assert digest_reviews(reviews) != digest_reviews(reviews[1:])
    assert digest_reviews(reviews) != digest_reviews([replace(reviews[0], comment="u"), *reviews[1:]])


def test_decisions_of_a_conflict_leave_the_image_as_it_was(street: Bundle) -> None:
    reviews = [review(1, street, "a", "ann", rejected=("cat",)), review(2, street, "a", "bob", confirmed=("cat",))]

    assert apply_decisions(street, decide_images(reviews)).labels.of(0).tolist() == [0]


@pytest.mark.parametrize(
    "change",
    [
        {"base": "zz"},
        {"base": 7},
        {"reviews": {"sha256": "0" * 64, "count": 0, "min_reviews": 1}},
        {"reviews": {"sha256": "no", "count": 1, "min_reviews": 1}},
        {"reviews": {"sha256": "0" * 64, "count": 1, "min_reviews": 0}},
        {"reviews": {"sha256": "0" * 64, "count": 1, "min_reviews": 1, "more": 2}},
        {"reviews": [1]},
        {"base": ""},
    ],
    ids=str,
)
def test_an_invalid_base_or_review_of_a_manifest_is_refused(street: Bundle, tmp_path: Path, change: dict) -> None:
    after = reviewed(street, [review(1, street, "a", added=("owl",))], tmp_path / "after")
    file = after.path / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))

    with pytest.raises(InvalidEvidence):
        open_bundle(after.path)
