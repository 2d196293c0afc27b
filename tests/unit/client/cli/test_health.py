"""errata health: its time limit."""

import pytest
from click.testing import CliRunner
from errata.cli.health import health


@pytest.mark.parametrize("timeout", ["nan", "0", "61", "inf"])
def test_a_time_limit_out_of_range_is_refused(timeout: str) -> None:
    result = CliRunner().invoke(health, ["--timeout", timeout])

    assert result.exit_code == 2
    assert "--timeout" in result.stderr
