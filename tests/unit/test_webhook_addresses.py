"""Which addresses a notice may be sent to: the whole table of those that are not public, and its edges."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

import pytest

from orchestrator.webhooks.addresses import is_public

#: Every block of IANA's special-purpose registries, and the clouds' own addresses, written down a second time.
NOT_PUBLIC_V4 = (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16", "172.16.0.0/12",
    "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16",
    "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
)  # fmt: skip
NOT_PUBLIC_V6 = (
    "::/128", "::1/128", "::/96", "::ffff:0:0:0/96", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64", "2001::/32",
    "2001:1::1/128", "2001:1::2/128", "2001:1::3/128", "2001:2::/48", "2001:3::/32", "2001:4:112::/48", "2001:10::/28",
    "2001:20::/28", "2001:30::/28", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20", "5f00::/16",
    "4000::/2", "8000::/1", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8", "fd00:ec2::254/128", "fd20:ce::254/128",
)  # fmt: skip
CLOUDS = ("169.254.169.254", "169.254.170.2", "192.0.0.192", "168.63.129.16", "100.100.100.200", "169.254.0.23")
#: The neighbours of blocks that lie beside public addresses.
PUBLIC_V4 = (
    "1.0.0.0", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0",
    "168.63.129.15", "168.63.129.17", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0",
    "191.255.255.255", "192.0.1.0", "192.0.1.255", "192.0.3.0", "192.31.195.255", "192.31.197.0", "192.52.192.255",
    "192.52.194.0", "192.88.98.255", "192.88.100.0", "192.167.255.255", "192.169.0.0", "192.175.47.255", "192.175.49.0",
    "198.17.255.255", "198.20.0.0", "198.51.99.255", "198.51.101.0", "203.0.112.255", "203.0.114.0", "223.255.255.255",
    "8.8.8.8", "93.184.215.14",
)  # fmt: skip
PUBLIC_V6 = (
    "2000::", "2001:200::", "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::", "2003::",
    "2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2620:4f:7fff:ffff::1", "2620:4f:8001::", "3ffe:ffff::1", "3fff:1000::",
    "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "2a00:1450:4001:82f::200e",
)  # fmt: skip


def in_ipv6(address: IPv4Address, prefix: str) -> IPv6Address:
    """*address* in the low 32 bits of *prefix*."""
    return IPv6Address(int(IPv6Network(prefix).network_address) | int(address))


@pytest.mark.parametrize("block", NOT_PUBLIC_V4 + NOT_PUBLIC_V6)
def test_no_address_of_a_special_block_is_public(block: str) -> None:
    """L6. The first, the last and one in the middle, on every Python alike."""
    network = ip_network(block)
    middle = network[network.num_addresses // 2]
    assert [str(a) for a in (network[0], middle, network[-1]) if is_public(str(a))] == []


@pytest.mark.parametrize("block", NOT_PUBLIC_V4)
@pytest.mark.parametrize("prefix", ["::ffff:0:0/96", "64:ff9b::/96", "::/96", "::ffff:0:0:0/96"])
def test_a_special_address_in_ipv6_clothes_is_not_public(block: str, prefix: str) -> None:
    """L6. Mapped, through NAT64, compatible, translated."""
    network = ip_network(block)
    ends = [in_ipv6(IPv4Address(int(end)), prefix) for end in (network[0], network[-1])]
    assert [str(end) for end in ends if is_public(str(end))] == []


@pytest.mark.parametrize("address", CLOUDS)
def test_no_cloud_s_metadata_service_can_be_asked(address: str) -> None:
    """L6. In any form; through 6to4 and Teredo nothing is asked at all."""
    inner = int(ip_address(address))
    to4 = IPv6Address((0x2002 << 112) | (inner << 80) | 1)
    teredo = IPv6Address((0x20010000 << 96) | (0x08080808 << 64) | (inner ^ 0xFFFFFFFF))
    forms = [address, f"::ffff:{address}", f"64:ff9b::{address}", str(to4), str(teredo), f"64:ff9b:1::{address}"]
    assert [form for form in forms if is_public(form)] == []


def test_through_6to4_and_teredo_no_public_address_is_asked_either() -> None:
    """L6. Their relays are somebody else's machine."""
    assert not is_public("2002:808:808::1")
    assert not is_public("2001:0:808:808::f7f7:f7f7")


@pytest.mark.parametrize("address", PUBLIC_V4 + PUBLIC_V6)
def test_the_neighbours_of_special_blocks_are_public(address: str) -> None:
    """L6. The table takes away no address too many."""
    assert is_public(address)


@pytest.mark.parametrize("address", PUBLIC_V4)
def test_a_public_address_in_ipv6_clothes_is_public(address: str) -> None:
    """Mapped, and through a translator."""
    assert is_public(f"::ffff:{address}")
    assert is_public(f"64:ff9b::{address}")


@pytest.mark.parametrize("text", ["", "localhost", "fe80::1%eth0", "::1%lo", "127.1", "0x7f.0.0.1", "1.2.3.4.5", "::g"])
def test_what_is_no_public_address_at_all_is_not_asked(text: str) -> None:
    """Names, short forms and zones: only an address in full is one."""
    assert not is_public(text)
