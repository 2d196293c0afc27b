"""The test of one row of a table."""

from dataclasses import dataclass

FALSE_DISCOVERY_RATE = 0.05


@dataclass(frozen=True)
class AdjustedTest:
    """The p-value of one row of a table, adjusted for the number of rows (Benjamini and Hochberg)."""

    p_value: float
    adjusted_p_value: float

    @property
    def significant(self) -> bool:
        """Return whether the row is a discovery at the false discovery rate of 5 %."""
        return self.adjusted_p_value <= FALSE_DISCOVERY_RATE
