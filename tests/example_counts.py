"""How many examples the property tests try."""

import os
from typing import Any

from hypothesis import settings

FAST = 10  # examples of a property in `make test-fast`


def max_examples(count: int, **others: Any) -> settings:
    """Return the settings of a property test that tries `count` examples, or FAST in the fast tier."""
    is_fast = os.environ.get("HYPOTHESIS_PROFILE") == "fast"
    return settings(max_examples=min(count, FAST) if is_fast else count, **others)
