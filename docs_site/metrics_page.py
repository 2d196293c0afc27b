"""The reference of metrics, from the table in the docstring of service.telemetry."""

import re

from docs_site.tables import as_sentence, format_table
from service import telemetry

INTRODUCTION = """# Metrics

Prometheus scrapes `/metrics` of the API at `ERRATA_HTTP_ADDRESS`, or at `ERRATA_METRICS_ADDRESS` if you set it, and of
each worker at `ERRATA_WORKER_HTTP_ADDRESS`. The API and each worker export their own values.

Metrics marked *shared* come from Redis, so every process exports the same value: aggregate them with `max`, not with
`sum`. The folder `deploy/` contains [alert rules](../../deploy/prometheus/rules.yaml) and a
[Grafana dashboard](../../deploy/grafana/dashboards/errata.json).

This page is generated from `service/telemetry.py`.

"""


def read_metrics() -> list[tuple[str, str, str, str]]:
    """Return name, kind, labels, and meaning of each metric."""
    lines = [line for line in (telemetry.__doc__ or "").splitlines() if line.startswith("errata_")]
    metrics = [re.split(r"\s{2,}", line.strip(), maxsplit=3) for line in lines]
    return [(name, kind, labels, meaning) for name, kind, labels, meaning in metrics]


def render() -> str:
    """Return the page as Markdown."""
    rows = [
        (f"`{name}`", kind, "none" if labels == "–" else f"`{labels.replace(', ', '`, `')}`", as_sentence(meaning))
        for name, kind, labels, meaning in read_metrics()
    ]
    return INTRODUCTION + format_table(("metric", "kind", "labels", "meaning"), rows)
