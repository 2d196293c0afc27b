"""All prose about numbers: names and sentences for error types, groups, severities, sources; nowhere else."""

from collections.abc import Mapping, Sequence

from errata.messages import (
    BEST_TEXTS,
    COOCCURRENCE_NOTE,
    ERROR_TYPE_PLURALS,
    ERROR_TYPE_TITLES,
    GROUP_NAMES,
    NO_SIMILAR_NEIGHBORS,
    RANKED_TEXT,
    SIMILAR_NEIGHBORS,
    SUPERCLASS_NOTE,
    format_count,
    format_percentage,
    format_points,
    format_signed,
    pluralize,
)

from service.domain import (
    Bound,
    ErrorType,
    Fit,
    GateDecision,
    GateReason,
    Group,
    GroupComparison,
    Interval,
    Measure,
    Metric,
    NoReferenceReason,
    PairedMetric,
    PairedTest,
    PercentileRank,
    Progress,
    Severity,
    State,
    Trend,
    UndecidedReason,
)

PERMUTED = (
    "hardly any prediction is right, yet most targets have a prediction of their own: the classes seem to be numbered "
    "otherwise than ImageNet's sorted WordNet ids"
)
REORDERED = (
    "the rows make far more sense in the other order: if they are sorted otherwise, say so with row_order, "
    "path or file name"
)


def headline(
    title: str, errors: int, samples: int, noise: float, minor: float, excused: float, severe: int, bounded: bool
) -> str:
    """Return the one sentence that says what kind of mistakes a model makes; shares are of its top-1 errors."""
    images = f"{format_count(samples)} image{'s' if samples != 1 else ''}"
    if samples == 0:
        return f"{title} was judged on no images."
    if errors == 0:
        return f"{title} is right on all of {images}."
    kinds = [
        (noise, "are label noise", "label noise"),
        (minor, "are hair-splitting", "hair-splitting"),
        (excused, "have an excuse", "have an excuse"),
    ]
    present = [(value, whole, short) for value, whole, short in kinds if value]
    first = [f"{format_percentage(value)} of these errors {whole}" for value, whole, _ in present[:1]]
    parts = first + [f"{format_percentage(value)} {short}" for value, _, short in present[1:]]
    told = ", ".join(parts)
    if severe == 0:
        rest = "none is a plain failure"
    else:
        failures = "is a plain failure" if severe == 1 else "are plain failures"
        remaining = "the remaining " if told else ""
        measured = f"{format_percentage(severe / errors)} of errors, {format_percentage(severe / samples)} of images"
        rest = f"{remaining}{format_count(severe)} ({measured}) {failures}{', at most' if bounded else ''}"
    sentence = f"{told}; {rest}" if told else rest
    return f"{title} is wrong on {format_count(errors)} of {images}. {sentence[0].upper()}{sentence[1:]}."


PAIRED__METRIC_PLURALS: Mapping[Metric, str] = {
    **{Metric(each.name): plural for each, plural in ERROR_TYPE_PLURALS.items() if each > ErrorType.CORRECT},
    Metric.POOLED: "errors from out of vocabulary to model failure",
}
PAIRED_METRIC_NAMES: Mapping[PairedMetric, str] = {
    PairedMetric.TOP1: "top-1 accuracy",
    PairedMetric.MULTI_LABEL: "multi-label correctness",
    PairedMetric.SEVERE: "severe errors",
}
_SUBJECTS: Mapping[PairedMetric, tuple[str, str]] = {  # more of it, less of it
    PairedMetric.TOP1: ("more top-1 correct", "fewer top-1 correct"),
    PairedMetric.MULTI_LABEL: ("more multi-label correct", "fewer multi-label correct"),
    PairedMetric.SEVERE: ("more severe errors", "fewer severe errors"),
}


def p_text(value: float) -> str:
    """Return a p-value as it is told."""
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}" if value < 0.1 else f"p = {value:.2f}"


def verdict_of_comparison(compared: GroupComparison) -> str:
    """Return what changed from A to B, in a sentence."""
    if not compared.num_samples:
        return "there is no image that both judged"
    fixed, broken, failures = compared.fixed(), compared.broken(), compared.broken(ErrorType.MODEL_FAILURE)
    of_which = ""
    if failures:
        of_which = f", of which {pluralize(failures, 'new model failure')}"
    changed = f"fixes {format_count(fixed)}, breaks {format_count(broken)}{of_which}"
    return f"{changed}; severe errors: {_said_of(compared.tests[PairedMetric.SEVERE])}"


def test_words(test: PairedTest) -> str:
    """Return what a paired test says of the step from A to B, in a sentence."""
    more, fewer = _SUBJECTS[test.metric]
    if test.only_a == test.only_b == 0:
        return f"No image differs in {PAIRED_METRIC_NAMES[test.metric]}."
    counts = f"{pluralize(test.only_a, 'image')} in A alone, {format_count(test.only_b)} in B alone"
    if not test.significant:
        return f"No significant change in {PAIRED_METRIC_NAMES[test.metric]} ({counts}; {p_text(test.p_value)})."
    return f"B has significantly {more if test.only_b > test.only_a else fewer} ({counts}; {p_text(test.p_value)})."


def interval_words(interval: Interval) -> str:
    """Return the change from A to B with its interval."""
    low, high = format_points(-interval.high), format_points(-interval.low)
    return f"{format_points(-interval.difference)} points ({low} to {high})"


def _said_of(test: PairedTest) -> str:
    if test.only_a == test.only_b == 0:
        return "no change"
    net = test.only_b - test.only_a
    if not test.significant:
        return f"no significant change, {p_text(test.p_value)}"
    return f"{format_count(abs(net))} {'more' if net > 0 else 'fewer'}, {p_text(test.p_value)}"


_METRIC_PLURALS: Mapping[Metric, str] = {
    **{Metric(each.name): plural for each, plural in ERROR_TYPE_PLURALS.items() if each > ErrorType.CORRECT},
    Metric.POOLED: "errors from out of vocabulary to model failure",
}
_NO_REFERENCE: Mapping[NoReferenceReason, str] = {
    NoReferenceReason.DATASET: "no models are published of this data set",
    NoReferenceReason.ACCURACY: "no published model is as accurate, or as inaccurate",
    NoReferenceReason.FEW: "too few published models are near its accuracy",
    NoReferenceReason.NO_VALUE: "it has no errors",
}
OWN_SUPERCLASSES = (
    "The published models were judged with the authors' superclasses. Where this evidence has others, the places of "
    "fine-grained errors and of what comes after them are approximate."
)
NO_REFERENCE_DATASET = "No models are published of this data set, so there is no reference: nothing has a place."
NO_LABEL = "No model has a label {label}: give analyses one with --label, or add published models with --reference."
OTHER_DATASET = (
    "The published models that came along are of another data set, whose errors are of another mix: that they lie "
    "apart from these analyses says nothing of either."
)


def trend_notes(trend: Trend) -> list[str]:
    """Return what has to be known to read a trend."""
    notes = []
    if trend.curves is None:
        notes.append(NO_REFERENCE_DATASET)
        if any(not point.id for point in trend.points):
            notes.append(OTHER_DATASET)
    elif trend.own_superclasses:
        notes.append(OWN_SUPERCLASSES)
    if trend.by and not any(point.label for point in trend.points):
        notes.append(NO_LABEL.format(label=trend.by))
    if trend.num_left_out:
        notes.append(left_out(trend.num_left_out))
    return notes


def left_out(count: int) -> str:
    """Return how many stored analyses a trend doesn't show."""
    them = "1 stored analysis" if count == 1 else f"{format_count(count)} stored analyses"
    return f"{them} of this data set {'was' if count == 1 else 'were'} judged with other evidence and left out."


def place(standing: PercentileRank) -> str:
    """Return where a model stands, in a few words: "fewer spurious correlations than 83 % of models this accurate"."""
    if standing.percentile is None:
        why = _NO_REFERENCE[standing.missing or NoReferenceReason.DATASET]
        return f"no reference: {why}"
    share_lower = round(100 * standing.percentile)
    if standing.metric is Metric.MULTI_LABEL_ACCURACY:
        better, count = ("higher", share_lower) if share_lower >= 50 else ("lower", 100 - share_lower)
        return f"{better} than that of {_most(count)} of models this accurate"
    what = _METRIC_PLURALS[standing.metric]
    if share_lower < 50:
        return f"fewer {what} than {_most(100 - share_lower)} of models this accurate"
    return f"more {what} than {_most(share_lower)} of models this accurate"


def _most(percent: int) -> str:
    """Return a share in percent; quantiles end at 1 and 99."""
    return "99 %" if percent >= 99 else f"{percent} %"


DECISION_WORDS: Mapping[GateDecision, str] = {
    GateDecision.UNSPECIFIED: "unknown",
    GateDecision.PASS: "pass",
    GateDecision.FAIL: "fail",
    GateDecision.UNDECIDED: "undecided",
    GateDecision.PENDING: "pending",
    GateDecision.ERROR: "error",
}
MEASURE_WORDS: Mapping[Measure, str] = {
    Measure.TOP1_ACCURACY: "top-1 accuracy",
    Measure.MULTI_LABEL_ACCURACY: "multi-label accuracy",
    Measure.MULTI_LABEL_ACCURACY_FORGIVING_MINOR: "multi-label accuracy, minor errors forgiven",
    Measure.MULTI_LABEL_ACCURACY_FORGIVING_EXPLAINABLE: "multi-label accuracy, explainable errors forgiven",
    Measure.TOP1_ERROR_RATE: "top-1 error rate",
    Measure.MULTI_LABEL_ERROR_RATE: "multi-label error rate",
    Measure.SEVERE_ERROR_RATE: "severe error rate",
    Measure.IMAGENET_M_ERRORS: "ImageNet-M errors",
    Measure.COUNT: "number",
    Measure.RATE: "rate",
    Measure.PORTION_OF_TOP1_ERRORS: "portion of the top-1 errors",
    Measure.PORTION_OF_MULTI_LABEL_ERRORS: "portion of the multi-label errors",
}
_UNDECIDED_REASON_NAMES: Mapping[UndecidedReason, str] = {
    UndecidedReason.FEW_SAMPLES: "too few samples",
    UndecidedReason.ABSTAINED: "the rule of a bounded type had no evidence",
    UndecidedReason.OTHER_EVIDENCE: "the baseline is of another data set, or was judged with other evidence",
    UndecidedReason.WIDE_INTERVAL: "the interval of the change holds the bound",
    UndecidedReason.NO_VALUE: "there is no such value",
    UndecidedReason.NOT_FINISHED: "the analysis, or its baseline, isn't finished",
    UndecidedReason.ENDED_WITHOUT_RESULT: "the analysis, or its baseline, failed or was cancelled",
}
COVERAGE = "coverage of the judged images"


def measured(bound: Bound) -> str:
    """Return what a bound is on."""
    of_types = f" of {' and '.join(ERROR_TYPE_TITLES[type_] for type_ in bound.types)}" if bound.types else ""
    within = "" if bound.group is Group.ALL else f", {GROUP_NAMES[bound.group]}"
    return f"{MEASURE_WORDS[bound.measure]}{of_types}{within}"


NO_BASELINE = "the policy bounds changes, and there is no earlier version to compare with"
NO_POLICY = "the rule that asked for the analysis names no policy"


def gate_reason(reason: GateReason) -> str:
    """Return what became of a bound, in a sentence: what was measured, what was allowed, and why it isn't decided."""
    bound = reason.bound
    why = "; ".join(_UNDECIDED_REASON_NAMES[cause] for cause in reason.causes)
    if bound is None and reason.limit is None:
        return f"{why[0].upper()}{why[1:]}."
    told = _held(reason, bound)
    if reason.abstained:
        rules = " and ".join(f"“{ERROR_TYPE_TITLES[item]}”" for item in reason.abstained)
        one = len(reason.abstained) == 1
        told += f" (an upper bound: the rule{'' if one else 's'} {rules} had no evidence)"
    return f"{told}: undecided, {why}." if why else f"{told}."


def _held(reason: GateReason, bound: Bound | None) -> str:
    if bound is None:
        return (
            f"{COVERAGE} is {format_percentage(reason.value)}, at least {format_percentage(reason.limit)} is required"
        )
    whole = bound.measure in (Measure.COUNT, Measure.IMAGENET_M_ERRORS)
    value = _amount(reason.value, whole)
    if not bound.on_change:
        limits = [f"at least {_amount(bound.min, whole)} is required"] if bound.min is not None else []
        limits += [f"at most {_amount(bound.max, whole)} is allowed"] if bound.max is not None else []
        return f"{measured(bound)} is {value}, {' and '.join(limits)}"
    limits = [f"{_change(bound.max_increase, whole)} more"] if bound.max_increase is not None else []
    limits += [f"{_change(bound.max_decrease, whole)} less"] if bound.max_decrease is not None else []
    tested = f" ({p_text(reason.p_value)})" if reason.p_value is not None else ""
    counts = f", counted where p < {bound.alpha:g}" if bound.alpha is not None else ""
    before = _amount(reason.baseline, whole)
    return f"{measured(bound)} is {value} after {before}{tested}, at most {' or '.join(limits)} is allowed{counts}"


def _amount(value: float | None, whole: bool) -> str:
    if value is None:
        return "–"
    return format_count(round(value)) if whole else f"{100 * value:.2f} %"


def _change(value: float, whole: bool) -> str:
    if whole:
        return format_count(round(value))
    told = f"{100 * value:.6f}".rstrip("0").rstrip(".")
    return f"{told} point" if told == "1" else f"{told} points"


MULTI_LABEL_READING = (
    "whatever is in the image counts as right; a mean over classes, so that it may lie under top-1 accuracy, which is "
    "one over images"
)


def of_its_errors(place: str) -> str:
    """Return the place of a portion where a rate is shown; empty stays empty."""
    return f"as a portion of its errors: {place}" if place else ""


GAIN_TITLES = ("top-1 accuracy", "multi-label accuracy")
RELIABILITY_TITLES = ("top-1 correct", "multi-label correct")
SEVERITY_SENTENCES: Mapping[Severity, str] = {
    Severity.NONE: "Label noise: the prediction is right, the label isn't, or isn't the only one.",
    Severity.MINOR: "Hair-splitting: the prediction is close to what the image shows.",
    Severity.EXPLAINABLE: "Errors with an excuse: misleading surroundings, or an unusual image.",
    Severity.SEVERE: "Plain failures: nothing explains them.",
}
TABLE_WORDS: Mapping[str, str] = {  # what the table of errors says; {} are filled in by the page
    "shared": SUPERCLASS_NOTE,
    "together": COOCCURRENCE_NOTE,
    "near": SIMILAR_NEIGHBORS,
    "not_near": NO_SIMILAR_NEIGHBORS,
    "compared": BEST_TEXTS,
    "fitting": RANKED_TEXT,
    "and": " and ",
    "nothing": "nothing that has a class",
    "in_image": "in the image",
    "evidence": "evidence",
    "rules": "rules",
    "aside": "set aside",
    "page": "{first} to {last} of {found} errors",
    "none": "No error matches.",
    "any": "any",
    "only_aside": "only set aside",
    "without_aside": "without them",
    "with_aside": "with them",
    "more": "everything about this image",
    "picture": "the image {file}",
}


def funnel_told(group: str, errors: int, parts: Sequence[tuple[str, float]]) -> str:
    """Return a group's way down in words, for who doesn't see the picture."""
    told = ", ".join(f"{title} {format_percentage(portion)}" for title, portion in parts if portion)
    return f"{group}: {pluralize(errors, 'top-1 error')}; {told or 'none'}."


def gain(value: float | None) -> str:
    """Return a gain, a fraction of 1, in percentage points; a dash where a rule said nothing."""
    return "–" if value is None else format_points(value)


def gains_told(rows: Sequence[tuple[str, float | None, float | None]]) -> str:
    """Return what accuracy would gain, in words: (title, top-1, multi-label), fractions of 1."""
    told = "; ".join(f"{title}: {gain(top1)} and {gain(multi)}" for title, top1, multi in rows)
    return f"Points gained in top-1 and in multi-label accuracy if a type never occurred. {told}."


def calibration_told(top1: float | None, multi_label: float | None) -> str:
    """Return the expected calibration errors in a sentence."""
    if top1 is None or multi_label is None:
        return "No image has a probability, so there is nothing to measure."
    return (
        f"On average confidence is {format_percentage(top1)} away from top-1 correctness, and "
        f"{format_percentage(multi_label)} away from multi-label correctness (expected calibration error, 15 bins)."
    )


INTERVALS_TITLE = "change from A to B, points"


def intervals_told(rows: Sequence[tuple[str, Interval]]) -> str:
    """Return changes with their intervals, for who doesn't see the picture."""
    told = "; ".join(f"{name}: {interval_words(each)}" for name, each in rows)
    return f"Changes from A to B with their 95 % intervals. {told}."


BY_WORDS: Mapping[str, str] = {
    "": "nothing",
    "architecture": "architecture",
    "architecture-family": "family of architectures",
    "pre-training": "pre-training",
    "size": "size",
}


def trend_headline(own: int, others: int, published: int) -> str:
    """Return what a trend is about, in a sentence."""
    models = [] if not own else ["1 stored analysis" if own == 1 else f"{format_count(own)} stored analyses"]
    models += [pluralize(others, "published model")] if others else []
    if not models:
        return "No models are stored of this data set."
    makes, its = ("makes", "its") if own + others == 1 else ("make", "their")
    held = f", held against the spread of {format_count(published)} published models" if published else ""
    return f"What kinds of errors {' and '.join(models)} {makes} at {its} accuracy{held}."


def fit_words(fit: Fit | None) -> str:
    """Return a straight line in a few words."""
    if fit is None:
        return "no line: fewer than three models, or one accuracy"
    r_squared = "" if fit.r_squared is None else f", R² = {fit.r_squared:.2f}"
    return f"{format_signed(fit.slope)} points per point{r_squared}"


def trend_told(metric: str, line: str) -> str:
    """Return one small multiple in words, for who doesn't see it."""
    return f"{metric} over top-1 accuracy: {line}."


ORDER_WORDS: Mapping[str, str] = {
    "create_time desc": "newest first",
    "create_time": "oldest first",
    "title": "by name",
    "title desc": "by name, backwards",
    "top1_accuracy desc": "highest top-1 accuracy first",
    "top1_accuracy": "lowest top-1 accuracy first",
    "model_failures": "fewest model failures first",
    "model_failures desc": "most model failures first",
}
TRACE_TITLE = "What each rule said"


def progress_words(state: State, progress: Progress) -> str:
    """Return how far an open analysis has come; empty for one that has ended."""
    if state is State.QUEUED:
        if progress.live_workers == 0:
            return "no worker is alive"
        before = progress.queue_position
        return "" if before is None else f"{format_count(before)} before it"
    if state is not State.RUNNING:
        return ""
    told = f"{format_count(progress.done)} of {format_count(progress.total)} images"
    if progress.images_per_second is not None:
        told += f", {progress.images_per_second:,.0f} images/s"
    if progress.eta_seconds is not None:
        told += f", about {_duration(progress.eta_seconds)} left"
    return told


def _duration(seconds: float) -> str:
    if round(seconds) < 90:
        return f"{round(seconds)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


WHOLE_ANALYSIS = "the analysis"


def said(text: str, **values: object) -> str:
    """Return what a page says, as PAGE has it, with values put in."""
    return PAGE[text].format(**values) if values else PAGE[text]


_PAGE = (  # what the templates say; to translate it, let PAGE lead to other words
    (
        "95 % intervals of the change from A to B, from a paired bootstrap over images; those of single error types "
        "aren't adjusted for their number"
    ),
    "A",
    "A dot is a model; a diamond marks those asked for; the dashed line is fitted through all dots.",
    "A predicts",
    "A row's first column opens its evidence.",
    "Abstained.",
    "Accuracy is always that over all images that count, whatever the group.",
    "all",
    "All analyses",
    "all in A",
    "all in B",
    "All models behind the dots",
    "Among other models",
    "Among published models of this accuracy",
    "Among the published models nearest in accuracy",
    "Analyses",
    "any",
    "At equal accuracy",
    "B",
    "B predicts",
    "Back",
    "broken",
    "Broken: {count}",
    "change",
    "class",
    "Classes that changed most, of {total} that differ; intervals aren't adjusted for their number",
    "Classes with the most model failures: {shown} of {total} that have errors",
    "Classes, those with the most model failures first; gains in points of multi-label accuracy",
    "Colors",
    "compare A",
    "Compare A with B",
    "compare from {name}",
    "compare to {name}",
    "confidence",
    "confidence at least",
    "Confidence by kind of error",
    "Confidence in the prediction, by kind of error",
    "created, UTC",
    "data set",
    "Download this comparison",
    "Download this report",
    "Errata",
    "Errata · what kind of mistakes",
    "errors",
    "Errors",
    "Errors by severity",
    "errors in A",
    "errors in B",
    "errors of",
    "everything about this image",
    "evidence",
    "Evidence {digest}.",
    "explainable forgiven",
    "file",
    "file or class",
    "Filters of the errors",
    "first quartile",
    "fixed",
    "Fixed: {count}",
    "from",
    "from A to B",
    "From all errors down to model failures",
    "gain if all were fixed",
    "gain if failures were fixed",
    "group",
    "Group",
    "here",
    "How bad the errors are",
    "How far the models of each {label} lie above the line through all models, in points",
    "How far the models of each {label} lie above the published models’ median at their accuracy, in points",
    "How sure the model was",
    "If a kind of error never occurred",
    "images",
    "images predicted",
    "Images that A has right and B wrong, B's worst first: {shown} of {total}",
    "Images that A has wrong and B right, A's worst first: {shown} of {total}",
    "in A alone",
    "in B alone",
    "in the image",
    "interval of the change, points",
    "Is it more than chance?",
    "kind of error",
    "kinds of error",
    "label",
    "Left out, since only one of both has a prediction for them: {count} of the images.",
    "license",
    "McNemar's exact test, two-sided; significant under 0.05",
    "McNemar's exact tests",
    "mean confidence",
    "median",
    ("Method: Peychev, Müller, Fischer, Vechev, “Automated Classification of Model Errors on ImageNet”, NeurIPS 2023."),
    "minor forgiven",
    "model",
    "model failures",
    "models",
    "Models",
    "Most frequent confusions",
    "multi-label",
    "multi-label accuracy",
    "multi-label accuracy, points",
    "multi-label correct",
    "name",
    "Next",
    "No analysis matches.",
    "No class differs.",
    "number",
    "Numbers behind the bars",
    "Numbers behind the bars: {what}",
    "of",
    "of all errors",
    "of all images",
    "order",
    "Over accuracy",
    "p-value",
    "place",
    "Portion of the top-1 errors, and where it lies among the published models nearest in accuracy",
    "predicted",
    "Provenance",
    "rate",
    "Reset",
    "Rows: verdict in A; columns: verdict in B; {count} images. Solid frames got worse, dashed ones better.",
    "rules",
    "R²",
    "search",
    "set aside",
    "severity",
    "shift",
    "Shifts at equal accuracy",
    "Show",
    "shown",
    "Skip to the content",
    "slope",
    "Sources of the evidence",
    "state",
    "Straight lines through the models",
    "Straight lines through the models: points of portion per point of accuracy",
    "such as",
    "superclass",
    (
        "Superclasses of the original label, those with the most model failures first; gains in points of "
        "multi-label accuracy. Superclasses overlap, so their numbers don't add up."
    ),
    "Superclasses that changed most; they overlap, and intervals aren't adjusted for their number",
    "Tell models apart by a label to see how it shifts the mix of errors.",
    "that is",
    "The bands hold 50 % and 90 % of the {count} published models, the thin line is their median.",
    "The bins",
    "the image {name}",
    "The lines",
    "The numbers",
    "The numbers, group by group",
    "The other way round",
    "The same in each group; an image may be in several",
    "The table holds the {shown} worst of {total} errors; errata show --export gives all.",
    "The worst errors, {shown} of {total}. A row opens to its evidence.",
    "There are no analyses of this data set yet.",
    "There are no analyses yet: errata analyze makes one.",
    "There is none.",
    "third quartile",
    "told apart by",
    "top-1",
    "top-1 accuracy, points",
    "top-1 correct",
    "Top-1 correctness alone, images: {fixed} fixed, {broken} broken.",
    "top-1 errors",
    "Transitions between error types",
    "Trend",
    "verdict",
    "Verdicts by group",
    "Verdicts by group: number of images, and share of the group's top-1 errors. An image may be in several groups.",
    "Warning.",
    "what",
    "What each kind of error means",
    "what it means",
    "Where the images went",
    "Where: superclasses and classes",
    "with B",
    "{first} to {last} of {total} analyses",
    "{shown} of {total} models; errata trend --json gives all",
    "{state} on {dataset}",
    "– Errata",
)
PAGE: Mapping[str, str] = {text: text for text in _PAGE}
