"""Draw a trace as a timeline (SVG): `make trace-picture`.

The input has OTLP/JSON, one request per line, as the file exporter of OpenTelemetry writes it. The picture shows the
trace with the most spans.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

ROW, BAR = 22, 14  # pixels: height of a row, and of a bar
NAMES, TIMES, RIGHT, TOP = 270, 700, 80, 60  # pixels: width of the names, width of the time axis, margins
INDENT = 14  # pixels for each level
TICKS = 6
COLORS = "#7b4ea3", "#1f6fb2", "#2b8a57", "#b5651d", "#a33b3b"  # by service, in the order of their first spans


@dataclass(frozen=True)
class Span:
    """One span. Times are seconds since 1970."""

    trace: str
    id: str
    parent: str
    name: str
    service: str
    start: float
    end: float


def read_spans(file: Path) -> list[Span]:
    """Return the spans of the trace with the most spans, in the order of their start."""
    by_trace: dict[str, list[Span]] = defaultdict(list)
    for line in file.read_text(encoding="utf-8").splitlines():
        for resource in json.loads(line)["resourceSpans"]:
            attributes = {item["key"]: item["value"] for item in resource["resource"]["attributes"]}
            service = attributes["service.name"]["stringValue"]
            for span in (span for scope in resource["scopeSpans"] for span in scope["spans"]):
                start, end = int(span["startTimeUnixNano"]) / 1e9, int(span["endTimeUnixNano"]) / 1e9
                parent, name = span.get("parentSpanId", ""), span["name"]
                by_trace[span["traceId"]].append(
                    Span(span["traceId"], span["spanId"], parent, name, service, start, end)
                )
    longest = max(by_trace.values(), key=len)
    return sorted(longest, key=lambda span: span.start)


def in_order(spans: Sequence[Span]) -> Iterator[tuple[int, Span]]:
    """Yield each span with its level, and after it its children. The parent of a first span is not among the spans."""
    ids = {span.id for span in spans}
    children: dict[str, list[Span]] = defaultdict(list)
    for span in spans:
        children[span.parent if span.parent in ids else ""].append(span)
    waiting = [(0, span) for span in reversed(children[""])]
    while waiting:
        level, span = waiting.pop()
        yield level, span
        waiting += [(level + 1, child) for child in reversed(children[span.id])]


def draw(spans: Sequence[Span]) -> str:
    """Return the timeline as SVG."""
    start = min(span.start for span in spans)
    seconds = max(span.end for span in spans) - start
    services = list(dict.fromkeys(span.service for span in spans))
    colors = {service: COLORS[number % len(COLORS)] for number, service in enumerate(services)}
    width, height = NAMES + TIMES + RIGHT, TOP + ROW * len(spans) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="12" role="img">',
        f"<title>Trace with {len(spans)} spans of {len(services)} services</title>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for number, service in enumerate(services):
        left = NAMES + number * 140
        parts.append(f'<rect x="{left}" y="10" width="12" height="12" rx="2" fill="{colors[service]}"/>')
        parts.append(f'<text x="{left + 18}" y="20" fill="#222">{escape(service)}</text>')
    for tick in range(TICKS + 1):
        x, label = NAMES + TIMES * tick / TICKS, _duration(seconds * tick / TICKS) if tick else "0"
        parts.append(f'<path d="M{x:.1f} {TOP - 8}V{height - 8}" stroke="#ddd"/>')
        parts.append(f'<text x="{x:.1f}" y="{TOP - 14}" fill="#555" text-anchor="middle">{label}</text>')
    for row, (level, span) in enumerate(in_order(spans)):
        parts += _bar(TOP + ROW * row, level, span, (span.start - start) / seconds, colors[span.service], seconds)
    return "\n".join([*parts, "</svg>\n"])


def _bar(y: float, level: int, span: Span, position: float, color: str, seconds: float) -> list[str]:
    x, width = NAMES + TIMES * position, max(1.5, TIMES * (span.end - span.start) / seconds)
    baseline = y + BAR - 2
    return [
        f'<text x="{10 + INDENT * level}" y="{baseline}" fill="#222">{escape(span.name)}</text>',
        f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2" fill="{color}"/>',
        f'<text x="{x + width + 5:.1f}" y="{baseline}" fill="#555">{_duration(span.end - span.start)}</text>',
    ]


def _duration(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.1f} s"
    return f"{seconds * 1000:.{0 if seconds >= 0.01 else 1}f} ms"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trace", type=Path, help="The file of OTLP/JSON.")
    parser.add_argument("output", type=Path, help="The SVG file to write.")
    arguments = parser.parse_args()
    arguments.output.write_text(draw(read_spans(arguments.trace)), encoding="utf-8")
