"""Implausible uploads: rows in the wrong order, and another class numbering."""

import io
from collections.abc import Sequence

import numpy as np
import pytest
from errata import Client, errors, pb

from service.evidence.bundle import Bundle
from service.evidence.labels import original_labels, validation_name
from service.report.messages.input_checks import ACCEPTED_NOTE

from .conftest import Start


def make_classes() -> np.ndarray:
    """Return a class for each validation image in the order of file names; 80 % are correct."""
    classes = np.array(original_labels(), dtype=np.int64)
    classes[::5] = (classes[::5] + 7) % 1000
    return classes


def sort_by_path(classes: np.ndarray) -> np.ndarray:
    """Return the same rows sorted by wnid/file (WordNet ids have the order of classes, files that of their numbers)."""
    targets = original_labels().tolist()
    return classes[sorted(range(len(targets)), key=lambda image: (targets[image], validation_name(image + 1)))]


def npy(classes: np.ndarray) -> io.BytesIO:
    file = io.BytesIO()
    np.save(file, classes.astype(np.int16))
    return io.BytesIO(file.getvalue())


def csv(classes: np.ndarray) -> io.BytesIO:
    rows = (f"{validation_name(image)},{value}\n" for image, value in enumerate(classes.tolist(), start=1))
    return io.BytesIO(("file_name,top1\n" + "".join(rows)).encode())


ORDERS = {pb.ROW_ORDER_PATH: sort_by_path, pb.ROW_ORDER_FILE_NAME: lambda classes: classes}


@pytest.mark.parametrize("row_order", [pb.ROW_ORDER_UNSPECIFIED, *ORDERS])
def test_rows_in_the_requested_order_are_accepted(client: Client, row_order: int) -> None:
    rows = ORDERS[row_order or pb.ROW_ORDER_PATH](make_classes())

    analysis = client.upload(npy(rows), "imagenet-real", row_order=row_order)

    assert list(analysis.warnings) == []
    assert analysis.summary.top1_accuracy_all_images == pytest.approx(0.8)


@pytest.mark.parametrize("row_order", [pb.ROW_ORDER_UNSPECIFIED, *ORDERS])
def test_rows_in_the_other_order_are_refused(client: Client, row_order: int) -> None:
    other = pb.ROW_ORDER_PATH if row_order == pb.ROW_ORDER_FILE_NAME else pb.ROW_ORDER_FILE_NAME
    option = "path" if row_order == pb.ROW_ORDER_FILE_NAME else "file-name"

    with pytest.raises(errors.ImplausibleUpload, match=rf"in the other order\. Try --row-order {option}\.") as refused:
        client.upload(
            npy(ORDERS[other](make_classes())), "imagenet-real", row_order=row_order, display_name="in the other order"
        )

    assert refused.value.reason == "IMPLAUSIBLE_UPLOAD"
    assert [violation.field for violation in refused.value.violations] == ["row_order"]
    assert not list(client.list(display_name="in the other order"))


def test_a_shift_of_the_classes_is_refused_and_named(client: Client) -> None:
    with pytest.raises(errors.ImplausibleUpload, match=r"1 too high\. Subtract 1.*--accept-implausible") as refused:
        client.upload(csv((make_classes() + 1) % 1000), "imagenet-real")

    assert [violation.field for violation in refused.value.violations] == ["predicted_class"]


def test_predictions_outside_the_subset_do_not_hide_a_shift_of_the_classes(client: Client) -> None:
    classes = make_classes()
    classes[:20_000] = (classes[:20_000] + 1) % 1000
    subset = [validation_name(image) for image in range(1, 20_001)]

    assert not list(client.upload(csv(classes), "imagenet-real").warnings)
    with pytest.raises(errors.ImplausibleUpload, match=r"1 too high\. Subtract 1"):
        client.upload(csv(classes), "imagenet-real", subset=subset)


def test_another_class_numbering_is_refused(client: Client) -> None:
    numbers = np.random.default_rng(1).permutation(1000)

    with pytest.raises(errors.ImplausibleUpload, match="sorted WordNet ID"):
        client.upload(csv(numbers[make_classes()]), "imagenet-real")


@pytest.mark.parametrize("kind", ["good", "guessing", "constant"])
def test_plausible_predictions_are_accepted(client: Client, kind: str) -> None:
    classes = {
        "good": make_classes(),
        "guessing": np.random.default_rng(2).integers(0, 1000, 50_000),
        "constant": np.full(50_000, 7),
    }[kind]

    analysis = client.upload(csv(classes), "imagenet-real")

    assert list(analysis.warnings) == []
    assert not analysis.implausible


def demo_csv(demo: Bundle, shift: int, texts: Sequence[object] = range(1000)) -> io.BytesIO:
    rows = zip(demo.judged_names, ((demo.all_targets + shift) % 1000).tolist(), strict=True)
    return io.BytesIO(("file_name,top1\n" + "".join(f"{name},{texts[value]}\n" for name, value in rows)).encode())


def test_twenty_wrong_images_of_twenty_classes_are_accepted(client: Client, demo: Bundle) -> None:
    assert not client.upload(demo_csv(demo, 2), "demo").implausible


def test_a_warning_names_twenty_images_with_classes_from_one(client: Client, demo: Bundle) -> None:
    analysis = client.upload(demo_csv(demo, 1), "demo")

    assert not analysis.implausible
    assert [warning for warning in analysis.warnings if "numbered from 1" in warning] == [
        "The classes may be numbered from 1: top-1 accuracy is 0.0 %, but the class before the predicted one is "
        "correct for 100.0 % of the images. If so, subtract 1 from the classes, and upload the file again."
    ]


def test_only_numbers_of_classes_can_start_at_one(client: Client, demo: Bundle) -> None:
    numbers = [f"LABEL_{number}" for number in range(1000)]
    for texts, is_named in ((numbers, True), (demo.label_space.ids, False)):
        analysis = client.upload(demo_csv(demo, 1, texts), "demo")
        assert any("numbered from 1" in warning for warning in analysis.warnings) == is_named


def test_an_accepted_upload_is_marked_and_in_no_trend(start: Start) -> None:
    with start() as service:
        client = service.client
        plausible = client.upload(csv(make_classes()), "imagenet-real", display_name="right")
        analysis = client.upload(
            csv((make_classes() + 1) % 1000), "imagenet-real", accept_implausible=True, display_name="shifted"
        )

        assert analysis.implausible
        (warning,) = analysis.warnings
        assert warning.endswith(f"so that they start at 0. {ACCEPTED_NOTE}")
        assert [analysis.implausible for analysis in client.list(display_name="shifted")] == [True]
        assert client.get(analysis.name).implausible
        assert client.reanalyze(analysis.name).implausible
        assert "implausible" in client.report(analysis.name).decode()
        with pytest.raises(errors.NotComparable, match="implausible"):
            client.trend(analyses=[analysis.name])
        trend = client.trend(dataset="imagenet-real")
        assert [model.analysis for model in trend.models] == [plausible.name]
        assert trend.num_left_out == 2


def test_the_result_of_a_gate_says_that_predictions_are_implausible_and_its_decision_is_the_same(
    client: Client,
) -> None:
    plausible = client.upload(csv(make_classes()), "imagenet-real")
    shifted = client.upload(csv((make_classes() + 1) % 1000), "imagenet-real", accept_implausible=True)
    policy = "version: 1\nbounds: [{name: change, measure: top1_accuracy, max_%s: 1}]"

    results = [
        client.gate(shifted, policy % "decrease", plausible),
        client.gate(plausible, policy % "increase", shifted),
        client.gate(shifted, policy.replace("max_%s", "max")),
        client.gate(plausible, policy.replace("max_%s", "min"), shifted),
    ]

    notes = [[reason.message for reason in result.reasons if "implausible" in reason.message] for result in results]
    identifier = shifted.name.removeprefix("analyses/")
    of_analysis = f"The predictions of the analysis {identifier} are implausible: see its warnings."
    assert notes == [[of_analysis], [of_analysis.replace("the analysis", "the baseline")], [of_analysis], []]
    subjects = [reason.bound for result in results for reason in result.reasons if "implausible" in reason.message]
    assert subjects == ["the analysis", "the baseline", "the analysis"]
    decisions = [pb.GATE_DECISION_PASS] * 3 + [pb.GATE_DECISION_FAIL]
    assert [result.decision for result in results] == decisions


def test_a_refused_upload_binds_its_request_id_to_nothing(client: Client) -> None:
    shifted = csv((make_classes() + 1) % 1000).getvalue()
    with pytest.raises(errors.ImplausibleUpload):
        client.upload(io.BytesIO(shifted), "imagenet-real", request_id="implausible")

    accepted = client.upload(io.BytesIO(shifted), "imagenet-real", request_id="implausible", accept_implausible=True)

    assert accepted.implausible
