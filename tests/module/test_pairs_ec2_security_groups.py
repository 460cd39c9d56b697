"""Pairs of security groups before and after: what a check says is what a run does."""

from itertools import count

import pytest
from generated import PAIRS, pair
from hypothesis import event, given
from hypothesis import strategies as st

OWNER = {"Project": "nexus-learn", "Environment": "test"}
TAGS = st.dictionaries(st.sampled_from(["Team", "Cost"]), st.sampled_from(["a", "b", ""])).map(
    lambda more: OWNER | more
)
NAMES = ["a", "b", "c"]
PORTS = st.sampled_from([(443, 443), (6379, 6380), (0, 65535)])
ICMP_TYPES = st.sampled_from([(None, None), (-1, -1), (8, -1), (3, 4)])
CIDR_BLOCKS = st.lists(st.sampled_from(["10.0.0.0/8", "10.1.2.3/8", "192.168.7.0/24", "::/0"]), max_size=2, unique=True)


@st.composite
def rule(draw, peers):
    """A rule that AWS takes; ``peers`` is the option that names other groups."""
    protocol = draw(st.sampled_from(["tcp", "udp", "icmp", "icmpv6", "-1"]))
    ports = (None, None)
    if protocol != "-1":
        ports = draw(ICMP_TYPES if protocol.startswith("icmp") else PORTS)
    result = {
        "protocol": protocol,
        "from_port": ports[0],
        "to_port": ports[1],
        "cidr_blocks": draw(CIDR_BLOCKS),
        peers: draw(st.lists(st.sampled_from(NAMES), max_size=2, unique=True)),
        # numbers of the prefix lists that the test has made
        "prefix_list_ids": draw(st.lists(st.sampled_from([0, 1]), max_size=1)),
        "description": draw(st.sampled_from([None, "x", "y"])),
    }
    if not (result["cidr_blocks"] or result[peers] or result["prefix_list_ids"]):
        result["cidr_blocks"] = ["10.0.0.0/8"]
    return {key: value for key, value in result.items() if value is not None}


@st.composite
def group(draw, name):
    result = {"name": name, "ingress": draw(st.lists(rule("source_security_groups"), max_size=3))}
    if draw(st.booleans()):
        result["description"] = draw(st.sampled_from(["one", "one", "one", "other"]))
    if draw(st.booleans()):
        result["egress"] = draw(st.lists(rule("destination_security_groups"), max_size=2))
    return result


@st.composite
def arguments(draw):
    """All of the groups, in any order, and sometimes one less, together with the rules that name it."""
    names = draw(st.permutations(NAMES))
    groups = [draw(group(name)) for name in names]
    if draw(st.booleans()):
        gone = groups.pop()["name"]
        for one in groups:
            for entry in [*one["ingress"], *one.get("egress", [])]:
                for peers in ("source_security_groups", "destination_security_groups"):
                    if gone in entry.get(peers, []):
                        entry[peers].remove(gone)
                        entry["cidr_blocks"] = entry["cidr_blocks"] or ["10.9.0.0/16"]
    return {
        "security_groups": groups,
        "tags": draw(st.one_of(TAGS, TAGS, TAGS, st.none())),
        "state": draw(st.sampled_from(["present", "present", "present", "absent"])),
    }


@pytest.fixture(scope="module")
def ec2(sandbox):
    return sandbox.client("ec2")


@pytest.fixture(scope="module")
def prefix_lists(ec2):
    lists = [{"PrefixListName": name, "MaxEntries": 1, "AddressFamily": "IPv4"} for name in ("p-one", "p-other")]
    return [ec2.create_managed_prefix_list(**one)["PrefixList"]["PrefixListId"] for one in lists]


EXAMPLE = count()


def placed(arguments, vpc_id, example, prefix_lists):
    """The arguments in a VPC of their own, with names that no other example has."""

    def named(names):
        return [f"p-{example}-{name}" for name in names]

    groups = []
    for one in arguments["security_groups"]:
        made = {**one, "name": f"p-{example}-{one['name']}"}
        for direction in ("ingress", "egress"):
            if direction in one:
                made[direction] = [
                    {
                        **entry,
                        **{key: named(entry[key]) for key in entry if key.endswith("_security_groups")},
                        "prefix_list_ids": [prefix_lists[number] for number in entry["prefix_list_ids"]],
                    }
                    for entry in one[direction]
                ]
        groups.append(made)
    return {**arguments, "vpc_id": vpc_id, "security_groups": groups}


@PAIRS
@given(before=arguments(), after=arguments())
def test_pairs(module, calls, ec2, prefix_lists, before, after):
    example = next(EXAMPLE)
    vpc_id = ec2.create_vpc(CidrBlock="10.7.0.0/16")["Vpc"]["VpcId"]
    before, after = (placed(one, vpc_id, example, prefix_lists) for one in (before, after))
    event(pair(module, calls, "ec2_security_groups", before, after))
