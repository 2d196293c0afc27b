"""Report: a finished analysis as one HTML file."""

from importlib.metadata import version

import numpy as np

from service.analyses.judge import Judged
from service.analyses.ports import Ports
from service.analyses.verdicts import VerdictFilter, judged, records, select
from service.domain import MULTI_LABEL_ERROR_TYPES
from service.report.render import render_report
from service.report.view import SourceRow, report_view
from service.rules.table import error_types
from service.summary.confusions import confusions

SHOWN_ERRORS = 1000
SHOWN_CONFUSIONS = 25


def report(ports: Ports, analysis_id: str) -> str:
    """Return the report of an analysis; raise AnalysisNotFound or NotReady."""
    return report_of(judged(ports, analysis_id))


def report_of(found: Judged) -> str:
    """Return the report of judged predictions: the most severe errors first, the most confident among equals."""
    rows = select(found, VerdictFilter(error_types=frozenset(MULTI_LABEL_ERROR_TYPES), problematic=False))
    types = error_types(found.verdicts)
    images = found.bundle.rows[rows]
    probability = found.predictions.probability
    confidence = np.zeros(len(rows)) if probability is None else probability[images].astype(float)
    worst = rows[np.lexsort((rows, -confidence, -types[rows].astype(int)))][:SHOWN_ERRORS]
    counted = ~found.bundle.evidence.problematic
    predicted = found.predictions.top1[found.bundle.rows]
    pairs = confusions(found.bundle.evidence.targets[counted], predicted[counted], types[counted], SHOWN_CONFUSIONS)
    view = report_view(
        found.analysis,
        pairs,
        list(records(found, worst, with_evidence=True)),
        len(rows),
        [SourceRow(source.name, source.origin, source.license) for source in found.bundle.manifest.sources],
        version("errata-service"),
    )
    return render_report(view)
