"""ComputeBreakdown, compared with the verdicts of the same service."""

import io
from collections import Counter

import pytest
from errata import Client, errors, pb

from service.domain import ERROR_TYPES
from service.evidence.bundle import Bundle
from service.taxonomy.imagenet_1k import imagenet_1k

NAMES = [error_type.key for error_type in ERROR_TYPES]


@pytest.fixture(scope="module")
def analysis(running, demo_csv: bytes) -> pb.Analysis:
    return running.client.upload(io.BytesIO(demo_csv), "demo")


def counts_of(verdicts: list[pb.Verdict]) -> dict[str, int]:
    counter = Counter(verdict.error_type for verdict in verdicts)
    return {name: counter[name] for name in NAMES}


def test_each_class_with_samples_has_a_row_in_ascending_order(client: Client, analysis: pb.Analysis) -> None:
    rows = client.breakdown(analysis.name).rows

    verdicts = [*client.verdicts(analysis.name)]
    targets = sorted({verdict.target for verdict in verdicts})
    assert [row.class_index for row in rows] == targets
    assert [row.display_name for row in rows] == [imagenet_1k().names[target] for target in targets]
    for row in rows:
        own = [verdict for verdict in verdicts if verdict.target == row.class_index]
        right = sum(item.error_type in ("correct", "class_overlap", "multi_label") for item in own)
        assert row.num_samples == len(own)
        assert dict(row.counts) == counts_of(own)
        assert row.multi_label_accuracy == pytest.approx(right / len(own))


def test_each_superclass_has_a_row_with_its_targets(client: Client, analysis: pb.Analysis, demo: Bundle) -> None:
    rows = client.breakdown(analysis.name, pb.BREAKDOWN_BY_SUPERCLASS).rows

    verdicts = [*client.verdicts(analysis.name)]
    assert [row.display_name for row in rows] == list(demo.manifest.superclasses)
    for row in rows:
        members = demo.label_space.superclasses.mask(row.display_name)
        own = [verdict for verdict in verdicts if members[verdict.target]]
        assert not row.HasField("class_index")
        assert row.num_samples == len(own)
        assert dict(row.counts) == counts_of(own)
        assert row.HasField("multi_label_accuracy") == bool(own)


def test_the_gains_of_all_classes_add_up_to_the_total_gain(client: Client, analysis: pb.Analysis) -> None:
    rows = client.breakdown(analysis.name).rows

    everything = analysis.summary.groups["all"]
    assert set(everything.gain_if_fixed_top1) == set(everything.gain_if_fixed_multi_label) == set(NAMES[1:])
    assert sum(everything.gain_if_fixed_top1.values()) == pytest.approx(2 / 20)
    for name in NAMES[1:]:
        assert sum(row.gain_if_fixed_top1[name] for row in rows) == pytest.approx(everything.gain_if_fixed_top1[name])
        assert sum(row.gain_if_fixed_multi_label[name] for row in rows) == pytest.approx(
            everything.gain_if_fixed_multi_label[name]
        )


def test_the_default_breakdown_is_by_class(client: Client, analysis: pb.Analysis) -> None:
    assert client.breakdown(analysis.name, pb.BREAKDOWN_BY_UNSPECIFIED) == client.breakdown(analysis.name)


def test_a_breakdown_with_an_unknown_grouping_or_analysis_is_rejected(client: Client, analysis: pb.Analysis) -> None:
    with pytest.raises(errors.InvalidRequest):
        client.breakdown(analysis.name, 99)
    with pytest.raises(errors.AnalysisNotFound):
        client.breakdown("analyses/nosuch")


def test_an_open_analysis_has_no_breakdown(start) -> None:
    with start(open_gate=False) as service:
        name = service.client.analyze("demo:efficientnet_lite0", "demo").name

        with pytest.raises(errors.NotReady):
            service.client.breakdown(name)
        service.gate.set()
