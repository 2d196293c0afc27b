"""The report in a real browser: it is whole without the network, fits a phone, and opens to its evidence."""

import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from service.analyses.judge import Judged, digest_of, summary_of, verdicts_of
from service.analyses.report import report_of
from service.domain import Analysis, AnalysisRequest, Predictions, State
from service.evidence.bundle import Bundle

MEASURE = """<script>document.body.setAttribute("data-wide", document.documentElement.scrollWidth);
document.body.setAttribute("data-window", window.innerWidth);
for (const each of document.querySelectorAll("details")) each.open = true;
const evidence = [...document.querySelectorAll("details dl")].filter(each => each.offsetHeight > 0);
document.body.setAttribute("data-open", evidence.length);
</script></body>"""


@pytest.fixture(scope="module")
def report(demo: Bundle) -> str:
    """A report in which every photograph is taken for the class before its own."""
    predictions = Predictions(((demo.all_targets.astype(np.int64) + 999) % 1000).astype(np.int16))
    analysis = Analysis(
        "x", AnalysisRequest("demo", display_name="a <b>bold</b> model"), State.SUCCEEDED, demo.digest,
        create_time=datetime(2024, 1, 1, tzinfo=UTC),
        predictions_digest=digest_of(predictions), summary=summary_of(demo, predictions),
    )  # fmt: skip
    return report_of(Judged(analysis, demo, predictions, verdicts_of(demo, predictions)))


def shown(report: str, folder: Path, width: int) -> str:
    """Return the page as a browser without a network has it, after the measuring script."""
    program = shutil.which("chromium")
    assert program is not None, "chromium is not installed: run `make test`, which sets it up"
    page = re.sub(r"<meta http-equiv=.Content-Security-Policy.[^>]*>", "", report)  # the script below is the test's own
    (folder / "report.html").write_text(page.replace("</body>", MEASURE))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={width},900"]
    flags += ["--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={folder / 'profile'}", "--dump-dom"]
    done = subprocess.run(
        [program, *flags, (folder / "report.html").as_uri()], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


@pytest.mark.parametrize("width", [500, 1200])
def test_the_report_fits_its_window_and_opens_to_its_evidence(report: str, tmp_path: Path, width: int) -> None:
    page = shown(report, tmp_path, width)

    measured = {name: int(re.findall(rf'data-{name}="(\d+)"', page)[0]) for name in ("wide", "window", "open")}
    assert measured["window"] == width
    assert measured["wide"] <= width
    errors = page.count('class="stripe')
    assert measured["open"] == errors > 0
    assert "a &lt;b&gt;bold&lt;/b&gt; model" in page


def test_the_report_asks_for_nothing_from_elsewhere(report: str) -> None:
    assert not re.findall(r"""(?:src|href)=["']?(?:https?:)?//""", report)
    assert "<script" not in report
