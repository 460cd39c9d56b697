"""Pairs of a replication group before and after: what a check says is what a run does.

The strategy maps what ElastiCache would refuse into what it takes, mostly; what needs a new group is replaced, or
refused where that is not allowed.
"""

import generated
import pytest
from elasticache_examples import MODULE, TAGS, Network, delivery
from generated import PAIRS, pair
from hypothesis import event, given
from hypothesis import strategies as st

ENGINES = [("redis", "6.2", "redis6.x"), ("redis", "7.0", "redis7"), ("redis", "7.1", "redis7")]
ENGINES += [("valkey", "8.0", "valkey8"), ("valkey", "9.0", "valkey9")]
PARAMETERS = st.dictionaries(
    st.sampled_from(["maxmemory-policy", "timeout", "activedefrag"]),
    st.sampled_from(["noeviction", 300, True]),
).map(
    lambda values: {
        name: {"maxmemory-policy": "noeviction", "timeout": 300, "activedefrag": True}[name] for name in values
    }
)

# ElastiCache gives the last two back in other words
ACCESS = ["on ~* &* +@all", "on ~* -@all +@read", "on allkeys +@read"]


def users(name, access):
    """Somebody with a password, and nobody as the default user; or nobody, which takes the user group from it."""
    if access is None:
        return {"name": ""}
    nobody = {"id": f"{name}-nobody", "name": "default", "access_string": "off -@all"}
    somebody = {"id": f"{name}-celery", "name": "celery", "access_string": access}
    members = [{**nobody, "authentication_type": "no-password-required"}, somebody]
    return {"name": name, "engine": "redis", "user_name": "celery", "users": members}


@st.composite
def groups(draw, network):
    """A function of a name, which gives arguments for it."""
    engine, version, family = draw(st.sampled_from(ENGINES))
    nodes = draw(st.sampled_from([1, 1, 2]))
    failover = nodes > 1 and draw(st.booleans())
    # TLS can be changed from 7.0.5 on, and where there is a token it cannot be turned off
    tls = draw(st.booleans())
    token = tls and draw(st.booleans())
    members = draw(st.sampled_from([None, None, *ACCESS])) if tls and not token else None
    stack = draw(st.sampled_from(["ipv4", "ipv4", "ipv4", "dual_stack"]))
    rest = draw(st.sampled_from([True, True, True, False]))
    logs = draw(st.lists(st.sampled_from(["slow-log", "engine-log"]), unique=True))
    zone = draw(st.sampled_from("ab"))
    small = {
        "description": st.sampled_from(["one", "two"]),
        "multi_az_enabled": st.just(failover) if failover else st.just(False),
        "snapshot_retention_limit": st.sampled_from([0, 3]),
        "snapshot_window": st.sampled_from(["01:00-02:00", "03:00-04:00"]),
        "preferred_maintenance_window": st.sampled_from(["Sun:04:30-Sun:05:30", "mon:11:00-mon:12:00"]),
        "auto_minor_version_upgrade": st.booleans(),
        "notification_topic_arn": st.sampled_from(["", *network.topics]),
        "security_group_ids": st.lists(st.sampled_from(network.security_groups), min_size=1, unique=True),
        "ip_discovery": st.sampled_from(["ipv4", "ipv6"] if stack == "dual_stack" else ["ipv4"]),
        "auth_token_update_strategy": st.sampled_from(["ROTATE", "SET"]),
        "preferred_cache_cluster_azs": st.just([f"us-east-1{zone}", "us-east-1a"][:nodes]),
        "durability": st.sampled_from(["sync", "async", "disabled"] if version == "9.0" else ["default"]),
    }
    chosen = draw(st.lists(st.sampled_from(sorted(small)), unique=True))
    options = {name: draw(small[name]) for name in chosen}
    parameters = draw(PARAMETERS)
    secret = draw(st.fixed_dictionaries({}, optional={"description": st.sampled_from("ab")}))
    key = draw(st.sampled_from([None, None, *network.keys])) if rest else None
    log = [
        delivery(kind, draw(st.sampled_from(network.log_groups)), draw(st.sampled_from(["json", "text"])))
        for kind in logs
    ]
    tags = draw(st.sampled_from([{}, {"Team": "a"}, {"Team": "b", "Cost": ""}]))
    subnets = draw(st.sampled_from([network.subnets[:2], network.subnets]))
    size = draw(st.sampled_from(["cache.t3.micro", "cache.t3.small"]))
    replace = draw(st.sampled_from([True, True, True, False]))
    state = draw(st.sampled_from(["present"] * 5 + ["absent"]))

    def arguments(name):
        return network.arguments(
            name,
            engine=engine,
            engine_version=version,
            node_type=size,
            num_nodes=nodes,
            automatic_failover_enabled=failover,
            subnet_group={"name": name, "subnet_ids": subnets, "description": "test"},
            parameter_group={
                "name": f"{name}-{family.replace('.', '-')}", "family": family, "parameters": parameters
            },
            at_rest_encryption_enabled=rest,
            kms_key_id=key,
            transit_encryption_enabled=tls,
            auth_token_enabled=None if members else token,
            user_group=users(name, members),
            auth_token_secret={"name": f"{name}/redis", **secret},
            log_delivery_configurations=log,
            network_type=stack,
            replace=name if replace else None,
            tags=TAGS | tags,
            state=state,
            **({"skip_final_snapshot": True} if state == "absent" else {}),
            **options,
        )  # fmt: skip

    return arguments


@pytest.fixture(scope="module")
def network(sandbox):
    return Network(sandbox, "t-pairs")


@pytest.fixture(autouse=True)
def one_port(monkeypatch):
    """Groups of the sandbox share one address and have ports of their own, which no check can know."""
    original = generated.attempt

    def attempt(*args, **kwargs):
        result = original(*args, **kwargs)
        group = result.get("replication_group") or {}
        for endpoint in (group.get("primary_endpoint"), group.get("reader_endpoint")):
            if endpoint:
                endpoint["port"] = 6379
        if "port" in group:
            group["port"] = 6379
        return result

    monkeypatch.setattr(generated, "attempt", attempt)


@PAIRS
@given(data=st.data())
def test_pairs(module, calls, network, data):
    before, after = data.draw(groups(network)), data.draw(groups(network))
    name = network.name()
    event(pair(module, calls, MODULE, before(name), after(name)))
    if not network.gone(name):  # as many processes as one group has are enough
        network.cache.delete_replication_group(ReplicationGroupId=name)
