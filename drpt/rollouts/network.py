"""Addresses that rollouts may be sent to: this machine and private networks. Used by the client and the server launcher."""

import ipaddress
import socket

_PRIVATE = tuple(
    ipaddress.ip_network(network)
    for network in ("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)


def is_loopback(address: str) -> bool:
    """Whether a numeric address is a loopback address."""
    return _parse(address).is_loopback


def is_private(address: str) -> bool:
    """Whether a numeric address is loopback or private (RFC 1918, RFC 4193); link-local and unspecified ones are not."""
    parsed = _parse(address)
    return any(parsed.version == network.version and parsed in network for network in _PRIVATE)


def resolve(host: str) -> list[str]:
    """Resolve a host.

    Args:
        host: Host name or numeric address.

    Returns:
        Numeric addresses in the resolver's order; at least one.

    Raises:
        OSError: The name cannot be resolved.
    """
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def _parse(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped
    return parsed
