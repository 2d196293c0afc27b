"""The report of 10,000 errors, rendered and opened in Chromium; a comparison; and a trend of many stored analyses."""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.result import Figure, median_seconds
from service.analyses.compare import compare_judged
from service.analyses.judge import JudgedAnalysis, compute_summary, compute_verdicts, digest_predictions
from service.analyses.report import build_view
from service.analyses.trend import TrendRequest, trend
from service.archive.archive import FileArchive
from service.archive.files import open_files
from service.archive.index import SqliteIndex
from service.archive.indexed import IndexedArchive
from service.bootstrap.wiring import make_ports
from service.domain import Analysis, AnalysisRequest, Predictions, State
from service.evidence.bundle import Bundle
from service.jobs.engine import Engine, local_broker
from service.jobs.memory import InMemoryJobStore
from service.report.render import render_report
from service.rules.table import error_types
from service.settings import read_settings
from service.telemetry import Metrics

ERRORS, MODELS = 10_000, 962
RENDER_AIM, LOAD_AIM, COMPARE_AIM, TREND_AIM = 1.0, 1.5, 0.3, 0.3  # seconds
SLOW_DRAWS = 20  # draws of the slow bootstrap; the figure is scaled to 2,000


def measure() -> Iterator[Figure]:
    """Yield the figures, on the 46,837 judged images of imagenet-real."""
    from prometheus_client import CollectorRegistry

    with tempfile.TemporaryDirectory() as folder:
        settings = read_settings({"ERRATA_DATA_DIR": folder})
        store = InMemoryJobStore(lambda: 0.0)
        archive = IndexedArchive(
            FileArchive(open_files(settings.archive_location)), SqliteIndex(Path(folder) / "index.sqlite")
        )
        archive.index.bind(archive.id())
        ports = make_ports(settings, store, archive, Engine(local_broker, store), Metrics(CollectorRegistry()))
        bundle = ports.evidence.find("imagenet-real", "")
        a, b = _judge(bundle, 0, "a"), _judge(bundle, 1, "b")

        html = Path(folder) / "report.html"
        rendered = median_seconds(lambda: html.write_text(render_report(build_view(ports, a))), 7)
        yield _figure(
            f"report of {ERRORS:,} errors, rendered ({html.stat().st_size / 1e6:.2f} MB)", rendered, RENDER_AIM
        )
        loaded = _load_seconds(html)
        if loaded is not None:
            yield _figure(f"report of {ERRORS:,} errors, opened in chromium, load event", loaded, LOAD_AIM)

        compared = median_seconds(lambda: compare_judged(a, b), 7)
        slow = _slow_bootstrap_seconds(a, b)
        yield replace(
            _figure(
                "comparison of two analyses of 50,000 images, 2,000 draws (reference: images drawn one by one, scaled)",
                compared,
                COMPARE_AIM,
            ),
            reference=slow * 1000,
            ratio=compared / slow,
        )

        for number in range(MODELS):
            archive.put(_copy_analysis(a.analysis, bundle, number), Predictions(a.predictions.top1))
        ranked = median_seconds(lambda: trend(ports, TrendRequest(dataset="imagenet-real", by="family")), 7)
        yield _figure(f"trend over {MODELS} stored analyses", ranked, TREND_AIM)


def _figure(name: str, seconds: float, aim: float) -> Figure:
    return Figure(name, seconds * 1000, "ms", f"at most {aim * 1000:g} ms", seconds <= aim)


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


def _load_seconds(html: Path) -> float | None:
    """Return the time from navigation to the load event in Chromium; None without Chromium."""
    program = shutil.which("chromium")
    if program is None:
        return None
    from playwright.sync_api import sync_playwright

    timing = "performance.getEntriesByType('navigation')[0].loadEventEnd"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        durations: list[float] = []
        for _ in range(7):
            page = browser.new_page()
            page.goto(html.as_uri())
            page.wait_for_function(f"{timing} > 0")
            durations.append(page.evaluate(timing) / 1000)
            page.close()
        browser.close()
    return sorted(durations)[len(durations) // 2]


def _slow_bootstrap_seconds(a: JudgedAnalysis, b: JudgedAnalysis) -> float:
    """Return the duration of 2,000 draws with a direct implementation."""
    types: list[NDArray[np.uint8]] = [error_types(a.verdicts), error_types(b.verdicts)]
    random = np.random.default_rng(0)

    def draw() -> None:
        rows = random.integers(0, len(types[0]), len(types[0]))
        for type_column in types:
            np.bincount(type_column[rows], minlength=9)

    return median_seconds(draw, SLOW_DRAWS, warm=1) * 2000
