"""What the process that runs models is started with. It comes over the pipe: it holds the tokens of registries."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from service.predictions.model_policy import ModelPolicy
from service.predictions.registries import RegistryAddress


@dataclass(frozen=True)
class PredictorConfig:
    """The arguments of the predictor, and how its process logs."""

    images: Mapping[str, Path]  # data set -> folder or .tar file
    policy: ModelPolicy
    batch_size: int
    threads: int
    device: str
    log_level: str = "info"
    log_format: str = "auto"

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        raw = asdict(self)
        raw["images"] = {dataset: str(path) for dataset, path in self.images.items()}
        raw["policy"]["folder"] = None if self.policy.folder is None else str(self.policy.folder)
        return raw

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "PredictorConfig":
        """Return what `to_json` made JSON of."""
        policy = dict(raw["policy"])
        policy["folder"] = None if policy["folder"] is None else Path(policy["folder"])
        policy["registries"] = [RegistryAddress(**address) for address in policy["registries"]]
        images = {dataset: Path(path) for dataset, path in raw["images"].items()}
        return cls(**{**raw, "images": images, "policy": ModelPolicy(**policy)})
