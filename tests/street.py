"""A data set with its own classes: four images, one of them with two labels."""

from pathlib import Path

from service.bootstrap.build import Inputs, build_evidence
from service.evidence.bundle import Bundle


def build_street(folder: Path) -> Bundle:
    """Write `classes.csv` and `labels.csv` to a folder, and return the bundle `bundle` that is built from them."""
    inputs = Inputs(classes=folder / "classes.csv", labels=folder / "labels.csv")
    (folder / "classes.csv").write_text("name\ncat\ndog\nowl\n")
    (folder / "labels.csv").write_text("file_name,labels\na,cat\nb,dog\nc,cat;dog\nd,owl\n")
    return build_evidence("street", inputs, folder / "bundle")
