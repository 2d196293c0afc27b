"""Check the protos: `buf lint`, and `buf breaking` against the last release (`make check`).

With `--release`, write the descriptor set of the protos as the released one, after all additions since the last release
have passed the check.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from docs_site.protos import PROTOS, describe_protos

BUF = PROTOS.parent / "node_modules" / ".bin" / "buf"
CONFIG = PROTOS / "buf.yaml"
RELEASED = PROTOS / "released" / "errata-v1.binpb"


def check(protos: Path = PROTOS) -> list[str]:
    """Return the problems of the protos in a folder."""
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image.binpb"
        image.write_bytes(describe_protos(protos, with_comments=True).SerializeToString())
        commands = [["lint", str(image)], ["breaking", str(image), "--against", str(RELEASED)]]
        return [line for command in commands for line in _run(command)]


def _run(command: list[str]) -> list[str]:
    result = subprocess.run([BUF, *command, "--config", CONFIG], capture_output=True, text=True)
    lines = [*result.stdout.splitlines(), *result.stderr.splitlines()]
    return lines if lines or result.returncode == 0 else [f"buf {command[0]} exited with {result.returncode}"]


def main() -> None:
    """Run the script."""
    if problems := check():
        raise SystemExit("\n".join(problems))
    if "--release" in sys.argv[1:]:
        RELEASED.write_bytes(describe_protos().SerializeToString(deterministic=True))


if __name__ == "__main__":
    main()
