"""Pairs of networks before and after: what a check says is what a run does."""

from itertools import count

from generated import PAIRS, pair
from hypothesis import event, given
from hypothesis import strategies as st

OWNER = {"Project": "nexus-learn", "Environment": "test"}
TAGS = st.dictionaries(st.sampled_from(["Team", "Cost"]), st.sampled_from(["a", "b", ""])).map(
    lambda more: OWNER | more
)
POLICIES = st.sampled_from(
    [
        {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": act, "Resource": "*"}]}
        for act in ("s3:*", ["s3:GetObject"], ["s3:GetObject", "s3:PutObject"])
    ]
)
# the one that is divided into sixteen, or the last of each zone moved aside
PLACES = st.sampled_from([0, 0, 0, 1])
DESTINATIONS = {
    "cloud-watch-logs": "arn:aws:logs:us-east-1:123456789012:log-group:/pairs",
    "kinesis-data-firehose": "arn:aws:firehose:us-east-1:123456789012:deliverystream/pairs",
}


@st.composite
def flow_log(draw, kind):
    result = {
        "log_destination_type": kind,
        "log_destination": DESTINATIONS[kind] + draw(st.sampled_from(["", "", "-other"])),
        "traffic_type": draw(st.sampled_from(["ALL", "REJECT"])),
        "max_aggregation_interval": draw(st.sampled_from([600, 60])),
    }
    if kind == "cloud-watch-logs":
        result["deliver_logs_permission_arn"] = "arn:aws:iam::123456789012:role/pairs"
    if draw(st.booleans()):
        result["log_format"] = draw(st.sampled_from(["${srcaddr} ${action}", "${srcaddr} ${dstaddr}"]))
    return result


@st.composite
def arguments(draw):
    """A network that AWS takes."""
    # mostly what can follow one another: a zone that is taken away, or moved, is refused
    zones = draw(st.sampled_from([None, None, None, ["a", "b"], ["a", "b"], ["a", "b", "c"], ["b", "a"]]))
    endpoints = draw(st.lists(st.sampled_from(["s3", "dynamodb", "logs", "ecr.api"]), unique=True, max_size=3))
    support = draw(st.sampled_from([True, True, True, False]))
    hostnames = support and draw(st.sampled_from([True, True, False]))
    if not hostnames:  # interface endpoints need them
        endpoints = [service for service in endpoints if service in ("s3", "dynamodb")]
    result = {
        "cidr_block": draw(st.sampled_from(["10.0.0.0/16"] * 19 + ["10.1.0.0/16"])),
        "enable_dns_support": support,
        "enable_dns_hostnames": hostnames,
        "map_public_ip_on_launch": draw(st.booleans()),
        "nat_gateway": draw(st.sampled_from(["none", "single", "per_zone"])),
        "vpc_endpoints": endpoints,
        "vpc_endpoint_policies": {
            service: draw(POLICIES) for service in endpoints if service == "s3" and draw(st.booleans())
        },
        "tags": draw(st.one_of(TAGS, TAGS, TAGS, st.none())),
        "state": draw(st.sampled_from(["present"] * 6 + ["absent"])),
    }
    if zones:
        result["availability_zones"] = [f"us-east-1{zone}" for zone in zones]
    if zones and draw(st.sampled_from([False, False, True])):
        network = result["cidr_block"].removesuffix("0.0/16")
        for number, tier in enumerate(("public", "private", "database")):
            if draw(st.booleans()):
                cidrs = [f"{network}{16 * (4 * number + index)}.0/20" for index, _ in enumerate(zones)]
                cidrs[-1] = f"{network}{208 + 16 * number}.0/20" if draw(PLACES) and number < 2 else cidrs[-1]
                result[f"{tier}_subnets"] = cidrs
    if draw(st.booleans()):
        kinds = draw(st.lists(st.sampled_from(sorted(DESTINATIONS)), unique=True, max_size=2))
        result["flow_logs"] = [draw(flow_log(kind)) for kind in kinds]
    return result


EXAMPLE = count()


@PAIRS
@given(before=arguments(), after=arguments())
def test_pairs(module, calls, before, after):
    name = f"p{next(EXAMPLE)}"
    event(pair(module, calls, "vpc", {**before, "name": name}, {**after, "name": name}))
    module("vpc", {"name": name, "state": "absent"})
