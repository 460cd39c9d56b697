"""What the tests of elasticache_replication_group share: a network, arguments, and clients made from the secret."""

from __future__ import annotations

import itertools
import json
import time
from typing import Any

import redis

MODULE = "elasticache_replication_group"
TAGS = {"Project": "nexus-learn", "Environment": "test", "ManagedBy": "ansible"}
NUMBERS = itertools.count(1)


class Network:
    """Subnets of both IP versions in two zones, security groups, topics, keys, log groups; and clients."""

    def __init__(self, sandbox, prefix: str):
        self.sandbox, self.prefix = sandbox, prefix
        self.cache, self.manager, self.logs = (
            sandbox.client(service) for service in ("elasticache", "secretsmanager", "logs")
        )
        ec2, kms = sandbox.client("ec2"), sandbox.client("kms")
        vpc = ec2.create_vpc(CidrBlock="10.8.0.0/16")["Vpc"]["VpcId"]
        self.subnets = [
            ec2.create_subnet(
                VpcId=vpc,
                CidrBlock=f"10.8.{number}.0/24",
                Ipv6CidrBlock=f"2001:db8:0:{number}::/64",
                AvailabilityZone=f"us-east-1{zone}",
            )["Subnet"]["SubnetId"]
            for number, zone in enumerate("aba")
        ]
        self.security_groups = sorted(
            ec2.create_security_group(VpcId=vpc, GroupName=f"{prefix}-{letter}", Description="test")["GroupId"]
            for letter in "ab"
        )
        self.topics = [sandbox.client("sns").create_topic(Name=f"{prefix}-{letter}")["TopicArn"] for letter in "ab"]
        self.keys = [kms.create_key()["KeyMetadata"]["Arn"] for _ in "ab"]
        self.log_groups = [f"/{prefix}/{letter}" for letter in "ab"]
        for name in self.log_groups:
            self.logs.create_log_group(logGroupName=name)

    def name(self) -> str:
        return f"{self.prefix}-{next(NUMBERS)}"

    def arguments(self, name: str, **changes: Any) -> dict[str, Any]:
        """A small group of its own, with a token; None takes an option away."""
        full = {
            "name": name,
            "engine": "redis",
            "engine_version": "7.0",
            "node_type": "cache.t3.micro",
            "num_nodes": 1,
            "subnet_group": {"name": name, "subnet_ids": self.subnets[:2]},
            "parameter_group": {
                "name": f"{name}-redis7",
                "family": "redis7",
                "parameters": {"maxmemory-policy": "noeviction"},
            },
            "at_rest_encryption_enabled": True,
            "transit_encryption_enabled": True,
            "auth_token_secret": {"name": f"{name}/redis"},
            "tags": TAGS,
            "wait_timeout": 60,
            **changes,
        }
        return {key: value for key, value in full.items() if value is not None}

    def group(self, name: str) -> dict[str, Any]:
        return self.cache.describe_replication_groups(ReplicationGroupId=name)["ReplicationGroups"][0]

    def settled(self, name: str) -> None:
        """Wait until a change made by a test is done."""
        deadline = time.monotonic() + 40
        while self.group(name)["Status"] != "available":
            assert time.monotonic() < deadline
            time.sleep(0.03)

    def users_settled(self, name: str) -> None:
        deadline = time.monotonic() + 40
        while True:
            things = [*self.cache.describe_users()["Users"], *self.cache.describe_user_groups()["UserGroups"]]
            mine = [one for one in things if one.get("UserId", one.get("UserGroupId")).startswith(name)]
            if all(one["Status"] == "active" for one in mine):
                return
            assert time.monotonic() < deadline
            time.sleep(0.03)

    def modify(self, name: str, **changes: Any) -> None:
        self.cache.modify_replication_group(ReplicationGroupId=name, ApplyImmediately=True, **changes)
        self.settled(name)

    def gone(self, name: str) -> bool:
        groups = self.cache.describe_replication_groups()["ReplicationGroups"]
        return name not in {group["ReplicationGroupId"] for group in groups}

    def secret(self, name: str) -> dict[str, str]:
        return json.loads(self.manager.get_secret_value(SecretId=f"{name}/redis")["SecretString"])

    def connect(self, name: str) -> redis.Redis:
        """A client made from the URL in the secret, as Celery makes its own."""
        url = self.secret(name)["url"]
        tls = {"ssl_ca_certs": str(self.sandbox.home / "ca.pem")} if url.startswith("rediss") else {}
        return redis.Redis.from_url(url, **tls)

    def snapshots(self) -> list[str]:
        return [snapshot["SnapshotName"] for snapshot in self.cache.describe_snapshots()["Snapshots"]]


def delivery(kind: str, group: str, form: str = "json") -> dict[str, str]:
    return {"log_type": kind, "destination_type": "cloudwatch-logs", "destination": group, "log_format": form}


def listed(result: dict) -> list[tuple[str, str, str]]:
    return [(change["resource"], change["action"], change["path"]) for change in result["changes"]]
