"""What a queued analysis waits for: a worker, a model, or the images of a data set."""

from collections.abc import Sequence

from service.jobs.transitions import JobSpec, WorkerOffer


def waiting_reason(offers: Sequence[WorkerOffer], live_workers: int, spec: JobSpec) -> str:
    """Return what is missing before a job can run; empty if a live worker can run it.

    Args:
        offers: The offers of the live workers, or the latest offer if no worker is live.
        live_workers: The number of live workers.
        spec: The job.
    """
    if not live_workers:
        since = "is running" if offers else "has been started yet"
        return f"No worker {since}. Start one with 'errata work'."
    if any(offer.can_run(spec) for offer in offers):
        return ""
    if not any(offer.has_model(spec.model) for offer in offers):
        return f"No running worker offers the model {spec.model!r:.80}. {install_remedy(spec.model)}"
    if not any(spec.dataset in offer.datasets for offer in offers):
        return f"No running worker has the images of {spec.dataset}. Set ERRATA_IMAGES on a worker."
    return f"No running worker has both the model {spec.model!r:.80} and the images of {spec.dataset}."


def install_remedy(model: str) -> str:
    """Return a sentence that says how to enable a worker to load models with the prefix of `model`, such as `onnx:`."""
    source = model.partition(":")[0]
    return _REMEDIES.get(source, "Install errata-service[worker] on a worker.")


_REMEDIES = {
    "transformers": "Install errata-service[transformers] on a worker.",
    "hf-onnx": "Install errata-service[onnx,transformers] on a worker.",
    "demo": "Install errata-service[demo] on a worker.",
    "file": "Set ERRATA_MODELS on a worker.",
    "onnx": "Install errata-service[onnx] and set ERRATA_MODELS on a worker.",
    "mlflow": "Set ERRATA_REGISTRIES on a worker, with a registry of the kind mlflow.",
    "wandb": "Set ERRATA_REGISTRIES on a worker, with a registry of the kind wandb.",
}
