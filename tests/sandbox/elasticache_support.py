"""What the ElastiCache tests share."""

import itertools
import time

import redis
from botocore.exceptions import ClientError

TOKEN = "first-Token-of-16!"
_numbers = itertools.count(1)


def wait(check, seconds: float = 20):
    """The first true value of check(); fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = check()
        if value:
            return value
        time.sleep(0.03)
    raise AssertionError(f"not true within {seconds} s: {check}")


def code(call, **arguments) -> str:
    """The error code with which `call` is refused."""
    try:
        call(**arguments)
    except ClientError as error:
        return error.response["Error"]["Code"]
    raise AssertionError(f"{arguments} was accepted")


class Groups:
    """Replication groups of one test module, deleted at its end."""

    def __init__(self, sandbox, prefix: str):
        self.sandbox, self.prefix = sandbox, prefix
        self.ec = sandbox.client("elasticache")

    def create(self, **arguments) -> str:
        """Id of a new, available group: one cache.t3.micro node of Redis 7.0 unless told otherwise."""
        name = f"{self.prefix}-{next(_numbers)}"
        given = {"ReplicationGroupDescription": "test", "CacheNodeType": "cache.t3.micro", "EngineVersion": "7.0"}
        self.ec.create_replication_group(ReplicationGroupId=name, **{**given, **arguments})
        self.available(name)
        return name

    def describe(self, name: str) -> dict:
        return self.ec.describe_replication_groups(ReplicationGroupId=name)["ReplicationGroups"][0]

    def gone(self, name: str) -> bool:
        groups = self.ec.describe_replication_groups()["ReplicationGroups"]
        return name not in {group["ReplicationGroupId"] for group in groups}

    def available(self, name: str) -> dict:
        def check():
            group = self.describe(name)
            assert group["Status"] != "create-failed"
            return group["Status"] == "available" and group

        return wait(check)

    def modify(self, name: str, **arguments) -> dict:
        """Modify with ApplyImmediately and wait until it is done."""
        group = self.ec.modify_replication_group(ReplicationGroupId=name, ApplyImmediately=True, **arguments)
        assert group["ReplicationGroup"]["Status"] == "modifying"
        return self.available(name)

    def roles(self, name: str) -> dict[str, str]:
        members = self.describe(name)["NodeGroups"][0]["NodeGroupMembers"]
        return {member["CacheClusterId"]: member["CurrentRole"] for member in members}

    def redis(self, name: str, endpoint: str = "PrimaryEndpoint", **arguments) -> redis.Redis:
        """A client for the primary or reader endpoint, or for the node with the id given as `endpoint`."""
        group = self.describe(name)
        node_group = group["NodeGroups"][0]
        nodes = {member["CacheClusterId"]: member["ReadEndpoint"] for member in node_group["NodeGroupMembers"]}
        address = {**node_group, **nodes}[endpoint]
        given = {"socket_timeout": 10, "retry": None}
        if group["TransitEncryptionEnabled"]:
            given |= {"ssl": True, "ssl_ca_certs": str(self.sandbox.home / "ca.pem"), "ssl_cert_reqs": "required"}
        return redis.Redis(address["Address"], address["Port"], **{**given, **arguments})

    def messages(self, kind: str, source: str) -> list[str]:
        """Event messages of one source, oldest first."""
        events = self.ec.describe_events(SourceType=kind, SourceIdentifier=source)["Events"]
        return [event["Message"] for event in reversed(events)]

    def delete_all(self) -> None:
        def mine():
            groups = self.ec.describe_replication_groups()["ReplicationGroups"]
            return [group for group in groups if group["ReplicationGroupId"].startswith(f"{self.prefix}-")]

        for group in mine():
            if group["Status"] != "deleting":
                self.available(group["ReplicationGroupId"])
                self.ec.delete_replication_group(ReplicationGroupId=group["ReplicationGroupId"])
        wait(lambda: not mine())


def answers(client: redis.Redis) -> bool:
    """Whether a PING is answered on a new connection."""
    client.connection_pool.disconnect()
    try:
        return client.ping()
    except redis.RedisError:
        return False


def becomes(client: redis.Redis, operation, seconds: float = 10):
    """Result of operation(client) as soon as it succeeds: how a client that reconnects sees an interruption."""

    def attempt():
        try:
            return (operation(client),)
        except (redis.ConnectionError, redis.TimeoutError, redis.ReadOnlyError):
            return None

    return wait(attempt, seconds)[0]
