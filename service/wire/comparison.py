"""Messages of comparisons."""

from collections.abc import Iterable, Sequence

from errata import v1 as pb
from errata.names import dataset_name, evidence_name

from service.domain import (
    ALL,
    ERROR_TYPES,
    MULTI_LABEL_ERROR_TYPES,
    AdjustedTest,
    ChangedImage,
    ChangeRow,
    Comparison,
    Interval,
    class_name_of,
)
from service.report.messages.comparison import comparison_summary
from service.wire.names import analysis_name, by_key, to_class_index
from service.wire.slices import to_slice_change


def to_comparison(comparison: Comparison, names: Sequence[str]) -> pb.Comparison:
    """Convert a comparison; `names` are the names of the classes."""
    coverage_a, coverage_b = comparison.coverages
    return pb.Comparison(
        a=analysis_name(comparison.id_a) if comparison.id_a else "",
        b=analysis_name(comparison.id_b) if comparison.id_b else "",
        display_name_a=comparison.title_a,
        display_name_b=comparison.title_b,
        dataset=dataset_name(comparison.dataset),
        evidence=evidence_name(comparison.dataset, comparison.evidence) if comparison.evidence else "",
        abstained=[error_type.key for error_type in comparison.abstained],
        headline=comparison_summary(comparison.groups[ALL]),
        num_left_out=comparison.num_left_out,
        num_rejected_targets=comparison.num_rejected_targets,
        groups={group: _to_group(comparison, group) for group in comparison.groups},
        classes=_rows(comparison.classes.get(ALL, ())),
        superclasses=_rows(comparison.superclasses.get(ALL, ())),
        fixed=_changed_images(comparison.fixed, names),
        broken=_changed_images(comparison.broken, names),
        slices=[to_slice_change(change) for change in comparison.slices],
        attributes=comparison.attributes,
        coverage_a=coverage_a.share_of_dataset if coverage_a else None,
        coverage_b=coverage_b.share_of_dataset if coverage_b else None,
    )


def _to_group(comparison: Comparison, name: str) -> pb.GroupComparison:
    group = comparison.groups[name]
    message = pb.GroupComparison(
        num_samples=group.num_samples,
        transitions=[
            pb.Transitions(
                error_type=error_type.key,
                counts=by_key(dict(zip(ERROR_TYPES, group.transitions[error_type.position].tolist(), strict=True))),
            )
            for error_type in ERROR_TYPES
        ],
        fixed=group.fixed(),
        broken=group.broken(),
        fixed_by_type=by_key({error_type: group.fixed(error_type) for error_type in MULTI_LABEL_ERROR_TYPES}),
        broken_by_type=by_key({error_type: group.broken(error_type) for error_type in MULTI_LABEL_ERROR_TYPES}),
        top1_fixed=group.top1_fixed,
        top1_broken=group.top1_broken,
        tests=[
            pb.PairedTest(
                metric=f"PAIRED_METRIC_{test.metric.name}",
                only_a=test.only_a,
                only_b=test.only_b,
                p_value=test.p_value,
                significant=test.significant,
            )
            for test in group.tests.values()
        ],
        rates={metric.value: _to_interval(interval) for metric, interval in group.rates.items()},
        types={error_type.key: _to_interval(interval) for error_type, interval in group.types.items()},
        type_changes=[
            pb.TypeChange(
                error_type=change.error_type.key,
                only_a=change.only_a,
                only_b=change.only_b,
                share=_to_interval(change.share),
                test=_to_test(change.test),
            )
            for change in group.type_changes
        ],
        classes=_rows(comparison.classes.get(name, ())),
        superclasses=_rows(comparison.superclasses.get(name, ())),
    )
    if group.multi_label_accuracies is not None:
        message.multi_label_accuracy_a, message.multi_label_accuracy_b = group.multi_label_accuracies
    if group.multi_label_accuracy is not None:
        message.multi_label_accuracy.CopyFrom(_to_interval(group.multi_label_accuracy))
    if group.accuracy_against_labels is not None:
        message.accuracy_against_labels.CopyFrom(_to_interval(group.accuracy_against_labels))
    return message


def _to_interval(interval: Interval) -> pb.Interval:
    return pb.Interval(a=interval.a, b=interval.b, difference=interval.difference, low=interval.low, high=interval.high)


def _to_test(test: AdjustedTest) -> pb.AdjustedTest:
    return pb.AdjustedTest(p_value=test.p_value, adjusted_p_value=test.adjusted_p_value, significant=test.significant)


def _rows(rows: Iterable[ChangeRow]) -> list[pb.ChangeRow]:
    return [
        pb.ChangeRow(
            display_name=row.name,
            class_index=row.class_index,
            num_samples=row.num_samples,
            fixed=row.fixed,
            broken=row.broken,
            errors=_to_interval(row.errors),
            test=_to_test(row.test),
        )
        for row in rows
    ]


def _changed_images(changed_images: Iterable[ChangedImage], names: Sequence[str]) -> list[pb.ChangedImage]:
    return [
        pb.ChangedImage(
            file_name=image.file_name,
            target=image.target,
            target_name=names[image.target],
            effective_target=image.effective_target,
            effective_target_name=names[image.effective_target],
            predicted_a=to_class_index(image.predicted_a),
            predicted_a_name=class_name_of(names, image.predicted_a),
            predicted_b=to_class_index(image.predicted_b),
            predicted_b_name=class_name_of(names, image.predicted_b),
            error_type_a=image.type_a.key,
            error_type_b=image.type_b.key,
        )
        for image in changed_images
    ]
