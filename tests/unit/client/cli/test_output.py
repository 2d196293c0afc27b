"""Results at the path of --output."""

from pathlib import Path

import pytest
from errata.cli.output import write_output
from errata.errors import InvalidInput


@pytest.mark.parametrize("name", ["loop", "loop/report.html"])
def test_loop_of_symbolic_links_is_bad_input(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")

    with pytest.raises(InvalidInput, match=r"Cannot write .*loop.*: Too many levels of symbolic links\."):
        write_output(tmp_path / name, b"x")


def test_target_of_a_symbolic_link_is_replaced_and_keeps_its_mode(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    target.chmod(0o600)
    link.symlink_to(target)

    write_output(link, b"new")

    assert link.is_symlink()
    assert (target.read_bytes(), target.stat().st_mode & 0o777) == (b"new", 0o600)
