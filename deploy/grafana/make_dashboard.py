"""Generates dashboards/errata.json: `python deploy/grafana/make_dashboard.py`. Edit this file, not the JSON file.

`ROWS` is the table of panels in display order. The functions above it make panels with the builders of
grafana-foundation-sdk, which also computes the positions from the panels' widths and heights.

All processes report the same values for results and for metrics that they read from Redis. Aggregate these metrics
with `max`. `queries` are expressions by name: the legend of a line, or the column of a table.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from grafana_foundation_sdk.builders import (
    barchart,
    common,
    dashboard,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as options
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat, QueryEditorMode

from service.domain import ALL, ERROR_TYPES, SEVERE_TYPES, TOP1_ERROR_TYPES, ErrorType, Severity

Queries = Mapping[str, str]
Step = tuple[float | None, str]
P = TypeVar("P", timeseries.Panel, stat.Panel, barchart.Panel, table.Panel, statetimeline.Panel)

FILE = Path(__file__).parent / "dashboards" / "errata.json"
SOURCE = models.DataSourceRef("prometheus", "${datasource}")
GREEN, YELLOW, RED, GRAY, BLUE = "#4c9a52", "#dba338", "#e03e36", "#7b858f", "#5f9fdf"


# Panels ---------------------------------------------------------------------------------------------------------------


def lines(
    title: str, unit: str, queries: Queries, description: str, *, width: int = 8, top: float | None = None
) -> timeseries.Panel:
    """Return a time series panel whose axis starts at 0 and ends at `top`."""
    panel = _with_texts(timeseries.Panel(), title, description, unit, (width, 8))
    panel.targets([_over_time(legend, expr, index) for index, (legend, expr) in enumerate(queries.items())])
    panel.min(0).line_width(1).fill_opacity(8).show_points(options.VisibilityMode.NEVER).span_nulls(False)
    panel.legend(_legend(options.LegendDisplayMode.TABLE, "lastNotNull", "max"))
    panel.tooltip(_tooltip(options.SortOrder.DESCENDING))
    return panel if top is None else panel.max(top)


def number(title: str, unit: str, expr: str, description: str, *steps: Step, legend: str = "") -> stat.Panel:
    """Return a panel of one number, with a color that depends on thresholds."""
    panel = _with_texts(stat.Panel(), title, description, unit, (4, 4)).targets([_over_time(legend, expr)])
    panel.color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
    panel.thresholds(_thresholds(*steps or ((None, GRAY),)))
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False))
    return panel.text_mode(options.BigValueTextMode.VALUE_AND_NAME if legend else options.BigValueTextMode.VALUE)


def readiness(title: str, queries: Queries, description: str) -> statetimeline.Panel:
    """Return a timeline that is green while a query is 1, and red while it is 0."""
    panel = _with_texts(statetimeline.Panel(), title, description, "short", (24, 6))
    panel.targets([_over_time(legend, expr) for legend, expr in queries.items()])
    panel.color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
    panel.thresholds(_thresholds((None, RED), (1, GREEN)))
    states = {"0": ("not ready", RED, 0), "1": ("ready", GREEN, 1)}
    results = {
        value: models.ValueMappingResult(text, color, index=index) for value, (text, color, index) in states.items()
    }
    panel.mappings([models.ValueMap(results)]).fill_opacity(80).line_width(0).merge_values(True)
    return panel.show_value(options.VisibilityMode.NEVER).legend(common.VizLegendOptions().show_legend(False))


def bars(
    title: str, queries: Queries, colors: Mapping[str, str], description: str, *, top: float | None = None
) -> barchart.Panel:
    """Return a panel with a group of bars per version, oldest first. The queries aggregate by version."""
    end_time = {"ended": f"max by (version) (errata_result_timestamp_seconds{{{OF_MODEL}}})"}
    panel = _with_texts(barchart.Panel(), title, description, "percentunit", (12, 10))
    panel.targets([_last_value(ref, expr) for ref, expr in {**queries, **end_time}.items()])
    panel.fill_opacity(90).line_width(0).group_width(0.8).bar_width(0.9).show_value(options.VisibilityMode.NEVER)
    panel.x_field("version").x_tick_label_spacing(100).legend(_legend(options.LegendDisplayMode.LIST))
    panel.tooltip(_tooltip(options.SortOrder.NONE))
    for name, color in colors.items():
        panel.override_by_name(name, [models.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": color})])
    _tabulate(panel, ["version"], queries, ("Value #ended", False), hidden=["Time", "Value #ended"])
    return panel if top is None else panel.max(top)


def stacked(title: str, queries: Queries, description: str, *, top: float | None = None) -> barchart.Panel:
    """Return a panel with a bar of error types per version."""
    return bars(title, queries, TYPE_COLORS, description, top=top).min(0).stacking(options.StackingMode.NORMAL)


def rows(
    title: str, labels: Sequence[str], queries: Queries, units: Mapping[str, str], description: str
) -> table.Panel:
    """Return a table with one row per set of labels, sorted by the first query in descending order."""
    panel = _with_texts(table.Panel(), title, description, "short", (24, 9)).show_header(True)
    panel.targets([_last_value(ref, expr) for ref, expr in queries.items()])
    for name, unit in units.items():
        panel.override_by_name(name, [models.DynamicConfigValue("unit", unit)])
    column = f"Value #{next(iter(queries))}" if len(queries) > 1 else "Value"
    return _tabulate(panel, labels, queries, (column, True), hidden=["Time"])


def _with_texts(panel: P, title: str, description: str, unit: str, size: tuple[int, int]) -> P:
    panel.title(title).description(description).unit(unit).datasource(SOURCE).span(size[0]).height(size[1])
    return panel.color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.PALETTE_CLASSIC))


def _query(ref: str, expr: str, legend: str) -> prometheus.Dataquery:
    query = prometheus.Dataquery().ref_id(ref).expr(expr).legend_format(legend or "__auto")
    return query.datasource(SOURCE).editor_mode(QueryEditorMode.CODE)


def _over_time(legend: str, expr: str, index: int = 0) -> prometheus.Dataquery:
    return _query("ABCDEFGH"[index], expr, legend).range().format(PromQueryFormat.TIME_SERIES)


def _last_value(ref: str, expr: str) -> prometheus.Dataquery:
    return _query(ref, expr, "").instant().format(PromQueryFormat.TABLE)


def _thresholds(*steps: Step) -> dashboard.ThresholdsConfig:
    return dashboard.ThresholdsConfig().steps([models.Threshold(value, color) for value, color in steps])


def _legend(mode: options.LegendDisplayMode, *calculations: str) -> common.VizLegendOptions:
    return common.VizLegendOptions().display_mode(mode).show_legend(True).calcs(list(calculations))


def _tooltip(order: options.SortOrder) -> common.VizTooltipOptions:
    return common.VizTooltipOptions().mode(options.TooltipDisplayMode.MULTI).sort(order)


def _tabulate(panel: P, labels: Sequence[str], queries: Queries, order: tuple[str, bool], hidden: Sequence[str]) -> P:
    """Join the queries, sort by a column, order the columns, and rename `Value #ref` to its ref."""
    values: dict[str, str] = (
        {f"Value #{name}": name for name in queries} if len(queries) > 1 else {"Value": next(iter(queries))}
    )
    columns = {
        "excludeByName": dict.fromkeys(hidden, True),
        "indexByName": {column: index for index, column in enumerate([*labels, *values])},
        "renameByName": values,
    }
    sort = {"fields": {}, "sort": [{"field": order[0], "desc": order[1]}]}
    steps = {"merge": {}, "sortBy": sort, "organize": columns}
    return panel.transformations([models.DataTransformerConfig(name, options=step) for name, step in steps.items()])


# Queries --------------------------------------------------------------------------------------------------------------

OF_MODEL = 'model="$model", dataset="$dataset"'
OF_GROUP = f'{OF_MODEL}, group="$group"'
OF_DATASET = 'dataset="$dataset"'
RATE = "[$__rate_interval]"
PROBES = '{path!~"/livez|/readyz|/metrics"}'


def by(labels: str, aggregation: str, expr: str) -> Queries:
    """Return a query that aggregates by labels, which are its legend: `by("job, instance", "sum", …)`."""
    return {" ".join(f"{{{{{label}}}}}" for label in labels.split(", ")): f"{aggregation} by ({labels}) ({expr})"}


def per_second(metric: str, labels: str, selector: str = "") -> Queries:
    """Return a query for the rate of a counter."""
    return by(labels, "sum", f"rate({metric}{selector}{RATE})")


def per_hour(metric: str, labels: str) -> Queries:
    """Return a query for the increase of a counter."""
    return by(labels, "sum", f"increase({metric}[1h])")


def quantile(portion: float, histogram: str, label: str, selector: str = "") -> str:
    """Return the quantile of a histogram by a label."""
    return f"histogram_quantile({portion}, sum by (le, {label}) (rate({histogram}_bucket{selector}{RATE})))"


def stages(selector: str) -> Queries:
    """Return the median and the 99th percentile of the durations of stages."""
    histogram = "errata_stage_duration_seconds"
    return {
        f"{{{{stage}}}} p{portion * 100:.0f}": quantile(portion, histogram, "stage", selector)
        for portion in (0.5, 0.99)
    }


def _errors(error_type: ErrorType) -> str:
    return f'max by (version) (errata_result_errors{{{OF_GROUP}, error_type="{error_type.name}"}})'


def _of_version(metric: str, selector: str = OF_MODEL) -> str:
    return f"max by (version) ({metric}{{{selector}}})"


def _of_result(metric: str, selector: str = OF_DATASET) -> str:
    return f"max by (model, version, dataset) ({metric}{{{selector}}})"


SAMPLES = f"max by (version) (errata_result_samples{{{OF_GROUP}}})"
ALL_ERRORS = (
    f'sum by (version) (max by (version, error_type) (errata_result_errors{{{OF_GROUP}, error_type!="CORRECT"}}))'
)
TYPE_COLORS = {error_type.name: error_type.row.colors.dashboard for error_type in ERROR_TYPES}
SEVERITIES = "; ".join(
    f"{severity.name.lower()}: "
    + ", ".join(error_type.name for error_type in TOP1_ERROR_TYPES if error_type.severity is severity)
    for severity in tuple(Severity)[1:]
)
SEVERE, BASELINE = "errata_result_severe_error_ratio", "errata_result_baseline_severe_error_ratio"
TOP1, MULTI_LABEL = "errata_result_top1_accuracy_ratio", "errata_result_multi_label_accuracy_ratio"
RESULTS = {
    "ended": f"{_of_result('errata_result_timestamp_seconds')} * 1000",
    "samples": _of_result("errata_result_samples", f'{OF_DATASET}, group="$group"'),
    "top1_accuracy": _of_result(TOP1, f'{OF_DATASET}, group="$group"'),
    "multi_label_accuracy": _of_result(MULTI_LABEL, f'{OF_DATASET}, group="$group"'),
    "severe_errors": _of_result(SEVERE),
    "baseline": _of_result(BASELINE),
    "change": f"{_of_result(SEVERE)} - {_of_result(BASELINE)}",
}


# The table of panels --------------------------------------------------------------------------------------------------

# One line for the title, the unit, and the queries, and lines for the description.
# fmt: off

SERVICE = (
    number("API processes ready", "short", 'sum(errata_ready{job="errata-api"}) or vector(0)',
        "API processes that are ready. With 0, no calls are served (ErrataNotReady).", (None, RED), (1, GREEN)),
    number("Workers ready", "short", 'sum(errata_ready{job="errata-worker"}) or vector(0)',
        "Workers that report that they are ready. 0 is normal without open work."),
    number("Failed calls", "percentunit",
        f'(sum(rate(errata_rpc_handled_total{{code=~"INTERNAL|UNAVAILABLE|UNKNOWN"}}{RATE})) or vector(0))'
        f" / sum(rate(errata_rpc_handled_total{RATE}))",
        "Share of the calls that end with INTERNAL, UNAVAILABLE, or UNKNOWN; ErrataCallsFailing fires above 5 %. "
        "Errors of callers are not included.", (None, GREEN), (0.01, YELLOW), (0.05, RED)),
    number("Oldest queued analysis", "s", 'max(errata_oldest_open_seconds{state="queued"})',
        "Wait time of the oldest queued analysis; ErrataQueueAgeing fires above 30 minutes.",
        (None, GREEN), (600, YELLOW), (1800, RED)),
    number("Dead letters", "short", "max(errata_dead_letters)",
        "Messages that exhausted their retries; ErrataDeadLetters fires above 0.", (None, GREEN), (1, RED)),
    number("Version", "short", "count by (version) (errata_build_info)",
        "Processes by version. During an upgrade, two versions run.", legend="{{version}}"),
    readiness("Readiness", by("job, instance", "min", 'errata_ready or up{job=~"errata-api|errata-worker"} == 0'),
        "Green: the process is ready. Red: it is not ready, or can't be scraped. A gap: the process did not exist."),
    lines("Calls", "reqps", per_second("errata_rpc_handled_total", "method"),
        "Completed calls per second, by RPC."),
    lines("Calls with errors", "reqps", per_second("errata_rpc_handled_total", "code", '{code!="OK"}'),
        "By gRPC status code. INTERNAL is a bug, with a traceback in the log. UNAVAILABLE means that Redis or the "
        "archive is unavailable. Other codes are errors of callers."),
    lines("Open calls", "short",
        {"{{method}}": "sum by (method) (errata_rpc_started_total) - (sum by (method) (errata_rpc_handled_total)"
         " or 0 * sum by (method) (errata_rpc_started_total))"},
        "Calls that have started but not ended, by RPC. WatchAnalysis stays open until the analysis ends. If "
        "another RPC only rises, its calls hang."),
    lines("Median duration of calls", "s", {"{{method}}": quantile(0.5, "errata_rpc_duration_seconds", "method")},
        "The median by RPC. The duration of streams and uploads depends on their size.", width=12),
    lines("99th percentile of call durations", "s",
        {"{{method}}": quantile(0.99, "errata_rpc_duration_seconds", "method")},
        "One call in a hundred takes longer. ErrataReadsSlow fires if a read stays above one second.", width=12),
    lines("Median duration of HTTP requests", "s",
        {"{{path}}": quantile(0.5, "errata_http_request_duration_seconds", "path")},
        "The median by route.", width=12),
    lines("99th percentile of HTTP request durations", "s",
        {"{{path}}": quantile(0.99, "errata_http_request_duration_seconds", "path")},
        "One request in a hundred takes longer, by route.", width=12),
    lines("HTTP responses", "reqps", per_second("errata_http_requests_total", "path", PROBES),
        "Responses per second by route: pages, webhooks, and gates, without probes and scrapes."),
    lines("HTTP responses by status", "reqps", per_second("errata_http_requests_total", "status", PROBES),
        "Without probes and scrapes. ErrataPagesFailing fires above 5 % of 5xx. A gate returns 404 for a version "
        "without an analysis."),
    lines("Refused calls", "reqps", per_second("errata_refused_calls_total", "edge, reason"),
        "Calls per second without the required token, certificate, or scope, or above a quota (QUOTA_EXCEEDED), by "
        "protocol and reason. A step after a token rotation is a client with the old token. TOKEN_UNKNOWN without a "
        "rotation may be an attack (ErrataCallsRefused)."),
    lines("Webhook calls", "reqps", per_second("errata_hooks_total", "registry, outcome"),
        "Webhook calls per second, by outcome. `unverified` and `malformed`: the registry's secret or address is "
        "wrong. `later`: the registry must retry."),
    lines("Registry polls", "short", per_hour("errata_polls_total", "registry, outcome"),
        "Per hour. If all polls have the outcome `failed`, the registry is unreachable "
        "(ErrataRegistryUnreachable)."),
    lines("Write-backs", "short", per_hour("errata_write_backs_total", "registry, outcome"),
        "Attempts to write a result back to a registry, per hour. `waits` is not an error, `failed` is retried, "
        "and `dropped` is not retried (ErrataWriteBacksFailing)."),
    lines("Process memory", "bytes",
        {"{{job}} {{instance}}": 'process_resident_memory_bytes{job=~"errata-api|errata-worker"}'},
        "Resident memory. Each used bundle needs the size of its verdict table. A continuous rise is a leak.",
        width=12),
    lines("Process CPU", "short",
        {"{{job}} {{instance}}": f'rate(process_cpu_seconds_total{{job=~"errata-api|errata-worker"}}{RATE})'},
        "CPU cores in use. A worker without a GPU uses all cores that it may.", width=12),
)

QUEUE = (
    lines("Open analyses", "short", by("state", "max", "errata_open_analyses"),
        "Queued and running model analyses. At ERRATA_MAX_OPEN, new ones are refused."),
    lines("Open shards", "short", by("state", "max", "errata_open_shards"),
        "Queued and running shards, which the autoscaler uses. If fewer shards run than there are workers, some "
        "workers are idle."),
    lines("Age of the oldest open analysis", "s", by("state", "max", "errata_oldest_open_seconds"),
        "A sawtooth is normal. A line that only rises is an analysis that no worker processes (ErrataQueueAgeing)."),
    lines("Workers", "short",
        {"alive": "max(errata_live_workers)", "scraped": 'sum(up{job="errata-worker"})',
         "ready": 'sum(errata_ready{job="errata-worker"})'},
        "`alive`: has a recent heartbeat in Redis. `scraped`: responds to Prometheus. `ready`: reports that it is "
        "ready. ErrataWorkersGone fires if shards are open and no worker is alive."),
    lines("Images per second", "suffix: images/s",
        {"{{instance}}": f"sum by (job, instance) (rate(errata_images_total{RATE}))"},
        "Images on which models are run, by worker. Large models and slow image storage reduce it."),
    lines("Completed analyses", "short", per_hour("errata_analyses_total", "state"),
        "Per hour by state, including uploads. ErrataAnalysesFailing fires if more than 20 % fail."),
    lines("Duration of fast stages", "s", stages('{stage!="inference"}'),
        "Stages of uploads and pages, p50 and p99: parse (a file), judge, archive, render.", width=12),
    lines("Duration of inference", "s", stages('{stage="inference"}'),
        "Duration of a shard of ERRATA_SHARD_SIZE images, p50 and p99. Durations above the histogram's last bucket "
        "appear as that bucket.", width=12),
    lines("Requeued shards", "short", per_hour("errata_shard_retries_total", "reason"),
        "Shards that were requeued after a temporary error, per hour, by reason."),
    lines("Crashes and fenced writes", "short",
        {"crashes": "max(increase(errata_crashes_total[1h]))",
         "fenced writes": "max(increase(errata_fenced_writes_total[1h]))"},
        "Per hour. A crash is a shard whose worker died (ErrataWorkersCrashing). A fenced write is a write of a "
        "worker whose lease had expired; it is rejected and harmless, but shows that workers pause for long."),
    lines("Delayed and dead messages", "short",
        {"delayed": "max(errata_delayed_messages)", "dead": "max(errata_dead_letters)"},
        "`delayed`: waiting for a retry. `dead`: retries exhausted (ErrataDeadLetters)."),
    lines("GPU memory", "bytes",
        {"{{instance}} {{device}} {{kind}}": "max by (job, instance, device, kind) (errata_gpu_memory_bytes)"},
        "Used and total memory, by worker and device. Near the limit, a worker reduces its batch size.", width=24),
)

CACHES = (
    lines("Cache hit rate", "percentunit",
        {"{{cache}}": f'sum by (cache) (rate(errata_cache_requests_total{{outcome="hit"}}{RATE}))'
         f" / sum by (cache) (rate(errata_cache_requests_total{RATE}))"},
        "Share of lookups that hit the cache. It is low after a start, and if each item is requested only once.",
        width=6, top=1),
    lines("Cache lookups", "reqps", per_second("errata_cache_requests_total", "cache"),
        "Per second, by cache.", width=6),
    lines("Cache size", "bytes", by("cache", "max", "errata_cache_bytes"),
        "Size of the in-memory cache; the maximum of all processes.", width=6),
    lines("Redis memory", "bytes",
        {"used": "max(errata_redis_memory_bytes)", "limit": "max(errata_redis_max_memory_bytes)"},
        "Used memory and the limit (0: no limit). At the limit, Redis evicts cached results first. "
        "ErrataRedisMemoryHigh fires above 95 % of the limit.", width=6),
)

MIX = (
    stacked("Error types as a share of all samples",
        {error_type.name: f"{_errors(error_type)} / {SAMPLES}" for error_type in TOP1_ERROR_TYPES},
        "One bar per version of $model on $dataset, in the group $group. Its height is the top-1 error rate. By "
        f"severity from the bottom: {SEVERITIES}. Gray and teal count as correct (ImageNet's labels are wrong or "
        "incomplete); red errors have no explanation."),
    stacked("Error types as portions of the top-1 errors",
        {error_type.name: f"{_errors(error_type)} / {ALL_ERRORS}" for error_type in TOP1_ERROR_TYPES},
        "The error types as portions of each version's top-1 errors, independent of the number of errors. A model "
        "that is better overall can have a larger portion of red.", top=1),
    bars("Accuracy",
        {"top1_accuracy": _of_version(TOP1, OF_GROUP), "multi_label_accuracy": _of_version(MULTI_LABEL, OF_GROUP)},
        {"top1_accuracy": GRAY, "multi_label_accuracy": BLUE},
        "By version, in the group $group. Multi-label accuracy counts class overlaps and missing multi-labels as "
        "correct, and is a mean over classes. It is usually higher than top-1 accuracy, and shows better whether a "
        "model improved.", top=1),
    bars("Severe errors and the baseline", {"severe_errors": _of_version(SEVERE), "baseline": _of_version(BASELINE)},
        {"severe_errors": SEVERE_TYPES[0].row.colors.dashboard, "baseline": GRAY},
        "Model failures as a share of all samples, beside the share of the version's baseline. "
        "ErrataSevereErrorsUp fires if the difference is above half a point and statistically significant.").min(0),
    rows("Newest results", ["model", "version", "dataset"], RESULTS,
        {"ended": "dateTimeAsIso", **dict.fromkeys(list(RESULTS)[2:], "percentunit")},
        "The newest result of each version of all watched models on $dataset, the newest first. Accuracies are "
        "those of the group $group. `severe_errors` and `baseline` are shares of model failures, and `change` is "
        "their difference; it is empty without a baseline."),
    number("Hidden results", "short", "max(errata_results_dropped)",
        "Results without series: ERRATA_WATCHED_MODELS does not include their model, or there are more than "
        "ERRATA_MAX_WATCHED."),
)

EVIDENCE = (
    rows("Evidence bundles", ["dataset", "digest", "rules"],
        {"processes": "count by (dataset, digest, rules) (errata_evidence_info)"},
        {"processes": "short"},
        "The bundles by data set, and the number of processes that serve each. Results with different digests are "
        "not comparable. Two digests of a data set are two bundles, or a change that is in progress."),
)
# fmt: on

ROWS: Mapping[str, Sequence[Builder[models.Panel]]] = {
    "Service health": SERVICE,
    "Queue and workers": QUEUE,
    "Caches and Redis": CACHES,
    "Error types by model version": MIX,
    "Evidence": EVIDENCE,
}


# The dashboard --------------------------------------------------------------------------------------------------------


def _variable(name: str, label: str, expr: str) -> dashboard.QueryVariable:
    """Return a variable whose values a query returns."""
    query = {"qryType": 1, "query": expr, "refId": "PrometheusVariableQueryEditor-VariableQuery"}
    variable = dashboard.QueryVariable(name).label(label).datasource(SOURCE).query(query)
    refresh = models.VariableRefresh.ON_TIME_RANGE_CHANGED
    return variable.refresh(refresh).sort(models.VariableSort.ALPHABETICAL_ASC)


def _variables() -> list[Builder[models.VariableModel]]:
    groups = f"label_values(errata_result_samples{{{OF_MODEL}}}, group)"
    return [
        dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"),
        _variable("dataset", "Data set", "label_values(errata_result_samples, dataset)"),
        _variable("model", "Model", 'label_values(errata_result_samples{dataset="$dataset"}, model)'),
        _variable("group", "Group of classes", groups).current(models.VariableOption(True, ALL, ALL)),
    ]


def build() -> models.Dashboard:
    """Return the dashboard."""
    builder = dashboard.Dashboard("Errata").uid("errata").tags(["errata"]).version(1).refresh("30s")
    builder.description("The service, its workers, and the error types of the analyzed models.")
    builder.time("now-6h", "now").tooltip(models.DashboardCursorSync.CROSSHAIR).variables(_variables())
    for title, panels in ROWS.items():
        builder.with_row(dashboard.Row(title))
        for panel in panels:
            builder.with_panel(panel)
    result = builder.build()
    result.schema_version = 39
    for panel_id, item in enumerate(result.panels or [], 1):
        item.id_val = panel_id
    return result


def text() -> str:
    """Return the content of the dashboard file."""
    return json.dumps(build(), cls=JSONEncoder, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
