"""Analyses that wait for a worker: before the first one registers, and for a model or images that no worker has."""

from dataclasses import replace

import pytest
from errata.errors import InvalidModelId, InvalidRequest, ModelNotFound

from service.analyses import queries
from service.analyses.ports import Ports, Workers
from service.analyses.submit import submit
from service.analyses.waiting import waiting_reason
from service.bootstrap.wiring import pin_allowed_model
from service.domain import AnalysisRequest, State
from service.jobs.transitions import JobSpec, WorkerOffer
from service.predictions.model_id import parse_model_id
from service.predictions.model_policy import ModelPolicy

from .conftest import MODEL, Backend

SPEC = JobSpec("timm:resnet18", "demo", "e", "i", 20, 5)
NOTHING = WorkerOffer((), ())
TIMM, PHOTOS = (("timm:*", "any"),), ("demo",)


def first_start(backend: Backend, expected: WorkerOffer = NOTHING) -> Ports:
    """Return the ports of a service whose workers have never registered, with what they are expected to offer."""
    ports = backend.ports
    return replace(ports, models=replace(ports.models, workers=lambda: Workers(backend.store.offers(), expected)))


def test_an_analysis_before_the_first_worker_is_queued_and_says_what_is_missing(backend: Backend) -> None:
    ports = first_start(backend)

    analysis = submit(ports, AnalysisRequest("demo", "timm:resnet18"))

    assert analysis.state is State.QUEUED
    assert analysis.progress.waiting_reason == "No worker has been started yet. Start one with 'errata work'."
    assert backend.sent, "its shards are queued"
    backend.store.heartbeat("w1", WorkerOffer(TIMM, ()))
    reason = queries.get(ports.stores, analysis.id).progress.waiting_reason
    assert reason == "No running worker has the images of demo. Set ERRATA_IMAGES on a worker."
    backend.store.heartbeat("w2", WorkerOffer(TIMM, PHOTOS))
    assert queries.get(ports.stores, analysis.id).progress.waiting_reason == ""


def test_a_source_that_the_settings_do_not_allow_is_refused_before_the_first_worker(backend: Backend) -> None:
    policy = ModelPolicy(sources=("demo:*",))
    ports = first_start(backend)
    ports = replace(ports, models=replace(ports.models, pin=lambda model: pin_allowed_model(policy, model)))

    with pytest.raises(InvalidModelId, match="ERRATA_MODEL_SOURCES"):
        submit(ports, AnalysisRequest("demo", "timm:resnet18"))
    assert list(backend.store.snapshots()) == []


def test_before_the_first_worker_only_the_expected_models_are_accepted_if_they_are_declared(backend: Backend) -> None:
    ports = first_start(backend, WorkerOffer(TIMM, ()))

    assert submit(ports, AnalysisRequest("demo", "timm:resnet18")).state is State.QUEUED
    with pytest.raises(ModelNotFound, match=r"No worker offers the model 'onnx:a.onnx'. Expected one of timm:\*"):
        submit(ports, AnalysisRequest("demo", "onnx:a.onnx"))


def test_expected_models_and_images_are_accepted_although_the_last_worker_did_not_offer_them(backend: Backend) -> None:
    ports = first_start(backend, WorkerOffer(TIMM, PHOTOS))
    backend.store.heartbeat("w1", WorkerOffer((("demo:a", "a model"),), ()))
    backend.store.remove_worker("w1")

    analysis = submit(ports, AnalysisRequest("demo", "timm:resnet18"))

    assert analysis.progress.waiting_reason.startswith("No worker is running.")
    with pytest.raises(ModelNotFound, match=r"Expected one of timm:\*, demo:a"):
        submit(ports, AnalysisRequest("demo", "onnx:a.onnx"))


def test_models_and_images_are_checked_once_a_worker_has_registered(backend: Backend) -> None:
    ports = first_start(backend)
    backend.store.heartbeat("w1", WorkerOffer((), ()))
    with pytest.raises(ModelNotFound, match="cannot run models"):
        submit(ports, AnalysisRequest("demo", "timm:resnet18"))

    backend.store.heartbeat("w1", WorkerOffer(((MODEL, "a model"),), ()))
    with pytest.raises(InvalidRequest, match="ERRATA_IMAGES"):
        submit(ports, AnalysisRequest("demo", MODEL))


@pytest.mark.parametrize(
    ("offers", "live_workers", "reason"),
    [
        ([], 0, "No worker has been started yet"),
        ([WorkerOffer(TIMM, PHOTOS)], 0, "No worker is running"),
        ([WorkerOffer(TIMM, PHOTOS)], 1, ""),
        ([WorkerOffer((("timm:resnet18", "one"),), PHOTOS)], 1, ""),
        ([WorkerOffer((("demo:m", "one"),), PHOTOS)], 1, "offers the model 'timm:resnet18'"),
        ([WorkerOffer(TIMM, ("imagenet",))], 1, "the images of demo"),
        ([WorkerOffer(TIMM, ()), WorkerOffer((), PHOTOS)], 2, "both"),
    ],
)
def test_the_reason_names_what_is_missing(offers: list[WorkerOffer], live_workers: int, reason: str) -> None:
    result = waiting_reason(offers, live_workers, SPEC)

    assert (reason in result) if reason else result == ""


@pytest.mark.parametrize(
    ("model", "remedy"),
    [
        ("transformers:org/x", "Install errata-service[transformers] on a worker."),
        ("hf-onnx:org/x", "Install errata-service[onnx,transformers] on a worker."),
        ("wandb:a/b/c:v1", "Set ERRATA_REGISTRIES on a worker, with a registry of the kind wandb."),
        ("onnx:a.onnx", "Install errata-service[onnx] and set ERRATA_MODELS on a worker."),
    ],
)
def test_a_job_waits_for_a_worker_with_its_packages_and_says_what_to_install(model: str, remedy: str) -> None:
    spec = replace(SPEC, model=model)
    without = WorkerOffer((("timm:*", "any"), ("hf-hub:*", "any")), PHOTOS)
    capable = WorkerOffer(((f"{model.partition(':')[0]}:*", "any"),), PHOTOS)

    assert not without.can_run(spec)
    assert waiting_reason([without], 1, spec) == f"No running worker offers the model {model!r}. {remedy}"
    assert waiting_reason([without, capable], 2, spec) == ""


def test_hf_is_accepted_if_a_worker_offers_a_source_of_the_hub(backend: Backend) -> None:
    pinned = parse_model_id("transformers:org/x@" + "a" * 40)
    ports = first_start(backend)
    ports = replace(ports, models=replace(ports.models, pin=lambda model: pinned))
    backend.store.heartbeat("w1", WorkerOffer((("hf-hub:*", "any"),), PHOTOS))

    analysis = submit(ports, AnalysisRequest("demo", "hf:org/x"))

    reason = queries.get(ports.stores, analysis.id).progress.waiting_reason
    assert reason.startswith(f"No running worker offers the model '{pinned}'")
    assert reason.endswith("Install errata-service[transformers] on a worker.")
    backend.store.heartbeat("w2", WorkerOffer((("transformers:*", "any"),), PHOTOS))
    assert queries.get(ports.stores, analysis.id).progress.waiting_reason == ""


def test_an_unknown_source_says_what_to_install(backend: Backend) -> None:
    with pytest.raises(ModelNotFound, match=r"Install errata-service\[transformers\] on a worker"):
        submit(backend.ports, AnalysisRequest("demo", "transformers:org/x"))
