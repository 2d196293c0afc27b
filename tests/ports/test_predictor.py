"""One suite for all predictors: the real one, in this process and in a child process, and the fake."""

from collections.abc import Iterator

import numpy as np
import pytest
from errata.errors import NotFound

from service.domain import Predictions
from service.evidence.labels import demo, demo_folder
from service.jobs.worker import Predictor
from service.predictions.fake import FakePredictor
from service.predictions.model_policy import ModelPolicy
from service.predictions.model_process.config import PredictorConfig
from service.predictions.model_process.predictor import ModelLimits, ProcessPredictor

MODEL, OTHER = "demo:efficientnet_lite0", "demo:efficientnet_lite1"
BATCH = 8


@pytest.fixture(params=["torch", "process", "hash"], scope="module")
def predictor(request: pytest.FixtureRequest) -> Iterator[Predictor]:
    images, policy = {"demo": demo_folder()}, ModelPolicy()
    if request.param == "hash":
        yield FakePredictor([MODEL, OTHER], BATCH)
    elif request.param == "torch":
        from service.predictions.models.torch_predictor import TorchPredictor  # the import takes seconds

        yield TorchPredictor(images, policy, BATCH, threads=1, device="cpu")
    else:
        process = ProcessPredictor(PredictorConfig(images, policy, BATCH, 1, "cpu"), ModelLimits())
        yield process
        process.close()


@pytest.fixture(scope="module")
def names() -> list[str]:
    return [name.decode() for name in demo().names.tolist()]


def top1(batches: Iterator[Predictions]) -> list[int]:
    return np.concatenate([batch.top1 for batch in batches]).tolist()


@pytest.mark.slow
def test_a_model_is_described_with_a_digest_of_its_weights(predictor: Predictor) -> None:
    info = predictor.load(MODEL)

    assert info.model == MODEL
    assert info.architecture
    assert info.transform
    assert len(info.weights_sha256) == 64
    assert predictor.load(MODEL) == info


def test_an_unknown_model_is_not_found(predictor: Predictor) -> None:
    with pytest.raises(NotFound):
        predictor.load("demo:efficientnet_lite9")


@pytest.mark.slow
def test_every_name_gets_one_prediction_in_batches(predictor: Predictor, names: list[str]) -> None:
    batches = list(predictor.predict(MODEL, "demo", names))

    assert sum(len(batch.top1) for batch in batches) == 20
    assert all(1 <= len(batch.top1) <= BATCH for batch in batches)
    for batch in batches:
        assert batch.top1.dtype == np.int16
        assert batch.probability is not None
        assert batch.probability.dtype == np.float16
        assert ((batch.top1 >= 0) & (batch.top1 < 1000)).all()
        assert ((batch.probability >= 0) & (batch.probability <= 1)).all()


@pytest.mark.slow
def test_the_order_of_names_is_the_order_of_predictions(predictor: Predictor, names: list[str]) -> None:
    forward = top1(predictor.predict(MODEL, "demo", names))

    assert top1(predictor.predict(MODEL, "demo", names[::-1])) == forward[::-1]


def test_predictions_do_not_depend_on_the_rest_of_the_batch(predictor: Predictor, names: list[str]) -> None:
    whole = top1(predictor.predict(MODEL, "demo", names))

    assert [top1(predictor.predict(MODEL, "demo", [name]))[0] for name in names[:3]] == whole[:3]


def test_the_model_can_be_changed(predictor: Predictor, names: list[str]) -> None:
    first = top1(predictor.predict(MODEL, "demo", names[:4]))
    top1(predictor.predict(OTHER, "demo", names[:4]))

    assert top1(predictor.predict(MODEL, "demo", names[:4])) == first


@pytest.mark.slow
def test_an_abandoned_call_leaves_the_predictor_ready(predictor: Predictor, names: list[str]) -> None:
    whole = top1(predictor.predict(MODEL, "demo", names))
    left = predictor.predict(MODEL, "demo", names)
    next(left)
    left.close()

    assert top1(predictor.predict(MODEL, "demo", names)) == whole


def test_no_names_give_no_predictions(predictor: Predictor) -> None:
    assert list(predictor.predict(MODEL, "demo", [])) == []
