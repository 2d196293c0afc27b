"""The environment variables of the process that runs models. They contain no settings of the service."""

from collections.abc import Mapping

from service.child_process import INHERITED_VARIABLES

NAMES = INHERITED_VARIABLES | frozenset({
    "ALL_PROXY", "CURL_CA_BUNDLE", "GLIBC_TUNABLES", "HTTPS_PROXY", "HTTP_PROXY", "LD_PRELOAD", "LOGNAME", "NO_PROXY",
    "PYTHONUTF8", "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR", "SSL_CERT_FILE", "TZ", "USER", "XDG_CACHE_HOME",
})  # fmt: skip
PREFIXES = (
    "CUDA_", "CUDNN_", "HF_", "HUGGINGFACE_", "HUGGING_FACE_", "KMP_", "LC_", "MALLOC_", "MKL_", "NCCL_", "NVIDIA_",
    "OMP_", "PYTORCH_", "TORCH_",
)  # fmt: skip


def model_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Select the worker's environment variables that the process receives."""
    return {
        name: value
        for name, value in environment.items()
        if name.upper() in NAMES or name.startswith(PREFIXES)  # libraries read proxy variables in lower or upper case
    }
