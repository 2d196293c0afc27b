"""The votes of archived models on the labels of a data set, one vote per model."""

from itertools import islice

import numpy as np
from errata.errors import InvalidRequest

from service.analyses.archived_predictions import find_predictions, is_usable
from service.analyses.lru_cache import BundleCache, LruCache
from service.archive.port import AnalysisIndex, Archive, iterate_index
from service.domain import Analysis, AnalysisFilter, ModelVotes, State, Suggestions, suggest_labels
from service.domain.listing import version_key
from service.evidence.bundle import Bundle

MAX_ANALYSES = 1_000  # newest analyses of a data set that are searched for models
MAX_MODELS = 200
MAX_VOTES = 1 << 24  # of all models, 64 MB
MAX_AGREEMENTS = 3  # numbers of agreeing models whose suggestions are cached


def model_identity(analysis: Analysis) -> tuple[str, ...]:
    """Return the key that identifies the model of an analysis, so that each model has one vote.

    It is the first of these that is known: the digest of its weights, its labels `model` and `version`, its model ID,
    its display name, or its predictions.
    """
    if analysis.model_info is not None and analysis.model_info.weights_sha256:
        return "weights", analysis.model_info.weights_sha256
    model, version = version_key(analysis)
    if model:
        return "model", model, version
    if analysis.request.display_name:
        return "name", analysis.request.display_name
    return "predictions", analysis.predictions_digest


class VoteCache:
    """Caches the votes on the bundles that were used last. Thread-safe."""

    def __init__(self) -> None:
        self._votes: BundleCache[ModelVotes] = BundleCache()
        self._suggestions: tuple[ModelVotes | None, LruCache[int | None, Suggestions]] = None, LruCache(MAX_AGREEMENTS)

    def get(self, index: AnalysisIndex, archive: Archive, bundle: Bundle) -> ModelVotes:
        """Return the votes on the images of a bundle, the newest model first.

        Raises:
            Unavailable: The index cannot be read.
        """

        def load(earlier: ModelVotes | None) -> ModelVotes:
            analyses = newest_of_each_model(index, bundle)
            if earlier is not None and earlier.analysis_ids == tuple(analysis.id for analysis in analyses):
                return earlier
            return _read_votes(archive, bundle, analyses)

        return self._votes.get(bundle.digest, index.version, load)

    def suggestions(self, votes: ModelVotes, bundle: Bundle, min_agreement: int | None = None) -> Suggestions:
        """Return the labels that the votes suggest, see `suggest_labels`. The last results are cached.

        Raises:
            InvalidRequest: `min_agreement` is less than 1 or too low.
        """
        agreement = None if min_agreement == votes.default_agreement else min_agreement
        known_votes, cached = self._suggestions
        if known_votes is not votes:
            cached = LruCache(MAX_AGREEMENTS)
            self._suggestions = votes, cached
        if (result := cached.find(agreement)) is None:
            try:
                result = suggest_labels(bundle.evidence, votes, agreement)
            except ValueError as error:
                raise InvalidRequest(str(error), field="min_agreement") from error
            cached.add(agreement, result)
        return result


def newest_of_each_model(index: AnalysisIndex, bundle: Bundle) -> list[Analysis]:
    """Return the newest plausible analysis of each model with predictions for the images and classes of a bundle.

    The evidence of the analyses does not matter. Analyses with the same predictions count as one model.
    """
    limit = min(MAX_MODELS, max(3, MAX_VOTES // max(1, len(bundle.rows))))
    archived = AnalysisFilter(frozenset({State.SUCCEEDED}), dataset=bundle.dataset)
    newest: list[Analysis] = []
    known: set[tuple[str, ...]] = set()
    for analysis in islice(iterate_index(index, archived), MAX_ANALYSES):
        if is_usable(analysis, bundle):
            model, predictions = model_identity(analysis), ("predictions", analysis.predictions_digest)
            is_new = not {model, predictions} & known
            known.add(model)  # also if it has the predictions of another model: its older analyses do not count
            if is_new:
                known.add(predictions)
                newest.append(analysis)
        if len(newest) == limit:
            break
    return newest


def _read_votes(archive: Archive, bundle: Bundle, analyses: list[Analysis]) -> ModelVotes:
    """Return the votes of analyses. Analyses whose predictions cannot be read are omitted."""
    ids, predicted, probability = [], [], []
    for analysis in analyses:
        predictions = find_predictions(archive, bundle, analysis.id)
        if predictions is None:
            continue
        ids.append(analysis.id)
        predicted.append(predictions.top1[bundle.rows].astype(np.int16, copy=False))
        known = predictions.probability
        unknown = np.full(len(bundle.rows), np.nan, dtype=np.float16)
        probability.append(unknown if known is None else known[bundle.rows].astype(np.float16, copy=False))
    shape = (len(ids), len(bundle.rows))
    return ModelVotes(
        tuple(ids),
        np.array(predicted, dtype=np.int16).reshape(shape),
        np.array(probability, dtype=np.float16).reshape(shape),
    )
