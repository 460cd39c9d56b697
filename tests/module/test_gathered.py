"""state: gathered reports what is deployed: no plan, no prediction, no write."""

import pytest

TAGS = {"Project": "nexus-learn", "Environment": "test", "ManagedBy": "ansible"}
GROUPS = [{"name": "t-gathered", "description": "test", "ingress": []}]


@pytest.fixture
def network(module):
    """A network of two zones, with everything that costs left out."""
    args = {"name": "t-gathered", "nat_gateway": "none", "vpc_endpoints": ["s3"], "tags": TAGS}
    return {"args": args, **module("vpc", {**args, "cidr_block": "10.77.0.0/16"})}


def ids(result):
    return {tier: [subnet["id"] for subnet in subnets] for tier, subnets in result["subnets"].items()}


def test_a_network_is_reported_as_it_is_whatever_is_asked_for_now(module, network, calls):
    calls.clear()
    asked = {**network["args"], "cidr_block": "10.78.0.0/16", "availability_zones": ["us-east-1a", "us-east-1c"]}
    found = module("vpc", {**asked, "state": "gathered"})
    assert found["changes"] == []
    assert found["vpc"]["id"] == network["vpc"]["id"]
    assert found["vpc"]["cidr_block"] == "10.77.0.0/16"
    assert ids(found) == ids(network)
    assert calls.writes == []


def test_a_network_that_is_not_there(module, calls):
    found = module("vpc", {"name": "t-nowhere", "tags": TAGS, "state": "gathered"})
    assert found["vpc"]["id"] is None
    assert ids(found) == {"public": [], "private": [], "database": []}
    assert calls.writes == []


@pytest.mark.parametrize("choice", [{"vpc_id": "vpc-0123456789abcdef0"}, {"vpc_tags": {"Name": "t-nowhere"}}])
def test_a_given_network_that_is_not_there_any_more(module, choice):
    assert module("vpc", {"name": "t-given", "state": "gathered", **choice})["vpc"]["id"] is None


def test_a_given_network(module, network):
    choice = {"vpc_id": network["vpc"]["id"], "state": "gathered", "name": "t-given"}
    assert module("vpc", choice)["vpc"]["id"] == network["vpc"]["id"]
    subnets = {f"{tier}_subnet_ids": found for tier, found in ids(network).items()}
    assert ids(module("vpc", {**choice, **subnets})) == ids(network)


def test_security_groups(module, network, calls):
    args = {"vpc_id": network["vpc"]["id"], "security_groups": GROUPS, "tags": TAGS, "state": "gathered"}
    assert module("ec2_security_groups", args)["security_groups"] == {}
    made = module("ec2_security_groups", {**args, "state": "present"})
    calls.clear()
    changed = [{"name": "t-gathered", "description": "another"}, {"name": "t-gathered-too", "description": "test"}]
    found = module("ec2_security_groups", {**args, "security_groups": changed})
    assert found["security_groups"] == made["security_groups"]
    assert calls.writes == []


def test_a_load_balancer(module, network, calls):
    args = {"name": "t-gathered", "target_group": {"name": "t-gathered"}, "state": "gathered"}
    assert module("elbv2_load_balancer", args)["url"] is None
    made = module(
        "elbv2_load_balancer",
        {
            "name": "t-gathered",
            "scheme": "internet-facing",
            "subnets": ids(network)["public"],
            "target_group": {
                "name": "t-gathered",
                "port": 8000,
                "protocol": "HTTP",
                "target_type": "ip",
                "vpc_id": network["vpc"]["id"],
            },
            "listeners": [{"port": 80, "protocol": "HTTP"}],
        },
    )
    calls.clear()
    found = module("elbv2_load_balancer", args)
    assert found["url"] == made["url"]
    assert found["load_balancer"] == made["load_balancer"]
    assert calls.writes == []


def test_redis(module, network, calls):
    name = "t-gathered"
    secret = {"auth_token_secret": {"name": f"{name}/redis"}}
    args = {"name": name, **secret, "state": "gathered"}
    assert module("elasticache_replication_group", args)["replication_group"]["status"] is None
    made = module(
        "elasticache_replication_group",
        {
            "name": name,
            "node_type": "cache.t3.micro",
            "engine": "redis",
            "engine_version": "7.0",
            "transit_encryption_enabled": True,
            "subnet_group": {"name": name, "subnet_ids": ids(network)["database"]},
            **secret,
        },
    )
    calls.clear()
    # what AWS would refuse when it were asked for it
    found = module("elasticache_replication_group", {**args, "engine_version": "6.2", "node_type": "cache.t3.small"})
    group = found["replication_group"]
    assert group["node_type"] == "cache.t3.micro"
    assert group["primary_endpoint"] == made["replication_group"]["primary_endpoint"]
    assert found["auth_token_secret_arn"] == made["auth_token_secret_arn"]
    assert found["auth_token_secret_version_id"] == made["auth_token_secret_version_id"]
    assert calls.writes == []
