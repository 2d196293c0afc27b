"""Rules, scrape configuration, and dashboard: they are valid and name existing metrics and labels."""

import json
import re
import runpy
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from missing_tools import skip_or_fail
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from service import telemetry
from service.analyses.write_back import WriteBackResult
from service.api.server import rpc_names
from service.domain import ALL, ERROR_TYPES, Severity, State
from service.taxonomy.imagenet_1k import GROUPS

DEPLOY = Path(__file__).parents[2] / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
GRAFANA = DEPLOY / "grafana"
EVERYWHERE = {"job", "instance"}  # labels that Prometheus and ServiceMonitors add
# The known values of labels. A misspelled value would match no series without an error.
VALUES: Mapping[tuple[str, str] | str, set[str]] = {
    "code": {item.name for item in grpc.StatusCode},
    "method": set(rpc_names()),
    "state": {item.name.lower() for item in State},
    "group": {ALL, *GROUPS},
    "error_type": {error_type.name for error_type in ERROR_TYPES},
    "severity": {item.name.lower() for item in Severity},
    "job": {"errata-api", "errata-worker"},
    ("errata_write_backs_total", "outcome"): {item.value for item in WriteBackResult},
    ("errata_polls_total", "outcome"): {"done", "failed"},
    ("errata_cache_requests_total", "outcome"): {"hit", "miss"},
}


# Parsing of expressions -----------------------------------------------------------------------------------------------

TOKEN = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|\[[^\]]*\]|\d[\w.]*|[A-Za-z_:][\w:]*|=~|!~|!=|[=(){},]|\S""")
NAME = re.compile(r"[A-Za-z_:][\w:]*")
WORDS = {"and", "or", "unless", "atan2", "bool", "offset", "inf", "nan", "start", "end"}
GROUPING = {"by", "without"}
MATCHING = {"on", "ignoring", "group_left", "group_right"}


@dataclass
class Named:
    """A metric in an expression, and the labels that the expression uses."""

    metric: str
    grouped: set[str] = field(default_factory=set)  # labels in `by (…)`
    values: dict[str, set[str]] = field(default_factory=dict)  # label -> values in selectors

    @property
    def labels(self) -> set[str]:
        return self.grouped | self.values.keys()


@dataclass
class Reading:
    """The metrics and labels in an expression."""

    metrics: list[Named] = field(default_factory=list)
    matched: set[str] = field(default_factory=set)  # labels that join two sides


def read(expression: str) -> Reading:
    """Return the names in a PromQL expression. A name that is neither a keyword nor a function is a metric."""
    tokens = TOKEN.findall(re.sub(r"#.*", "", expression))
    reading = Reading()
    opened: list[tuple[int, set[str]]] = []  # per open parenthesis: number of metrics before it, and grouping labels
    pending: set[str] = set()  # labels of `sum by (…)` before its parenthesis
    closed = 0  # number of metrics before the last closed parenthesis, for `sum(…) by (…)`
    place = 0
    while place < len(tokens):
        token, following = tokens[place], tokens[place + 1] if place + 1 < len(tokens) else ""
        place += 1
        if token in GROUPING | MATCHING and following == "(":
            end = tokens.index(")", place)
            labels = {item for item in tokens[place + 1 : end] if NAME.fullmatch(item)}
            before, place = tokens[place - 2], end + 1
            if token in MATCHING:
                reading.matched |= labels
            elif before == ")":
                for metric in reading.metrics[closed:]:
                    metric.grouped |= labels
            else:
                pending = labels
        elif token == "(":
            opened.append((len(reading.metrics), pending))
            pending = set()
        elif token == ")":
            closed, labels = opened.pop()
            for metric in reading.metrics[closed:]:
                metric.grouped |= labels
        elif NAME.fullmatch(token) and token.lower() not in WORDS and following not in ("(", *GROUPING):
            reading.metrics.append(Named(token))
        elif token == "{":
            end = tokens.index("}", place)
            for label, operator, value in _matchers(tokens[place:end]):
                alternatives = value.split("|") if "~" in operator else [value]
                reading.metrics[-1].values.setdefault(label, set()).update(alternatives)
            place = end + 1
    return reading


def _matchers(tokens: list[str]) -> Iterator[tuple[str, str, str]]:
    rest = [token for token in tokens if token != ","]
    for place in range(0, len(rest), 3):
        label, operator, value = rest[place : place + 3]
        yield label, operator, value[1:-1]


@cache
def known_series() -> dict[str, set[str]]:
    """Return the labels of all series: documented metrics, recording rules, and Prometheus' own."""
    result: dict[str, set[str]] = {"up": set()}
    for line in (telemetry.__doc__ or "").splitlines():
        if line.startswith("errata_"):
            name, kind, label_names, _ = re.split(r"\s{2,}", line.strip())
            labels = set() if label_names in ("–", "-") else set(label_names.split(", "))
            if kind == "histogram":
                result |= {f"{name}_bucket": labels | {"le"}, f"{name}_sum": labels, f"{name}_count": labels}
            else:
                result[name] = labels
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    for name in re.findall(r"^(process_\w+)", generate_latest(registry).decode(), re.MULTILINE):
        result[name] = set()
    for rule in rules():
        if "record" in rule:
            result[rule["record"]] = {label for metric in read(rule["expr"]).metrics for label in metric.grouped}
    return result


def problems(expression: str, series: Mapping[str, set[str]]) -> list[str]:
    """Return the unknown names in an expression."""
    reading = read(expression)
    result = []
    known = set(EVERYWHERE)
    for named in reading.metrics:
        if named.metric not in series:
            result.append(f"no metric {named.metric}")
            continue
        labels = series[named.metric] | EVERYWHERE
        known |= labels
        result += [f"no label {item} of {named.metric}" for item in sorted(named.labels - labels)]
        for label, values in named.values.items():
            allowed = VALUES.get((named.metric, label), VALUES.get(label))
            plain = {value for value in values if re.fullmatch(r"[\w-]+", value)}
            result += [f"no value {item} of {label}" for item in sorted(plain - (allowed or plain))]
    return result + [f"no label {item} to match by" for item in sorted(reading.matched - known)]


# The files ------------------------------------------------------------------------------------------------------------


@cache
def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def rules() -> list[dict[str, Any]]:
    return [rule for group in load(PROMETHEUS / "rules.yaml")["groups"] for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


@cache
def dashboard() -> dict[str, Any]:
    return json.loads((GRAFANA / "dashboards" / "errata.json").read_text())  # type: ignore[no-any-return]


def panels() -> list[dict[str, Any]]:
    return [item for item in dashboard()["panels"] if item["type"] != "row"]


def queries() -> dict[str, str]:
    """Return the expressions of the dashboard's panels and variables by location."""
    result = {
        f"{panel['title']}: {target['refId']}": target["expr"] for panel in panels() for target in panel["targets"]
    }
    for variable in dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            metric, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"]).groups()  # type: ignore[union-attr]
            result[f"variable {variable['name']}"] = f"count by ({label}) ({metric})"
    return result


@cache
def expressions() -> dict[str, str]:
    return {rule.get("alert") or rule["record"]: rule["expr"] for rule in rules()} | queries()


@dataclass(frozen=True)
class Case:
    """The expectation of a test in rules.test.yaml for one alert at one time."""

    alert: str
    fires: bool
    series: str  # the input series


def cases() -> list[Case]:
    return [
        Case(item["alertname"], bool(item.get("exp_alerts")), " ".join(one["series"] for one in test["input_series"]))
        for test in load(PROMETHEUS / "rules.test.yaml")["tests"]
        for item in test["alert_rule_test"]
    ]


# Names in expressions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", expressions())
def test_every_expression_names_existing_metrics_and_labels(where: str) -> None:
    assert problems(expressions()[where], known_series()) == []


@pytest.mark.parametrize("where", expressions())
def test_a_misspelled_metric_or_label_is_detected(where: str) -> None:
    expression, series = expressions()[where], known_series()
    reading = read(expression)
    assert reading.metrics or expression == "vector(0)"
    for name in {metric.metric for metric in reading.metrics}:
        assert f"no metric {name}x" in problems(re.sub(rf"(?<![\w:]){name}(?![\w:])", f"{name}x", expression), series)
    for label in {label for metric in reading.metrics for label in metric.labels} | reading.matched:
        misspelt = re.sub(rf"(?<=[(\s,{{]){label}(?=\s*(?:[,)]|=~|!~|!=|=))", f"{label}x", expression)
        assert any(problem.startswith(f"no label {label}x") for problem in problems(misspelt, series)), misspelt


# Validation by Prometheus ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def promtool() -> str:
    """The path of promtool; without it, skip locally and fail in CI."""
    result = shutil.which("promtool")
    if result is None:
        skip_or_fail("promtool is missing; install Debian's package prometheus")
    return result


def run(*command: str) -> None:
    done = subprocess.run(command, cwd=PROMETHEUS, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_accepts_the_rules(promtool: str) -> None:
    run(promtool, "check", "rules", "--lint=all", "--lint-fatal", "rules.yaml")


def test_prometheus_accepts_the_configuration(promtool: str) -> None:
    run(promtool, "check", "config", "--lint=all", "--lint-fatal", "prometheus.yaml")


def test_the_alerts_fire_exactly_in_their_cases(promtool: str) -> None:
    run(promtool, "test", "rules", "rules.test.yaml")


def test_prometheus_accepts_the_queries_of_the_dashboard(promtool: str, tmp_path: Path) -> None:
    dashboard_queries = [expression.replace("$__rate_interval", "5m") for expression in queries().values()]
    recorded = [{"record": f"asked:{place}", "expr": expression} for place, expression in enumerate(dashboard_queries)]
    path = tmp_path / "asked.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "asked", "rules": recorded}]}))
    run(promtool, "check", "rules", str(path))


@pytest.mark.parametrize("alert", alerts())
def test_every_alert_has_a_firing_and_a_non_firing_case(alert: str) -> None:
    assert {case.fires for case in cases() if case.alert == alert} == {True, False}


@pytest.mark.parametrize("alert", alerts())
def test_non_firing_cases_have_all_series(alert: str) -> None:
    recorded = {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}
    metrics = {metric.metric for metric in read(alerts()[alert]["expr"]).metrics}
    while result := metrics & set(recorded):
        metrics = (metrics - result) | {metric.metric for name in result for metric in read(recorded[name]).metrics}
    non_firing = [case for case in cases() if case.alert == alert and not case.fires]
    assert any(metrics <= {named.metric for named in read(item.series).metrics} for item in non_firing)


def test_the_cases_name_existing_alerts_and_metrics() -> None:
    assert {case.alert for case in cases()} == set(alerts())
    known = known_series()
    for test in load(PROMETHEUS / "rules.test.yaml")["tests"]:
        for item in test["input_series"]:
            (named,) = read(item["series"]).metrics
            if named.values["job"] <= VALUES["job"]:
                assert problems(item["series"], known) == []
                assert named.labels == known[named.metric] | EVERYWHERE, item["series"]


@pytest.mark.parametrize("alert", alerts())
def test_every_alert_has_a_severity_a_description_and_a_runbook(alert: str) -> None:
    rule = alerts()[alert]
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"].keys() == {"summary", "description", "runbook"}
    assert "$value" in rule["annotations"]["description"]
    section = re.sub(r"(?<!^)(?=[A-Z])", "-", alert).lower()
    assert rule["annotations"]["runbook"] == f"deploy/README.md#{section}"


@pytest.mark.parametrize("alert", alerts())
def test_the_runbook_has_a_section_for_every_alert(alert: str) -> None:
    path, _, section = alerts()[alert]["annotations"]["runbook"].partition("#")
    text = re.sub(r"^```.*?^```", "", (DEPLOY.parent / path).read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+\s+(.*?)\s*$", text, re.MULTILINE)
    assert section in {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_scraped_jobs_are_those_of_the_rules_and_the_dashboard() -> None:
    scraped = {item["job_name"] for item in load(PROMETHEUS / "prometheus.yaml")["scrape_configs"]}
    readings = [read(expression) for expression in expressions().values()]
    selected = {job for reading in readings for named in reading.metrics for job in named.values.get("job", ())}
    assert scraped == selected == VALUES["job"]


# The dashboard --------------------------------------------------------------------------------------------------------


def test_the_dashboard_is_current() -> None:
    written = runpy.run_path(str(GRAFANA / "make_dashboard.py"))["text"]()
    assert written == (GRAFANA / "dashboards" / "errata.json").read_text(), "run deploy/grafana/make_dashboard.py"


def test_every_panel_has_a_title_a_description_and_a_unit() -> None:
    for panel in panels():
        assert panel["title"]
        assert re.search(r"\w\.$", panel["description"]) or panel["description"].endswith(")."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["targets"], panel["title"]


def test_panels_with_thresholds_are_colored_by_them() -> None:
    colored = [panel for panel in panels() if panel["fieldConfig"]["defaults"]["color"]["mode"] == "thresholds"]
    steps = {panel["title"]: panel["fieldConfig"]["defaults"]["thresholds"]["steps"] for panel in colored}

    assert steps.keys() == {item["title"] for item in panels() if item["type"] in ("stat", "state-timeline")}
    for title, values in steps.items():
        assert values[0]["value"] is None, title
        limits = [step["value"] for step in values[1:]]
        assert limits == sorted(limits), title


def test_panels_have_unique_ids_and_titles() -> None:
    all_panels = dashboard()["panels"]
    assert len({item["id"] for item in all_panels}) == len(all_panels)
    assert len({item["title"] for item in all_panels}) == len(all_panels)


def test_panels_do_not_overlap_and_fit_the_grid() -> None:
    occupied: dict[tuple[int, int], str] = {}
    for item in dashboard()["panels"]:
        place = item["gridPos"]
        assert place["x"] >= 0 and place["w"] > 0 and place["h"] > 0 and place["x"] + place["w"] <= 24, item["title"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in occupied, f"{item['title']} lies on {occupied[x, y]}"
                occupied[x, y] = item["title"]


def test_the_queries_of_a_panel_have_unique_names() -> None:
    for panel in panels():
        names = [target["refId"] for target in panel["targets"]]
        assert len(set(names)) == len(names), panel["title"]


def test_every_error_type_has_one_color() -> None:
    colors = defaultdict(set)
    for panel in panels():
        for override in panel["fieldConfig"]["overrides"]:
            for setting in override["properties"]:
                if setting["id"] == "color":
                    colors[override["matcher"]["options"]].add(setting["value"]["fixedColor"])
    types = {error_type.name: colors[error_type.name] for error_type in ERROR_TYPES}
    assert {name: len(type_colors) for name, type_colors in types.items()} == dict.fromkeys(types, 1)
    assert len({color for type_colors in types.values() for color in type_colors}) == len(types)


def test_error_types_are_stacked_by_severity() -> None:
    mixed = [panel for panel in panels() if {"MODEL_FAILURE"} & {target["refId"] for target in panel["targets"]}]
    assert len(mixed) == 2
    for item in mixed:
        error_types = [target["refId"] for target in item["targets"] if target["refId"] != "ended"]
        assert error_types == [error_type.name for error_type in ERROR_TYPES[1:]], item["title"]
        order = item["transformations"][-1]["options"]["indexByName"]
        assert sorted(order, key=order.__getitem__) == ["version", *(f"Value #{name}" for name in error_types)]


def test_the_data_source_the_model_and_the_group_can_be_selected() -> None:
    variables = {item["name"]: item for item in dashboard()["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert {"model", "dataset"} <= variables.keys()
    assert variables["group"]["query"]["query"] == (
        'label_values(errata_result_samples{model="$model", dataset="$dataset"}, group)'
    )
    assert variables["group"]["current"]["value"] == ALL
    used = set(re.findall(r"\$\{?([a-z]\w*)", json.dumps(dashboard())))
    assert used == variables.keys()
    sources = {panel["datasource"]["uid"] for panel in panels()}
    assert sources == {"${datasource}"}


def test_grafana_is_provisioned_with_the_dashboard_and_its_prometheus() -> None:
    (source,) = load(GRAFANA / "provisioning" / "datasources" / "prometheus.yaml")["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
    (provider,) = load(GRAFANA / "provisioning" / "dashboards" / "errata.yaml")["providers"]
    assert (provider["type"], provider["options"]["path"]) == ("file", "/var/lib/grafana/dashboards")
