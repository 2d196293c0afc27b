"""Traces: their configuration by the environment, the text of a context, the bounds of attributes, and failures."""

import sys
import threading
import time
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs
from trace_collector import TraceCollector, trace_collector

from service import tracing

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"  # of the specification of W3C Trace Context
TRACE, SPAN = PARENT.split("-")[1:3]


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[TraceCollector]:
    """A collector that this process exports to once tracing starts."""
    with trace_collector() as running:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", running.url)
        yield running
        tracing.stop_tracing()


def test_without_an_endpoint_no_span_has_a_context(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in tracing.ENDPOINTS:
        monkeypatch.delenv(name, raising=False)
    tracing.start_tracing("errata-api")

    with tracing.span("judge", parent=PARENT):
        assert tracing.current_context() == ""
        assert tracing.current_headers() == {}
        assert tracing.log_fields() == {}
        assert tracing.read_context([("traceparent", PARENT)]) == ""


@pytest.mark.parametrize(("variable", "value"), [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")])
def test_standard_variables_switch_traces_off(
    collector: TraceCollector, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    tracing.start_tracing("errata-api")

    with tracing.span("judge"):
        assert tracing.current_context() == ""


def test_a_span_has_its_parent_its_attributes_and_the_name_of_its_process(collector: TraceCollector) -> None:
    tracing.start_tracing("errata-api")
    with tracing.span(
        "judging", tracing.Kind.CONSUMER, f"{PARENT} vendor=1", {"errata.dataset": "demo", "errata.job": ""}
    ):
        assert tracing.current_headers()["tracestate"] == "vendor=1"
        with tracing.child_span("judge"):
            tracing.set_attributes({"errata.model": "m" * 1000})
    tracing.stop_tracing()

    outer, inner = collector.only("judging"), collector.only("judge")
    assert (outer.trace, outer.parent, outer.kind) == (TRACE, SPAN, "CONSUMER")
    assert (inner.trace, inner.parent, inner.kind) == (TRACE, outer.id, "INTERNAL")
    assert outer.attributes == {"errata.dataset": "demo"}
    assert inner.attributes == {"errata.model": "m" * 256}
    assert outer.service == "errata-api"


@pytest.mark.parametrize(
    ("variable", "value"), [("OTEL_SERVICE_NAME", "own"), ("OTEL_RESOURCE_ATTRIBUTES", "service.name=own,a=b")]
)
def test_standard_variables_name_the_service(
    collector: TraceCollector, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    tracing.start_tracing("errata-api")
    with tracing.span("judge"):
        pass
    tracing.stop_tracing()

    assert collector.only("judge").service == "own"


def test_the_text_of_a_context_continues_its_trace_in_another_process(collector: TraceCollector) -> None:
    tracing.start_tracing("errata-api")
    with tracing.span("submit", parent=PARENT):
        text = tracing.current_context()
    with tracing.span("shard", parent=text):
        pass
    tracing.stop_tracing()

    assert collector.only("shard").parent == collector.only("submit").id
    assert collector.only("shard").trace == TRACE


@pytest.mark.parametrize("text", ["", "garbage", "00-0-0-00", PARENT.replace(TRACE, "0" * 32), "x" * 10_000])
def test_an_invalid_context_starts_a_new_trace(collector: TraceCollector, text: str) -> None:
    tracing.start_tracing("errata-api")
    with tracing.span("other"), tracing.span("shard", parent=tracing.read_context([("traceparent", text)])):
        pass
    tracing.stop_tracing()

    shard = collector.only("shard")
    assert shard.parent == ""
    assert shard.trace != collector.only("other").trace


def test_a_context_of_headers_is_bounded(collector: TraceCollector) -> None:
    tracing.start_tracing("errata-api")

    assert tracing.read_context([("traceparent", PARENT), ("tracestate", "a=1"), ("x", "y")]) == f"{PARENT} a=1"
    assert tracing.read_context([("traceparent", PARENT), ("tracestate", "a=" + "1" * 1000)]) == PARENT
    assert len(tracing.read_context([("traceparent", "1" * 10_000)])) == 256
    assert tracing.read_context([("tracestate", "a=1")]) == ""


def test_an_error_marks_its_span_with_its_type_and_without_its_message(collector: TraceCollector) -> None:
    tracing.start_tracing("errata-api")
    with pytest.raises(ValueError, match="secret"), tracing.span("parse"):
        raise ValueError("a secret")
    with pytest.raises(ValueError, match="later"):
        fail_twice()
    tracing.stop_tracing()

    assert (collector.only("parse").status, collector.only("parse").attributes) == (
        "ERROR",
        {"error.type": "ValueError"},
    )
    assert collector.only("shard").attributes == {"error.type": "KeyError"}  # the first error
    assert "secret" not in repr(collector.spans())


def fail_twice() -> None:
    with tracing.span("shard"):
        tracing.set_error(KeyError("a secret"))
        raise ValueError("later")


def test_stages_outside_of_a_trace_are_no_spans(collector: TraceCollector) -> None:
    tracing.start_tracing("errata-api")
    with tracing.child_span("render"):
        assert tracing.current_context() == ""
    tracing.stop_tracing()

    assert not collector.spans()


def test_a_wait_begins_at_its_time(collector: TraceCollector) -> None:
    tracing.start_tracing("errata-worker")
    tracing.record_wait("queue wait", PARENT, 1_700_000_000.5, {"errata.shard": 0})
    tracing.stop_tracing()

    wait = collector.only("queue wait")
    assert (wait.parent, wait.start, wait.attributes) == (SPAN, 1_700_000_000_500_000_000, {"errata.shard": 0})
    assert wait.end > wait.start


def test_a_wait_does_not_begin_after_its_end(collector: TraceCollector) -> None:
    """The clock of the job store can be ahead, and the message of a postponed shard is due later."""
    tracing.start_tracing("errata-worker")
    tracing.record_wait("queue wait", PARENT, time.time() + 60, {})
    tracing.stop_tracing()

    wait = collector.only("queue wait")
    assert wait.start <= wait.end <= time.time_ns()


def test_log_events_have_the_ids_of_the_span(collector: TraceCollector) -> None:
    tracing.start_tracing("errata-api")
    with tracing.span("judge", parent=PARENT):
        event = tracing.add_trace_ids(None, "info", {"event": "analysis judged", "trace_id": "of the model's process"})
        inner = tracing.add_trace_ids(None, "info", {"event": "analysis judged"})

    assert event["trace_id"] == "of the model's process"
    assert inner["trace_id"] == TRACE
    tracing.stop_tracing()
    assert inner["span_id"] == collector.only("judge").id


def test_a_missing_package_is_a_warning_that_names_the_extra(
    collector: TraceCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with capture_logs() as logs:
        tracing.start_tracing("errata-api")

    assert [log["log_level"] for log in logs] == ["warning"]
    assert "Install errata-service[tracing]" in logs[0]["event"]
    with tracing.span("judge"):
        assert tracing.current_context() == ""


@pytest.mark.parametrize(
    ("variable", "value"), [("OTEL_EXPORTER_OTLP_PROTOCOL", "carrier-pigeon"), ("OTEL_BSP_MAX_QUEUE_SIZE", "1")]
)
def test_an_invalid_variable_is_a_warning(
    collector: TraceCollector, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with capture_logs() as logs:
        tracing.start_tracing("errata-api")

    assert [log["log_level"] for log in logs] == ["warning"]
    assert logs[0]["error"]


def test_a_collector_that_does_not_answer_delays_the_end_of_a_process_by_a_bounded_time(
    collector: TraceCollector,
) -> None:
    collector.accepts.clear()
    tracing.start_tracing("errata-api")
    for _ in range(5000):  # more than the queue of the SDK has space for
        with tracing.span("judge"):
            pass
    assert collector.requested.wait(30)

    stopped = threading.Thread(target=tracing.stop_tracing, args=(0.1,))
    stopped.start()
    stopped.join(30)
    assert not stopped.is_alive()
    assert not collector.spans()  # the collector has not answered yet


def test_sampling_follows_the_standard_variable(collector: TraceCollector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    tracing.start_tracing("errata-api")
    with tracing.span("submit"):
        flags = int(tracing.current_context().rpartition("-")[2], 16)
        assert not flags & 1  # the worker does not sample it either
        with pytest.raises(ValueError, match="x"), tracing.span("judge"):
            raise ValueError("x")
    tracing.stop_tracing()

    assert not collector.spans()
