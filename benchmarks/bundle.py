"""The duration and memory of a build of imagenet, and of opening a bundle."""

import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.result import Figure, median_seconds
from benchmarks.synthetic import annotation_csv, build_imagenet
from service.evidence.bundle import open_bundle

BUILD_AIM, MEMORY_AIM = 60.0, 2048.0  # seconds, MiB
OPEN_AIM, RESIDENT_AIM = 0.050, 50.0  # seconds, MiB

RESIDENT = """
import sys
from pathlib import Path
from service.evidence.bundle import open_bundle
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20
before = resident()
bundle = open_bundle(Path(sys.argv[1]))
print(resident() - before)
"""


def measure() -> Iterator[Figure]:
    """Yield the figures of a build and of opening, for 20,000 annotated images."""
    with tempfile.TemporaryDirectory() as folder:
        annotations = Path(folder) / "annotations.csv"
        annotations.write_text(annotation_csv())
        command = [sys.executable, "-m", "service", "evidence", "build", "--dataset", "imagenet"]
        command += ["--annotations", str(annotations), "--output", f"{folder}/built"]
        seconds = median_seconds(lambda: subprocess.run(command, check=True, capture_output=True), 1, warm=0)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        yield Figure("build of imagenet without CLIP", seconds, "s", f"under {BUILD_AIM:g} s", seconds < BUILD_AIM)
        yield Figure("… its peak memory", peak, "MiB", f"under {MEMORY_AIM:g} MiB", peak < MEMORY_AIM)
        path = build_imagenet(Path(folder)).path
        opened = median_seconds(lambda: open_bundle(path), 21)
        done = subprocess.run([sys.executable, "-c", RESIDENT, str(path)], check=True, capture_output=True, text=True)
        resident = float(done.stdout)
        yield Figure("opening a bundle", opened * 1000, "ms", f"under {OPEN_AIM * 1000:g} ms", opened < OPEN_AIM)
        aim = f"at most {RESIDENT_AIM:g} MiB until used"
        yield Figure("… its resident memory", resident, "MiB", aim, resident <= RESIDENT_AIM)
