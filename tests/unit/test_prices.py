"""The table of prices, and the arithmetic with it."""

from __future__ import annotations

import pytest
from ansible_collections.nexus_learn.aws.plugins.module_utils import prices, validation
from hypothesis import given, settings
from hypothesis import strategies as st


def tasks(count=1, cpu=1024, memory=2048, **fields):
    return {
        "kind": "tasks",
        "resource": "service w",
        "service": "c/w",
        "count": count,
        "cpu": cpu,
        "memory": memory,
        "architecture": "X86_64",
        "ephemeral_storage_gib": 20,
        "capacity_providers": {"FARGATE": {"weight": 1, "base": 0}},
        "launch_type": None,
        "public_ip": False,
        **fields,
    }


def target(least, most, policies=2):
    item = {"kind": "scalable_target", "resource": "scalable target service/c/w", "service": "c/w"}
    return {**item, "min": least, "max": most, "policies": policies}


def redis(node_type="cache.t3.micro", nodes=1, engine="redis", backups=0):
    item = {"kind": "redis", "resource": "replication group r", "engine": engine}
    return {**item, "node_type": node_type, "nodes": nodes, "backups": backups}


def total(*items, region="us-east-1"):
    return tuple(round(value, 2) for value in prices.estimate(items, region)["total"])


# the guide's cost section, for what it counts: its own ranges, with the parts in which it is off
@pytest.mark.parametrize(
    ("items", "cost", "of_guide"),
    [
        ([redis("cache.t3.micro"), tasks(2, 512, 1024)], 48.45, (45, 60)),
        ([tasks(2, 512, 1024)], 36.04, (30, 40)),
        ([redis("cache.t3.micro")], 12.41, None),  # 15 to 20
        ([redis("cache.t3.medium", 2), tasks(3, 2048, 4096)], 315.52, (270, 350)),
        ([redis("cache.t3.medium", 2)], 99.28, None),  # 120 to 150
        ([tasks(3, 2048, 4096)], 216.24, None),  # 150 to 200
    ],
)
def test_the_estimates_of_the_guide(items, cost, of_guide):
    assert total(*items) == (cost, cost, cost)
    if of_guide:
        assert of_guide[0] <= cost <= of_guide[1]
    assert f"{cost:.2f}" in prices.__doc__ or cost == 36.04


def test_every_node_type_that_the_inventory_may_name_has_a_price_with_both_engines():
    for node_type in validation.NODE_TYPES:
        redis_cost, valkey_cost = total(redis(node_type)), total(redis(node_type, engine="valkey"))
        assert redis_cost[0] * 0.8 == pytest.approx(valkey_cost[0], abs=0.01)


def test_prices_of_a_family_grow_with_size_and_memory():
    nodes = {**prices.REDIS_NODES, **prices.VALKEY_NODES}
    for family in {name.rsplit(".", 1)[0] for name in nodes}:
        sizes = [nodes[name] for name in nodes if name.startswith(family + ".")]
        assert sizes == sorted(sizes)
        assert len({memory for _, memory in sizes}) == len(sizes)


def test_other_regions_name_no_price_that_us_east_1_lacks():
    assert all(set(table) <= set(prices.PRICES["us-east-1"]) for table in prices.PRICES.values())


def test_the_scaler_makes_the_range_and_its_alarms_cost():
    low, typical, high = total(tasks(2), target(1, 5))
    one = total(tasks(1))[0]
    alarms = 4 * 0.10
    assert (low, typical, high) == pytest.approx((one + alarms, 2 * one + alarms, 5 * one + alarms), abs=0.02)


def test_spot_arm_storage_and_public_addresses():
    assert total(tasks(1, 1024, 2048)) == (36.04,) * 3
    assert total(tasks(1, 1024, 4096, architecture="ARM64")) == (34.03,) * 3
    assert total(tasks(1, capacity_providers={"FARGATE_SPOT": {"weight": 1, "base": 0}})) == (11.48,) * 3
    assert total(tasks(1, ephemeral_storage_gib=70)) == (40.09,) * 3
    assert total(tasks(1, public_ip=True)) == (39.69,) * 3


def test_a_base_is_on_demand_and_the_rest_goes_by_weight():
    strategy = {"FARGATE": {"base": 2, "weight": 1}, "FARGATE_SPOT": {"base": 0, "weight": 3}}
    assert prices.spot_share(strategy, 2) == 0
    assert prices.spot_share(strategy, 10) == pytest.approx(0.6)
    assert prices.spot_share({}, 3) == 0


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["FARGATE", "FARGATE_SPOT"]),
        st.fixed_dictionaries({"base": st.integers(0, 5), "weight": st.integers(0, 5)}),
    ),
    st.integers(0, 20),
)
def test_a_share_is_a_share(strategy, count):
    assert 0 <= prices.spot_share(strategy, count) <= 1


items = st.one_of(
    st.builds(tasks, st.integers(0, 9), st.sampled_from([256, 1024]), st.sampled_from([512, 4096])),
    st.builds(redis, st.sampled_from(validation.NODE_TYPES), st.integers(1, 6), st.just("redis"), st.integers(0, 35)),
    st.builds(lambda zones: {"kind": "vpc_endpoint", "resource": "e", "zones": zones}, st.integers(1, 3)),
    st.builds(
        lambda zones, public: {"kind": "load_balancer", "resource": "l", "zones": zones, "public": public},
        st.integers(2, 3),
        st.booleans(),
    ),
    st.builds(
        lambda days: {"kind": "logs", "resource": "g", "retention_in_days": days},
        st.sampled_from([None, 1, 30, 3653]),
    ),
    st.sampled_from([{"kind": "nat_gateway", "resource": "n"}, {"kind": "secret", "resource": "s"}]),
    st.builds(lambda count: {"kind": "alarm", "resource": "a", "count": count}, st.integers(1, 9)),
    st.just({"kind": "dashboard", "resource": "d"}),
)


@settings(deadline=None)
@given(st.lists(items, max_size=8), st.sampled_from([*prices.PRICES, "sa-east-1"]))
def test_sums_are_sums_and_ranges_are_ranges(several, region):
    whole = prices.estimate(several, region)
    for low, typical, high in [whole["total"], *(line["cost"] for line in whole["lines"])]:
        assert 0 <= low <= typical <= high
    parts = prices.plus(prices.NOTHING, *(prices.estimate([item], region)["total"] for item in several))
    assert whole["total"] == pytest.approx(parts)
    assert whole["unpriced"] == []
    if region == "us-east-1":
        assert not whole["borrowed"]
    elif several:
        assert whole["borrowed"]


@pytest.mark.parametrize(
    ("item", "sentence"),
    [
        (tasks(cpu=None, memory=None), "service w: tasks whose size this run did not read"),
        (tasks(launch_type="EC2"), "service w: tasks that do not run on Fargate"),
        (tasks(capacity_providers={"mine": {"weight": 1, "base": 0}}), "service w: tasks that do not run on Fargate"),
        (redis("cache.x9.huge"), "replication group r: cache.x9.huge with redis"),
        (redis("cache.m8g.large"), "replication group r: cache.m8g.large with redis"),
        (target(1, 5), "service w: its 1 to 5 tasks, which this run did not read"),
        (
            {"kind": "container_insights", "resource": "cluster c", "mode": "enhanced"},
            "cluster c: Container Insights (enhanced), which is billed by the number of metrics",
        ),
        (
            {"kind": "ecr_repository", "resource": "ECR repository r"},
            "ECR repository r: its images, which are billed by the GB",
        ),
    ],
)
def test_what_has_no_price_is_named_and_never_guessed(item, sentence):
    estimate = prices.estimate([item], "us-east-1")
    assert estimate["unpriced"] == [sentence]
    # the alarms of a scaler are priced all the same
    assert estimate["total"] == prices.flat(0.4 if item["kind"] == "scalable_target" else 0)


def test_what_is_assumed_can_be_said():
    nat = {"kind": "nat_gateway", "resource": "n"}
    usual = prices.estimate([nat], "us-east-1")["total"]
    said = prices.estimate([nat], "us-east-1", {"nat_gb": [0, 0, 1000]})["total"]
    assert said[0] < usual[0]
    assert said[2] == pytest.approx(said[0] + 45)
