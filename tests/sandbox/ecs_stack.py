"""What the ECS tests share: a network, a cluster, and short words for registering, creating and waiting."""

import itertools
import time

import pytest

ROLE = "arn:aws:iam::123456789012:role/ecs-tests"
_numbers = itertools.count(1)


def eventually(check, seconds: float = 20.0):
    """The first true answer of `check`; fails with its last answer after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        answer = check()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {seconds} s; last answer: {answer!r}"
        time.sleep(0.05)


class Stack:
    def __init__(self, sandbox):
        self.sandbox = sandbox
        self.ecs = sandbox.client("ecs")
        self.logs = sandbox.client("logs")
        ec2 = sandbox.client("ec2")
        self.vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
        zones = ("us-east-1a", "us-east-1b")
        self.subnets = [
            ec2.create_subnet(VpcId=self.vpc, CidrBlock=f"10.9.{n}.0/24", AvailabilityZone=zone)["Subnet"]["SubnetId"]
            for n, zone in enumerate(zones)
        ]
        self.group = ec2.create_security_group(GroupName="tasks", Description="tasks", VpcId=self.vpc)["GroupId"]
        self.network = {"awsvpcConfiguration": {"subnets": self.subnets, "securityGroups": [self.group]}}
        self.cluster = self.name("cluster")
        self.ecs.create_cluster(clusterName=self.cluster, capacityProviders=["FARGATE", "FARGATE_SPOT"])
        self.log_group = f"/ecs/{self.cluster}"
        self.logs.create_log_group(logGroupName=self.log_group)

    @staticmethod
    def name(prefix: str) -> str:
        return f"{prefix}-{next(_numbers)}-{time.monotonic_ns() % 10**6}"

    def container(self, script: str = "exec sleep 600", name: str = "main", **more) -> dict:
        options = {"awslogs-group": self.log_group, "awslogs-region": "us-east-1", "awslogs-stream-prefix": "t"}
        return {
            "name": name,
            "image": "busybox",
            "command": ["sh", "-c", script],
            "stopTimeout": 2,
            "logConfiguration": {"logDriver": "awslogs", "options": options},
            **more,
        }

    def register(self, *containers: dict, family: str | None = None, **more) -> str:
        """ARN of a new Fargate revision of these containers (default: one that sleeps)."""
        arguments = {
            "family": family or self.name("family"),
            "cpu": "256",
            "memory": "512",
            "networkMode": "awsvpc",
            "requiresCompatibilities": ["FARGATE"],
            "executionRoleArn": ROLE,
            "containerDefinitions": list(containers) or [self.container()],
            **more,
        }
        return self.ecs.register_task_definition(**arguments)["taskDefinition"]["taskDefinitionArn"]

    def create(self, definition: str, desired: int = 1, **more) -> str:
        """Name of a new service."""
        name = more.pop("serviceName", None) or self.name("service")
        arguments = {
            "cluster": self.cluster,
            "serviceName": name,
            "taskDefinition": definition,
            "desiredCount": desired,
            "launchType": "FARGATE",
            "networkConfiguration": self.network,
            **more,
        }
        if "capacityProviderStrategy" in more:
            del arguments["launchType"]
        self.ecs.create_service(**arguments)
        return name

    def service(self, name: str) -> dict:
        return self.ecs.describe_services(cluster=self.cluster, services=[name], include=["TAGS"])["services"][0]

    def update(self, name: str, **more) -> dict:
        return self.ecs.update_service(cluster=self.cluster, service=name, **more)["service"]

    def completed(self, name: str, seconds: float = 20.0) -> dict:
        """The service once its only deployment is COMPLETED and all tasks run."""

        def check():
            service = self.service(name)
            rollouts = [deployment["rolloutState"] for deployment in service["deployments"]]
            return rollouts == ["COMPLETED"] and service["runningCount"] == service["desiredCount"] and service

        return eventually(check, seconds)

    def tasks(self, name: str, status: str = "RUNNING") -> list[dict]:
        arns = self.ecs.list_tasks(cluster=self.cluster, serviceName=name, desiredStatus=status)["taskArns"]
        return self.ecs.describe_tasks(cluster=self.cluster, tasks=arns)["tasks"] if arns else []

    def run(self, definition: str, **more) -> str:
        """ARN of a task started with RunTask."""
        arguments = {"launchType": "FARGATE", "networkConfiguration": self.network, **more}
        return self.ecs.run_task(cluster=self.cluster, taskDefinition=definition, **arguments)["tasks"][0]["taskArn"]

    def task(self, arn: str) -> dict:
        return self.ecs.describe_tasks(cluster=self.cluster, tasks=[arn], include=["TAGS"])["tasks"][0]

    def reached(self, arn: str, status: str, seconds: float = 20.0) -> dict:
        def check():
            task = self.task(arn)
            return task["lastStatus"] == status and task

        return eventually(check, seconds)

    def printed(self, arn: str, container: str = "main") -> list[str]:
        stream = f"t/{container}/{arn.rpartition('/')[2]}"
        answer = self.logs.get_log_events(logGroupName=self.log_group, logStreamName=stream, startFromHead=True)
        return [event["message"] for event in answer["events"]]

    def messages(self, name: str) -> list[str]:
        return [event["message"] for event in self.service(name)["events"]]

    def close(self) -> None:
        for arn in self.ecs.list_services(cluster=self.cluster, maxResults=100)["serviceArns"]:
            self.ecs.delete_service(cluster=self.cluster, service=arn, force=True)
        for arn in self.ecs.list_tasks(cluster=self.cluster)["taskArns"]:
            self.ecs.stop_task(cluster=self.cluster, task=arn)


@pytest.fixture(scope="module", name="stack")
def stack_fixture(sandbox):
    stack = Stack(sandbox)
    yield stack
    stack.close()
