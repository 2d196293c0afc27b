"""Slices of an analysis: the error rates of images with one value of an attribute."""

import numpy as np

from service.analyses.judge import JudgedAnalysis
from service.analyses.ports import Stores
from service.domain import Attributes, SliceTable
from service.rules.table import error_types
from service.summary.slices import slice_table


def compute_slices(stores: Stores, judged: JudgedAnalysis) -> SliceTable:
    """Return the slices of a judged analysis.

    Raises:
        NotFound: Its data set has no attributes.
        InvalidEvidence: A file of attributes is invalid, or names unknown images.
    """
    return slices_of(judged, stores.attributes.get(judged.bundle))


def slices_of(judged: JudgedAnalysis, attributes: Attributes) -> SliceTable:
    """Return the slices of a judged analysis."""
    return slice_table(attributes, error_types(judged.verdicts), np.asarray(judged.bundle.evidence.problematic))
