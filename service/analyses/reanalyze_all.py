"""Judge the archived predictions of all analyses of a data set again, with another bundle."""

from collections.abc import Iterator
from dataclasses import dataclass

from service.analyses.ports import Ports


@dataclass(frozen=True)
class ReanalysisProgress:
    """The outcome for one analysis."""

    done: int  # analyses so far, this one included
    total: int
    before: str  # ID of the analysis whose predictions are judged
    after: str = ""  # ID of the analysis on the bundle; empty: skipped
    is_new: bool = False  # whether this call created it
    reason: str = ""  # why the analysis was skipped; empty: it was not


def reanalyze_all(ports: Ports, dataset: str, digest: str, caller: str) -> Iterator[ReanalysisProgress]:
    """Judge all archived analyses of a data set with a bundle, each at most once, and yield the progress.

    The ID of the new analysis follows from the predictions and the bundle: a call that is repeated, or that continues
    one that was killed, creates only the missing analyses.

    Args:
        ports: The ports of the use cases.
        dataset: Name of the data set.
        digest: Digest of the bundle, or its start; empty: the default bundle.
        caller: Name of the caller's token; empty without a token.

    Raises:
        DatasetNotFound: The data set has no evidence.
        EvidenceNotFound: The bundle does not exist.
    """
    raise NotImplementedError
