"""Arguments for the ecs_service tests: a service whose one container is a real `sh -c` process."""

from __future__ import annotations

import copy
import uuid
from typing import Any

TAGS = {"Project": "nexus-learn", "Environment": "test", "ManagedBy": "ansible"}
LOOP = "trap 'exit 0' TERM; while :; do sleep 0.1; done"
EXECUTION_ROLE = "arn:aws:iam::123456789012:role/execution"


class Stack:
    """A cluster of its own with the network that tasks need. ``.cluster .subnets .security_groups .log_group``"""

    def __init__(self, sandbox, name: str = ""):
        self.sandbox_client = sandbox.client
        self.ecs = sandbox.client("ecs")
        self.logs = sandbox.client("logs")
        ec2 = sandbox.client("ec2")
        name = name or uuid.uuid4().hex[:8]
        self.cluster = f"c-{name}"
        self.ecs.create_cluster(clusterName=self.cluster, capacityProviders=["FARGATE", "FARGATE_SPOT"])
        self.subnets = [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"]]
        vpc = ec2.describe_subnets()["Subnets"][0]["VpcId"]
        self.security_groups = [
            ec2.create_security_group(GroupName=f"{name}-{i}", Description="test", VpcId=vpc)["GroupId"] for i in (0, 1)
        ]
        self.log_group = f"/ecs/{name}"
        self.logs.create_log_group(logGroupName=self.log_group)

    def service(self, name: str, script: str = LOOP, **changes: Any) -> dict[str, Any]:
        """A service with a family of its own; ``changes`` are its options; ``container`` and ``task`` go deeper."""
        container = {
            "name": "main",
            "image": "busybox",
            "command": ["sh", "-c", script],
            "environment": {"A": "1"},
            "stop_timeout": 5,
            "log_configuration": {
                "log_driver": "awslogs",
                "options": {
                    "awslogs-group": self.log_group,
                    "awslogs-region": "us-east-1",
                    "awslogs-stream-prefix": "t",
                },
            },
            **changes.pop("container", {}),
        }
        return {
            "name": name,
            "desired_count": 1,
            "task_definition": {
                "family": f"{self.cluster}-{name}",
                "cpu": "256",
                "memory": "512",
                "execution_role_arn": EXECUTION_ROLE,
                "containers": [container],
                **changes.pop("task", {}),
            },
            "launch_type": "FARGATE",
            "subnets": self.subnets[:2],
            "security_groups": self.security_groups[:1],
            "circuit_breaker": {"enable": True, "rollback": True},
            **changes,
        }

    def args(self, *services: dict[str, Any], **changes: Any) -> dict[str, Any]:
        return copy.deepcopy(
            {"cluster": self.cluster, "services": list(services), "tags": TAGS, "wait_timeout": 60, **changes}
        )

    def describe(self, name: str) -> dict[str, Any]:
        return self.ecs.describe_services(cluster=self.cluster, services=[name])["services"][0]

    def revisions(self, name: str) -> int:
        """How many revisions the service's family has."""
        prefix = f"{self.cluster}-{name}"
        arns = self.ecs.list_task_definitions(familyPrefix=prefix)["taskDefinitionArns"]
        return len([arn for arn in arns if arn.rsplit("/", 1)[1].split(":")[0] == prefix])
