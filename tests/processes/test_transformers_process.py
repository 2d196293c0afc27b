"""A classifier of transformers in the process that runs models: from a hub, with the results of the pipeline."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from errata.errors import ModelRefused
from PIL import Image
from transformers import pipeline
from unit.predictions.hub_server import FakeHub, serving
from unit.predictions.label_spaces import label_space
from unit.predictions.models.transformers_models import files_of, save_vit

from service.evidence.labels import demo, demo_folder
from service.predictions.model_policy import ModelPolicy
from service.predictions.model_process.config import PredictorConfig
from service.predictions.model_process.predictor import ModelLimits, ProcessPredictor

pytestmark = pytest.mark.processes
LABELS = {0: "name 2", 1: "name 0", 2: "name 1"}
NAMES = [name.decode() for name in demo().names.tolist()]
MODEL = "transformers:org/small@" + "a" * 40


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    save_vit(tmp_path / "saved", LABELS)
    with serving(FakeHub(repositories={"org/small": files_of(tmp_path / "saved")})) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
        yield running


@pytest.fixture
def predictor(hub: FakeHub) -> Iterator[ProcessPredictor]:
    config = PredictorConfig({"demo": demo_folder()}, ModelPolicy(), 8, 1, "cpu")
    predictor = ProcessPredictor(config, ModelLimits())
    yield predictor
    predictor.close()


def test_the_predictions_are_those_of_the_pipeline(predictor: ProcessPredictor, tmp_path: Path) -> None:
    classify = pipeline("image-classification", model=str(tmp_path / "saved"), device="cpu")
    best = [classify(Image.open(demo_folder() / name).convert("RGB"), top_k=1)[0] for name in NAMES]

    batches = [*predictor.predict(MODEL, "demo", NAMES, label_space(3))]

    classes = [int(index) for batch in batches for index in batch.top1]
    probabilities = [float(value) for batch in batches for value in batch.probability]
    assert classes == [int(row["label"].removeprefix("name ")) for row in best]
    assert probabilities == pytest.approx([row["score"] for row in best], abs=1e-3)  # float16


def test_code_of_the_repository_does_not_run(predictor: ProcessPredictor, hub: FakeHub, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    code = f"open({str(marker)!r}, 'w')".encode()
    config = b'{"model_type": "own", "architectures": ["Own"], "auto_map": {"AutoConfig": "own.Own"}}'
    hub.repositories["org/small"] = {**hub.repositories["org/small"], "own.py": code, "config.json": config}

    with pytest.raises(ModelRefused, match="Code in the repository is not run"):
        predictor.load(MODEL, label_space(3))
    assert not marker.exists()
    assert "own.py" not in hub.fetched
