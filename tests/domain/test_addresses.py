"""From which address somebody asks, through proxies that are believed and others."""

import pytest

from jhub_usage.domain.addresses import networks, told_by_proxies
from jhub_usage.domain.errors import BadInput

INGRESS = ("10.0.0.0/8", "fd00::/8")


@pytest.mark.parametrize(
    ("story", "forwarded", "trusted", "address"),
    [
        ("the Hub's proxy says whom it was asked by", "192.0.2.7", (), "192.0.2.7"),
        ("what a person wrote before that is not believed", "6.6.6.6, 192.0.2.7", (), "192.0.2.7"),
        ("an ingress that nobody named is the one who asks", "192.0.2.7,10.0.0.3", (), "10.0.0.3"),
        ("one that is named is believed", "192.0.2.7, 10.0.0.3", INGRESS, "192.0.2.7"),
        ("and not what was told to it", "6.6.6.6, 192.0.2.7, 10.0.0.3", INGRESS, "192.0.2.7"),
        ("two of them", "192.0.2.7, fd00::1, 10.0.0.3", INGRESS, "192.0.2.7"),
        ("one of them asks by itself", "10.0.0.9, 10.0.0.3", INGRESS, "10.0.0.9"),
        ("words are no address", "192.0.2.7, me, 10.0.0.3", INGRESS, "10.0.0.3"),
        ("no proxy at all", "", INGRESS, ""),
    ],
)
def test_who_asks(story, forwarded, trusted, address):
    assert told_by_proxies(forwarded, trusted) == address, story


def test_a_network_that_is_none():
    with pytest.raises(BadInput, match="trusted_proxies holds addresses and networks"):
        networks(("10.0.0.0/8", "ingress"))
