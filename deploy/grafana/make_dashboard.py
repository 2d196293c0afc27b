"""Write dashboards/errata.json: `python deploy/grafana/make_dashboard.py`. Change the dashboard here, not in the file.

What a panel asks and how it is to be read stands in the tables of `ROWS`, a row after the other as they are shown; the
functions before them know Grafana's format. Long, since the whole dashboard is to be seen in one place.

What a process reads from Redis, and the results, every process shows alike: those are `max`, never `sum`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from service.domain import ERROR_TYPES, SEVERITY, TOP1_ERROR_TYPES, ErrorType, Group, Severity

FILE = Path(__file__).parent / "dashboards" / "errata.json"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH = 24  # columns of Grafana's grid
# The report's colors, in shades that can be told from Grafana's dark and light ground: grays and teal for what counts
# as correct, blues for minor, browns for explainable, red for severe errors.
COLORS: Mapping[ErrorType, str] = {
    ErrorType.CORRECT: "#a9b4be",
    ErrorType.CLASS_OVERLAP: "#7b858f",
    ErrorType.MULTI_LABEL: "#26a596",
    ErrorType.FINE_GRAINED: "#5f9fdf",
    ErrorType.FINE_GRAINED_OOV: "#3567b5",
    ErrorType.SPURIOUS_CORRELATION: "#dba338",
    ErrorType.NON_PROTOTYPICAL: "#996619",
    ErrorType.MODEL_FAILURE: "#e03e36",
}
GREEN, YELLOW, RED, GRAY, BLUE = "#4c9a52", "#dba338", "#e03e36", "#7b858f", "#5f9fdf"


@dataclass(frozen=True)
class Query:
    """What is asked of Prometheus."""

    expr: str
    legend: str = ""
    ref: str = ""  # names the column `Value #ref` of a table


@dataclass(frozen=True)
class Panel:
    """A panel, but for its place and its id."""

    kind: str
    title: str
    description: str
    unit: str
    queries: Sequence[Query]
    width: int
    height: int = 8
    table: bool = False  # one row a series, as of now; else a line a series, over time
    defaults: Mapping[str, Any] = field(default_factory=dict)
    overrides: Sequence[Mapping[str, Any]] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    transformations: Sequence[Mapping[str, Any]] = ()


def lines(title: str, description: str, unit: str, *queries: Query, width: int = 8, top: float | None = None) -> Panel:
    """Return a panel of lines over time, from 0 (to `top`)."""
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
    """Return a panel of one number, colored by the step that it has reached."""
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
    """Return a panel with a bar, or a group of bars, a version, the newest last; `queries` are by version."""
    ended = Query(f"max by (version) (errata_result_timestamp_seconds{{{OF_MODEL}}})", ref="ended")
    return Panel(
        "barchart",
        title,
        description,
        "percentunit",
        [*queries, ended],
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
            _sorted("Value #ended", desc=False),
            _columns(["version", *(query.ref for query in queries)], hidden=["Time", "Value #ended"]),
        ],
    )


def table(
    title: str, description: str, labels: Sequence[str], queries: Sequence[Query], units: Mapping[str, str], by: str
) -> Panel:
    """Return a table with a row a set of labels; `by` is the query that sorts it, largest first."""
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
            _sorted(f"Value #{by}" if len(queries) > 1 else "Value", desc=True),
            _columns([*labels, *(query.ref for query in queries)], hidden=["Time"]),
        ],
    )


def _thresholds(steps: Sequence[tuple[float | None, str]]) -> dict[str, Any]:
    return {"mode": "absolute", "steps": [{"color": color, "value": value} for value, color in steps]}


def _property(name: str, property: str, value: Any) -> dict[str, Any]:
    return {"matcher": {"id": "byName", "options": name}, "properties": [{"id": property, "value": value}]}


def _color(name: str, color: str) -> dict[str, Any]:
    return _property(name, "color", {"mode": "fixed", "fixedColor": color})


def _sorted(column: str, desc: bool) -> dict[str, Any]:
    return {"id": "sortBy", "options": {"fields": {}, "sort": [{"field": column, "desc": desc}]}}


def _columns(names: Sequence[str], hidden: Sequence[str]) -> dict[str, Any]:
    """Return what puts columns in order and calls `Value #ref` by its ref; a lone query's column is `Value`."""
    values = [name for name in names if name not in LABELS]
    columns = {name: name for name in names if name in LABELS}
    columns |= {"Value": values[0]} if len(values) == 1 else {f"Value #{name}": name for name in values}
    return {
        "id": "organize",
        "options": {
            "excludeByName": dict.fromkeys(hidden, True),
            "indexByName": {column: place for place, column in enumerate(columns)},
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


TYPE_COLORS = {error_type_.name: COLORS[error_type_] for error_type_ in ERROR_TYPES}
SEVERITIES = "; ".join(
    f"{severity.name.lower()}: "
    + ", ".join(error_type.name for error_type in TOP1_ERROR_TYPES if SEVERITY[error_type] is severity)
    for severity in tuple(Severity)[1:]
)

SERVICE = (
    number(
        "API processes ready",
        "API processes that take work. 0: nothing is served (ErrataNotReady).",
        "short",
        Query('sum(errata_ready{job="errata-api"}) or vector(0)'),
        (None, RED),
        (1, GREEN),
    ),
    number(
        "Workers ready",
        "Worker processes that take work, as they say themselves. 0 is all right while nothing is open.",
        "short",
        Query('sum(errata_ready{job="errata-worker"}) or vector(0)'),
    ),
    number(
        "Calls that fail",
        "Share of the calls that end with INTERNAL, UNAVAILABLE or UNKNOWN; more than 5 % is ErrataCallsFailing. "
        "What a caller did wrong isn't among them.",
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
        "Oldest in the queue",
        "How long the oldest queued analysis has waited; more than half an hour is ErrataQueueAgeing.",
        "s",
        Query('max(errata_oldest_open_seconds{state="queued"})'),
        (None, GREEN),
        (600, YELLOW),
        (1800, RED),
    ),
    number(
        "Dead letters",
        "Messages that the engine gave up. Any is ErrataDeadLetters.",
        "short",
        Query("max(errata_dead_letters)"),
        (None, GREEN),
        (1, RED),
    ),
    number(
        "Version",
        "How many processes run which version; two of them while a new one is rolled out.",
        "short",
        Query("count by (version) (errata_build_info)", "{{version}}"),
    ),
    Panel(
        "state-timeline",
        "Readiness",
        "Green: the process takes work. Red: it doesn't, or can't be scraped. A gap: there was no such process.",
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
        "Calls that ended, a second, by RPC.",
        "reqps",
        Query(f"sum by (method) (rate(errata_rpc_handled_total{RATE}))", "{{method}}"),
    ),
    lines(
        "Calls that didn't end well",
        "By canonical code. INTERNAL is a bug, whose traceback is in the log; UNAVAILABLE says that Redis or the "
        "archive is away; the others are what callers did.",
        "reqps",
        Query(f'sum by (code) (rate(errata_rpc_handled_total{{code!="OK"}}{RATE}))', "{{code}}"),
    ),
    lines(
        "Calls in hand",
        "Calls that began and haven't ended, by RPC. WatchAnalysis stays open while somebody watches; another that "
        "only rises hangs.",
        "short",
        Query(
            "sum by (method) (errata_rpc_started_total) - (sum by (method) (errata_rpc_handled_total)"
            " or 0 * sum by (method) (errata_rpc_started_total))",
            "{{method}}",
        ),
    ),
    lines(
        "Duration of half of the calls",
        "Half of the calls of an RPC take less than this. Streams and uploads take as long as their data.",
        "s",
        Query(_quantile(0.5, "errata_rpc_duration_seconds", "method"), "{{method}}"),
        width=12,
    ),
    lines(
        "Duration of 99 % of the calls",
        "One call in a hundred takes longer than this. A read that stays over a second is ErrataReadsSlow.",
        "s",
        Query(_quantile(0.99, "errata_rpc_duration_seconds", "method"), "{{method}}"),
        width=12,
    ),
    lines(
        "Duration of half of the pages",
        "Half of the answers over HTTP take less than this, by their route.",
        "s",
        Query(_quantile(0.5, "errata_http_request_duration_seconds", "path"), "{{path}}"),
        width=12,
    ),
    lines(
        "Duration of 99 % of the pages",
        "One answer over HTTP in a hundred takes longer than this, by its route.",
        "s",
        Query(_quantile(0.99, "errata_http_request_duration_seconds", "path"), "{{path}}"),
        width=12,
    ),
    lines(
        "Answers over HTTP",
        "Answers a second by route: pages, hooks and gates, without probes and scrapes.",
        "reqps",
        Query(f"sum by (path) (rate(errata_http_requests_total{{{PROBES}}}{RATE}))", "{{path}}"),
    ),
    lines(
        "Answers over HTTP by status",
        "Without probes and scrapes. More than 5 % of 5xx is ErrataPagesFailing; 404s of gates are versions without "
        "an analysis.",
        "reqps",
        Query(f"sum by (status) (rate(errata_http_requests_total{{{PROBES}}}{RATE}))", "{{status}}"),
    ),
    lines(
        "Refused calls",
        "Calls a second without the right to what they ask for, by edge and reason. A step up after a change of "
        "tokens is a client that has the old one; TOKEN_UNKNOWN from nowhere is somebody who tries "
        "(ErrataCallsRefused).",
        "reqps",
        Query(f"sum by (edge, reason) (rate(errata_refused_calls_total{RATE}))", "{{edge}} {{reason}}"),
    ),
    lines(
        "Calls of registries",
        "Calls of hooks a second, by what came of them. `unverified` and `malformed`: the registry's secret or "
        "address is wrong; `later`: it was asked to come again.",
        "reqps",
        Query(f"sum by (registry, outcome) (rate(errata_hooks_total{RATE}))", "{{registry}} {{outcome}}"),
    ),
    lines(
        "Looks at registries",
        "In an hour. Where only `failed` is left the registry can't be asked (ErrataRegistryUnreachable).",
        "short",
        Query("sum by (registry, outcome) (increase(errata_polls_total[1h]))", "{{registry}} {{outcome}}"),
    ),
    lines(
        "Write-backs",
        "Attempts to tell a registry a result, in an hour. `waits` isn't an error; `failed` is tried again; "
        "`dropped` is given up (ErrataWriteBacksFailing).",
        "short",
        Query("sum by (outcome) (increase(errata_write_backs_total[1h]))", "{{outcome}}"),
    ),
    lines(
        "Memory of processes",
        "Resident memory. Each bundle that was used takes the size of its verdict table; a rise without end is a leak.",
        "bytes",
        Query('process_resident_memory_bytes{job=~"errata-api|errata-worker"}', "{{job}} {{instance}}"),
        width=12,
    ),
    lines(
        "CPU of processes",
        "Cores that a process keeps busy. A worker without a GPU takes all that it may.",
        "short",
        Query(f'rate(process_cpu_seconds_total{{job=~"errata-api|errata-worker"}}{RATE})', "{{job}} {{instance}}"),
        width=12,
    ),
)

QUEUE = (
    lines(
        "Open analyses",
        "Model analyses that wait or run. New ones are refused at ERRATA_MAX_OPEN.",
        "short",
        Query("max by (state) (errata_open_analyses)", "{{state}}"),
    ),
    lines(
        "Open shards",
        "Parts of analyses that wait or run: the work that the autoscaler sees. As many run as there are workers, or "
        "some are idle.",
        "short",
        Query("max by (state) (errata_open_shards)", "{{state}}"),
    ),
    lines(
        "Age of the oldest open analysis",
        "A saw's teeth are all right; a line that only rises is an analysis that nobody works on (ErrataQueueAgeing).",
        "s",
        Query("max by (state) (errata_oldest_open_seconds)", "{{state}}"),
    ),
    lines(
        "Workers",
        "`alive`: heard of in Redis lately; `scraped`: answers Prometheus; `ready`: takes work. No worker alive with "
        "open shards is ErrataWorkersGone.",
        "short",
        Query("max(errata_live_workers)", "alive"),
        Query('sum(up{job="errata-worker"})', "scraped"),
        Query('sum(errata_ready{job="errata-worker"})', "ready"),
    ),
    lines(
        "Images a second",
        "Images that models are run on, by worker. It falls where a model is larger or a worker waits for images.",
        "suffix: images/s",
        Query(f"sum by (job, instance) (rate(errata_images_total{RATE}))", "{{instance}}"),
    ),
    lines(
        "Analyses that ended",
        "In an hour, by state, uploads among them. More than 20 % of `failed` is ErrataAnalysesFailing.",
        "short",
        Query("sum by (state) (increase(errata_analyses_total[1h]))", "{{state}}"),
    ),
    lines(
        "Duration of fast stages",
        "What an upload or a page spends its time on, p50 and p99: parse (a file), judge, archive, render.",
        "s",
        *_stages('{stage!="inference"}'),
        width=12,
    ),
    lines(
        "Duration of inference",
        "How long a shard of ERRATA_SHARD_SIZE images takes, p50 and p99. None shows as more than the histogram's "
        "last bucket.",
        "s",
        *_stages('{stage="inference"}'),
        width=12,
    ),
    lines(
        "Shards that came again",
        "After an error that passes, in an hour, by its reason.",
        "short",
        Query("sum by (reason) (increase(errata_shard_retries_total[1h]))", "{{reason}}"),
    ),
    lines(
        "Crashes and late workers",
        "In an hour. A crash is a shard whose worker died over it (ErrataWorkersCrashing); a fenced write is what a "
        "worker that was thought dead said too late, and was refused: harmless, but workers stand still for long.",
        "short",
        Query("max(increase(errata_crashes_total[1h]))", "crashes"),
        Query("max(increase(errata_fenced_writes_total[1h]))", "fenced writes"),
    ),
    lines(
        "Messages aside",
        "`delayed`: wait to come again; `dead`: given up by the engine (ErrataDeadLetters).",
        "short",
        Query("max(errata_delayed_messages)", "delayed"),
        Query("max(errata_dead_letters)", "dead"),
    ),
    lines(
        "GPU memory",
        "What is used, and what there is, by worker and device. Near the limit a worker makes its batches smaller.",
        "bytes",
        Query("max by (job, instance, device, kind) (errata_gpu_memory_bytes)", "{{instance}} {{device}} {{kind}}"),
        width=24,
    ),
)

CACHES = (
    lines(
        "Hits of caches",
        "Share of the requests that a cache could answer. It is low after a start, and where everything is looked at "
        "once.",
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
        "Requests of caches",
        "A second, by cache.",
        "reqps",
        Query(f"sum by (cache) (rate(errata_cache_requests_total{RATE}))", "{{cache}}"),
        width=6,
    ),
    lines(
        "Size of caches",
        "What a process holds in its own memory, the largest of the processes.",
        "bytes",
        Query("max by (cache) (errata_cache_bytes)", "{{cache}}"),
        width=6,
    ),
    lines(
        "Memory of Redis",
        "What it uses and what it may use (0: no limit). At the limit it drops cached results first; over 95 % is "
        "ErrataRedisMemoryHigh.",
        "bytes",
        Query("max(errata_redis_memory_bytes)", "used"),
        Query("max(errata_redis_max_memory_bytes)", "limit"),
        width=6,
    ),
)

MIX = (
    bars(
        "Errors by type, of all samples",
        "A bar a version of $model on $dataset, in group $group; its height is the top-1 error rate. By severity "
        f"from the bottom: {SEVERITIES}. Gray and teal count as correct (ImageNet's labels are wrong or too few); "
        "red is what nothing explains.",
        [Query(_share(error_type), ref=error_type.name) for error_type in TOP1_ERROR_TYPES],
        TYPE_COLORS,
        "normal",
        min=0,
    ),
    bars(
        "Mix of the top-1 errors",
        "The same, as portions of each version's top-1 errors: whether the kind of mistakes changed, whatever their "
        "number. A model that is better overall may have a larger portion of red.",
        [Query(_portion(error_type), ref=error_type.name) for error_type in TOP1_ERROR_TYPES],
        TYPE_COLORS,
        "normal",
        min=0,
        max=1,
    ),
    bars(
        "Accuracy",
        "By version, in group $group. Multi-label accuracy takes class overlaps and missing labels for correct, and is "
        "a mean over classes: it is mostly above top-1 accuracy, and tells better whether a model improved.",
        [
            Query(_of_version("errata_result_top1_accuracy_ratio", OF_GROUP), ref="top1_accuracy"),
            Query(_of_version("errata_result_multi_label_accuracy_ratio", OF_GROUP), ref="multi_label_accuracy"),
        ],
        {"top1_accuracy": GRAY, "multi_label_accuracy": BLUE},
        "none",
        max=1,
    ),
    bars(
        "Severe errors and their baseline",
        "Share of model failures among all samples, whatever the group, beside that of the version's baseline. "
        "Higher by more than half a point and by more than chance explains is ErrataSevereErrorsUp.",
        [
            Query(_of_version("errata_result_severe_error_ratio"), ref="severe_errors"),
            Query(_of_version("errata_result_baseline_severe_error_ratio"), ref="baseline"),
        ],
        {"severe_errors": COLORS[ErrorType.MODEL_FAILURE], "baseline": GRAY},
        "none",
        min=0,
    ),
    table(
        "Newest results",
        "The newest result of each version of every watched model on $dataset, the newest first; accuracies are "
        "those of group $group. `severe_errors` and `baseline` are shares of model failures, `change` their "
        "difference: empty without one.",
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
        "Results that aren't shown",
        "Results that are left out here: ERRATA_WATCHED_MODELS doesn't name their model, or there are more than "
        "ERRATA_MAX_WATCHED.",
        "short",
        Query("max(errata_results_dropped)"),
    ),
)

EVIDENCE = (
    table(
        "Evidence that is served",
        "The bundles by data set, and how many processes serve each. Results judged with different digests aren't "
        "comparable; two digests of a data set at the same time are two bundles side by side, or a change on its way.",
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
    "The mix of errors over model versions": MIX,
    "Evidence": EVIDENCE,
}


def _placed() -> Iterator[dict[str, Any]]:
    """Give the panels ids and places, from left to right; one that doesn't fit begins a new line."""
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
            place = {"h": panel.height, "w": panel.width, "x": left, "y": top}
            yield _panel(panel, next(ids), place)
            left, height = left + panel.width, max(height, panel.height)
        top += height


def _panel(panel: Panel, number: int, place: Mapping[str, int]) -> dict[str, Any]:
    how = (
        {"format": "table", "instant": True, "range": False}
        if panel.table
        else {"format": "time_series", "range": True}
    )
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": SOURCE,
        "gridPos": place,
        "targets": [
            {
                "refId": query.ref or "ABCDEFGH"[place],
                "datasource": SOURCE,
                "editorMode": "code",
                "expr": query.expr,
                "legendFormat": query.legend or "__auto",
                **how,
            }
            for place, query in enumerate(panel.queries)
        ],
        "fieldConfig": {
            "defaults": {"color": {"mode": "palette-classic"}, "unit": panel.unit, **panel.defaults},
            "overrides": list(panel.overrides),
        },
        "options": panel.options,
        "transformations": list(panel.transformations),
    }


def _asked(name: str, label: str, expr: str) -> dict[str, Any]:
    """Return a variable whose values Prometheus knows."""
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
    groups = [item.value for item in Group]
    return [
        {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "refresh": 1},
        _asked("dataset", "Data set", "label_values(errata_result_samples, dataset)"),
        _asked("model", "Model", 'label_values(errata_result_samples{dataset="$dataset"}, model)'),
        {
            "name": "group",
            "label": "Group of classes",
            "type": "custom",
            "query": ",".join(groups),
            "current": {"selected": True, "text": groups[0], "value": groups[0]},
            "options": [{"selected": group == groups[0], "text": group, "value": group} for group in groups],
        },
    ]


def dashboard() -> dict[str, Any]:
    """Return the dashboard in Grafana's format."""
    return {
        "uid": "errata",
        "title": "Errata",
        "description": "The service, its workers, and what kind of errors the models make that it judged.",
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
        "panels": list(_placed()),
    }


def text() -> str:
    """Return the dashboard's file."""
    return json.dumps(dashboard(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
