import pytest

from drpt.rollouts.network import is_loopback, is_private, resolve


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "127.9.9.9", "::1", "10.1.2.3", "172.31.0.1", "192.168.1.1", "fd00::1", "::ffff:10.0.0.1"]
)
def test_own_and_private_addresses_are_private(address):
    assert is_private(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "172.32.0.1", "0.0.0.0", "169.254.169.254", "fe80::1", "2001:4860:4860::8888", "::ffff:8.8.8.8"]
)
def test_public_link_local_and_unspecified_addresses_are_not(address):
    assert not is_private(address)


def test_loopback_is_this_machine_alone():
    assert is_loopback("127.0.0.1")
    assert is_loopback("::1")
    assert not is_loopback("10.0.0.1")
    assert not is_loopback("0.0.0.0")


def test_numeric_hosts_resolve_to_themselves():
    assert resolve("10.0.0.7") == ["10.0.0.7"]
