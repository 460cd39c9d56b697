"""The pure parts: the order of changes is held against the rules of ElastiCache, for thousands of pairs of groups."""

import datetime
import re
from types import SimpleNamespace

import pytest
from ansible_collections.nexus_learn.aws.plugins.module_utils import elasticache_replication_group as aggregate
from ansible_collections.nexus_learn.aws.plugins.module_utils import elasticache_secret as secret
from ansible_collections.nexus_learn.aws.plugins.module_utils import elasticache_users
from ansible_collections.nexus_learn.aws.plugins.module_utils.engine import Refused
from ansible_collections.nexus_learn.aws.plugins.modules.elasticache_replication_group import SPEC
from hypothesis import assume, given
from hypothesis import strategies as st

OPTIONS = list(SPEC["argument_spec"])
AWS = SimpleNamespace(arn=lambda service, resource: f"arn:{service}:{resource}")


def params(**given):
    return {
        **dict.fromkeys(OPTIONS),
        "name": "Redis",
        "state": "present",
        "apply_immediately": True,
        "skip_final_snapshot": False,
        **given,
    }


def there(**fields):
    """A group as describe returns it."""
    return {
        "status": "available",
        "arn": "arn",
        "member_clusters": ["redis-001"],
        "primary_endpoint": {"address": "master.redis.abc.cache.amazonaws.com", "port": 6379},
        "reader_endpoint": {"address": "replica.redis.abc.cache.amazonaws.com", "port": 6379},
        "description": "d",
        "engine": "redis",
        "engine_version": "7.0.7",
        "node_type": "cache.t3.micro",
        "num_nodes": 1,
        "port": 6379,
        "multi_az_enabled": False,
        "automatic_failover_enabled": False,
        "subnet_group": "redis",
        "parameter_group": "redis",
        "security_group_ids": ["sg-a"],
        "at_rest_encryption_enabled": True,
        "kms_key_id": "",
        "transit_encryption_enabled": False,
        "transit_encryption_mode": None,
        "auth_token_enabled": False,
        "auth_token_changed": None,
        "auth_token_in_motion": False,
        "snapshot_retention_limit": 1,
        "snapshot_window": "03:00-04:00",
        "preferred_maintenance_window": "sun:04:30-sun:05:30",
        "auto_minor_version_upgrade": True,
        "notification_topic_arn": "",
        "scheduled": {},
        "user_group": "",
        "log_delivery_configurations": {},
        "network_type": "ipv4",
        "ip_discovery": "ipv4",
        "data_tiering_enabled": False,
        "durability": "disabled",
        "preferred_cache_cluster_azs": ["us-east-1a"] * fields.get("num_nodes", 1),
        "nodes": [{"id": "redis-001", "zone": "us-east-1a", "role": "primary"}],
        "created": datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC),
        "final_snapshot_exists": False,
        "tags": {},
        **fields,
    }


def current(group, **more):
    return {
        "replication_group": group,
        "subnet_group": None,
        "parameter_groups": {},
        "secret": None,
        "keys": {},
        "users": None,
        "snapshots": {},
        **more,
    }


@st.composite
def groups(draw):
    """Settings of a group that ElastiCache would accept."""
    nodes = draw(st.integers(1, 6))
    failover = nodes > 1 and draw(st.booleans())
    mode = draw(st.sampled_from([None, "preferred", "required"]))
    return {
        "num_nodes": nodes,
        "automatic_failover_enabled": failover,
        "multi_az_enabled": failover and draw(st.booleans()),
        "transit_encryption_enabled": mode is not None,
        "transit_encryption_mode": mode,
        "node_type": draw(st.sampled_from(["cache.t3.micro", "cache.t3.small"])),
        "engine_version": draw(st.sampled_from(["7.0.7", "7.1.0"])),
        "description": draw(st.sampled_from(["d", "e"])),
        "parameter_group": draw(st.sampled_from(["redis", "other"])),
        "security_group_ids": draw(st.sampled_from([["sg-a"], ["sg-a", "sg-b"]])),
    }


@given(groups(), groups())
def test_every_step_of_a_migration_is_one_that_elasticache_takes(before, after):
    before = there(**before)
    now = dict(before)
    for step in aggregate.migration(before, after):
        assert all(now[field] != value for field, value in step.items()) or "transit_encryption_mode" in step
        assert "num_nodes" not in step or len(step) == 1, "the number of replicas has calls of its own"
        if "engine_version" not in step:
            assert step.keys().isdisjoint({"node_type"}) or len(step) == 1
        modes = {now["transit_encryption_mode"], step.get("transit_encryption_mode", now["transit_encryption_mode"])}
        assert modes != {None, "required"}, "AWS turns TLS on and off through preferred"
        now.update(step)
        assert not now["automatic_failover_enabled"] or now["num_nodes"] > 1
        assert not now["multi_az_enabled"] or now["automatic_failover_enabled"]
        assert now["transit_encryption_enabled"] == (now["transit_encryption_mode"] is not None)
    assert {field: now[field] for field in after} == after
    assert aggregate.migration(now, after) == []


@given(groups(), groups())
def test_the_plan_names_exactly_what_differs(before, after):
    parameter_group = {"name": after["parameter_group"], "family": None, "description": None, "parameters": None}
    assume(after["engine_version"] >= before["engine_version"])
    wanted = params(**{**after, "parameter_group": parameter_group})
    known = {"family": "redis7", "description": "", "parameters": {}, "tags": {}}
    changes = aggregate.plan(AWS, wanted, current(there(**before), parameter_groups={parameter_group["name"]: known}))
    assert {change.path for change in changes} == {field for field in after if before[field] != after[field]}
    assert all(change.note for change in changes if change.impact == "disruptive")


@given(groups())
def test_nothing_to_do_when_nothing_differs(settings):
    group = there(**settings)
    same = {
        field: group[field]
        for field in OPTIONS
        if field in group and field not in ("subnet_group", "parameter_group", "user_group")
    }
    same |= {"kms_key_id": None, "auth_token_enabled": None}
    same["security_group_ids"] = same["security_group_ids"][::-1]
    same["preferred_maintenance_window"] = "Sun:04:30-Sun:05:30"
    assert aggregate.plan(AWS, params(**same), current(group)) == []


@pytest.mark.parametrize(
    ("wanted", "version", "same"),
    [
        ("7.0", "7.0.7", True),
        ("7.0.7", "7.0.7", True),
        ("6.x", "6.2.6", True),
        ("7", "7.1.0", True),
        ("7.1", "7.0.7", False),
        ("7.0.8", "7.0.7", False),
        ("", "7.0.7", False),
        ("8.0", "8.0.1", True),
        ("7.0", "7.01.1", False),
    ],
)
def test_same_version(wanted, version, same):
    assert aggregate.same_version(wanted, version) is same


@pytest.mark.parametrize(
    ("given", "group", "words"),
    [
        ({"port": 6380}, {}, ("its port (port 6379 to 6380)", "every queued task")),
        (
            {"engine": "redis", "engine_version": "7.1"},
            {"engine": "valkey", "engine_version": "8.0.1"},
            ("valkey back",),
        ),
        ({"engine": "valkey"}, {}, ("engine_version (redis_version)",)),
        ({"engine_version": "7.0"}, {"engine_version": "7.1.0"}, ("older version", "'7.1.0'")),
        ({"kms_key_id": "arn:aws:kms:us-east-1:1:key/a"}, {}, ("KMS key",)),
        ({"transit_encryption_mode": "preferred"}, {}, ("(elasticache_transit_encryption_enabled) to be true",)),
        ({"auth_token_enabled": True, "transit_encryption_enabled": True}, {}, ("needs auth_token_secret",)),
    ],
)
def test_refusals_only_a_real_account_would_give(given, group, words):
    with pytest.raises(Refused, match=".*".join(map(re.escape, words))):
        aggregate.plan(AWS, params(**given), current(there(**group)))


def test_a_port_is_not_compared_where_groups_share_one_address():
    group = there(primary_endpoint={"address": "127.0.0.1", "port": 40000}, port=40000)
    assert aggregate.plan(AWS, params(port=6379), current(group)) == []


def test_a_change_that_waits_for_its_window_is_not_planned_again():
    group = there(scheduled={"node_type": "cache.t3.small", "engine_version": "7.1.0"})
    wanted = {"node_type": "cache.t3.small", "engine_version": "7.1"}
    assert aggregate.plan(AWS, params(**wanted, apply_immediately=False), current(group)) == []
    assert len(aggregate.plan(AWS, params(**wanted), current(group))) == 2


@given(st.data())
def test_a_token_is_one_that_elasticache_takes(data):
    token = secret.new_token()
    assert secret.token_of({"auth_token": token}) == token
    assert token != secret.new_token()
    text = data.draw(st.text(max_size=140) | st.from_regex(r"[A-Za-z0-9!&#$^<>-]{16,128}", fullmatch=True))
    taken = 16 <= len(text) <= 128 and all(c.isascii() and (c.isalnum() or c in "!&#$^<>-") for c in text)
    assert (secret.token_of({"auth_token": text}) == text) is taken


@pytest.mark.parametrize(
    ("tls", "token", "url"),
    [
        (False, None, "redis://a:1/0"),
        (True, None, "rediss://a:1/0?ssl_cert_reqs=required"),
        (True, "a#b$c", "rediss://:a%23b%24c@a:1/0?ssl_cert_reqs=required"),
    ],
)
def test_url(tls, token, url):
    assert secret.url("a", 1, tls, token) == url


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("~objects:* ~items:*", "off ~objects:* ~items:* -@all"),
        ("on ~app:* +@read", "on ~app:* -@all +@read"),
        ("on allkeys allchannels allcommands", "on ~* &* +@all"),
        ("on ~* nocommands +get", "off +set -@all +get on ~*"),
        ("on ~* +@read (~a:* -@all +set)", "on ~*  -@all +@read (~a:* -@all +set)"),
    ],
)
def test_access_strings_that_mean_the_same(one, other):
    assert elasticache_users.meaning(one) == elasticache_users.meaning(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("on ~* +@all -@dangerous", "on ~* -@dangerous +@all"),
        ("on ~* +@read", "on ~* +@all"),
        ("on ~* +@read", "~* +@read"),
        ("on ~* +@read", "on ~a* +@read"),
        ("on ~* +@read (~a:* +set)", "on ~* +@read (+set)"),
        ("on resetkeys ~*", "on ~* resetkeys"),
    ],
)
def test_access_strings_that_mean_something_else(one, other):
    assert elasticache_users.meaning(one) != elasticache_users.meaning(other)
