"""Find the verdicts of all archived analyses that were judged with one bundle."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from errata.errors import PermanentError, Unavailable

from service.analyses.judge import compute_verdicts
from service.analyses.ports import Stores
from service.analyses.verdict_cache import ModelVerdicts, StoredVerdicts
from service.domain import NEWEST_FIRST, Analysis, AnalysisFilter, State
from service.evidence.bundle import Bundle
from service.rules.table import error_types

MAX_MODELS = 200  # analyses of one bundle
MAX_VERDICTS = 20_000_000  # of one bundle in memory, of 3 bytes each
NUM_READERS = 8  # threads that wait for an object store


def find_model_verdicts(stores: Stores, bundle: Bundle) -> ModelVerdicts:
    """Return the verdicts of the newest archived analyses of a bundle.

    Verdicts stay in memory. After a change of the archive, only those of new analyses are computed.

    Args:
        stores: The stores.
        bundle: The bundle.

    Returns:
        The verdicts of at most MAX_MODELS analyses; fewer for a bundle with over 100,000 images. Analyses whose
        predictions cannot be read are left out.
    """
    version = stores.index.version

    def load(earlier: Sequence[StoredVerdicts]) -> ModelVerdicts:
        limit = max(2, min(MAX_MODELS, MAX_VERDICTS // max(1, len(bundle.rows))))
        query = AnalysisFilter(frozenset({State.SUCCEEDED}), dataset=bundle.dataset, evidence=bundle.digest)
        analyses = stores.index.find(query, NEWEST_FIRST, None, limit)
        known = {verdicts.id: verdicts for verdicts in earlier}
        with ThreadPoolExecutor(NUM_READERS, thread_name_prefix="verdicts") as pool:
            loaded = [*pool.map(lambda analysis: known.get(analysis.id) or _load(stores, bundle, analysis), analyses)]
        return ModelVerdicts(version, [verdicts for verdicts in loaded if verdicts], len(bundle.rows))

    return stores.verdict_cache.get(bundle.digest, version, load)


def _load(stores: Stores, bundle: Bundle, analysis: Analysis) -> StoredVerdicts | None:
    """Return the verdicts of an analysis; None if its predictions cannot be read."""
    try:
        predictions = stores.archive.predictions(analysis.id)
        if predictions is None or len(predictions.top1) != len(bundle.all_targets):
            return None
        types = error_types(compute_verdicts(bundle, predictions))
    except (Unavailable, PermanentError):  # the archive has logged damaged files
        return None
    return StoredVerdicts(analysis.id, analysis.title, types, predictions.top1[bundle.rows])
