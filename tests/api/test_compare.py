"""Comparisons, gates, and trends."""

import io
import re
from pathlib import Path

import pytest
from demo_predictions import predictions_csv
from errata import Client, errors, pb
from running_service import MODEL, Start

from service.evidence.bundle import Bundle

MET = "version: 1\nmin_samples: 10\nbounds:\n  - {measure: count, types: MODEL_FAILURE, max: 2}\n"
NOT_MET = MET.replace("max: 2", "max: 1")
CHANGE = "version: 1\nmin_samples: 10\nbounds:\n  - {measure: top1_error_rate, max_increase: 0}\n"


def predictions(demo: Bundle, wrong: int) -> io.BytesIO:
    """Return predictions for the photographs; the first `wrong` predictions are class 0, which is always an error."""
    return io.BytesIO(predictions_csv(demo, wrong).encode())


@pytest.fixture(scope="module")
def pair(running, demo: Bundle) -> tuple[pb.Analysis, pb.Analysis]:
    """A has errors on 5 photographs, and B on the first 2 of them."""
    upload = running.client.upload
    return upload(predictions(demo, 5), "demo", display_name="A"), upload(
        predictions(demo, 2), "demo", display_name="B"
    )


def test_a_comparison_has_the_changed_images(client: Client, pair: tuple[pb.Analysis, pb.Analysis]) -> None:
    a, b = pair

    result = client.compare(a.name, b.name)

    everything = result.groups["all"]
    assert (result.a, result.b, result.display_name_a, result.dataset) == (a.name, b.name, "A", "datasets/demo")
    assert (everything.num_samples, everything.fixed, everything.broken) == (20, 3, 0)
    assert everything.transitions[7].counts["correct"] == 3
    assert sum(sum(row.counts.values()) for row in everything.transitions) == 20
    assert [(test.metric, test.only_a, test.only_b) for test in everything.tests] == [
        (pb.PAIRED_METRIC_TOP1, 0, 3),
        (pb.PAIRED_METRIC_MULTI_LABEL, 0, 3),
        (pb.PAIRED_METRIC_SEVERE, 3, 0),
    ]
    assert everything.tests[0].p_value == pytest.approx(0.25)  # 2 / 2 ** 3
    assert everything.rates["top1"].difference == pytest.approx(0.15)
    assert len(result.fixed) == 3 and not result.broken
    assert {item.error_type_b for item in result.fixed} == {"correct"}
    assert result.headline == "fixes 3 images, breaks 0 images; severe errors: no significant change, p = 0.25"


def test_an_analysis_has_no_difference_from_itself(client: Client, pair: tuple[pb.Analysis, pb.Analysis]) -> None:
    result = client.compare(pair[0].name, pair[0].name)

    assert not result.fixed and not result.broken and not result.classes and not result.superclasses
    for group in result.groups.values():
        assert group.fixed == group.broken == group.top1_fixed == group.top1_broken == 0
        assert all(test.p_value == 1 and not test.significant for test in group.tests)
        assert all(interval.low == interval.high == interval.difference == 0 for interval in group.rates.values())
        assert all(interval.low < interval.difference == 0 < interval.high for interval in group.types.values())
        assert not group.type_changes and not group.classes and not group.superclasses
    assert result.headline == "fixes 0 images, breaks 0 images; severe errors: no change"


def test_the_number_of_changed_images_is_limited(client: Client, pair: tuple[pb.Analysis, pb.Analysis]) -> None:
    result = client.compare(pair[0].name, pair[1].name, max_images=1)

    assert len(result.fixed) == 1 and result.groups["all"].fixed == 3


def test_other_data_sets_and_open_analyses_are_rejected(start: Start, demo: Bundle) -> None:
    with start(open_gate=False) as service:
        client = service.client
        done = client.upload(predictions(demo, 1), "demo")
        real = client.upload(io.BytesIO(b"file_name,top1\n" + _all_images()), "imagenet-real")
        with pytest.raises(errors.NotComparable, match="imagenet-real"):
            client.compare(done.name, real.name)
        waiting = client.analyze(MODEL, "demo")
        with pytest.raises(errors.NotReady):
            client.compare(done.name, waiting.name)
        with pytest.raises(errors.AnalysisNotFound):
            client.compare(done.name, "analyses/0000")
        service.gate.set()


def _all_images() -> bytes:
    return "".join(f"ILSVRC2012_val_{number:08}.JPEG,1\n" for number in range(1, 50_001)).encode()


def test_a_comparison_has_a_report(client: Client, pair: tuple[pb.Analysis, pb.Analysis]) -> None:
    html = client.comparison_report(pair[0].name, pair[1].name).decode()

    assert html.startswith("<!doctype html>")
    assert "B, compared with A: fixes 3 images, breaks 0 images" in html


def test_each_group_has_its_changes_with_adjusted_p_values(
    client: Client, pair: tuple[pb.Analysis, pb.Analysis]
) -> None:
    result = client.compare(pair[0].name, pair[1].name)

    everything = result.groups["all"]
    assert list(result.classes) == list(everything.classes) and list(result.superclasses) == list(
        everything.superclasses
    )
    (change,) = everything.type_changes
    assert (change.error_type, change.only_a, change.only_b) == ("model_failure", 3, 0)
    assert (change.test.p_value, change.test.adjusted_p_value, change.test.significant) == (0.25, 0.25, False)
    assert sum(row.fixed for row in everything.classes) == 3
    for group in result.groups.values():
        assert sum(row.fixed for row in group.classes) == group.fixed
        assert all(row.test.p_value <= row.test.adjusted_p_value <= 1 for row in group.classes)


@pytest.mark.parametrize(("policy", "decision"), [(MET, "PASS"), (NOT_MET, "UNDECIDED")])  # 2 is an upper bound
def test_a_gate_decides_by_its_bounds(
    client: Client, pair: tuple[pb.Analysis, pb.Analysis], policy: str, decision: str
) -> None:
    result = client.gate(pair[1].name, policy)

    assert pb.GateDecision.Name(result.decision) == f"GATE_DECISION_{decision}"
    assert (result.analysis, result.policy, result.baseline) == (pair[1].name, "gate", "")
    (_, reason) = result.reasons
    assert (reason.bound, reason.measure, reason.value, reason.limit) == (
        "bound 1",
        "count",
        2,
        2 if policy == MET else 1,
    )
    assert "Number of model failures is 2" in reason.message
    assert "The value is an upper bound" in reason.message


def test_a_gate_fails_on_an_exact_value_over_its_limit(client: Client, pair: tuple[pb.Analysis, pb.Analysis]) -> None:
    policy = "version: 1\nmin_samples: 10\nbounds:\n  - {measure: multi_label_error_rate, max: 0.09}\n"

    assert client.gate(pair[1].name, policy).decision == pb.GATE_DECISION_FAIL  # 2 of 20


def test_changes_are_tested_against_the_baseline(client: Client, pair: tuple[pb.Analysis, pb.Analysis]) -> None:
    better = client.gate(pair[1].name, CHANGE, pair[0].name)
    worse = client.gate(pair[0].name, CHANGE, pair[1].name)
    unsure = client.gate(pair[0].name, CHANGE.replace("max_increase: 0", "max_increase: 0, alpha: 0.05"), pair[1].name)

    assert (better.decision, worse.decision) == (pb.GATE_DECISION_PASS, pb.GATE_DECISION_FAIL)
    assert worse.reasons[1].p_value == pytest.approx(0.25)
    assert (worse.reasons[1].value, worse.reasons[1].baseline_value) == (0.25, 0.1)
    assert unsure.decision == pb.GATE_DECISION_PASS  # not significant
    with pytest.raises(errors.InvalidRequest, match="baseline") as refused:
        client.gate(pair[1].name, CHANGE)
    assert refused.value.violations[0].field == "baseline"


def test_an_analysis_can_have_a_policy(client: Client, demo: Bundle, pair: tuple[pb.Analysis, pb.Analysis]) -> None:
    own = client.upload(predictions(demo, 3), "demo", gate_policy=CHANGE, gate_baseline=pair[1].name)

    assert client.gate(own.name).decision == pb.GATE_DECISION_FAIL
    assert client.gate(own.name, MET.replace("max: 2", "max: 3")).decision == pb.GATE_DECISION_PASS
    with pytest.raises(errors.InvalidRequest, match="No policy to evaluate"):
        client.gate(pair[0].name)


def test_an_invalid_policy_is_rejected_before_judging(client: Client, demo: Bundle) -> None:
    before = len([*client.list()])
    with pytest.raises(errors.InvalidPolicy) as refused:
        client.upload(predictions(demo, 3), "demo", gate_policy="version: 1\nbounds:\n  - {measure: rates, max: 1}\n")
    assert [(violation.field, violation.line) for violation in refused.value.violations] == [("bounds[0].measure", 3)]
    with pytest.raises(errors.InvalidRequest, match="baseline"):
        client.upload(predictions(demo, 3), "demo", gate_policy=CHANGE)
    with pytest.raises(errors.InvalidRequest, match="policy"):
        client.upload(predictions(demo, 3), "demo", gate_baseline="analyses/1")
    assert len([*client.list()]) == before


def test_an_open_analysis_is_pending_and_a_canceled_one_is_an_error(start: Start, demo: Bundle) -> None:
    with start(open_gate=False) as service:
        client = service.client
        done = client.upload(predictions(demo, 1), "demo")
        waiting = client.analyze(MODEL, "demo", gate_policy=MET)
        waiting_id = waiting.name.removeprefix("analyses/")

        def assert_result(result: pb.GateResult, decision: pb.GateDecision, message: str) -> None:
            assert result.decision == decision
            assert [reason.message for reason in result.reasons] == [message]

        pending, error = pb.GATE_DECISION_PENDING, pb.GATE_DECISION_ERROR
        assert_result(client.gate(waiting.name), pending, f"The analysis {waiting_id} is not finished.")
        after = client.gate(done.name, CHANGE, waiting.name)
        assert_result(after, pending, f"The baseline {waiting_id} is not finished.")
        client.cancel(waiting.name)
        service.gate.set()
        assert_result(client.gate(waiting.name), error, f"The analysis {waiting_id} was canceled.")


def test_a_trend_has_the_percentiles_of_models(client: Client, pair: tuple[pb.Analysis, pb.Analysis]) -> None:
    result = client.trend(pb.ComputeTrendRequest(analyses=[pair[0].name, pair[1].name]))

    assert result.dataset == "datasets/demo" and result.evidence == pair[0].evidence
    assert [(model.analysis, model.requested) for model in result.models[:2]] == [
        (pair[0].name, True),
        (pair[1].name, True),
    ]
    assert [model.top1_accuracy for model in result.models[:2]] == [0.75, 0.9]
    assert {metric.metric: metric.portion_of for metric in result.metrics}["model_failure"] == "multi_label_errors"
    assert result.models[0].values["model_failure"] == 1
    assert "fine_grained_oov" not in result.models[0].values, "a rule that abstained says nothing, which isn't 0"
    ranks = result.models[0].percentile_ranks  # analyses of other tests are too few reference models
    assert not any(rank.HasField("percentile") for rank in ranks) and all(rank.message for rank in ranks)
    assert not result.bands and result.num_published == 0
    assert any("No published models" in note for note in result.notes)
    assert list(result.abstained) == ["fine_grained_oov", "non_prototypical"]
    assert sum("upper bound" in note for note in result.notes) == 2


def test_a_trend_groups_models_by_a_label(client: Client, demo: Bundle) -> None:
    names = [
        client.upload(predictions(demo, wrong), "demo", labels={"team": team}).name
        for team, wrong in (("red", 4), ("red", 6), ("red", 7), ("blue", 8))
    ]
    result = client.trend(pb.ComputeTrendRequest(analyses=names, by="team"))

    assert {model.label for model in result.models if model.requested} == {"red", "blue"}
    fits = {(fit.label, fit.metric): fit for fit in result.fits}
    red = fits["red", "model_failure"]
    assert red.num_models == 3 and not red.HasField("r_squared")  # all values are 1
    assert not fits["blue", "model_failure"].HasField("slope")


def test_a_trend_has_one_point_for_each_version_of_a_model(client: Client, demo: Bundle) -> None:
    """Uploads without labels are the same version if their predictions are equal."""
    versions = [("1", 1), ("1", 2), ("2", 3)]
    names = [
        client.upload(predictions(demo, wrong), "demo", labels={"model": "net", "version": version}).name
        for version, wrong in versions
    ]
    twice = [client.upload(predictions(demo, 11), "demo", display_name=name, fresh=True).name for name in ("x", "y")]

    result = client.trend(pb.ComputeTrendRequest(dataset="demo"))

    counts = {model.analysis: model.num_analyses for model in result.models}
    assert {name: counts.get(name) for name in (*names, *twice)} == dict(
        zip((*names, *twice), (None, 2, 1, None, 2), strict=True)
    )
    assert any(
        note.endswith("The trend shows the newest of them, or those that you selected.") for note in result.notes
    )
    selected = client.trend(pb.ComputeTrendRequest(analyses=[names[0]]))
    counts = {model.analysis: model.num_analyses for model in selected.models}
    assert (counts[names[0]], counts.get(names[1])) == (2, None)


def test_analyses_of_several_data_sets_have_no_trend(client: Client, pair: tuple[pb.Analysis, pb.Analysis]) -> None:
    with pytest.raises(errors.NotComparable):
        client.trend(pb.ComputeTrendRequest(analyses=[pair[0].name], dataset="imagenet-real"))
    with pytest.raises(errors.InvalidUpload) as refused:
        client.trend(pb.ComputeTrendRequest(analyses=[pair[0].name], reference=b"model,accuracy\nx,1\n"))
    assert refused.value.violations[0].line == 1
    with pytest.raises(errors.DatasetNotFound):
        client.trend(pb.ComputeTrendRequest(dataset="nothing"))


def test_a_trend_without_a_data_set_is_of_the_one_with_the_most_analyses(
    client: Client, pair: tuple[pb.Analysis, pb.Analysis]
) -> None:
    result = client.trend()

    assert result.dataset == "datasets/demo"
    assert {analysis.name for analysis in pair} & {model.analysis for model in result.models}
    assert "Error types and accuracy: demo" in client.trend_report().decode()


def test_a_trend_has_a_report(client: Client, pair: tuple[pb.Analysis, pb.Analysis]) -> None:
    html = client.trend_report(pb.ComputeTrendRequest(analyses=[pair[0].name])).decode()

    assert "Error types and accuracy: demo" in html
    assert len(re.findall("<svg", html)) >= 1


def test_analyses_with_different_evidence_are_not_comparable_until_reanalyzed(
    start: Start, demo: Bundle, tmp_path: Path
) -> None:
    from service.bootstrap.build import Inputs, build_evidence

    labels = tmp_path / "labels.csv"
    labels.write_text("file_name,labels\na.jpg,1\nb.jpg,2\n")
    one = build_evidence("own", Inputs(labels=labels), tmp_path / "one")
    grouping = tmp_path / "superclasses.json"
    grouping.write_text('{"fish": [["fish"]]}\n')
    other = build_evidence("own", Inputs(labels=labels, superclasses=grouping), tmp_path / "other")
    file = b"file_name,top1\na.jpg,1\nb.jpg,3\n"
    with start(evidence={"own": [str(one.path), str(other.path)]}) as service:
        client = service.client
        a = client.upload(io.BytesIO(file), "own")
        b = client.upload(io.BytesIO(file), "own", evidence=other.digest)
        with pytest.raises(
            errors.NotComparable,
            match=f"Judge them with the same evidence: 'errata reanalyze {b.name.removeprefix('analyses/')} --evidence",
        ):
            client.compare(a.name, b.name)
        with pytest.raises(errors.NotComparable):
            client.trend(pb.ComputeTrendRequest(analyses=[a.name, b.name]))
        gate = client.gate(b.name, CHANGE.replace("min_samples: 10", "min_samples: 1"), a.name)
        assert gate.decision == pb.GATE_DECISION_UNDECIDED
        assert "other evidence" in gate.reasons[1].message
        again = client.reanalyze(b.name, a.evidence)
        assert client.compare(a.name, again.name).groups["all"].num_samples == 2
        assert client.trend(pb.ComputeTrendRequest(dataset="own")).num_left_out == 1


def test_published_models_of_another_group_are_rejected(client: Client, pair: tuple[pb.Analysis, pb.Analysis]) -> None:
    header = (
        "model_dir_id,mla_all,mla_group,num_all_samples,num_group_samples,num_all_top1_errors,num_group_correct,"
        + ",".join(
            ("num_collapsed_mappings", "num_ambiguous", "num_same_superclass", "num_OOV_clip", "num_common_co_occ")
        )
    )
    header += ",num_non_prototypical,num_not_classified\n"
    whole = f"{header}m,90,90,100,100,10,90,1,2,3,1,1,1,1\n".encode()
    part = f"{header}m,90,90,100,40,10,36,1,1,1,1,0,0,0\n".encode()

    for group, good, bad in (("all", whole, part), ("organism", part, whole)):
        assert client.trend(pb.ComputeTrendRequest(analyses=[pair[0].name], group=group, reference=good)).models
        with pytest.raises(errors.InvalidUpload, match=r"file for (the group|all samples)"):
            client.trend(pb.ComputeTrendRequest(analyses=[pair[0].name], group=group, reference=bad))


@pytest.mark.parametrize("size", ["²", "9" * 200, "many", "12345"])
def test_an_unusual_label_does_not_break_a_trend(client: Client, demo: Bundle, size: str) -> None:
    odd = client.upload(predictions(demo, 2), "demo", labels={"size": size})

    assert client.trend(pb.ComputeTrendRequest(analyses=[odd.name], by="size")).models[0].label


@pytest.mark.parametrize(
    "policy",
    [
        'version: 1\nbounds: []\n"\\ud800": 1\n"\\ud800": 1\n',
        "version: 1\nbounds: []\n? " + "k" * 60_000 + "\n: 1\n",
        "version: 1\nbounds: []\n" + "".join(f"{'k' * 900}{number}: 1\n" for number in range(60)),
    ],
    ids=["no Unicode", "a long name", "many long names"],
)
def test_the_errors_of_a_policy_fit_into_a_status(
    client: Client, pair: tuple[pb.Analysis, pb.Analysis], policy: str
) -> None:
    with pytest.raises(errors.InvalidPolicy) as refused:
        client.gate(pair[0].name, policy)

    assert refused.value.violations


def test_invalid_gate_and_trend_requests_are_rejected(client: Client, demo: Bundle) -> None:
    with pytest.raises(errors.AnalysisNotFound):
        client.upload(predictions(demo, 1), "demo", gate_policy=CHANGE, gate_baseline="analyses/nope")
    with pytest.raises(errors.InvalidRequest, match="at most 256"):
        client.trend(pb.ComputeTrendRequest(dataset="demo", by="x" * 300))
    with pytest.raises(errors.InvalidRequest, match="at most 256"):
        client.trend(pb.ComputeTrendRequest(dataset="demo", owner="x" * 300))


def test_a_missing_bundle_is_reported_with_the_remedy(start: Start, tmp_path: Path) -> None:
    from service.bootstrap.build import Inputs, build_evidence

    labels = tmp_path / "labels.csv"
    labels.write_text("file_name,labels\na.jpg,1\nb.jpg,2\n")
    one = build_evidence("own", Inputs(labels=labels), tmp_path / "one")
    with start(evidence={"own": [str(one.path)]}) as service:
        old = service.client.upload(io.BytesIO(b"file_name,top1\na.jpg,1\nb.jpg,3\n"), "own")
    grouping = tmp_path / "superclasses.json"
    grouping.write_text('{"fish": [["fish"]]}\n')
    two = build_evidence("own", Inputs(labels=labels, superclasses=grouping), tmp_path / "two")
    with start(evidence={"own": [str(two.path)]}) as service:
        with pytest.raises(errors.EvidenceNotFound, match="is not served"):
            service.client.report(old.name)
        again = service.client.reanalyze(old.name, two.digest)
        assert service.client.compare(again.name, again.name).groups["all"].num_samples == 2
    with (
        start() as service,
        pytest.raises(errors.DatasetNotFound, match=rf"no evidence for .*'own'.* Add the bundle {one.digest[:12]} to"),
    ):
        service.client.report(old.name)
