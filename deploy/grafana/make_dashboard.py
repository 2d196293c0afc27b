"""Generates dashboards/errata.json: `python deploy/grafana/make_dashboard.py`. Edit this file, not the JSON file.

`ROWS` has the queries and descriptions of the panels in display order; the functions above it produce Grafana's format.

All processes report the same values for results and for metrics that they read from Redis. Aggregate these metrics
with `max`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from service.domain import ALL, ERROR_TYPES, SEVERE_TYPES, TOP1_ERROR_TYPES, ErrorType, Severity

FILE = Path(__file__).parent / "dashboards" / "errata.json"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH = 24  # columns of Grafana's grid
GREEN, YELLOW, RED, GRAY, BLUE = "#4c9a52", "#dba338", "#e03e36", "#7b858f", "#5f9fdf"


@dataclass(frozen=True)
class Query:
    """A query to Prometheus."""

    expr: str
    legend: str = ""
    ref: str = ""  # the column of a table is called `Value #ref`


@dataclass(frozen=True)
class Panel:
    """A panel without its position and id."""

    kind: str
    title: str
    description: str
    unit: str
    queries: Sequence[Query]
    width: int
    height: int = 8
    table: bool = False  # one row per series, with its last value; otherwise one line per series over time
    defaults: Mapping[str, Any] = field(default_factory=dict)
    overrides: Sequence[Mapping[str, Any]] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    transformations: Sequence[Mapping[str, Any]] = ()


def lines(title: str, description: str, unit: str, *queries: Query, width: int = 8, top: float | None = None) -> Panel:
    """Return a time series panel whose axis starts at 0 and ends at `top`."""
    return Panel(
        "timeseries",
        title,
        description,
        unit,
        queries,
        width,
        defaults={
            "min": 0,
            **({} if top is None else {"max": top}),
            "custom": {"lineWidth": 1, "fillOpacity": 8, "showPoints": "never", "spanNulls": False},
        },
        options={
            "legend": {
                "displayMode": "table",
                "placement": "bottom",
                "calcs": ["lastNotNull", "max"],
                "showLegend": True,
            },
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    )


def number(title: str, description: str, unit: str, query: Query, *steps: tuple[float | None, str]) -> Panel:
    """Return a panel of one number, with a color that depends on thresholds."""
    return Panel(
        "stat",
        title,
        description,
        unit,
        [query],
        width=4,
        height=4,
        defaults={"thresholds": _thresholds(steps or ((None, GRAY),))},
        options={
            "colorMode": "value",
            "graphMode": "area",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "textMode": "value_and_name" if query.legend else "value",
        },
    )


def bars(
    title: str, description: str, queries: Sequence[Query], colors: Mapping[str, str], stacking: str, **defaults: Any
) -> Panel:
    """Return a panel with a bar or a group of bars per version, oldest first. The queries aggregate by version."""
    end_time = Query(f"max by (version) (errata_result_timestamp_seconds{{{OF_MODEL}}})", ref="ended")
    return Panel(
        "barchart",
        title,
        description,
        "percentunit",
        [*queries, end_time],
        width=12,
        height=10,
        table=True,
        defaults={**defaults, "custom": {"fillOpacity": 90, "lineWidth": 0}},
        overrides=[_color(name, color) for name, color in colors.items()],
        options={
            "xField": "version",
            "stacking": stacking,
            "showValue": "never",
            "orientation": "auto",
            "groupWidth": 0.8,
            "barWidth": 0.9,
            "xTickLabelSpacing": 100,
            "legend": {"displayMode": "list", "placement": "bottom", "calcs": [], "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "none"},
        },
        transformations=[
            {"id": "merge", "options": {}},
            _sort_transformation("Value #ended", desc=False),
            _columns(["version", *(query.ref for query in queries)], hidden=["Time", "Value #ended"]),
        ],
    )


def table(
    title: str, description: str, labels: Sequence[str], queries: Sequence[Query], units: Mapping[str, str], by: str
) -> Panel:
    """Return a table with one row per set of labels, sorted by the query `by` in descending order."""
    return Panel(
        "table",
        title,
        description,
        "short",
        queries,
        width=WIDTH,
        height=9,
        table=True,
        overrides=[_property(name, "unit", unit) for name, unit in units.items()],
        options={"showHeader": True, "cellHeight": "sm", "footer": {"show": False}},
        transformations=[
            {"id": "merge", "options": {}},
            _sort_transformation(f"Value #{by}" if len(queries) > 1 else "Value", desc=True),
            _columns([*labels, *(query.ref for query in queries)], hidden=["Time"]),
        ],
    )


def _thresholds(steps: Sequence[tuple[float | None, str]]) -> dict[str, Any]:
    return {"mode": "absolute", "steps": [{"color": color, "value": value} for value, color in steps]}


def _property(name: str, property: str, value: Any) -> dict[str, Any]:
    return {"matcher": {"id": "byName", "options": name}, "properties": [{"id": property, "value": value}]}


def _color(name: str, color: str) -> dict[str, Any]:
    return _property(name, "color", {"mode": "fixed", "fixedColor": color})


def _sort_transformation(column: str, desc: bool) -> dict[str, Any]:
    return {"id": "sortBy", "options": {"fields": {}, "sort": [{"field": column, "desc": desc}]}}


def _columns(names: Sequence[str], hidden: Sequence[str]) -> dict[str, Any]:
    """Return a transformation that orders columns and renames `Value #ref` to its ref (`Value` for a single query)."""
    values = [name for name in names if name not in LABELS]
    columns = {name: name for name in names if name in LABELS}
    columns |= {"Value": values[0]} if len(values) == 1 else {f"Value #{name}": name for name in values}
    return {
        "id": "organize",
        "options": {
            "excludeByName": dict.fromkeys(hidden, True),
            "indexByName": {column: index for index, column in enumerate(columns)},
            "renameByName": {column: name for column, name in columns.items() if column != name},
        },
    }


LABELS = ("model", "version", "dataset", "digest", "rules")
OF_MODEL = 'model="$model", dataset="$dataset"'
OF_GROUP = f'{OF_MODEL}, group="$group"'
RATE = "[$__rate_interval]"
PROBES = 'path!~"/livez|/readyz|/metrics"'


def _quantile(portion: float, histogram: str, label: str, selector: str = "") -> str:
    return f"histogram_quantile({portion}, sum by (le, {label}) (rate({histogram}_bucket{selector}{RATE})))"


def _stages(selector: str) -> list[Query]:
    histogram = "errata_stage_duration_seconds"
    return [
        Query(_quantile(portion, histogram, "stage", selector), f"{{{{stage}}}} p{portion * 100:.0f}")
        for portion in (0.5, 0.99)
    ]


def _share(error_type: ErrorType) -> str:
    return (
        f'max by (version) (errata_result_errors{{{OF_GROUP}, error_type="{error_type.name}"}})'
        f" / max by (version) (errata_result_samples{{{OF_GROUP}}})"
    )


def _portion(error_type: ErrorType) -> str:
    return (
        f'max by (version) (errata_result_errors{{{OF_GROUP}, error_type="{error_type.name}"}})'
        " / sum by (version) (max by (version, error_type)"
        f' (errata_result_errors{{{OF_GROUP}, error_type!="CORRECT"}}))'
    )


def _of_version(metric: str, selector: str = OF_MODEL) -> str:
    return f"max by (version) ({metric}{{{selector}}})"


def _of_result(metric: str, selector: str = 'dataset="$dataset"') -> str:
    return f"max by (model, version, dataset) ({metric}{{{selector}}})"


TYPE_COLORS = {error_type.name: error_type.row.colors.dashboard for error_type in ERROR_TYPES}
SEVERITIES = "; ".join(
    f"{severity.name.lower()}: "
    + ", ".join(error_type.name for error_type in TOP1_ERROR_TYPES if error_type.severity is severity)
    for severity in tuple(Severity)[1:]
)

SERVICE = (
    number(
        "API processes ready",
        "API processes that are ready. With 0, no calls are served (ErrataNotReady).",
        "short",
        Query('sum(errata_ready{job="errata-api"}) or vector(0)'),
        (None, RED),
        (1, GREEN),
    ),
    number(
        "Workers ready",
        "Workers that report that they are ready. 0 is normal without open work.",
        "short",
        Query('sum(errata_ready{job="errata-worker"}) or vector(0)'),
    ),
    number(
        "Failed calls",
        "Share of the calls that end with INTERNAL, UNAVAILABLE, or UNKNOWN; ErrataCallsFailing fires above 5 %. "
        "Errors of callers are not included.",
        "percentunit",
        Query(
            f'(sum(rate(errata_rpc_handled_total{{code=~"INTERNAL|UNAVAILABLE|UNKNOWN"}}{RATE})) or vector(0))'
            f" / sum(rate(errata_rpc_handled_total{RATE}))"
        ),
        (None, GREEN),
        (0.01, YELLOW),
        (0.05, RED),
    ),
    number(
        "Oldest queued analysis",
        "Wait time of the oldest queued analysis; ErrataQueueAgeing fires above 30 minutes.",
        "s",
        Query('max(errata_oldest_open_seconds{state="queued"})'),
        (None, GREEN),
        (600, YELLOW),
        (1800, RED),
    ),
    number(
        "Dead letters",
        "Messages that exhausted their retries; ErrataDeadLetters fires above 0.",
        "short",
        Query("max(errata_dead_letters)"),
        (None, GREEN),
        (1, RED),
    ),
    number(
        "Version",
        "Processes by version. During an upgrade, two versions run.",
        "short",
        Query("count by (version) (errata_build_info)", "{{version}}"),
    ),
    Panel(
        "state-timeline",
        "Readiness",
        "Green: the process is ready. Red: it is not ready, or can't be scraped. A gap: the process did not exist.",
        "short",
        [
            Query(
                'min by (job, instance) (errata_ready or up{job=~"errata-api|errata-worker"} == 0)',
                "{{job}} {{instance}}",
            )
        ],
        width=24,
        height=6,
        defaults={
            "color": {"mode": "thresholds"},
            "thresholds": _thresholds(((None, RED), (1, GREEN))),
            "mappings": [
                {
                    "type": "value",
                    "options": {
                        "0": {"text": "not ready", "color": RED, "index": 0},
                        "1": {"text": "ready", "color": GREEN, "index": 1},
                    },
                }
            ],
            "custom": {"fillOpacity": 80, "lineWidth": 0},
        },
        options={
            "mergeValues": True,
            "showValue": "never",
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False},
        },
    ),
    lines(
        "Calls",
        "Completed calls per second, by RPC.",
        "reqps",
        Query(f"sum by (method) (rate(errata_rpc_handled_total{RATE}))", "{{method}}"),
    ),
    lines(
        "Calls with errors",
        "By gRPC status code. INTERNAL is a bug, with a traceback in the log. UNAVAILABLE means that Redis or the "
        "archive is unavailable. Other codes are errors of callers.",
        "reqps",
        Query(f'sum by (code) (rate(errata_rpc_handled_total{{code!="OK"}}{RATE}))', "{{code}}"),
    ),
    lines(
        "Open calls",
        "Calls that have started but not ended, by RPC. WatchAnalysis stays open until the analysis ends. If another "
        "RPC only rises, its calls hang.",
        "short",
        Query(
            "sum by (method) (errata_rpc_started_total) - (sum by (method) (errata_rpc_handled_total)"
            " or 0 * sum by (method) (errata_rpc_started_total))",
            "{{method}}",
        ),
    ),
    lines(
        "Median duration of calls",
        "The median by RPC. The duration of streams and uploads depends on their size.",
        "s",
        Query(_quantile(0.5, "errata_rpc_duration_seconds", "method"), "{{method}}"),
        width=12,
    ),
    lines(
        "99th percentile of call durations",
        "One call in a hundred takes longer. ErrataReadsSlow fires if a read stays above one second.",
        "s",
        Query(_quantile(0.99, "errata_rpc_duration_seconds", "method"), "{{method}}"),
        width=12,
    ),
    lines(
        "Median duration of HTTP requests",
        "The median by route.",
        "s",
        Query(_quantile(0.5, "errata_http_request_duration_seconds", "path"), "{{path}}"),
        width=12,
    ),
    lines(
        "99th percentile of HTTP request durations",
        "One request in a hundred takes longer, by route.",
        "s",
        Query(_quantile(0.99, "errata_http_request_duration_seconds", "path"), "{{path}}"),
        width=12,
    ),
    lines(
        "HTTP responses",
        "Responses per second by route: pages, webhooks, and gates, without probes and scrapes.",
        "reqps",
        Query(f"sum by (path) (rate(errata_http_requests_total{{{PROBES}}}{RATE}))", "{{path}}"),
    ),
    lines(
        "HTTP responses by status",
        "Without probes and scrapes. ErrataPagesFailing fires above 5 % of 5xx. A gate returns 404 for a version "
        "without an analysis.",
        "reqps",
        Query(f"sum by (status) (rate(errata_http_requests_total{{{PROBES}}}{RATE}))", "{{status}}"),
    ),
    lines(
        "Refused calls",
        "Calls per second without the required token, certificate, or scope, by protocol and reason. A step after a "
        "token rotation is a client with the old token. TOKEN_UNKNOWN without a rotation may be an attack "
        "(ErrataCallsRefused).",
        "reqps",
        Query(f"sum by (edge, reason) (rate(errata_refused_calls_total{RATE}))", "{{edge}} {{reason}}"),
    ),
    lines(
        "Webhook calls",
        "Webhook calls per second, by outcome. `unverified` and `malformed`: the registry's secret or address is "
        "wrong. `later`: the registry must retry.",
        "reqps",
        Query(f"sum by (registry, outcome) (rate(errata_hooks_total{RATE}))", "{{registry}} {{outcome}}"),
    ),
    lines(
        "Registry polls",
        "Per hour. If all polls have the outcome `failed`, the registry is unreachable (ErrataRegistryUnreachable).",
        "short",
        Query("sum by (registry, outcome) (increase(errata_polls_total[1h]))", "{{registry}} {{outcome}}"),
    ),
    lines(
        "Write-backs",
        "Attempts to write a result back to a registry, per hour. `waits` is not an error, `failed` is retried, and "
        "`dropped` is not retried (ErrataWriteBacksFailing).",
        "short",
        Query("sum by (outcome) (increase(errata_write_backs_total[1h]))", "{{outcome}}"),
    ),
    lines(
        "Process memory",
        "Resident memory. Each used bundle needs the size of its verdict table. A continuous rise is a leak.",
        "bytes",
        Query('process_resident_memory_bytes{job=~"errata-api|errata-worker"}', "{{job}} {{instance}}"),
        width=12,
    ),
    lines(
        "Process CPU",
        "CPU cores in use. A worker without a GPU uses all cores that it may.",
        "short",
        Query(f'rate(process_cpu_seconds_total{{job=~"errata-api|errata-worker"}}{RATE})', "{{job}} {{instance}}"),
        width=12,
    ),
)

QUEUE = (
    lines(
        "Open analyses",
        "Queued and running model analyses. At ERRATA_MAX_OPEN, new ones are refused.",
        "short",
        Query("max by (state) (errata_open_analyses)", "{{state}}"),
    ),
    lines(
        "Open shards",
        "Queued and running shards, which the autoscaler uses. If fewer shards run than there are workers, some "
        "workers are idle.",
        "short",
        Query("max by (state) (errata_open_shards)", "{{state}}"),
    ),
    lines(
        "Age of the oldest open analysis",
        "A sawtooth is normal. A line that only rises is an analysis that no worker processes (ErrataQueueAgeing).",
        "s",
        Query("max by (state) (errata_oldest_open_seconds)", "{{state}}"),
    ),
    lines(
        "Workers",
        "`alive`: has a recent heartbeat in Redis. `scraped`: responds to Prometheus. `ready`: reports that it is "
        "ready. ErrataWorkersGone fires if shards are open and no worker is alive.",
        "short",
        Query("max(errata_live_workers)", "alive"),
        Query('sum(up{job="errata-worker"})', "scraped"),
        Query('sum(errata_ready{job="errata-worker"})', "ready"),
    ),
    lines(
        "Images per second",
        "Images on which models are run, by worker. Large models and slow image storage reduce it.",
        "suffix: images/s",
        Query(f"sum by (job, instance) (rate(errata_images_total{RATE}))", "{{instance}}"),
    ),
    lines(
        "Completed analyses",
        "Per hour by state, including uploads. ErrataAnalysesFailing fires if more than 20 % fail.",
        "short",
        Query("sum by (state) (increase(errata_analyses_total[1h]))", "{{state}}"),
    ),
    lines(
        "Duration of fast stages",
        "Stages of uploads and pages, p50 and p99: parse (a file), judge, archive, render.",
        "s",
        *_stages('{stage!="inference"}'),
        width=12,
    ),
    lines(
        "Duration of inference",
        "Duration of a shard of ERRATA_SHARD_SIZE images, p50 and p99. Durations above the histogram's last bucket "
        "appear as that bucket.",
        "s",
        *_stages('{stage="inference"}'),
        width=12,
    ),
    lines(
        "Requeued shards",
        "Shards that were requeued after a temporary error, per hour, by reason.",
        "short",
        Query("sum by (reason) (increase(errata_shard_retries_total[1h]))", "{{reason}}"),
    ),
    lines(
        "Crashes and fenced writes",
        "Per hour. A crash is a shard whose worker died (ErrataWorkersCrashing). A fenced write is a write of a "
        "worker whose lease had expired; it is rejected and harmless, but shows that workers pause for long.",
        "short",
        Query("max(increase(errata_crashes_total[1h]))", "crashes"),
        Query("max(increase(errata_fenced_writes_total[1h]))", "fenced writes"),
    ),
    lines(
        "Delayed and dead messages",
        "`delayed`: waiting for a retry. `dead`: retries exhausted (ErrataDeadLetters).",
        "short",
        Query("max(errata_delayed_messages)", "delayed"),
        Query("max(errata_dead_letters)", "dead"),
    ),
    lines(
        "GPU memory",
        "Used and total memory, by worker and device. Near the limit, a worker reduces its batch size.",
        "bytes",
        Query("max by (job, instance, device, kind) (errata_gpu_memory_bytes)", "{{instance}} {{device}} {{kind}}"),
        width=24,
    ),
)

CACHES = (
    lines(
        "Cache hit rate",
        "Share of lookups that hit the cache. It is low after a start, and if each item is requested only once.",
        "percentunit",
        Query(
            f'sum by (cache) (rate(errata_cache_requests_total{{outcome="hit"}}{RATE}))'
            f" / sum by (cache) (rate(errata_cache_requests_total{RATE}))",
            "{{cache}}",
        ),
        width=6,
        top=1,
    ),
    lines(
        "Cache lookups",
        "Per second, by cache.",
        "reqps",
        Query(f"sum by (cache) (rate(errata_cache_requests_total{RATE}))", "{{cache}}"),
        width=6,
    ),
    lines(
        "Cache size",
        "Size of the in-memory cache; the maximum of all processes.",
        "bytes",
        Query("max by (cache) (errata_cache_bytes)", "{{cache}}"),
        width=6,
    ),
    lines(
        "Redis memory",
        "Used memory and the limit (0: no limit). At the limit, Redis evicts cached results first. "
        "ErrataRedisMemoryHigh fires above 95 % of the limit.",
        "bytes",
        Query("max(errata_redis_memory_bytes)", "used"),
        Query("max(errata_redis_max_memory_bytes)", "limit"),
        width=6,
    ),
)

MIX = (
    bars(
        "Error types as a share of all samples",
        "One bar per version of $model on $dataset, in the group $group. Its height is the top-1 error rate. By "
        f"severity from the bottom: {SEVERITIES}. Gray and teal count as correct (ImageNet's labels are wrong or "
        "incomplete); red errors have no explanation.",
        [Query(_share(error_type), ref=error_type.name) for error_type in TOP1_ERROR_TYPES],
        TYPE_COLORS,
        "normal",
        min=0,
    ),
    bars(
        "Error types as portions of the top-1 errors",
        "The error types as portions of each version's top-1 errors, independent of the number of errors. A model "
        "that is better overall can have a larger portion of red.",
        [Query(_portion(error_type), ref=error_type.name) for error_type in TOP1_ERROR_TYPES],
        TYPE_COLORS,
        "normal",
        min=0,
        max=1,
    ),
    bars(
        "Accuracy",
        "By version, in the group $group. Multi-label accuracy counts class overlaps and missing multi-labels as "
        "correct, and is a mean over classes. It is usually higher than top-1 accuracy, and shows better whether a "
        "model improved.",
        [
            Query(_of_version("errata_result_top1_accuracy_ratio", OF_GROUP), ref="top1_accuracy"),
            Query(_of_version("errata_result_multi_label_accuracy_ratio", OF_GROUP), ref="multi_label_accuracy"),
        ],
        {"top1_accuracy": GRAY, "multi_label_accuracy": BLUE},
        "none",
        max=1,
    ),
    bars(
        "Severe errors and the baseline",
        "Model failures as a share of all samples, beside the share of the version's baseline. "
        "ErrataSevereErrorsUp fires if the difference is above half a point and statistically significant.",
        [
            Query(_of_version("errata_result_severe_error_ratio"), ref="severe_errors"),
            Query(_of_version("errata_result_baseline_severe_error_ratio"), ref="baseline"),
        ],
        {"severe_errors": SEVERE_TYPES[0].row.colors.dashboard, "baseline": GRAY},
        "none",
        min=0,
    ),
    table(
        "Newest results",
        "The newest result of each version of all watched models on $dataset, the newest first. Accuracies are "
        "those of the group $group. `severe_errors` and `baseline` are shares of model failures, and `change` is "
        "their difference; it is empty without a baseline.",
        ["model", "version", "dataset"],
        [
            Query(f"{_of_result('errata_result_timestamp_seconds')} * 1000", ref="ended"),
            Query(_of_result("errata_result_samples", 'dataset="$dataset", group="$group"'), ref="samples"),
            Query(
                _of_result("errata_result_top1_accuracy_ratio", 'dataset="$dataset", group="$group"'),
                ref="top1_accuracy",
            ),
            Query(
                _of_result("errata_result_multi_label_accuracy_ratio", 'dataset="$dataset", group="$group"'),
                ref="multi_label_accuracy",
            ),
            Query(_of_result("errata_result_severe_error_ratio"), ref="severe_errors"),
            Query(_of_result("errata_result_baseline_severe_error_ratio"), ref="baseline"),
            Query(
                _of_result("errata_result_severe_error_ratio")
                + " - "
                + _of_result("errata_result_baseline_severe_error_ratio"),
                ref="change",
            ),
        ],
        {
            "ended": "dateTimeAsIso",
            **dict.fromkeys(
                ("top1_accuracy", "multi_label_accuracy", "severe_errors", "baseline", "change"), "percentunit"
            ),
        },
        by="ended",
    ),
    number(
        "Hidden results",
        "Results without series: ERRATA_WATCHED_MODELS does not include their model, or there are more than "
        "ERRATA_MAX_WATCHED.",
        "short",
        Query("max(errata_results_dropped)"),
    ),
)

EVIDENCE = (
    table(
        "Evidence bundles",
        "The bundles by data set, and the number of processes that serve each. Results with different digests are "
        "not comparable. Two digests of a data set are two bundles, or a change that is in progress.",
        ["dataset", "digest", "rules"],
        [Query("count by (dataset, digest, rules) (errata_evidence_info)", ref="processes")],
        {"processes": "short"},
        by="processes",
    ),
)

ROWS: Mapping[str, Sequence[Panel]] = {
    "Service health": SERVICE,
    "Queue and workers": QUEUE,
    "Caches and Redis": CACHES,
    "Error types by model version": MIX,
    "Evidence": EVIDENCE,
}


def _layout() -> Iterator[dict[str, Any]]:
    """Yield the panels with ids and positions, from left to right; a panel that does not fit starts a new line."""
    ids = iter(range(1, 1000))
    top = 0
    for title, panels in ROWS.items():
        yield {
            "id": next(ids),
            "type": "row",
            "title": title,
            "collapsed": False,
            "gridPos": {"h": 1, "w": WIDTH, "x": 0, "y": top},
            "panels": [],
        }
        top += 1
        left = height = 0
        for panel in panels:
            if left + panel.width > WIDTH:
                top, left, height = top + height, 0, 0
            position = {"h": panel.height, "w": panel.width, "x": left, "y": top}
            yield _panel(panel, next(ids), position)
            left, height = left + panel.width, max(height, panel.height)
        top += height


def _panel(panel: Panel, panel_id: int, position: Mapping[str, int]) -> dict[str, Any]:
    target_format = (
        {"format": "table", "instant": True, "range": False}
        if panel.table
        else {"format": "time_series", "range": True}
    )
    return {
        "id": panel_id,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": SOURCE,
        "gridPos": position,
        "targets": [
            {
                "refId": query.ref or "ABCDEFGH"[index],
                "datasource": SOURCE,
                "editorMode": "code",
                "expr": query.expr,
                "legendFormat": query.legend or "__auto",
                **target_format,
            }
            for index, query in enumerate(panel.queries)
        ],
        "fieldConfig": {
            "defaults": {"color": {"mode": "palette-classic"}, "unit": panel.unit, **panel.defaults},
            "overrides": list(panel.overrides),
        },
        "options": panel.options,
        "transformations": list(panel.transformations),
    }


def _query_variable(name: str, label: str, expr: str) -> dict[str, Any]:
    """Return a variable whose values a query returns."""
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": SOURCE,
        "definition": expr,
        "query": {"qryType": 1, "query": expr, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
        "refresh": 2,
        "sort": 1,
    }


def _variables() -> list[dict[str, Any]]:
    groups = 'label_values(errata_result_samples{model="$model", dataset="$dataset"}, group)'
    return [
        {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "refresh": 1},
        _query_variable("dataset", "Data set", "label_values(errata_result_samples, dataset)"),
        _query_variable("model", "Model", 'label_values(errata_result_samples{dataset="$dataset"}, model)'),
        _query_variable("group", "Group of classes", groups)
        | {"current": {"selected": True, "text": ALL, "value": ALL}},
    ]


def dashboard() -> dict[str, Any]:
    """Return the dashboard in Grafana's format."""
    return {
        "uid": "errata",
        "title": "Errata",
        "description": "The service, its workers, and the error types of the analyzed models.",
        "tags": ["errata"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": _variables()},
        "annotations": {"list": []},
        "links": [],
        "panels": list(_layout()),
    }


def text() -> str:
    """Return the content of the dashboard file."""
    return json.dumps(dashboard(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
