"""Tallies of many models, compared with a loop over images."""

import numpy as np
import pytest

from service.domain import ALL, ErrorType
from service.evidence.bundle import Bundle
from service.summary.fleet import tally_fleet


def test_tallies_of_many_models_agree_with_a_loop(imagenet_real: Bundle) -> None:
    """Three models on all images with ReaL labels."""
    random = np.random.default_rng(0)
    targets = imagenet_real.evidence.effective_targets
    top1 = np.where(random.random((3, len(targets))) < 0.4, random.integers(0, 1000, (3, len(targets))), targets)
    table = np.ascontiguousarray(imagenet_real.verdicts)

    result = tally_fleet(table, top1.astype(np.int16), imagenet_real.strata)

    for model, predicted in enumerate(top1):
        types = np.array([table[row, column] & 15 for row, column in enumerate(predicted)])
        for place, group in enumerate((ALL, "organism", "artifact", "other")):
            members = imagenet_real.group_mask(group)
            assert [int((types[members] == kind).sum()) for kind in range(9)] == result.counts[model, place].tolist()
            kind = ErrorType.FINE_GRAINED.id
            shares = [
                (types[members & (targets == target)] == kind).mean() for target in np.unique(targets[members]).tolist()
            ]
            assert result.class_shares[model, place, kind] == pytest.approx(np.mean(shares), abs=1e-12)
