"""The report of 10,000 errors, rendered and opened in Chromium; a comparison; and a trend of many stored analyses."""

import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

from benchmarks.harness import Case, Result, at_most, minima, timed
from service.analyses.compare import compare_judged
from service.analyses.judge import JudgedAnalysis, compute_summary, compute_verdicts, digest_predictions
from service.analyses.ports import Ports
from service.analyses.report import build_view
from service.analyses.trend import TrendRequest, trend
from service.archive.archive import open_archive
from service.archive.index import SqliteIndex
from service.archive.indexed import IndexedArchive
from service.bootstrap.wiring import make_ports
from service.domain import NUM_IDS, Analysis, AnalysisRequest, Predictions, State
from service.evidence.bundle import Bundle
from service.jobs.engine import Engine, local_broker
from service.jobs.memory import InMemoryJobStore
from service.report.render import render_report
from service.rules.table import error_types
from service.settings import read_settings
from service.telemetry import Metrics

ERRORS, FEW_MODELS, MODELS = 10_000, 96, 962
DRAWS, SLOW_DRAWS = 2000, 20  # of a comparison; of its reference, whose duration is scaled
TIMES = 7
RENDER = Case(
    "report.render", f"a report of {ERRORS:,} errors, rendered", "json.dumps of a row for each error", "ms", at_most(40)
)
LOAD = Case("report.load", "this report, from navigation to load in Chromium", "without scripts", "ms", at_most(4))
COMPARE = Case(
    "report.compare",
    f"comparison of two analyses of 50,000 images, {DRAWS:,} draws",
    "images drawn one by one with numpy",
    "ms",
    at_most(0.5),
)
TREND = Case("report.trend", f"trend over {MODELS} stored analyses", f"over {FEW_MODELS}", "ms", at_most(12))


def measure() -> Iterator[Result]:
    """Yield the results, on the 46,837 judged images of imagenet-real."""
    with tempfile.TemporaryDirectory() as folder:
        few, many = (_make_ports(Path(folder) / name) for name in ("few", "many"))
        bundle = many.stores.evidence.find("imagenet-real", "")
        a, b = _judge(bundle, 0, "a"), _judge(bundle, 1, "b")
        yield from _rendered(many, a, Path(folder))
        compared, slow = minima(
            timed(lambda: compare_judged(a, b)),
            timed(lambda: _slow_bootstrap(a, b)),
            times=TIMES,
        )
        yield COMPARE.measured(compared, slow * DRAWS / SLOW_DRAWS)
        for ports, models in ((few, FEW_MODELS), (many, MODELS)):
            for number in range(models):
                ports.stores.archive.put(_copy_analysis(a.analysis, bundle, number), Predictions(a.predictions.top1))
        request = TrendRequest(dataset="imagenet-real", by="family")
        trends = [timed(partial(trend, ports.stores, request)) for ports in (many, few)]
        yield TREND.measured(*minima(*trends, times=TIMES))


def _rendered(ports: Ports, judged: JudgedAnalysis, folder: Path) -> Iterator[Result]:
    """Render a report, and open it in Chromium."""
    names = judged.bundle.arrays["names"].tolist()
    rows = [{"name": names[row].decode(), "target": row % 1000, "predicted": 0, "type": 8} for row in range(ERRORS)]
    html, plain = folder / "report.html", folder / "plain.html"
    rendered, dumped = minima(
        timed(lambda: html.write_text(render_report(build_view(ports, judged)))),
        timed(lambda: json.dumps(rows)),
        times=TIMES,
    )
    yield RENDER.measured(rendered, dumped)
    plain.write_text(re.sub("<script.*?</script>", "", html.read_text(), flags=re.DOTALL))
    with _chromium() as load:
        yield LOAD.measured(*minima(lambda: load(html), lambda: load(plain), times=TIMES))


def _make_ports(folder: Path) -> Ports:
    settings = read_settings({"ERRATA_DATA_DIR": str(folder)})
    store = InMemoryJobStore(lambda: 0.0)
    index = SqliteIndex(folder / "index.sqlite")
    archive = IndexedArchive(open_archive(settings.archive_location), index)
    index.bind(archive.stored.id())
    return make_ports(settings, store, archive, Engine(local_broker, store), Metrics(CollectorRegistry()))


def _judge(bundle: Bundle, seed: int, title: str) -> JudgedAnalysis:
    """Return an analysis with 10,000 errors, half of them with a similar class."""
    random = np.random.default_rng(seed)
    top1 = np.array(bundle.all_targets)
    wrong = random.choice(bundle.rows, ERRORS, replace=False)
    step = np.where(random.random(ERRORS) < 0.5, random.choice([-1, 1], ERRORS), random.integers(1, 999, ERRORS))
    top1[wrong] = (top1[wrong] + step) % 1000
    probability = random.random(len(top1)).astype(np.float16)
    predictions = Predictions(top1.astype(np.int16), probability)
    analysis = Analysis(
        title,
        AnalysisRequest("imagenet-real", display_name=title),
        State.SUCCEEDED,
        bundle.digest,
        datetime(2026, 1, 1, tzinfo=UTC),
        predictions_digest=digest_predictions(predictions),
        summary=compute_summary(bundle, predictions),
    )
    return JudgedAnalysis(analysis, bundle, predictions, compute_verdicts(bundle, predictions))


def _copy_analysis(analysis: Analysis, bundle: Bundle, number: int) -> Analysis:
    request = replace(analysis.request, display_name=f"model {number}", labels={"family": f"family {number % 12}"})
    return replace(analysis, id=f"m{number:05}", request=request, predictions_digest=f"{number:064}")


@contextmanager
def _chromium() -> Iterator[Callable[[Path], float]]:
    """Yield a function that opens a page in Chromium, and returns the seconds from navigation to the load event."""
    from playwright.sync_api import sync_playwright

    timing = "performance.getEntriesByType('navigation')[0].loadEventEnd"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])

        def load(html: Path) -> float:
            page = browser.new_page()
            page.goto(html.as_uri())
            page.wait_for_function(f"{timing} > 0")
            seconds = float(page.evaluate(timing)) / 1000
            page.close()
            return seconds

        yield load
        browser.close()


def _slow_bootstrap(a: JudgedAnalysis, b: JudgedAnalysis) -> None:
    """Draw SLOW_DRAWS samples with a direct implementation."""
    types: list[NDArray[np.uint8]] = [error_types(a.verdicts), error_types(b.verdicts)]
    random = np.random.default_rng(0)
    for _ in range(SLOW_DRAWS):
        rows = random.integers(0, len(types[0]), len(types[0]))
        for type_column in types:
            np.bincount(type_column[rows], minlength=NUM_IDS)
