"""Find the verdicts of all archived analyses that were judged with one bundle."""

from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from service.analyses.archived_predictions import find_predictions
from service.analyses.judge import compute_verdicts
from service.analyses.ports import Stores
from service.analyses.verdict_cache import ModelVerdicts, StoredVerdicts
from service.archive.port import iterate_index
from service.domain import Analysis, AnalysisFilter, State
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
        The verdicts of at most MAX_MODELS analyses; fewer for a bundle with over 100,000 images. Implausible analyses
        and those whose predictions cannot be read are left out.
    """

    def load(earlier: ModelVerdicts | None) -> ModelVerdicts:
        limit = max(2, min(MAX_MODELS, MAX_VERDICTS // max(1, len(bundle.rows))))
        query = AnalysisFilter(frozenset({State.SUCCEEDED}), dataset=bundle.dataset, evidence=bundle.digest)
        plausible = (analysis for analysis in iterate_index(stores.index, query) if not analysis.implausible)
        newest = islice(plausible, limit)
        known = {verdicts.id: verdicts for verdicts in (earlier.analyses if earlier else ())}
        with ThreadPoolExecutor(NUM_READERS, thread_name_prefix="verdicts") as pool:
            loaded = [*pool.map(lambda analysis: known.get(analysis.id) or _load(stores, bundle, analysis), newest)]
        return ModelVerdicts([verdicts for verdicts in loaded if verdicts], len(bundle.rows))

    return stores.verdict_cache.models.get(bundle.digest, stores.index.version, load)


def _load(stores: Stores, bundle: Bundle, analysis: Analysis) -> StoredVerdicts | None:
    """Return the verdicts of an analysis; None if its predictions cannot be read."""
    predictions = find_predictions(stores.archive, bundle, analysis.id)
    if predictions is None:
        return None
    types = error_types(compute_verdicts(bundle, predictions))
    return StoredVerdicts(analysis.id, analysis.title, analysis.owner, types, predictions.top1[bundle.rows])
