"""Metrics match their documentation; logs have one line per event in the configured format."""

import errno
import io
import json
import logging
import re
from collections.abc import Iterator

import pytest
import structlog
from opentelemetry.util.re import parse_env_headers
from prometheus_client import CollectorRegistry, generate_latest

from service import telemetry
from service.telemetry import Metrics, SnapshotGauge, configure_logging, initialize_series

CONVENTIONAL_UNITS = ("seconds", "bytes", "total")


def table() -> dict[str, tuple[str, set[str]]]:
    """Return name -> (kind, labels) of the metrics in the module's docstring."""
    rows = {}
    for line in (telemetry.__doc__ or "").splitlines():
        if line.startswith("errata_"):
            name, kind, labels, meaning = re.split(r"\s{2,}", line)
            assert meaning
            rows[name] = (kind, set() if labels in ("", "–", "-") else set(labels.split(", ")))
    return rows


def exposed_metrics(registry: CollectorRegistry) -> dict[str, tuple[str, set[str]]]:
    """Return name -> (kind, labels) of the metrics that a registry exposes."""
    result = {}
    for line in generate_latest(registry).decode().splitlines():
        if line.startswith("# TYPE ") and not line.split()[2].endswith("_created"):
            _, _, name, kind = line.split()
            result[name] = (kind, set[str]())
        elif not line.startswith("#"):
            name, labels = re.match(r"(\w+)(?:\{(.*)\})?", line).groups()  # type: ignore[union-attr]
            family = re.sub(r"_(bucket|sum|count)$", "", name)
            if family in result:
                result[family][1].update(set(re.findall(r'(\w+)="', labels or "")) - {"le"})
    return result


@pytest.fixture
def registry() -> CollectorRegistry:
    """A registry in which each metric has a sample, so that its labels are visible."""
    registry = CollectorRegistry()
    for metric in vars(Metrics(registry)).values():
        if isinstance(metric, SnapshotGauge):
            metric.replace({("x",) * len(metric.label_names): 1.0})
        elif names := getattr(metric, "_labelnames", ()):
            metric.labels(*["x"] * len(names))
    return registry


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """A stream for logs; the previous configuration is restored after the test."""
    before, root = structlog.get_config(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**before)
    structlog.contextvars.clear_contextvars()


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


def events(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_the_documented_metrics_are_the_existing_ones(registry: CollectorRegistry) -> None:
    result = {
        name: description
        for name, description in exposed_metrics(registry).items()
        if not name.startswith(("process_", "python_"))
    }

    assert table() == result


def test_the_series_of_a_snapshot_gauge_are_replaced() -> None:
    registry = CollectorRegistry()
    gauge = SnapshotGauge("errata_test", "words", ("model",), registry)
    gauge.replace({("a",): 1.0, ("b",): 2.0})
    gauge.replace({("b",): 3.0})

    assert registry.get_sample_value("errata_test", {"model": "a"}) is None
    assert registry.get_sample_value("errata_test", {"model": "b"}) == 3


def test_a_shared_counter_has_the_value_that_was_read() -> None:
    registry = CollectorRegistry()
    Metrics(registry).crashes.set(7)

    assert registry.get_sample_value("errata_crashes_total") == 7


def test_metric_names_have_the_prefix_and_the_unit() -> None:
    for name, (kind, _) in table().items():
        assert re.fullmatch(r"errata_[a-z0-9_]+", name)
        if kind != "gauge":
            assert name.endswith(CONVENTIONAL_UNITS)


def test_registries_have_separate_metrics() -> None:
    first, second = Metrics(CollectorRegistry()), Metrics(CollectorRegistry())
    first.analyses.labels("succeeded").inc()

    assert first.registry.get_sample_value("errata_analyses_total", {"state": "succeeded"}) == 1
    assert second.registry.get_sample_value("errata_analyses_total", {"state": "succeeded"}) is None


def test_shared_metrics_have_no_value_before_the_first_read() -> None:
    """A step from 0 to the lifetime total would look like a burst."""
    metrics = Metrics(CollectorRegistry())
    shared = {
        "errata_crashes_total": metrics.crashes,
        "errata_fenced_writes_total": metrics.fenced_writes,
        "errata_live_workers": metrics.live_workers,
        "errata_dead_letters": metrics.dead_letters,
        "errata_delayed_messages": metrics.delayed,
        "errata_redis_memory_bytes": metrics.redis_memory,
        "errata_redis_max_memory_bytes": metrics.redis_max_memory,
    }
    assert {name: metrics.registry.get_sample_value(name) for name in shared} == dict.fromkeys(shared)

    for item in shared.values():
        item.set(57)
    assert {name: metrics.registry.get_sample_value(name) for name in shared} == dict.fromkeys(shared, 57)


def test_initialized_series_start_at_0() -> None:
    metrics = Metrics(CollectorRegistry())
    initialize_series(metrics.rpc_handled, ["GetAnalysis", "ComputeTrend"], ["INTERNAL", "UNAVAILABLE"])
    initialize_series(metrics.write_backs, ["prod"], iter(["failed"]))

    for name, labels in (
        ("errata_rpc_handled_total", {"method": "GetAnalysis", "code": "INTERNAL"}),
        ("errata_rpc_handled_total", {"method": "ComputeTrend", "code": "UNAVAILABLE"}),
        ("errata_write_backs_total", {"registry": "prod", "outcome": "failed"}),
    ):
        assert metrics.registry.get_sample_value(name, labels) == 0, (name, labels)
    metrics.write_backs.labels("prod", "failed").inc()
    initialize_series(metrics.write_backs, ["prod"], ["failed"])
    labels = {"registry": "prod", "outcome": "failed"}
    assert metrics.registry.get_sample_value("errata_write_backs_total", labels) == 1


def test_control_characters_are_escaped(log: io.StringIO) -> None:
    configure_logging("info", "text", log)
    structlog.get_logger().info("call refused", model="\x1b[31mred\x07", note="two\nlines")

    assert "\x1b" not in log.getvalue() and "\x07" not in log.getvalue()
    assert "\\x1b[31mred\\x07" in log.getvalue()


class ClosedTerminal(io.StringIO):
    """A stream that cannot be written."""

    def write(self, _: str) -> int:
        raise OSError(errno.EIO, "Input/output error")


@pytest.mark.usefixtures("log")
def test_an_event_that_cannot_be_written_raises_no_error() -> None:
    configure_logging("info", "json", ClosedTerminal())

    structlog.get_logger().info("stopping")


def test_library_logs_about_metadata_are_dropped(log: io.StringIO) -> None:
    configure_logging("info", "json", log)
    logging.getLogger("grpc._cython.cygrpc").error("Invalid encoding on %s", b"Bearer errata_secret\xa0")
    logging.getLogger("grpc._server").error("another thing")

    assert [event["event"] for event in events(log)] == ["another thing"]


def test_repeated_logs_about_file_descriptors_are_limited(log: io.StringIO) -> None:
    configure_logging("info", "json", log)
    for _ in range(1000):
        logging.getLogger("asyncio").error("socket.accept() out of system resource\nsocket: %s", "x")

    assert len(events(log)) == 1


def test_repeated_logs_about_a_collector_are_limited(log: io.StringIO) -> None:
    configure_logging("info", "json", log)
    for name in ("grpc", "http"):
        for attempt in range(1000):
            logging.getLogger(f"opentelemetry.exporter.{name}").warning("collector unavailable, attempt %d", attempt)

    assert [event["event"] for event in events(log)] == ["collector unavailable, attempt 0"] * 2


@pytest.mark.parametrize("value", ["authorization: Bearer S3CRET", "auth orization=S3CRET"])
def test_invalid_headers_of_a_collector_are_logged_without_their_values(log: io.StringIO, value: str) -> None:
    configure_logging("info", "json", log)
    parse_env_headers(value, liberal=True)
    logging.getLogger("opentelemetry.exporter").error(
        "Failed to export: %s", ValueError("Invalid return character(s) in header value: 'S3CRET\n'")
    )

    assert "S3CRET" not in log.getvalue()
    for event in events(log):
        assert str(event["event"]).startswith("OTEL_EXPORTER_OTLP_HEADERS or OTEL_EXPORTER_OTLP_TRACES_HEADERS is")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            "exporting traces to u:S3CRET@127.0.0.1:1, retrying",
            "exporting traces to [credentials]127.0.0.1:1, retrying",
        ),
        ("No adapters for 'http://u:S3C@RET@host/v1'", "No adapters for [credentials]host/v1'"),
        ("exceeded with url: /?key=S3CRET (Caused by x)", "exceeded with url: /?[credentials] (Caused by x)"),
        ("failed to connect to ipv4:127.0.0.1:1", "failed to connect to ipv4:127.0.0.1:1"),
    ],
)
def test_logs_about_a_collector_have_no_credentials(log: io.StringIO, message: str, expected: str) -> None:
    configure_logging("info", "json", log)
    logging.getLogger("opentelemetry.exporter").warning("Error: %s", message)

    assert [event["event"] for event in events(log)] == [f"Error: {expected}"]


@pytest.mark.parametrize(
    ("endpoint", "message", "expected"),
    [
        (
            "http://u:S3CRET/a@b@127.0.0.1:9/v1",
            "'u:S3CRET' in http://u:S3CRET/a@b@127.0.0.1:9/v1",
            "'[credentials]' in [credentials]127.0.0.1:9/v1",
        ),
        ("http://u:S3CRET?a@b/v1", "traces to u:S3CRET, retrying", "traces to [credentials], retrying"),
        ("http://S3CRET?a@b/v1", "cannot resolve s3cret", "cannot resolve [credentials]"),
        ("http://u:S3CRET#a@b/v1", "cannot resolve u:S3CRET.", "cannot resolve [credentials]."),
        ("http://u:a@S3CRET/a@b/v1", "cannot resolve 's3cret'", "cannot resolve '[credentials]'"),
        (
            "http://e/S3CRET@b",
            "Failed to resolve 'e' in e.e and e-e",
            "Failed to resolve '[credentials]' in e.e and e-e",
        ),
    ],
)
def test_logs_have_no_part_of_a_password_at_which_a_library_cut_a_url(
    log: io.StringIO, monkeypatch: pytest.MonkeyPatch, endpoint: str, message: str, expected: str
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
    configure_logging("info", "json", log)
    logging.getLogger("opentelemetry.exporter").warning("Error: %s", message)

    assert [event["event"] for event in events(log)] == [f"Error: {expected}"]


def test_an_exception_of_an_exporter_is_logged_without_secrets(log: io.StringIO) -> None:
    configure_logging("info", "json", log)
    try:
        raise ValueError("No host in 'http://user:S3CRET@:1'")
    except ValueError:
        logging.getLogger("opentelemetry.sdk").exception("Exception while exporting %s.", "Span")

    assert [event["event"] for event in events(log)] == [
        'Exception while exporting Span.: ValueError("No host in [credentials]:1\'")'
    ]
    assert "S3CRET" not in log.getvalue()


def test_an_event_is_one_line_of_json(log: io.StringIO) -> None:
    configure_logging("info", "json", log)
    structlog.get_logger().info("shard done", job="j1", images=5, note="zwei\nZeilen: ä")

    (event,) = events(log)
    assert (event["event"], event["job"], event["images"]) == ("shard done", "j1", 5)
    assert (event["level"], event["note"]) == ("info", "zwei\nZeilen: ä")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", str(event["timestamp"]))


def test_an_error_is_one_line_with_its_traceback(log: io.StringIO) -> None:
    configure_logging("info", "json", log)
    try:
        raise KeyError("missing")
    except KeyError:
        structlog.get_logger().exception("it broke")

    (event,) = events(log)
    assert event["level"] == "error"
    assert "Traceback" in str(event["exception"])
    assert "KeyError: 'missing'" in str(event["exception"])


def test_events_have_the_context_of_their_call(log: io.StringIO) -> None:
    configure_logging("info", "json", log)
    structlog.contextvars.bind_contextvars(request="r1")
    structlog.get_logger().info("looked")

    assert events(log)[0]["request"] == "r1"


@pytest.mark.parametrize(
    ("level", "levels"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("WARNING", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_events_below_the_level_are_dropped(log: io.StringIO, level: str, levels: list[str]) -> None:
    configure_logging(level, "json", log)
    for item in ("debug", "info", "warning", "error"):
        getattr(structlog.get_logger(), item)("event")

    assert [event["level"] for event in events(log)] == levels


@pytest.mark.parametrize(
    ("form", "stream", "as_json"),
    [
        ("auto", io.StringIO, True),
        ("auto", Terminal, False),
        ("json", Terminal, True),
        ("text", io.StringIO, False),
    ],
)
def test_the_log_format_depends_on_the_setting_and_the_stream(
    log: io.StringIO, form: str, stream: type[io.StringIO], as_json: bool
) -> None:
    into = stream()
    configure_logging("info", form, into)
    structlog.get_logger().info("hello there")

    assert "hello there" in into.getvalue()
    assert into.getvalue().startswith("{") == as_json


def test_library_logs_are_json(log: io.StringIO) -> None:
    """Tracebacks of Dramatiq and uvicorn, which use the standard library, are also one line."""
    configure_logging("info", "json", log)
    try:
        raise OSError("the queue is unavailable")
    except OSError:
        logging.getLogger("dramatiq.worker").error("failed to process %s", "message", exc_info=True)

    (event,) = events(log)
    assert (event["event"], event["level"]) == ("failed to process message", "error")
    assert "the queue is unavailable" in str(event["exception"])


def test_library_logs_below_warning_are_dropped(log: io.StringIO) -> None:
    configure_logging("info", "json", log)
    logging.getLogger("uvicorn.error").info("started")

    assert log.getvalue() == ""
