"""Predictions for the 20 demo photographs."""

from pathlib import Path

from service.evidence.bundle import Bundle


def predictions_csv(demo: Bundle, wrong: int) -> str:
    """Return a CSV file whose predictions are correct, except for the first `wrong`, which are class 0."""
    classes = [*[0] * wrong, *demo.all_targets.tolist()[wrong:]]
    rows = [f"{name},{value}" for name, value in zip(demo.judged_names, classes, strict=True)]
    return "file_name,predicted_class\n" + "\n".join(rows) + "\n"


def write_predictions(demo: Bundle, wrong: int, file: Path) -> Path:
    """Write the file of `predictions_csv`."""
    file.write_text(predictions_csv(demo, wrong))
    return file
