"""Read the predictions of archived analyses for the images of a bundle."""

import structlog
from errata.errors import PermanentError, Unavailable

from service.archive.port import Archive
from service.domain import Analysis, Predictions
from service.evidence.bundle import Bundle

_log = structlog.get_logger()


def is_usable(analysis: Analysis, bundle: Bundle) -> bool:
    """Return whether the predictions of an analysis are plausible and were made for a bundle's images and classes."""
    is_same = analysis.images == bundle.images_digest and analysis.classes == bundle.classes_digest
    return is_same and not analysis.implausible


def find_predictions(archive: Archive, bundle: Bundle, analysis_id: str) -> Predictions | None:
    """Return the predictions of an analysis; None if they cannot be read, or do not fit the bundle."""
    try:
        predictions = archive.predictions(analysis_id)
    except (PermanentError, Unavailable) as error:
        _log.warning("predictions left out: not readable", analysis=analysis_id, error=str(error))
        return None
    if predictions is None or len(predictions.top1) != len(bundle.all_targets):
        return None
    return predictions if int(predictions.top1.max(initial=-1)) < bundle.label_space.num_classes else None
