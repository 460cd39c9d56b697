import ipaddress
import itertools

import pytest
from ansible_collections.nexus_learn.aws.plugins.module_utils import vpc
from ansible_collections.nexus_learn.aws.plugins.module_utils.engine import Refused
from hypothesis import given
from hypothesis import strategies as st

REGION = "us-east-1"
BLOCKS = st.builds(
    lambda address, prefix: str(ipaddress.ip_network((address, prefix), strict=False)),
    st.integers(0, 2**32 - 1),
    st.integers(16, 24),
)


def options(**given_options):
    return {
        "name": "t",
        "cidr_block": "10.0.0.0/16",
        "public_subnets": None,
        "private_subnets": None,
        "database_subnets": None,
        "enable_dns_support": True,
        "enable_dns_hostnames": True,
        "nat_gateway": "none",
        "vpc_endpoints": [],
        "vpc_endpoint_policies": {},
        "flow_logs": None,
        "map_public_ip_on_launch": True,
        "tags": None,
        **given_options,
    }


def zones(count):
    return [f"{REGION}{letter}" for letter in "abcdef"[:count]]


@given(BLOCKS, st.integers(1, 4))
def test_carved_subnets_lie_apart_inside_the_vpc(block, count):
    cidrs = [
        ipaddress.ip_network(cidr)
        for tier in vpc.subnet_cidrs(options(cidr_block=block), zones(count)).values()
        for cidr in tier
    ]
    assert len(cidrs) == 3 * count
    assert all(cidr.subnet_of(ipaddress.ip_network(block)) for cidr in cidrs)
    assert not any(one.overlaps(other) for one, other in itertools.combinations(cidrs, 2))


@given(BLOCKS, st.integers(1, 3))
def test_another_zone_moves_nothing(block, count):
    before, after = (vpc.carve(block, number) for number in (count, count + 1))
    assert all(after[tier][:count] == before[tier] for tier in vpc.TIERS)


def test_a_16_gives_20s():
    assert vpc.carve("10.0.0.0/16", 2) == {
        "public": ["10.0.0.0/20", "10.0.16.0/20"],
        "private": ["10.0.64.0/20", "10.0.80.0/20"],
        "database": ["10.0.128.0/20", "10.0.144.0/20"],
    }


@pytest.mark.parametrize(
    ("given_options", "count", "words"),
    [
        ({"cidr_block": "10.0.0.1/16"}, 2, "cidr_block is 10.0.0.1/16"),
        ({"cidr_block": "10.0.0.0/8"}, 2, "from /16 to /28"),
        ({"cidr_block": "fd00::/56"}, 2, "from /16 to /28"),
        ({"cidr_block": "10.0.0.0/25"}, 2, "too small"),
        ({}, 5, "more than four availability_zones"),
        ({"public_subnets": ["10.0.0.0/24"]}, 2, "public_subnets has 1 CIDRs"),
        ({"private_subnets": ["10.1.0.0/24", "10.0.0.0/24"]}, 2, "does not lie in cidr_block"),
        ({"private_subnets": ["10.0.255.0/24", "x"]}, 2, "private_subnets holds x"),
        ({"database_subnets": ["10.0.0.0/24", "10.0.255.0/24"]}, 2, "overlaps 10.0.0.0/20 of public_subnets"),
    ],
)
def test_what_aws_would_not_take(given_options, count, words):
    with pytest.raises(Refused, match=words):
        vpc.subnet_cidrs(options(**given_options), zones(count))


@given(
    st.sampled_from(["none", "single", "per_zone"]),
    st.lists(st.sampled_from(["s3", "dynamodb", "logs", "ecr.api"])),
    st.integers(1, 4),
)
def test_all_that_is_named_is_there(nat_gateway, endpoints, count):
    """Routes, associations, gateways and endpoints name only what the layout holds, too."""
    items = vpc.layout(options(nat_gateway=nat_gateway, vpc_endpoints=endpoints), zones(count), REGION)
    names = {vpc.resource(key) for key in items}
    kinds = {kind: {name for other, name in items if other == kind} for kind, _ in items}
    for (_, name), fields in items.items():
        assert set(fields.get("routes", {}).values()) <= names, name
        assert fields.get("route_table") in {None, *kinds[vpc.ROUTES]}, name
        assert {*fields.get("route_tables", [])} <= kinds[vpc.ROUTES], name
        assert {*fields.get("subnets", [])} <= kinds[vpc.SUBNET], name
        assert fields.get("subnet") in {None, *kinds[vpc.SUBNET]}, name
        assert fields.get("elastic_ip") in {None, *kinds.get(vpc.ADDRESS, [])}, name
    assert items[vpc.ROUTES, "t-database"] == {"routes": {}}, "no way from the database to the internet"
    assert len(kinds.get(vpc.NAT, [])) == {"none": 0, "single": 1, "per_zone": count}[nat_gateway]


def test_interface_endpoints_need_dns():
    with pytest.raises(Refused, match="enable_dns_hostnames"):
        vpc.layout(options(vpc_endpoints=["logs"], enable_dns_hostnames=False), zones(2), REGION)
    vpc.layout(options(vpc_endpoints=["s3"], enable_dns_hostnames=False), zones(2), REGION)
