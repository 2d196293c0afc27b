"""Small files in the official formats: annotations, mistakes, and the authors' artefact folder."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from service.taxonomy.wordnet import load_taxonomy

COLUMNS = ("id", "category", "original_label", "proposed_labels", "manually_validated", "unclear_multi_labels",
           "wrong_multi_labels", "is_problematic")  # fmt: skip


def wordnet_id(index: int) -> str:
    return load_taxonomy().wordnet_id(index)


@dataclass(frozen=True)
class Row:
    """Annotation of one image; lists can have duplicates."""

    name: str
    target: int
    correct: Sequence[int]
    unclear: Sequence[int] = ()
    problematic: bool = False
    wrong: Sequence[int] = ()


def write_json(path: Path, rows: Sequence[Row], **more: object) -> Path:
    lists = {"correct": "correct", "wrong": "wrong", "unclear": "unclear"}
    annotations = {
        row.name: {key: [wordnet_id(item) for item in getattr(row, name)]
                   for key, name in lists.items() if getattr(row, name)}
        for row in rows
    }  # fmt: skip
    problematic: dict[str, list[str]] = {row.name: [] for row in rows if row.problematic}
    path.write_text(json.dumps({"initial_annots": annotations, "problematic_images": problematic, **more}))
    return path


def write_csv(path: Path, rows: Sequence[Row]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for row in rows:
            correct, unclear, wrong = (", ".join(map(str, item)) for item in (row.correct, row.unclear, row.wrong))
            writer.writerow([row.name, "A", row.target, correct, True, unclear, wrong, row.problematic])
    return path


def mistake(category: str, predicted: int, severity: str = "Minor") -> dict[str, object]:
    return {"top_prediction": predicted, "failure category": category, "failure severity": severity}


def write_mistakes(folder: Path, names: Sequence[str]) -> Path:
    """List even names in the first file and odd names in the second file, with other mistakes in both."""
    folder.mkdir(parents=True, exist_ok=True)
    for start, file in enumerate(("greedy_soups_mistakes.json", "vit3b_mistakes.json")):
        listed = {name: mistake("Non-prototypical", 7) for name in names[start::2]}
        other = {f"other_{start}.JPEG": mistake("Fine-grained error", 8)}
        (folder / file).write_text(json.dumps(listed | other))
    return folder


def write_artefacts(
    folder: Path,
    dataset: str,
    samples: Sequence[tuple[str, int]] = (),
    neighbors: np.ndarray | None = None,
    superclasses: Mapping[str, Sequence[Sequence[str]]] | None = None,
) -> Path:
    """Write the authors' files; samples: (`wnid/file`, target), in order."""
    (folder / dataset).mkdir(parents=True, exist_ok=True)
    (folder / "labels_map.json").write_text(json.dumps({str(index): f"class {index}" for index in range(1000)}))
    ids = {wordnet_id(index): index for index in range(1000)}
    (folder / "imagenet_wnet_id_to_target.json").write_text(json.dumps(ids))
    if superclasses is not None:
        lines = [json.dumps({name: predicate}) for name, predicate in superclasses.items()]
        (folder / "superclasses.json").write_text("\n".join(lines) + "\n")
    if samples:
        np.savez(
            folder / dataset / "samples_info.npz",
            sample_files=np.array([name for name, _ in samples]),
            targets=np.array([target for _, target in samples]),
        )
    if neighbors is not None:
        np.savez(
            folder / dataset / "valid_clip_knn.npz",
            topk_train_indices=np.zeros(neighbors.shape, dtype=np.int64),
            topk_train_targets=neighbors,
        )
    return folder


def oracle_lemmas() -> list[set[str]]:
    """Return the lemma names of each class, from its hypernym paths."""
    taxonomy = load_taxonomy()
    return [
        {lemma for path in taxonomy.hypernym_paths(synset) for above in path for lemma in taxonomy.lemmas[above]}
        for synset in taxonomy.classes
    ]
