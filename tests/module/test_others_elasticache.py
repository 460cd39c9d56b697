"""What others' modules for ElastiCache get wrong, and what is taken over of others.

Complaints that other tests cover are named in their docstrings.
"""

import pytest
from botocore.client import BaseClient
from elasticache_examples import MODULE, TAGS, Network, listed

THEIRS = {"Project": "nexus-learn", "Environment": "prod"}


@pytest.fixture(scope="module")
def network(sandbox):
    return Network(sandbox, "t-others")


@pytest.fixture
def name(network):
    return network.name()


@pytest.fixture
def sent(monkeypatch):
    """Operation and arguments of every write from here on."""
    made, original = [], BaseClient._make_api_call

    def record(self, operation, arguments):
        if not operation.startswith(("Describe", "List", "Get")):
            made.append((operation, arguments))
        return original(self, operation, arguments)

    monkeypatch.setattr(BaseClient, "_make_api_call", record)
    return made


def test_only_what_differs_is_sent(module, network, name, sent):
    """aws-controllers-k8s/community#2536: a TLS flag that is sent unchanged makes AWS refuse the other changes."""
    module(MODULE, network.arguments(name, description="one", snapshot_window="01:00-02:00"))
    sent.clear()
    module(MODULE, network.arguments(name, description="two", snapshot_window="01:00-02:00"))
    assert sent == [
        (
            "ModifyReplicationGroup",
            {"ReplicationGroupId": name, "ApplyImmediately": True, "ReplicationGroupDescription": "two"},
        )
    ]


def test_every_family_that_aws_offers(module, network, name):
    """community.aws#2254: elasticache_parameter_group knows no family after redis6.x."""
    group = {"name": f"{name}-valkey9", "family": "valkey9", "parameters": {"timeout": 20}}
    args = network.arguments(name, engine="valkey", engine_version="9.1", parameter_group=group)
    assert module(MODULE, args)["parameter_group"]["parameters"] == {"timeout": "20"}


def test_the_token_is_of_characters_that_aws_and_urls_take(module, network, name):
    """magenx/Magento-2-aws-cluster-terraform#43: ElastiCache refused a token with characters it does not take."""
    module(MODULE, network.arguments(name))
    assert network.secret(name)["auth_token"].isalnum()


def adopted(network, name, kind):
    """(what somebody made, the resource as the refusal names it, the fields that differ from what is asked)"""
    tags = [{"Key": key, "Value": value} for key, value in THEIRS.items()]
    cache = network.cache
    if kind == "secret":
        network.manager.create_secret(
            Name=f"{name}/redis", SecretString='{"note": "theirs"}', Tags=tags, Description="x"
        )
        return f"secret {name}/redis", {"description"}
    if kind == "cache parameter group":
        cache.create_cache_parameter_group(
            CacheParameterGroupName=f"{name}-redis7", CacheParameterGroupFamily="redis7", Description="x", Tags=tags
        )
        return f"cache parameter group {name}-redis7", {"parameters.maxmemory-policy"}
    cache.create_cache_subnet_group(
        CacheSubnetGroupName=name,
        CacheSubnetGroupDescription="x",
        SubnetIds=network.subnets,
        Tags=tags if kind == "cache subnet group" else [{"Key": key, "Value": value} for key, value in TAGS.items()],
    )
    if kind == "replication group":
        cache.create_replication_group(
            ReplicationGroupId=name,
            ReplicationGroupDescription="theirs",
            Engine="redis",
            EngineVersion="7.0",
            CacheNodeType="cache.t3.small",
            CacheSubnetGroupName=name,
            AtRestEncryptionEnabled=True,
            TransitEncryptionEnabled=True,
            AuthToken="a-Token-of-somebody-1",
            Tags=tags,
        )
        network.settled(name)
        return f"replication group {name}", {"node_type", "parameter_group", "auth_token"}
    return f"cache subnet group {name}", {"subnet_ids"}


@pytest.mark.parametrize("kind", ["replication group", "cache subnet group", "cache parameter group", "secret"])
def test_adopt(module, calls, network, name, kind):
    resource, differing = adopted(network, name, kind)
    created = network.gone(name) or network.group(name)["ReplicationGroupCreateTime"]
    args = network.arguments(name, auth_token_secret={"name": f"{name}/redis", "description": "ours"})
    calls.clear()
    refusal = module(MODULE, args, expect_failure=True)["msg"]
    assert all(word in refusal for word in (resource, "Environment=prod", f'"adopt": ["{resource}"]'))
    assert calls.writes == []
    args = {**args, "adopt": [resource]}
    foretold = module(MODULE, args, check=True)["changes"]
    assert calls.writes == []
    done = module(MODULE, args)["changes"]
    assert foretold == done
    its_own = {change["path"] for change in done if change["resource"] == resource}
    tags = {path for path in its_own if path.startswith("tags.")}
    assert tags == {"tags.Environment", "tags.ManagedBy"}
    assert {path for path in its_own - tags if not path.startswith("value.")} == differing
    assert {change["action"] for change in done if change["resource"] == resource} == {"update"}, "nothing is replaced"
    if kind == "replication group":
        assert network.group(name)["ReplicationGroupCreateTime"] == created
    if kind == "secret":
        assert network.secret(name)["note"] == "theirs"
    assert module(MODULE, args, check=True)["changes"] == []
    arn = f"arn:aws:elasticache:us-east-1:123456789012:subnetgroup:{name}"
    network.cache.add_tags_to_resource(ResourceName=arn, Tags=[{"Key": "Environment", "Value": "prod"}])
    gone = {**args, "adopt": ["*"], "state": "absent", "skip_final_snapshot": True}
    result = module(MODULE, gone)
    assert result["warnings"] == [
        f"cache subnet group {name} is left alone: it belongs to somebody else: it carries Project=nexus-learn "
        "Environment=prod"
    ]
    assert (f"cache subnet group {name}", "delete", "") not in listed(result)
