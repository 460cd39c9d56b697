"""Users in place of a token: who is in the user group may log in to the real Redis, and nobody else."""

import pytest
import redis
from elasticache_examples import MODULE, Network, listed

FULL = "on ~* &* +@all"


@pytest.fixture(scope="module")
def network(sandbox):
    return Network(sandbox, "t-users")


@pytest.fixture
def name(network):
    return network.name()


def user_group(name, **changes):
    """Nobody is `default`; `celery` may do everything, `monitor` may read."""
    users = [
        {"id": f"{name}-default", "name": "default", "access_string": "off -@all", "authentication_type": "password"},
        {"id": f"{name}-Celery", "name": "celery", "access_string": FULL},
        {"id": f"{name}-monitor", "name": "monitor", "access_string": "on ~* +@read +ping"},
    ]
    return {"name": name.upper(), "user_name": "celery", "users": users, **changes}


def as_user(network, name, user, password):
    client = network.connect(name)
    client.connection_pool.connection_kwargs |= {"username": user, "password": password}
    return client


def test_from_a_token_to_users_and_back(module, quartet, network, name):
    """hashicorp/terraform-provider-aws#42372: a user group beside a token needs the strategy DELETE."""
    quartet(MODULE, network.arguments(name))
    token = network.secret(name)["auth_token"]
    with_token = network.connect(name)
    assert with_token.set("kept", "yes")
    wanted = network.arguments(name, user_group=user_group(name))
    result = quartet(MODULE, wanted)
    assert [entry for entry in listed(result) if entry[0].startswith(("cache user", "user group", "replication"))] == [
        (f"cache user {name}-default", "create", ""),
        (f"cache user {name}-celery", "create", ""),
        (f"cache user {name}-monitor", "create", ""),
        (f"user group {name}", "create", ""),
        (f"replication group {name}", "update", "user_group"),
    ]
    value = network.secret(name)
    assert value["url"].startswith(f"rediss://celery:{value['auth_token']}@")
    assert value["auth_token"] == token, "who can tell the URL's user a new token from an old one"
    assert set(value) == {"auth_token", "url", "password_default", "password_monitor"}
    assert not any(secret in str(result) for key, secret in value.items() if key != "url")
    assert network.connect(name).get("kept") == b"yes"
    monitor = as_user(network, name, "monitor", value["password_monitor"])
    assert monitor.get("kept") == b"yes"
    with pytest.raises(redis.exceptions.NoPermissionError):
        monitor.set("kept", "no")
    with_token.connection_pool.disconnect()
    with pytest.raises(redis.AuthenticationError):
        with_token.ping()

    message = module(MODULE, {**wanted, "auth_token_enabled": True}, expect_failure=True)["msg"]
    assert "exclude each other" in message
    bare = network.arguments(name)
    assert quartet(MODULE, bare)["changes"] == [], "left out is not touched"
    result = quartet(MODULE, network.arguments(name, user_group={"name": ""}))
    assert {path for resource, _, path in listed(result) if resource.startswith("replication")} == {
        "user_group",
        "auth_token",
    }
    assert network.connect(name).get("kept") == b"yes"
    with_token.connection_pool.disconnect()
    assert with_token.ping(), "the token of before"
    (left,) = network.cache.describe_user_groups(UserGroupId=name)["UserGroups"]
    assert (len(left["UserIds"]), left["ReplicationGroups"]) == (3, []), "until state absent, as the documentation says"
    assert "password_monitor" in network.secret(name)


def test_users_change_come_and_go(module, quartet, network, name):
    quartet(MODULE, network.arguments(name, user_group=user_group(name)))
    changed = user_group(name)
    changed["users"][2]["access_string"] = "on ~* &* +@all -flushall"
    changed["users"][1] = {"id": f"{name}-worker", "name": "worker", "access_string": FULL}
    changed["user_name"] = "worker"
    result = quartet(MODULE, network.arguments(name, user_group=changed))
    assert (f"cache user {name}-celery", "delete", "") in listed(result)
    assert {
        (f"cache user {name}-monitor", "update", "access_string"),
        (f"user group {name}", "update", "user_ids"),
    } <= {*listed(result)}
    assert network.connect(name).ping()
    value = network.secret(name)
    assert as_user(network, name, "monitor", value["password_monitor"]).set("a", "b")
    renamed = user_group(name)
    renamed["users"][0]["id"] = f"{name}-worker"
    message = module(MODULE, network.arguments(name, user_group=renamed), expect_failure=True)["msg"]
    assert "has the name 'worker'" in message


@pytest.mark.parametrize("access", ["~objects:* ~items:*", "on ~app:* +@read", "on allkeys allcommands"])
def test_an_access_string_in_other_words(module, quartet, network, name, access):
    """ElastiCache writes it anew: hashicorp/terraform-provider-aws#20334."""
    wanted = user_group(name)
    wanted["users"][2]["access_string"] = access
    quartet(MODULE, network.arguments(name, user_group=wanted))
    (user,) = network.cache.describe_users(UserId=f"{name}-monitor")["Users"]
    assert user["AccessString"] != access
    # in words that ElastiCache itself would not choose, but somebody may
    network.cache.modify_user(UserId=user["UserId"], AccessString=user["AccessString"].replace("-@all", "-@all -@all"))
    network.users_settled(name)
    assert module(MODULE, network.arguments(name, user_group=wanted))["changes"] == []


def test_a_lost_password_is_made_anew(module, quartet, network, name):
    quartet(MODULE, network.arguments(name, user_group=user_group(name)))
    network.manager.delete_secret(SecretId=f"{name}/redis", ForceDeleteWithoutRecovery=True)
    result = quartet(MODULE, network.arguments(name, user_group=user_group(name)))
    passwords = [change for change in result["changes"] if change["path"] == "password"]
    assert len(passwords) == 3
    assert {change["impact"] for change in passwords} == {"disruptive"}
    assert network.connect(name).ping()


@pytest.mark.parametrize("operation", ["CreateUser", "PutSecretValue", "CreateUserGroup", "ModifyReplicationGroup"])
def test_a_run_that_was_interrupted_is_completed(module, quartet, stop_at, network, name, operation):
    module(MODULE, network.arguments(name))
    wanted = network.arguments(name, user_group=user_group(name))
    stop_at(MODULE, operation, wanted)
    quartet(MODULE, wanted)
    assert network.connect(name).ping()


def test_absent_takes_group_and_users_along(quartet, network, name):
    quartet(MODULE, network.arguments(name, user_group=user_group(name)))
    absent = network.arguments(name, user_group={"name": name}, state="absent", skip_final_snapshot=True)
    result = quartet(MODULE, absent)
    assert [entry for entry in listed(result) if entry[0].startswith(("user", "cache user"))] == [
        (f"user group {name}", "delete", ""),
        (f"cache user {name}-celery", "delete", ""),
        (f"cache user {name}-default", "delete", ""),
        (f"cache user {name}-monitor", "delete", ""),
    ]
    users = [user["UserId"] for user in network.cache.describe_users()["Users"]]
    assert not [user for user in users if user.startswith(name)]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"users": None}, "does not exist yet. Give its users (elasticache_users)"),
        ({"users": [{"id": "t-a", "access_string": FULL}], "user_name": "t-a"}, "needs a user whose name is default"),
        ({"user_name": "nobody"}, "user_name (elasticache_user_name) is nobody, and no user has that name"),
        ({"engine": "valkey"}, "takes user groups of engine redis only"),
        ({"users": [{"id": "t-a", "name": "default", "authentication_type": "iam"}], "user_name": None}, "by IAM"),
        (
            {"users": [{"id": "t-a", "name": "default"}], "user_name": None},
            "Give its access_string (elasticache_users)",
        ),
    ],
)
def test_refusals(module, calls, network, changes, words):
    calls.clear()
    wanted = network.arguments("t-users-no", user_group=user_group("t-users-no", **changes))
    assert words in module(MODULE, wanted, expect_failure=True)["msg"]
    plain = network.arguments("t-users-no", user_group=user_group("t-users-no"), transit_encryption_enabled=False)
    message = module(MODULE, plain, expect_failure=True)["msg"]
    assert "without TLS" in message
    assert "transit_encryption_enabled (elasticache_transit_encryption_enabled) to true" in message
    assert calls.writes == []


def test_what_belongs_to_others_is_not_touched(module, calls, left_alone, network, name):
    theirs = [{"Key": "Project", "Value": "nexus-learn"}, {"Key": "Environment", "Value": "prod"}]
    network.cache.create_user(
        UserId=f"{name}-default", UserName="default", Engine="redis", AccessString="on +ping", NoPasswordRequired=True,
        Tags=theirs,
    )  # fmt: skip
    network.cache.create_user_group(UserGroupId=name, Engine="redis", UserIds=[f"{name}-default"], Tags=theirs)
    wanted = network.arguments(name, user_group=user_group(name))
    calls.clear()
    assert "Environment=prod" in module(MODULE, wanted, expect_failure=True)["msg"]
    assert calls.writes == []
    (warning,) = left_alone(MODULE, {**wanted, "skip_final_snapshot": True})
    assert f"user group {name} is left alone" in warning
    adopted = {**wanted, "adopt": [f"user group {name}", "cache user *"]}
    foretold, done = module(MODULE, adopted, check=True), module(MODULE, adopted)
    assert listed(foretold) == listed(done)
    assert (f"cache user {name}-default", "update", "tags.Environment") in listed(done)
    assert module(MODULE, wanted, check=True)["changes"] == []
