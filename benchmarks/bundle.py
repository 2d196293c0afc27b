"""The duration and memory of a build of imagenet, and of opening a bundle."""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.harness import Case, Result, at_most, minima, timed
from benchmarks.processes import LIBRARIES, run
from benchmarks.synthetic import annotation_csv, build_imagenet
from service.evidence.bundle import open_bundle

IMPORTS = f"python -c '{LIBRARIES}'"
BUILD = Case("bundle.build", "build of imagenet without CLIP, 20,000 images", IMPORTS, "s", at_most(6))
MEMORY = Case("bundle.memory", "peak memory of this build", IMPORTS, "MB", at_most(5))
OPEN = Case("bundle.open", "opening a bundle", "numpy.load of its arrays, mapped", "ms", at_most(8))
RESIDENT = Case("bundle.resident", "resident memory of an open bundle", "its files", "MB", at_most(0.5))

PEAK = r"""
import re, runpy, sys
sys.argv = sys.argv[1:]
try:
    exec(sys.argv[0]) if len(sys.argv) == 1 else runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
finally:
    with open("/proc/self/status") as file:
        print(re.search(r"VmHWM:\s+(\d+)", file.read())[1])
"""
GROWTH = """
import sys
from pathlib import Path
from service.evidence.bundle import open_bundle
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
before = resident()
bundle = open_bundle(Path(sys.argv[1]))
print(resident() - before)
"""


def measure() -> Iterator[Result]:
    """Yield the results of a build and of opening, for 20,000 annotated images."""
    with tempfile.TemporaryDirectory() as folder:
        annotations = Path(folder) / "annotations.csv"
        annotations.write_text(annotation_csv())
        arguments = ["service", "evidence", "build", "--dataset", "imagenet", "--annotations", str(annotations)]
        build = [*arguments, "--output", f"{folder}/built"]
        seconds = minima(
            timed(lambda: run(sys.executable, "-m", *build)),
            timed(lambda: run(sys.executable, "-c", LIBRARIES)),
            times=3,
            warm=1,
        )
        yield BUILD.measured(*seconds)
        yield MEMORY.measured(peak(*build), peak(LIBRARIES))
        path = build_imagenet(Path(folder)).path
        arrays = list(path.glob("*.npy"))
        yield OPEN.measured(
            *minima(
                timed(lambda: open_bundle(path)),
                timed(lambda: [np.load(array, mmap_mode="r") for array in arrays]),
                times=21,
            )
        )
        resident = float(run(sys.executable, "-c", GROWTH, str(path)))
        yield RESIDENT.measured(resident, sum(file.stat().st_size for file in path.iterdir()))


def peak(*arguments: str) -> float:
    """Return the peak memory of Python code or of a module with arguments, in bytes."""
    return 1024 * float(run(sys.executable, "-c", PEAK, *arguments).split()[-1])
