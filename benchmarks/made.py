"""Input that benchmarks make for themselves: predictions of 50,000 images that look like a good model's."""

import numpy as np

from service.evidence.labels import original_labels, validation_names


def predictions_csv(seed: int = 0) -> bytes:
    """Return a file of 1.6 MB, 75 % right, in the order of file names."""
    random = np.random.default_rng(seed)
    targets = original_labels()
    wrong = random.random(len(targets)) < 0.25
    predicted = np.where(wrong, random.integers(0, 1000, len(targets)), targets)
    rows = [
        f"{name.decode()},{value}" for name, value in zip(validation_names().tolist(), predicted.tolist(), strict=True)
    ]
    return ("file_name,top1\n" + "\n".join(rows) + "\n").encode()
