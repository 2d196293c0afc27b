"""The IP addresses that the service may connect to, as protection against server-side request forgery."""

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from errata.errors import InvalidSetting

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_REFUSED = tuple(
    ipaddress.ip_network(network)
    for network in (
        "::/96",  # IPv4-compatible, RFC 4291
        "::ffff:0:0:0/96",  # IPv4-translated, RFC 2765
        "64:ff9b::/96",  # NAT64, RFC 6052
        "64:ff9b:1::/48",  # local-use NAT64, RFC 8215
        "2001::/32",  # Teredo, RFC 4380
        "2002::/16",  # 6to4, RFC 3056
        "fec0::/10",  # site-local, RFC 3879
    )
)
_METADATA = tuple(
    map(
        ipaddress.ip_address,
        (
            "169.254.169.254",  # AWS, Azure, Google Cloud, OpenStack and others
            "169.254.170.2",  # AWS ECS, credentials of tasks
            "169.254.170.23",  # AWS EKS, credentials of pods
            "fd00:ec2::23",
            "fd00:ec2::254",  # AWS, IPv6
            "fd20:ce::254",  # Google Cloud, IPv6
            "100.100.100.200",  # Alibaba Cloud
            "192.0.0.192",  # Oracle Cloud
            "168.63.129.16",  # Azure's wire server, in public address space
        ),
    )
)


def is_http_url(url: str) -> bool:
    """Return whether a text is a URL with the scheme http or https, a host, and a valid port."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def parse_networks(registry: str, networks: Sequence[str]) -> tuple[Network, ...]:
    """Return the networks in the setting of a registry; raise InvalidSetting for one that is not in CIDR notation."""
    try:
        return tuple(map(ipaddress.ip_network, networks))
    except ValueError as error:
        field = "ERRATA_REGISTRIES"
        raise InvalidSetting(
            f"{field}: {registry}.networks: {error}. Use networks in CIDR notation.", field=field
        ) from error


def is_allowed(address: str, networks: Sequence[Network] = ()) -> bool:
    """Return whether an address is public or in a network that the operator allows.

    An IPv4-mapped IPv6 address counts as its IPv4 address. Other IPv6 addresses that embed an IPv4 address are not
    public, because a gateway can translate them to an internal host. The address of a cloud provider's metadata service
    is allowed only by a network that contains no other address, so that a wide network does not allow it by accident.
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    ip = getattr(ip, "ipv4_mapped", None) or ip
    if ip in _METADATA:
        networks = [network for network in networks if network.num_addresses == 1]
    if any(ip in network for network in networks if network.version == ip.version):
        return True
    if ip in _METADATA or ip.is_multicast:
        return False
    if any(ip in network for network in _REFUSED if network.version == ip.version):
        return False
    return ip.is_global
