"""Write a bundle: the evidence as arrays, the verdict table, and a manifest. bundle.py documents the layout."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.domain import IMAGENET_1K, Bytes, Evidence, Labels, LabelSpace
from service.evidence.array_file import ArrayFile
from service.evidence.bundle import evidence_of, file_differences, open_bundle
from service.evidence.cooccurrence import MIN_COUNT
from service.evidence.inputs import BundleInputs
from service.evidence.label_space_json import from_json, to_json
from service.evidence.layout import EXPERT_JUDGMENTS, PROPOSALS, VERDICTS, WITHOUT_DIGEST, has_table
from service.evidence.manifest import LABEL_SPACE, MANIFEST, OWN_LABEL_SPACE_SCHEMA, SCHEMA
from service.evidence.proposals import proposals_to_json
from service.rules import RULES_VERSION, find_abstained_types
from service.rules.decide import decide
from service.storage import atomic_folder, sha256_of

BLOCK_CELLS = 2 << 20  # cells per block of the verdict table: about 20 MB


def write_bundle(facts: BundleInputs, path: Path) -> str:
    """Write a bundle to a folder atomically. Return its digest."""
    is_own = facts.label_space.name != IMAGENET_1K
    if is_own:  # puts superclasses and groups into the order in which bundles are read
        facts = replace(facts, label_space=from_json(to_json(facts.label_space)))
    arrays = as_arrays(facts)
    digest = digest_of(facts.dataset, facts.label_space, arrays, facts.min_cooccurrence)
    evidence = evidence_of(arrays, facts.label_space, facts.min_cooccurrence)
    with atomic_folder(path) as folder:
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array)
        if has_table(len(evidence), evidence.num_classes):
            _write_table(evidence, folder / f"{VERDICTS}.npy")
        if is_own:
            (folder / LABEL_SPACE).write_bytes(to_json(facts.label_space))
        if facts.expert_judgments is not None:
            np.save(folder / f"{EXPERT_JUDGMENTS}.npy", facts.expert_judgments)
        manifest = {
            "schema": OWN_LABEL_SPACE_SCHEMA if is_own else SCHEMA,
            "dataset": facts.dataset,
            "digest": digest,
            "rules_version": RULES_VERSION,
            "label_space": facts.label_space.name,
            "superclasses": list(facts.label_space.superclasses.ids),
            "min_cooccurrence": facts.min_cooccurrence,
            "abstained": [error_type.name for error_type in find_abstained_types(evidence)],
            "counts": _counts(facts, evidence),
            "sources": [asdict(source) for source in facts.sources],
            **({"base": facts.base} if facts.base else {}),
            **({"reviews": asdict(facts.reviews)} if facts.reviews else {}),
            "encoder": asdict(facts.clip.encoder) if facts.clip is not None and facts.clip.encoder else None,
            "files": {
                file.name: {"sha256": sha256_of(file), "bytes": file.stat().st_size}
                for file in sorted(folder.iterdir())
            },
        }
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return digest


def verify_evidence(path: Path) -> list[str]:
    """Verify a bundle, and compute its verdict table again; return the problems, or an empty list."""
    bundle = open_bundle(path)
    arrays = {name: ArrayFile(path / f"{name}.npy").read() for name in bundle.arrays if name not in WITHOUT_DIGEST}
    digest = digest_of(bundle.dataset, bundle.label_space, arrays, bundle.manifest.min_cooccurrence)
    differences = file_differences(bundle)
    if digest != bundle.digest:
        differences.append(f"digest: expected {bundle.digest}, got {digest}")
    if (abstained := find_abstained_types(bundle.evidence)) != bundle.manifest.abstained:
        differences.append(f"abstained: expected {[error_type.name for error_type in abstained]}")
    if not differences and VERDICTS in bundle.arrays:  # the digest and the manifest do not show whether it was forged
        table = bundle.arrays[VERDICTS]
        if any((table[rows] != verdicts).any() for rows, verdicts in _verdict_blocks(bundle.evidence)):
            differences.append(f"{VERDICTS}.npy: the verdicts differ from those of the rules")
    return differences


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
        "groups": sample_groups(images.labels, facts.label_space),
    }
    if facts.label_space.name == IMAGENET_1K:
        arrays["superclass_members"] = superclass_members(facts.label_space)
    if facts.pairs is not None:
        arrays |= {
            "pair_classes": facts.pairs.classes,
            "pair_counts": facts.pairs.counts,
            "pair_examples": facts.pairs.examples,
        }
        if facts.pairs.names is not None:
            arrays["pair_names"] = facts.pairs.names
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
        if facts.label_space.name != IMAGENET_1K:
            assert facts.clip.proposals is not None, "This is a bug: CLIP evidence has proposals."
            arrays[PROPOSALS] = np.frombuffer(proposals_to_json(facts.clip.proposals), dtype=np.uint8)
    if facts.imagenet_m is not None:
        arrays["imagenet_m"] = facts.imagenet_m
    return arrays


def sample_groups(labels: Labels, label_space: LabelSpace) -> NDArray[np.bool_]:
    """Return, for each group of the label space, which samples have a label in the group, shape (G, N)."""
    groups = np.zeros((len(label_space.groups), len(labels.counts)), dtype=bool)
    for group, members in zip(groups, label_space.group_members, strict=True):
        group[labels.samples[members[labels.classes]]] = True
    return groups


def superclass_members(label_space: LabelSpace) -> NDArray[np.bool_]:
    """Return the classes of each superclass, shape (S, C)."""
    superclasses = label_space.superclasses
    members = np.zeros((len(superclasses.ids), label_space.num_classes), dtype=bool)
    members[superclasses.numbers, superclasses.classes] = True
    return members


def digest_of(
    dataset: str, label_space: LabelSpace, arrays: Mapping[str, NDArray[Any]], min_cooccurrence: int = MIN_COUNT
) -> str:
    """Return the SHA-256 of all inputs in canonical form and of the version of the rules.

    For imagenet-1k, the digest includes the superclasses, but not the classes, which are part of the package.
    """
    digest = hashlib.sha256()
    head: dict[str, Any] = {"schema": SCHEMA, "rules_version": RULES_VERSION, "dataset": dataset}
    if label_space.name == IMAGENET_1K:
        head["superclasses"] = list(label_space.superclasses.ids)
    else:
        head |= {"schema": OWN_LABEL_SPACE_SCHEMA, "label_space": hashlib.sha256(to_json(label_space)).hexdigest()}
    if min_cooccurrence != MIN_COUNT:
        head["min_cooccurrence"] = min_cooccurrence
    digest.update(json.dumps(head, sort_keys=True).encode())
    for name in sorted({*arrays} - WITHOUT_DIGEST):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.view(np.uint8).data if array.size else b"")
    return digest.hexdigest()


def _write_table(evidence: Evidence, path: Path) -> None:
    """Write the verdict table in blocks, without a memory map: writes to one end the process if the disk is full."""
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.uint8)), "fortran_order": False}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header | {"shape": (len(evidence), evidence.num_classes)})
        for _, verdicts in _verdict_blocks(evidence):
            file.write(verdicts.tobytes())


def _verdict_blocks(evidence: Evidence) -> Iterator[tuple[slice, Bytes]]:
    """Yield the verdicts on some samples for all predictions, with the rows of the samples."""
    block = max(1, BLOCK_CELLS // evidence.num_classes)
    for start in range(0, len(evidence), block):
        stop = min(start + block, len(evidence))
        yield slice(start, stop), decide(evidence.rows(start, stop))


def _counts(facts: BundleInputs, evidence: Evidence) -> dict[str, int]:
    return {
        "images": len(facts.labels.names),
        "judged": len(evidence),
        "problematic": int(evidence.problematic.sum()),
        "rejected_targets": int(evidence.rejected.sum()),
        "classes": facts.label_space.num_classes,
        "superclasses": len(facts.label_space.superclasses.ids),
        "co_occurrence_pairs": 0 if evidence.cooccurrence is None else len(evidence.cooccurrence) // 2,
    }
