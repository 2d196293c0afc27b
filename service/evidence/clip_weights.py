"""The weights of a CLIP model, and the activation function that they were trained with.

OpenAI trained its weights with QuickGELU. By default, open_clip builds these architectures with GELU and only warns
about the difference, so the embeddings would be wrong. ADR 0059 describes how Errata selects the activation function.
"""

import os
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
from errata.errors import InvalidEvidence

from service.evidence.inputs import EncoderInfo
from service.storage import sha256_of

ARCHITECTURE = "ViT-L-14-336"
WEIGHTS = "openai"
ACTIVATIONS = {"quick_gelu": True, "gelu": False}  # name -> `quick_gelu` of open_clip's configurations
_NAMES = {value: name for name, value in ACTIVATIONS.items()}


@dataclass(frozen=True)
class ClipWeights:
    """An architecture of open_clip, its weights, and their activation function."""

    architecture: str
    weights: str  # a tag of open_clip, or the path of a local file
    configuration: Mapping[str, Any]  # of the tag; empty for a local file
    activation: str  # a key of ACTIVATIONS

    def find_file(self) -> Path:
        """Return the path of the weights. If a tag names weights that open_clip's cache does not have, download them.

        Raises:
            InvalidEvidence: If the download fails.
        """
        if not self.configuration:
            return Path(self.weights)
        try:
            return Path(open_clip.download_pretrained(dict(self.configuration)))
        except (OSError, RuntimeError, ValueError) as error:
            line, *others = textwrap.wrap(" ".join(str(error).split()), 200) or [""]
            reason = f"{line} …" if others else line.removesuffix(".")
            raise InvalidEvidence(
                f"Cannot download the CLIP weights {self.weights!r:.80} of {self.architecture}: {reason}. Check the "
                "connection, or set ERRATA_CLIP_WEIGHTS to a local file.",
                field="encoder",
            ) from error

    def describe(self) -> EncoderInfo:
        """Return the description for the manifest of a bundle. This reads the weights to compute their digest."""
        return EncoderInfo(
            architecture=self.architecture,
            weights=self.weights if self.configuration else f"local file {Path(self.weights).name}",
            weights_sha256=sha256_of(self.find_file()),
            activation=self.activation,
            library=f"open_clip {open_clip.__version__}",
        )


def select_weights(architecture: str = "", weights: str = "", activation: str = "") -> ClipWeights:
    """Select the weights, and determine their activation function.

    Empty arguments are read from ERRATA_CLIP_MODEL, ERRATA_CLIP_WEIGHTS, and ERRATA_CLIP_ACTIVATION.

    Args:
        architecture: Name in open_clip; default: ViT-L-14-336.
        weights: Tag in open_clip, or path of a local file; default: openai.
        activation: A key of ACTIVATIONS; required for a local file, unless the architecture defines it.

    Raises:
        InvalidEvidence: If a name is unknown, or if the activation function is unknown or contradictory.
    """
    architecture = architecture or os.environ.get("ERRATA_CLIP_MODEL") or ARCHITECTURE
    weights = weights or os.environ.get("ERRATA_CLIP_WEIGHTS") or WEIGHTS
    activation = activation or os.environ.get("ERRATA_CLIP_ACTIVATION") or ""
    if architecture not in open_clip.list_models():
        raise InvalidEvidence(
            f"Unknown CLIP architecture {architecture!r:.80}. Set ERRATA_CLIP_MODEL to a name of "
            f"open_clip.list_models(), such as {ARCHITECTURE}.",
            field="encoder",
        )
    configuration = open_clip.get_pretrained_cfg(architecture, weights)
    if not configuration and not Path(weights).is_file():
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(architecture)) or "none"
        raise InvalidEvidence(
            f"Unknown weights {weights!r:.120} of the CLIP architecture {architecture}. Set ERRATA_CLIP_WEIGHTS to a "
            f"local file or to a tag ({tags}).",
            field="encoder",
        )
    return ClipWeights(architecture, weights, configuration, _find_activation(architecture, configuration, activation))


def _find_activation(architecture: str, configuration: Mapping[str, Any], activation: str) -> str:
    """Return the activation function on which the tag, the architecture, and the setting agree."""
    if activation and activation not in ACTIVATIONS:
        raise InvalidEvidence(
            f"Invalid ERRATA_CLIP_ACTIVATION {activation!r:.80}. Expected {' or '.join(ACTIVATIONS)}.", field="encoder"
        )
    stated: dict[str, str] = {}
    of_architecture = open_clip.get_model_config(architecture).get("quick_gelu")
    if of_architecture is not None:
        stated[architecture] = _NAMES[of_architecture]
    if configuration:  # if the tag does not state `quick_gelu`, that of the architecture applies, else GELU
        stated["the weights"] = _NAMES[configuration.get("quick_gelu", bool(of_architecture))]
    if activation:
        stated["ERRATA_CLIP_ACTIVATION"] = activation
    if len(set(stated.values())) > 1:
        differences = ", ".join(f"{origin}: {name}" for origin, name in stated.items())
        raise InvalidEvidence(
            f"The activation function of CLIP is contradictory ({differences}). Change ERRATA_CLIP_ACTIVATION, or set "
            "ERRATA_CLIP_MODEL to the architecture of the weights.",
            field="encoder",
        )
    if stated:
        return next(iter(stated.values()))
    raise InvalidEvidence(
        f"The activation function of the local CLIP weights for {architecture} is unknown. Set ERRATA_CLIP_ACTIVATION "
        "to the function used in their training: quick_gelu for OpenAI's weights, else usually gelu.",
        field="encoder",
    )
