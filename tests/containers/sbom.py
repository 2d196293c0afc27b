"""The SBOM of an image's Python packages in the format CycloneDX, made without network access."""

import json
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

FOLDERS = "opt/errata/lib/python3.11/site-packages opt/package"


def make_sbom(image: str, folder: Path, output: Path) -> dict[str, Any]:
    """Write and return the SBOM of an image.

    Args:
        image: Name of the image.
        folder: A folder for a virtual environment with the metadata of the image's packages.
        output: The file to write.
    """
    venv.create(folder)
    (target,) = folder.glob("lib/python3*/site-packages")
    listing = f"cd / && find {FOLDERS} -maxdepth 1 -name '*.dist-info' -print0 | tar --null --files-from=- --create"
    with subprocess.Popen(
        ["docker", "run", "--rm", "--entrypoint=sh", image, "-c", listing], stdout=subprocess.PIPE
    ) as metadata:
        unpack = [
            "tar",
            "--extract",
            "--no-same-owner",
            f"--directory={target}",
            r"--transform=s,.*/\([^/]*\.dist-info\),\1,",
        ]
        subprocess.run(unpack, stdin=metadata.stdout, check=True)
    isolated = folder / "isolated-python"  # without the packages in PYTHONPATH
    isolated.write_text(f'#!/bin/sh\nexec "{folder}/bin/python" -E "$@"\n')
    isolated.chmod(0o755)
    command = [sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible", "--validate"]
    done = subprocess.run([*command, "-o", str(output), str(isolated)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(output.read_text())  # type: ignore[no-any-return]
