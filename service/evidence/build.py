"""Write a bundle: the evidence as arrays, the verdict table, and a manifest. bundle.py documents the layout."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.domain import CLASS_GROUPS, NUM_CLASSES, Evidence, Labels
from service.evidence.bundle import MANIFEST, SCHEMA, evidence_of
from service.evidence.inputs import BundleInputs
from service.evidence.layout import EXPERT_JUDGMENTS, VERDICTS, WITHOUT_DIGEST
from service.rules import RULES_VERSION, find_abstained_types
from service.rules.decide import decide
from service.storage import atomic_folder, sha256_of
from service.taxonomy.groups import class_groups

BLOCK = 2048  # samples per block of the verdict table: about 20 MB


def write_bundle(facts: BundleInputs, path: Path) -> str:
    """Write a bundle to a folder atomically. Return its digest."""
    arrays = as_arrays(facts)
    digest = digest_of(facts.dataset, facts.superclasses.ids, arrays)
    evidence = evidence_of(arrays)
    with atomic_folder(path) as folder:
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array)
        _write_table(evidence, folder / f"{VERDICTS}.npy")
        if facts.expert_judgments is not None:
            np.save(folder / f"{EXPERT_JUDGMENTS}.npy", facts.expert_judgments)
        manifest = {
            "schema": SCHEMA,
            "dataset": facts.dataset,
            "digest": digest,
            "rules_version": RULES_VERSION,
            "superclasses": list(facts.superclasses.ids),
            "abstained": [error_type.name for error_type in find_abstained_types(evidence)],
            "counts": _counts(facts, evidence),
            "sources": [asdict(source) for source in facts.sources],
            "encoder": asdict(facts.clip.encoder) if facts.clip is not None and facts.clip.encoder else None,
            "files": {
                file.name: {"sha256": sha256_of(file), "bytes": file.stat().st_size}
                for file in sorted(folder.iterdir())
            },
        }
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return digest


def as_arrays(facts: BundleInputs) -> dict[str, NDArray[Any]]:
    """Return the arrays of a bundle by name."""
    images = facts.labels
    arrays: dict[str, NDArray[Any]] = {
        "names": images.names,
        "all_targets": images.all_targets,
        "rows": images.rows,
        "label_offsets": images.labels.offsets,
        "label_classes": images.labels.classes,
        "label_sources": images.labels.sources,
        "problematic": images.problematic,
        "groups": sample_groups(images.labels),
        "superclass_members": facts.superclasses.members,
    }
    if facts.pairs is not None:
        arrays |= {
            "pair_classes": facts.pairs.classes,
            "pair_counts": facts.pairs.counts,
            "pair_examples": facts.pairs.examples,
        }
    if facts.non_prototypical is not None:
        arrays["non_prototypical"] = facts.non_prototypical
    if facts.clip is not None:
        arrays |= {
            "neighbors": facts.clip.neighbors,
            "image_embeddings": facts.clip.images,
            "text_embeddings": facts.clip.texts,
            "oov": facts.clip.oov,
            "label_preferred": facts.clip.label_preferred,
        }
    if facts.imagenet_m is not None:
        arrays["imagenet_m"] = facts.imagenet_m
    return arrays


def sample_groups(labels: Labels) -> NDArray[np.bool_]:
    """Return the samples that have a label in each group, shape (3, N), rows in the order of CLASS_GROUPS."""
    groups = np.zeros((len(CLASS_GROUPS), len(labels.counts)), dtype=bool)
    sample_of_label = np.repeat(np.arange(len(labels.counts)), labels.counts)
    for group, members in zip(groups, class_groups(), strict=True):
        group[sample_of_label[members[labels.classes]]] = True
    return groups


def digest_of(dataset: str, superclass_ids: tuple[str, ...], arrays: Mapping[str, NDArray[Any]]) -> str:
    """Return the SHA-256 of all inputs in canonical form, with the version of the rules."""
    digest = hashlib.sha256()
    head = {"schema": SCHEMA, "rules_version": RULES_VERSION, "dataset": dataset, "superclasses": list(superclass_ids)}
    digest.update(json.dumps(head, sort_keys=True).encode())
    for name in sorted({*arrays} - WITHOUT_DIGEST):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.view(np.uint8).data if array.size else b"")
    return digest.hexdigest()


def _write_table(evidence: Evidence, path: Path) -> None:
    """Write the verdict table in blocks. A memory map would end the process on a full disk."""
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.uint8)), "fortran_order": False}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header | {"shape": (len(evidence), NUM_CLASSES)})
        for start in range(0, len(evidence), BLOCK):
            file.write(decide(evidence.rows(start, min(start + BLOCK, len(evidence)))).tobytes())


def _counts(facts: BundleInputs, evidence: Evidence) -> dict[str, int]:
    return {
        "images": len(facts.labels.names),
        "judged": len(evidence),
        "problematic": int(evidence.problematic.sum()),
        "rejected_targets": int(evidence.rejected.sum()),
        "superclasses": len(facts.superclasses.ids),
        "co_occurrence_pairs": 0 if evidence.cooccurrence is None else int(evidence.cooccurrence.sum()) // 2,
    }
