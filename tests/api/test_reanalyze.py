"""Reanalysis: the same predictions judged with two bundles of a data set."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from errata import Client, errors, pb

from service.bootstrap.build import Inputs, build_evidence
from service.evidence.bundle import Bundle

from .conftest import Running, start_service


@pytest.fixture(scope="module")
def coarse_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle of the 20 photographs with two superclasses: animals, and all other classes."""
    folder = tmp_path_factory.mktemp("alike")
    (folder / "superclasses.json").write_text('{"everything": [["entity"]]}\n')
    return build_evidence("demo", Inputs(superclasses=folder / "superclasses.json"), folder / "bundle")


@pytest.fixture(scope="module")
def fine_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle of the 20 photographs without common superclasses."""
    folder = tmp_path_factory.mktemp("apart")
    (folder / "superclasses.json").write_text('{"nothing": [["no_such_lemma"]]}\n')
    return build_evidence("demo", Inputs(superclasses=folder / "superclasses.json"), folder / "bundle")


@pytest.fixture(scope="module")
def service(
    coarse_bundle: Bundle, fine_bundle: Bundle, data_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """A service with both bundles; the first is the default."""
    with start_service(
        data_dir, tmp_path_factory.mktemp("archive"), **evidence_setting(fine_bundle, coarse_bundle)
    ) as service:
        yield service


def evidence_setting(*bundles: Bundle) -> dict[str, object]:
    return {"evidence": {"demo": [str(bundle.path) for bundle in bundles]}}


def name_of(bundle: Bundle) -> str:
    return f"datasets/demo/evidence/{bundle.digest}"


def upload(client: Client, demo_csv: bytes, **fields: str) -> pb.Analysis:
    return client.upload(io.BytesIO(demo_csv), "demo", **fields)


def types(client: Client, name: str) -> list[int]:
    return [verdict.error_type for verdict in client.verdicts(name)]


def test_the_catalog_lists_all_bundles_of_a_data_set_the_default_first(
    service: Running, fine_bundle: Bundle, coarse_bundle: Bundle, demo: Bundle
) -> None:
    digests = [item.digest for item in service.client.evidence_bundles("demo")]
    assert digests[:2] == [fine_bundle.digest, coarse_bundle.digest]
    assert demo.digest in digests[2:]  # bundles in the data folder are served too
    assert service.client.evidence("demo").digest == fine_bundle.digest
    assert service.client.evidence("demo", coarse_bundle.digest[:10]).digest == coarse_bundle.digest


def test_an_upload_can_select_a_bundle(service: Running, coarse_bundle: Bundle, demo_csv: bytes) -> None:
    analysis = upload(service.client, demo_csv, evidence=coarse_bundle.digest[:12])

    assert analysis.evidence == name_of(coarse_bundle)
    assert types(service.client, analysis.name) == ["fine_grained"] * 2 + ["correct"] * 18


def test_another_bundle_gives_other_verdicts(
    service: Running, fine_bundle: Bundle, coarse_bundle: Bundle, demo_csv: bytes
) -> None:
    before = upload(service.client, demo_csv, display_name="mine", labels={"version": "3"})

    after = service.client.reanalyze(before.name, coarse_bundle.digest[:12])

    assert after.name != before.name
    assert (before.evidence, after.evidence) == (name_of(fine_bundle), name_of(coarse_bundle))
    assert after.predictions_digest == before.predictions_digest
    assert (after.state, after.display_name, dict(after.labels)) == (
        pb.Analysis.STATE_SUCCEEDED,
        "mine",
        {"version": "3"},
    )
    assert "fine_grained" not in types(service.client, before.name)
    assert types(service.client, after.name)[:2] == ["fine_grained"] * 2
    assert after.summary.groups["all"].counts["fine_grained"] == 2
    assert after.summary.groups["all"].top1_errors == before.summary.groups["all"].top1_errors == 2
    assert [verdict.predicted for verdict in service.client.verdicts(after.name)] == [
        verdict.predicted for verdict in service.client.verdicts(before.name)
    ]


def test_a_reanalysis_does_not_change_the_original(service: Running, coarse_bundle: Bundle, demo_csv: bytes) -> None:
    before = upload(service.client, demo_csv)
    verdicts = types(service.client, before.name)

    after = service.client.reanalyze(before.name, coarse_bundle.digest)

    assert service.client.get(before.name) == before
    assert types(service.client, before.name) == verdicts
    assert service.client.get(after.name) == after
    assert {before.name, after.name} <= {item.name for item in service.client.list()}


def test_reanalyzing_twice_gives_the_original_summary(
    service: Running, fine_bundle: Bundle, coarse_bundle: Bundle, demo_csv: bytes
) -> None:
    before = upload(service.client, demo_csv)

    back = service.client.reanalyze(
        service.client.reanalyze(before.name, coarse_bundle.digest).name, fine_bundle.digest
    )

    assert back.summary == before.summary
    assert types(service.client, back.name) == types(service.client, before.name)


def test_a_reanalysis_uses_the_default_bundle_without_a_digest(
    service: Running, fine_bundle: Bundle, coarse_bundle: Bundle, demo_csv: bytes
) -> None:
    before = upload(service.client, demo_csv, evidence=coarse_bundle.digest)

    assert service.client.reanalyze(before.name).evidence == name_of(fine_bundle)


def test_the_name_of_a_bundle_of_another_data_set_is_rejected(service: Running, demo_csv: bytes) -> None:
    before = upload(service.client, demo_csv)

    with pytest.raises(errors.InvalidRequest, match="is not of the data set 'demo'"):
        service.client.reanalyze(before.name, "datasets/imagenet-real/evidence/default")


def test_the_report_and_explanations_use_the_new_bundle(
    service: Running, coarse_bundle: Bundle, demo_csv: bytes
) -> None:
    after = service.client.reanalyze(upload(service.client, demo_csv).name, coarse_bundle.digest)

    explained = service.client.explain(after.name, coarse_bundle.judged_names[0])

    assert [shared_superclass.superclasses for shared_superclass in explained.evidence.shared_superclasses] == [
        ["everything"]
    ]
    assert coarse_bundle.digest in service.client.report(after.name).decode()


def test_a_model_is_reanalyzed_without_running_it(service: Running, fine_bundle: Bundle, coarse_bundle: Bundle) -> None:
    queued = service.client.analyze("demo:efficientnet_lite0", "demo")
    before = [*service.client.watch(queued.name)][-1]
    service.gate.clear()  # models are blocked

    after = service.client.reanalyze(before.name, coarse_bundle.digest)
    service.gate.set()

    assert (before.evidence, after.evidence) == (name_of(fine_bundle), name_of(coarse_bundle))
    assert after.model == before.model
    assert after.model_info == before.model_info
    assert after.predictions_digest == before.predictions_digest


def test_a_request_id_makes_a_reanalysis_idempotent(
    service: Running, fine_bundle: Bundle, coarse_bundle: Bundle, demo_csv: bytes
) -> None:
    before = upload(service.client, demo_csv)
    first = service.client.reanalyze(before.name, coarse_bundle.digest, request_id="again-1")

    assert service.client.reanalyze(before.name, coarse_bundle.digest, request_id="again-1") == first
    assert first.request_id == "again-1"
    with pytest.raises(errors.AlreadyExists):
        service.client.reanalyze(before.name, fine_bundle.digest, request_id="again-1")
    with pytest.raises(errors.AlreadyExists):
        service.client.reanalyze(first.name, coarse_bundle.digest, request_id="again-1")


def test_the_request_id_of_an_upload_is_not_valid_for_a_reanalysis(
    service: Running, coarse_bundle: Bundle, demo_csv: bytes
) -> None:
    before = upload(service.client, demo_csv, request_id="again-2")

    with pytest.raises(errors.AlreadyExists):
        service.client.reanalyze(before.name, coarse_bundle.digest, request_id="again-2")


def test_the_request_id_of_a_reanalysis_is_not_valid_for_an_upload(
    service: Running, coarse_bundle: Bundle, demo_csv: bytes
) -> None:
    service.client.reanalyze(upload(service.client, demo_csv).name, coarse_bundle.digest, request_id="again-3")

    with pytest.raises(errors.AlreadyExists):
        upload(service.client, demo_csv, request_id="again-3")


def test_a_request_id_can_be_reused_after_deletion(
    service: Running, fine_bundle: Bundle, coarse_bundle: Bundle, demo_csv: bytes
) -> None:
    before = upload(service.client, demo_csv)
    first = service.client.reanalyze(before.name, coarse_bundle.digest, request_id="again-4")
    service.client.delete(first.name)

    again = service.client.reanalyze(before.name, fine_bundle.digest, request_id="again-4")

    assert again.name != first.name


@pytest.mark.parametrize("digest", ["ffff", "x", "../..", "0" * 64])
def test_an_unknown_bundle_is_not_found(service: Running, digest: str, demo_csv: bytes) -> None:
    name = upload(service.client, demo_csv).name

    with pytest.raises(errors.EvidenceNotFound):
        service.client.reanalyze(name, digest)


def test_a_reanalysis_of_an_unknown_analysis_is_not_found(service: Running, coarse_bundle: Bundle) -> None:
    with pytest.raises(errors.AnalysisNotFound):
        service.client.reanalyze("analyses/nosuch", coarse_bundle.digest)


def test_an_unfinished_analysis_is_not_ready(start, coarse_bundle: Bundle, fine_bundle: Bundle) -> None:
    with start(open_gate=False, **evidence_setting(fine_bundle, coarse_bundle)) as service:
        name = service.client.analyze("demo:efficientnet_lite0", "demo").name

        with pytest.raises(errors.NotReady):
            service.client.reanalyze(name, coarse_bundle.digest)
        service.client.cancel(name)
        with pytest.raises(errors.NotReady):
            service.client.reanalyze(name, coarse_bundle.digest)
        service.gate.set()


@pytest.mark.parametrize(("images", "others", "numbers"), [("abc", "ab", r" \(2 and 3 images\)"), ("ab", "xy", "")])
def test_a_bundle_of_other_images_is_rejected(start, tmp_path: Path, images: str, others: str, numbers: str) -> None:
    """The bundles have the same data set name but different images."""
    bundles = []
    for name, letters in (("first", images), ("second", others)):
        file = tmp_path / f"{name}.csv"
        file.write_text("file_name,labels\n" + "".join(f"{letter}.jpg,1\n" for letter in letters))
        bundles.append(build_evidence("mine", Inputs(labels=file), tmp_path / name))
    with start(evidence={"mine": [str(bundle.path) for bundle in bundles]}) as service:
        rows = "file_name,top1\n" + "".join(f"{letter}.jpg,{top1}\n" for top1, letter in enumerate(images, 1))
        name = service.client.upload(io.BytesIO(rows.encode()), "mine").name

        with pytest.raises(errors.InvalidRequest, match=rf"has other images than analysis \w+{numbers}\. Use"):
            service.client.reanalyze(name, bundles[1].digest)
