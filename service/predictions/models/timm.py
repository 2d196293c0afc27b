"""timm:NAME[.TAG]: a pretrained model of timm, its weights from timm's hub or the local cache."""

import timm

from service.errors import ModelNotFound, Unavailable
from service.predictions.models.loaded import LoadedModel, ready


def load(rest: str) -> LoadedModel:
    """Return timm's pretrained model; raise ModelNotFound if there is none, Unavailable if it can't be fetched."""
    if not timm.is_model(rest):
        near = timm.list_models(f"{rest.split('.')[0][:12]}*", pretrained=True)[:5]
        raise ModelNotFound(
            f"expected a model of timm {timm.__version__}, got {rest!r}; near it: {', '.join(near) or 'none'}"
        )
    if not timm.is_model_pretrained(rest):
        raise ModelNotFound(f"timm {timm.__version__} has no pretrained weights for {rest!r}")
    try:
        module = timm.create_model(rest, pretrained=True)
    except (OSError, RuntimeError) as error:
        raise Unavailable(f"the weights of timm:{rest} could not be fetched: {error!s:.200}", retry_after=30) from error
    return ready(f"timm:{rest}", rest, module)
