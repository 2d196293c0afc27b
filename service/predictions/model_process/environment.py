"""The environment variables that the process that runs models gets: none of the service's own, no secret of others."""

from collections.abc import Mapping

from service.child_process import ENVIRONMENT

NAMES = ENVIRONMENT | frozenset({
    "ALL_PROXY", "CURL_CA_BUNDLE", "GLIBC_TUNABLES", "HTTPS_PROXY", "HTTP_PROXY", "LD_PRELOAD", "LOGNAME", "NO_PROXY",
    "PYTHONUTF8", "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR", "SSL_CERT_FILE", "TZ", "USER", "XDG_CACHE_HOME",
})  # fmt: skip
PREFIXES = (
    "CUDA_", "CUDNN_", "HF_", "HUGGINGFACE_", "HUGGING_FACE_", "KMP_", "LC_", "MALLOC_", "MKL_", "NCCL_", "NVIDIA_",
    "OMP_", "PYTORCH_", "TORCH_",
)  # fmt: skip
REGISTRY_PREFIXES = ("AWS_", "AZURE_", "GOOGLE_", "MLFLOW_")  # for the artifact stores of registries


def model_environment(environment: Mapping[str, str], with_registries: bool) -> dict[str, str]:
    """Return the variables for the process; those of artifact stores only where there is a registry of models."""
    prefixes = PREFIXES + (REGISTRY_PREFIXES if with_registries else ())
    return {
        name: value
        for name, value in environment.items()
        if name.upper() in NAMES or name.startswith(prefixes)  # proxies are read in both cases
    }
