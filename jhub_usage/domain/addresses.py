"""From which address somebody asks: what the proxies on the way say, as far as they are believed.

The Hub's proxy adds whom it was asked by at the end of ``X-Forwarded-For``; what stands before
that was written by others. ``X-Real-Ip`` can be sent by anybody and is not looked at. Sees no
request and no name: the Hub says who it is.
"""

import functools
import ipaddress
from collections.abc import Iterable

from .errors import BadInput


@functools.lru_cache(maxsize=8)
def networks(trusted: tuple[str, ...]) -> tuple:
    """The setting ``trusted_proxies`` as networks, or BadInput."""
    try:
        return tuple(ipaddress.ip_network(text, strict=False) for text in trusted)
    except ValueError as error:
        raise BadInput(
            f"c.JHubUsage.trusted_proxies holds addresses and networks like 10.0.0.0/8: {error}."
        ) from None


def told_by_proxies(forwarded: str, trusted: Iterable[str] = ()) -> str:
    """The last address in ``X-Forwarded-For`` that is no trusted proxy; empty where none is."""
    believed, found = networks(tuple(trusted)), ""
    for text in reversed(forwarded.split(",")):
        try:
            address = ipaddress.ip_address(text.strip())
        except ValueError:
            break  # no address: nothing before it is believed, either
        found = str(address)
        if not any(address in network for network in believed):
            break
    return found
