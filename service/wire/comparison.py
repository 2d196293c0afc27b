"""Comparisons on the wire."""

from collections.abc import Iterable

from errata.v1 import errata_pb2 as pb

from service.domain import (
    ERROR_TYPES,
    MULTI_LABEL_ERROR_TYPES,
    ChangedImage,
    ChangeRow,
    Comparison,
    Group,
    GroupComparison,
    Interval,
)
from service.report.messages.comparison import comparison_summary
from service.taxonomy.classes import class_names
from service.wire.names import analysis_name, by_name


def to_comparison(found: Comparison) -> pb.Comparison:
    """Return the message of a comparison."""
    return pb.Comparison(
        a=analysis_name(found.id_a) if found.id_a else "",
        b=analysis_name(found.id_b) if found.id_b else "",
        display_name_a=found.title_a,
        display_name_b=found.title_b,
        dataset=found.dataset,
        evidence=found.evidence,
        abstained=[pb.ErrorType.Name(item) for item in found.abstained],
        verdict=comparison_summary(found.groups[Group.ALL]),
        num_left_out=found.num_left_out,
        groups={group.value: _group(each) for group, each in found.groups.items()},
        classes=_rows(found.classes),
        superclasses=_rows(found.superclasses),
        fixed=_changed_images(found.fixed),
        broken=_changed_images(found.broken),
    )


def _group(found: GroupComparison) -> pb.GroupComparison:
    message = pb.GroupComparison(
        num_samples=found.num_samples,
        transitions=[
            pb.Transitions(
                error_type=pb.ErrorType.Name(error_type_),
                counts=by_name(dict(zip(ERROR_TYPES, found.transitions[error_type_ - 1].tolist(), strict=True))),
            )
            for error_type_ in ERROR_TYPES
        ],
        fixed=found.fixed(),
        broken=found.broken(),
        fixed_by_type=by_name({type_: found.fixed(type_) for type_ in MULTI_LABEL_ERROR_TYPES}),
        broken_by_type=by_name({type_: found.broken(type_) for type_ in MULTI_LABEL_ERROR_TYPES}),
        top1_fixed=found.top1_fixed,
        top1_broken=found.top1_broken,
        tests=[
            pb.PairedTest(
                metric=f"PAIRED_METRIC_{test.metric.name}",
                only_a=test.only_a,
                only_b=test.only_b,
                p_value=test.p_value,
                significant=test.significant,
            )
            for test in found.tests.values()
        ],
        rates={question.value: _interval(each) for question, each in found.rates.items()},
        types={each.name: _interval(interval) for each, interval in found.types.items()},
    )
    if found.multi_label_accuracy is not None:
        message.multi_label_accuracy.CopyFrom(_interval(found.multi_label_accuracy))
    return message


def _interval(found: Interval) -> pb.Interval:
    return pb.Interval(a=found.a, b=found.b, difference=found.difference, low=found.low, high=found.high)


def _rows(rows: Iterable[ChangeRow]) -> list[pb.ChangeRow]:
    return [
        pb.ChangeRow(
            name=row.name,
            class_index=row.class_index,
            num_samples=row.num_samples,
            fixed=row.fixed,
            broken=row.broken,
            errors=_interval(row.errors),
        )
        for row in rows
    ]


def _changed_images(flips: Iterable[ChangedImage]) -> list[pb.ChangedImage]:
    names = class_names()
    return [
        pb.ChangedImage(
            file_name=flip.file_name,
            target=flip.target,
            target_name=names[flip.target],
            predicted_a=flip.predicted_a,
            predicted_a_name=names[flip.predicted_a],
            predicted_b=flip.predicted_b,
            predicted_b_name=names[flip.predicted_b],
            error_type_a=pb.ErrorType.Name(flip.type_a),
            error_type_b=pb.ErrorType.Name(flip.type_b),
        )
        for flip in flips
    ]
