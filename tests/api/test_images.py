"""ListImages: the images of an analysis, compared with its verdicts."""

import io
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from command import run_command
from errata import Client, pb
from errata.errors import AnalysisNotFound, InvalidPageToken, InvalidRequest
from running_service import Start
from unit.evidence.small_label_space import IMAGES, own_inputs

from service.domain.images import MAX_FACET_VALUES
from service.evidence.build import write_bundle
from service.evidence.bundle import Bundle

from .test_pages import request


@pytest.fixture(scope="module")
def predictions(demo: Bundle) -> tuple[str, str]:
    """Two files of predictions with probabilities: random classes of the data set, some of them the label."""
    random = np.random.default_rng(5)
    files = []
    for _ in range(2):
        lines = ["file_name,top1,probability"]
        for name, target in zip(demo.judged_names, demo.evidence.targets.tolist(), strict=True):
            predicted = target if random.random() < 0.4 else int(random.integers(1000))
            lines.append(f"{name},{predicted},{random.random():.3f}")
        files.append("\n".join(lines))
    return files[0], files[1]


def upload(client: Client, text: str) -> str:
    return client.upload(io.BytesIO(text.encode()), "demo").name


def test_images_and_facets_equal_the_verdicts(client: Client, predictions: tuple[str, str]) -> None:
    analysis = upload(client, predictions[0])
    response = client.list_images(analysis, most=None)
    verdicts = {verdict.file_name: verdict for verdict in client.verdicts(analysis)}

    assert response.total_size == len(verdicts)
    assert {image.file_name for image in response.images} == verdicts.keys()
    for image in response.images:
        verdict = verdicts[image.file_name]
        for field in ("target", "target_name", "predicted", "predicted_name", "error_type", "effective_target_name"):
            assert getattr(image, field) == getattr(verdict, field)
        assert image.probability == pytest.approx(verdict.probability, abs=1e-3)
    for facet, field in (("error_types", "error_type"), ("predicted_classes", "predicted_name")):
        expected = Counter(getattr(verdict, field) for verdict in verdicts.values())
        message = getattr(response.facets, facet)
        name = "value" if facet == "error_types" else "display_name"
        assert message.num_values == len(expected) <= MAX_FACET_VALUES
        assert {getattr(count, name): count.num_images for count in message.counts} == expected


def test_the_value_of_a_facet_selects_its_images(client: Client, predictions: tuple[str, str]) -> None:
    analysis = upload(client, predictions[0])
    facets = client.list_images(analysis).facets
    keywords = {
        "error_types": "error_type",
        "target_classes": "target",
        "predicted_classes": "predicted",
        "superclasses": "superclass",
        "groups": "group",
    }
    for field, keyword in keywords.items():
        counts = getattr(facets, field).counts
        assert counts, field
        for count in counts[:3]:
            selected = client.list_images(analysis, **{keyword: count.value})  # type: ignore[arg-type]
            assert selected.total_size == count.num_images == len(selected.images), field


def test_pages_have_all_images_in_the_requested_order(client: Client, predictions: tuple[str, str]) -> None:
    analysis = upload(client, predictions[0])
    names, request = [], pb.ListImagesRequest(parent=analysis, page_size=3, order_by="confidence desc")
    while True:
        page = client._call(client._analyses.ListImages, request)
        names += [(image.file_name, image.probability) for image in page.images]
        request.page_token = page.next_page_token
        if not request.page_token:
            break

    whole = client.list_images(analysis, None, "confidence desc")
    assert names == [(image.file_name, image.probability) for image in whole.images]
    assert [probability for _, probability in names] == sorted((value for _, value in names), reverse=True)
    assert len(client.list_images(analysis, most=2).images) == 2
    facets_only = client.list_images(analysis, most=0)
    assert (len(facets_only.images), facets_only.total_size) == (0, len(names))
    likely = client.list_images(analysis, None, min_probability=0.5)
    assert {image.file_name for image in likely.images} == {name for name, probability in names if probability >= 0.5}


def test_images_with_a_change_from_a_baseline_are_those_of_the_comparison(
    client: Client, predictions: tuple[str, str]
) -> None:
    first, second = (upload(client, text) for text in predictions)
    before, after = ({verdict.file_name: verdict for verdict in client.verdicts(name)} for name in (first, second))
    correct = {"correct", "class_overlap", "multi_label"}
    expected = sorted(
        name for name in before if before[name].error_type not in correct and after[name].error_type in correct
    )

    comparison = client.compare(first, second, max_images=1000)
    fixed = client.list_images(second, None, baseline=first, change="fixed")

    assert expected
    assert sorted(image.file_name for image in fixed.images) == expected
    assert sorted(image.file_name for image in comparison.fixed) == expected
    assert fixed.total_size == len(expected)
    for image in fixed.images:
        assert image.baseline_predicted == before[image.file_name].predicted
        assert image.baseline_predicted_name == before[image.file_name].predicted_name
        assert image.baseline_error_type == before[image.file_name].error_type


def test_the_command_counts_the_same_images_as_the_page(start: Start, tmp_path: Path) -> None:
    write_bundle(own_inputs(), tmp_path / "bundle")
    num_problematic = sum(is_problematic for *_, is_problematic in IMAGES)
    rows = [f"{name.decode()},0\n" for name in own_inputs().labels.names]
    with start(evidence={"mine": [str(tmp_path / "bundle")]}) as running:
        environment = {"ERRATA_SERVER": running.addresses.grpc, "HOME": str(tmp_path)}
        analysis = running.client.upload(io.BytesIO(("file_name,top1\n" + "".join(rows)).encode()), "mine").name

        for options, query, expected in (
            ([], "", len(IMAGES) - num_problematic),
            (["--problematic", "include"], "?problematic=include", len(IMAGES)),
            (["--problematic", "only"], "?problematic=only", num_problematic),
        ):
            listed = json.loads(run_command(["images", analysis, *options, "--json"], environment).stdout)
            counts = listed["facets"]["error_types"]["counts"]
            page = request(running, f"/{analysis}/images{query}").text
            assert listed["total_size"] == sum(count["num_images"] for count in counts) == expected, options
            assert f"Images 1 to {expected} of {expected}" in page, query


@pytest.mark.parametrize(
    "conditions",
    [
        {"error_type": "bad"},
        {"target": "no such class"},
        {"predicted": "crane"},
        {"superclass": "x" * 1000},
        {"group": "x"},
        {"min_probability": 2.0},
        {"min_probability": float("nan")},
        {"change": "fixed"},
        {"change": "\x1b"},
    ],
    ids=str,
)
def test_invalid_conditions_are_refused_with_a_short_message(
    client: Client, predictions: tuple[str, str], conditions: dict[str, object]
) -> None:
    with pytest.raises(InvalidRequest) as error:
        client.list_images(upload(client, predictions[0]), **conditions)  # type: ignore[arg-type]
    assert len(error.value.message) < 600
    assert "\x1b" not in error.value.message


def test_unknown_analyses_orders_and_page_tokens_are_refused(client: Client, predictions: tuple[str, str]) -> None:
    analysis = upload(client, predictions[0])
    with pytest.raises(AnalysisNotFound):
        client.list_images("nothing")
    with pytest.raises(InvalidRequest, match="Unknown order"):
        client.list_images(analysis, order_by="x")
    with pytest.raises(InvalidPageToken):
        client._call(client._analyses.ListImages, pb.ListImagesRequest(parent=analysis, page_token="x"))
