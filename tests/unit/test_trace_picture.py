"""The timeline of a trace."""

import json
from pathlib import Path
from xml.etree import ElementTree

from docs_site.trace_picture import draw, in_order, read_spans

SVG = "{http://www.w3.org/2000/svg}"


def request(service: str, *spans: tuple[str, str, str, str, float, float]) -> str:
    """Return a line of OTLP/JSON; a span is its trace, ID, parent, name, start, and end."""
    fields = [
        {
            "traceId": trace,
            "spanId": id,
            "parentSpanId": parent,
            "name": name,
            "startTimeUnixNano": str(int(start * 1e9)),
            "endTimeUnixNano": str(int(end * 1e9)),
        }
        for trace, id, parent, name, start, end in spans
    ]
    attributes = [{"key": "service.name", "value": {"stringValue": service}}]
    return json.dumps({"resourceSpans": [{"resource": {"attributes": attributes}, "scopeSpans": [{"spans": fields}]}]})


def test_a_timeline_has_a_bar_of_each_span_below_its_parent(tmp_path: Path) -> None:
    file = tmp_path / "trace.jsonl"
    worker = request("worker", ("t1", "c", "b", "inference", 3, 5), ("t1", "d", "lost", "model load", 2, 3))
    api = request(
        "api", ("t1", "a", "", "submit <x>", 1, 2), ("t1", "b", "a", "shard", 2, 5), ("t2", "z", "", "z", 0, 9)
    )
    file.write_text(f"{worker}\n{api}\n")

    spans = read_spans(file)
    rows = [(level, span.name) for level, span in in_order(spans)]
    assert rows == [(0, "submit <x>"), (1, "shard"), (2, "inference"), (0, "model load")]

    svg = ElementTree.fromstring(draw(spans))
    texts = [text.text for text in svg.iter(f"{SVG}text")]
    assert {"api", "worker", "submit <x>", "0", "1.0 s", "3.0 s"} <= set(texts)
    bars = [bar for bar in svg.iter(f"{SVG}rect") if bar.get("height") == "14"]
    lefts, widths = ([float(bar.get(name, "")) for bar in bars] for name in ("x", "width"))
    assert [left - lefts[0] for left in lefts] == [0, 175, 350, 175]  # of 700 pixels for 4 seconds
    assert widths == [175, 525, 350, 175]
