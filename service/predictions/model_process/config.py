"""The configuration of the process that runs models. It is sent over the pipe, because it contains tokens."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from service.predictions.model_policy import ModelPolicy
from service.predictions.registry_http import RegistryAddress


@dataclass(frozen=True)
class PredictorConfig:
    """The arguments of the predictor, and the log settings of its process."""

    images: Mapping[str, Path]  # data set -> folder or .tar file
    policy: ModelPolicy
    batch_size: int
    threads: int
    device: str
    log_level: str = "info"
    log_format: str = "auto"

    def to_json(self) -> dict[str, Any]:
        """Return the configuration as a JSON object."""
        raw = asdict(self)
        raw["images"] = {dataset: str(path) for dataset, path in self.images.items()}
        raw["policy"]["folder"] = None if self.policy.folder is None else str(self.policy.folder)
        return raw

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "PredictorConfig":
        """Create the configuration from the output of `to_json`."""
        policy = dict(raw["policy"])
        policy["folder"] = None if policy["folder"] is None else Path(policy["folder"])
        policy["registries"] = [
            RegistryAddress(**{**address, "networks": tuple(address["networks"])}) for address in policy["registries"]
        ]
        images = {dataset: Path(path) for dataset, path in raw["images"].items()}
        return cls(**{**raw, "images": images, "policy": ModelPolicy(**policy)})
