"""Addresses of registries with an API, from the settings."""

from urllib.parse import urlsplit

from errata.errors import InvalidSetting

from service.network_addresses import is_http_url, parse_networks
from service.predictions.registry_http import RegistryAddress
from service.settings import RegistrySettings

DEFAULT_URLS = {"huggingface": "https://huggingface.co", "wandb": "https://api.wandb.ai"}


def make_address(name: str, settings: RegistrySettings) -> RegistryAddress:
    """Return the address of a registry; raise InvalidSetting if its URL or a network is invalid."""
    url = settings.url or DEFAULT_URLS.get(settings.kind, "")
    if not url.startswith(("http://", "https://")):
        raise invalid_setting(name, "url", "the address must begin with http:// or https://.")
    if not is_http_url(url):  # the message does not have the address, because it can contain a password
        raise invalid_setting(name, "url", "invalid address. Expected https://HOST or https://HOST:PORT.")
    if "@" in urlsplit(url).netloc:
        raise invalid_setting(name, "url", "the address has a user name. Remove it, and set `token` instead.")
    token = settings.token.get_secret_value() if settings.token else ""
    networks = tuple(map(str, parse_networks(name, settings.networks)))
    return RegistryAddress(name, url, token, settings.kind, networks)


def invalid_setting(name: str, place: str, problem: str) -> InvalidSetting:
    """Return the error for a setting of a registry."""
    return InvalidSetting(f"ERRATA_REGISTRIES: at {name}.{place}: {problem}", field="ERRATA_REGISTRIES")
