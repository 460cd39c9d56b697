"""A worker that ECS scales in and deploys anew, with stops shorter than its tasks. In this order.

In this sandbox a minute is a second, and so it is for these workers: a lease lasts for twice the time limit.
"""

import psutil
import pytest
from worker_stack import FakeModel, Stack, eventually

QUESTION = "What is overfitting?"
WORKER = (
    "import sys; from config import protection; from celery.__main__ import main; "
    "protection.MINUTE = 1; sys.exit(main())"
)
HELD_UP = "The number of protected tasks are more than the desired count of tasks."


class Ecs:
    """A cluster with a service of one worker."""

    def __init__(self, sandbox, environment: dict):
        self.client, self.environment = sandbox.client("ecs"), environment
        ec2 = sandbox.client("ec2")
        vpc = ec2.create_vpc(CidrBlock="10.8.0.0/16")["Vpc"]["VpcId"]
        subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.8.0.0/24")["Subnet"]["SubnetId"]
        self.network = {"awsvpcConfiguration": {"subnets": [subnet]}}
        self.client.create_cluster(clusterName="workers")

    def definition(self, **environment) -> str:
        """A new revision; without health checks, so that ECS soon takes a worker for started."""
        variables = {"LANGGRAPH_TIME_LIMIT": 60, "EMBEDDINGS_TIME_LIMIT": 6, "STOP_TIMEOUT": 2, "PROTECT_AFTER": 1}
        variables |= {**self.environment, **environment}
        container = {
            "name": "worker",
            "image": "nexus-learn-worker",
            "command": ["python", "-c", WORKER, "-A", "config.celery", "worker", "-Q", "langgraph", "--concurrency=2"],
            "stopTimeout": 2,
            "environment": [{"name": name, "value": str(value)} for name, value in variables.items()],
        }
        return self.client.register_task_definition(
            family="worker", cpu="256", memory="512", networkMode="awsvpc", requiresCompatibilities=["FARGATE"],
            executionRoleArn="arn:aws:iam::123456789012:role/x", taskRoleArn="arn:aws:iam::123456789012:role/x",
            containerDefinitions=[container],
        )["taskDefinition"]["taskDefinitionArn"]  # fmt: skip

    def create(self, definition: str) -> None:
        self.client.create_service(
            cluster="workers", serviceName="worker", taskDefinition=definition, desiredCount=1, launchType="FARGATE",
            networkConfiguration=self.network,
        )  # fmt: skip

    def update(self, **more) -> None:
        self.client.update_service(cluster="workers", service="worker", **more)

    def service(self) -> dict:
        return self.client.describe_services(cluster="workers", services=["worker"])["services"][0]

    def deployed(self) -> str:
        eventually(lambda: [one["rolloutState"] for one in self.service()["deployments"]] == ["COMPLETED"])
        (task,) = self.client.list_tasks(cluster="workers", serviceName="worker")["taskArns"]
        return task

    def task(self, arn: str) -> dict:
        return self.client.describe_tasks(cluster="workers", tasks=[arn])["tasks"][0]

    def protected(self, arn: str) -> bool:
        found = self.client.get_task_protection(cluster="workers", tasks=[arn])["protectedTasks"]
        return bool(found) and found[0]["protectionEnabled"]

    def held_up(self) -> int:
        """How often ECS has said that protected tasks are in the way."""
        return sum(HELD_UP in event["message"] for event in self.service()["events"])


@pytest.fixture(scope="module")
def application(tmp_path_factory, start_sandbox):
    """ECS with one worker, an API and a model."""
    stack, model = Stack(tmp_path_factory.mktemp("scale-in")), FakeModel()
    ecs = Ecs(start_sandbox(60.0), {**stack.urls(), **model.env})
    ecs.create(ecs.definition())
    yield ecs, stack, stack.api(), model
    ecs.client.delete_service(cluster="workers", service="worker", force=True)
    model.stop()
    stack.stop()


def test_a_deployment_waits_for_a_long_task(application):
    ecs, _, api, model = application
    old = ecs.deployed()
    model.hold.set()
    url = api.ask(QUESTION)
    eventually(lambda: ecs.protected(old))
    ecs.update(taskDefinition=ecs.definition(LANGGRAPH_TIME_LIMIT=6))
    eventually(lambda: ecs.held_up() == 1)  # the new worker is there
    assert ecs.task(old)["desiredStatus"] == "RUNNING"
    assert api.state(url) == "STARTED"
    model.let_go()
    assert api.outcome(url)["state"] == "SUCCESS"
    assert ecs.deployed() != old
    assert len(model.requests) == 1


def test_a_worker_that_is_never_idle_gives_way_to_a_deployment(application):
    ecs, _, api, model = application
    old = ecs.deployed()
    model.requests.clear()
    model.seconds = 1.5
    asked = [api.ask(QUESTION) for _ in range(4)]
    eventually(lambda: ecs.protected(old))
    ecs.update(taskDefinition=ecs.definition())

    def over() -> bool:
        """Keep the workers busy until the old one has gone."""
        if sum(api.state(url) == "PENDING" for url in asked[-6:]) < 2:
            asked.append(api.ask(QUESTION))
        return len(ecs.service()["deployments"]) == 1

    eventually(over, 90)
    assert all(api.outcome(url)["state"] == "SUCCESS" for url in asked)
    assert len(model.requests) == len(asked)  # none ran twice
    model.seconds = 0.0
    new = ecs.deployed()
    eventually(lambda: not ecs.protected(new))


def test_a_worker_that_is_killed_takes_its_protection_along(application):
    ecs, stack, api, model = application
    task = ecs.deployed()
    model.hold.set()
    api.ask(QUESTION)
    eventually(lambda: ecs.protected(task))
    for process in psutil.process_iter(["cmdline"]):
        if WORKER in (process.info["cmdline"] or []):
            process.kill()
    eventually(lambda: ecs.task(task)["lastStatus"] == "STOPPED")
    assert not ecs.protected(task)
    assert ecs.deployed() != task
    stack.client.delete("unacked", "unacked_index")  # else the next worker would find the task after a while
    model.let_go()


def test_a_long_task_outlives_a_scale_in(application):
    ecs, _, api, model = application
    task = ecs.deployed()
    model.requests.clear()
    model.hold.set()
    url = api.ask(QUESTION)
    eventually(lambda: ecs.protected(task))
    ecs.update(desiredCount=0)
    eventually(lambda: ecs.held_up() == 3)
    assert ecs.task(task)["desiredStatus"] == "RUNNING"
    assert api.state(url) == "STARTED"
    model.let_go()
    assert api.outcome(url)["state"] == "SUCCESS"
    eventually(lambda: ecs.service()["runningCount"] == 0)
    assert len(model.requests) == 1
