"""A run may end anywhere, and any answer may be lost: the next run, or the same one, makes the stack that was asked.

What AWS holds changes with writes only, so a crash after a read is one after the write before it. All writes of all
modules are tried with FAULT_STRIDE=1 (some minutes), every other one with 2; by default a few, others with FAULT_SEED.
And each module has a bad day, when AWS answers 500 and 503 and breaks connections, before or after a call is done.
"""

import os
import random
import threading
from pathlib import Path

import pytest
from ansible_collections.nexus_learn.aws.plugins.module_utils import aws, ecs_rollout, engine
from botocore.client import BaseClient
from ecs_examples import Stack
from inventory import differences, inventory

TAGS = {"Project": "nexus-learn", "Environment": "test", "ManagedBy": "ansible"}
SEED = int(os.environ.get("FAULT_SEED") or 1)
STRIDE = int(os.environ.get("FAULT_STRIDE") or 0)
FEW = 2
MODULES = Path(__file__).parents[2] / "plugins" / "modules"
# of the lock, test_lock.py has cases of its own
READ = {"deployment_journal", "diagnose", "ecs_rollout", "ecs_service_status", "ecs_task_logs", "stack_leftovers"}
NO_WRITES = READ | {"validate", "verify", "plan", "deployment_lock"}
# What they do is done once, not made so: test_ecs_verbs.py has what becomes of it when an answer is lost, and an image
# is there under the tag of its content or is pushed again.
ONCE = {"ecr_image", "ecs_service_count", "ecs_service_deployment", "ecs_task_run"}


class Crash(BaseException):
    """The process is gone: nothing catches this, and no call is made after it."""


class Writes:
    """Counts writes; after the one of number ``at`` is carried out, ``end`` is raised instead of its answer."""

    def __init__(self):
        self.lock, self.count, self.at, self.end, self.dead = threading.Lock(), 0, None, None, False

    def watch(self, at=None, end=None):
        self.count, self.at, self.end, self.dead = 0, at, end, False

    def call(self, original, client, operation, arguments):
        if self.dead:
            raise Crash
        number = 0
        if not operation.startswith(aws.READS):
            with self.lock:
                self.count += 1
                number = self.count
        answer = original(client, operation, arguments)
        if number and number == self.at:
            self.dead = self.end is Crash
            raise Crash if self.dead else aws.WriteUnanswered(operation=operation, reason="a test")
        return answer


@pytest.fixture(scope="module")
def sandbox(start_sandbox):
    """One that may be emptied, and that has bad days."""
    return start_sandbox(60.0, "--latency", "0ms")


@pytest.fixture
def writes(monkeypatch):
    watched, original = Writes(), BaseClient._make_api_call
    monkeypatch.setattr(BaseClient, "_make_api_call", lambda *call: watched.call(original, *call))
    monkeypatch.setattr(engine, "_LONGEST_PAUSE", 0)
    monkeypatch.setattr(ecs_rollout, "PAUSE", 0.1)
    return watched


def network(sandbox):
    ec2 = sandbox.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.7.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.7.{number}.0/24", AvailabilityZone=f"us-east-1{zone}")["Subnet"]
        for number, zone in enumerate("ab")
    ]
    group = ec2.create_security_group(VpcId=vpc, GroupName="t", Description="t")["GroupId"]
    return {"vpc": vpc, "subnets": [subnet["SubnetId"] for subnet in subnets], "group": group}


def vpc(sandbox):
    return {"name": "t", "nat_gateway": "per_zone", "vpc_endpoints": ["s3", "ecr.api"]}


def ec2_security_groups(sandbox):
    rule = {"from_port": 6379, "to_port": 6379}
    worker = {"name": "t-worker", "egress": [{**rule, "destination_security_groups": ["t-redis"]}]}
    redis = {"name": "t-redis", "ingress": [{**rule, "source_security_groups": ["t-worker"]}], "egress": []}
    return {"vpc_id": network(sandbox)["vpc"], "security_groups": [redis, worker]}


def iam_roles(sandbox):
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ecs-tasks.amazonaws.com"}}
    read = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]}
    managed = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
    role = {"assume_role_policy": {"Version": "2012-10-17", "Statement": [trust]}, "managed_policies": [managed]}
    return {"roles": [{**role, "name": f"t-{name}", "policies": {"a": read, "b": read}} for name in "xy"]}


def cloudwatch_log_groups(sandbox):
    return {"log_groups": [{"name": f"/t/{name}", "retention_in_days": 7} for name in "xy"]}


def elasticache_replication_group(sandbox):
    there = network(sandbox)
    nobody = {"name": "default", "access_string": "off -@all", "authentication_type": "no-password-required"}
    users = [{"id": "t-default", **nobody}, {"id": "t-celery", "name": "celery", "access_string": "on ~* &* +@all"}]
    return {
        "name": "t",
        "engine": "redis",
        "engine_version": "7.0",
        "node_type": "cache.t3.micro",
        "num_nodes": 1,
        "transit_encryption_enabled": True,
        "at_rest_encryption_enabled": True,
        "security_group_ids": [there["group"]],
        "subnet_group": {"name": "t", "subnet_ids": there["subnets"]},
        "parameter_group": {"name": "t", "family": "redis7", "parameters": {"maxmemory-policy": "noeviction"}},
        "user_group": {"name": "t", "user_name": "celery", "users": users},
        "auth_token_secret": {"name": "t/redis", "recovery_window_in_days": 0},
        "wait_timeout": 60,
        "skip_final_snapshot": True,
    }


def ecs_cluster(sandbox):
    strategy = [{"capacity_provider": "FARGATE", "weight": 1}]
    providers = {"capacity_providers": ["FARGATE"], "default_capacity_provider_strategy": strategy}
    return {"name": "t", "container_insights": "enabled", **providers}


def elbv2_load_balancer(sandbox):
    there = network(sandbox)
    group = {"name": "t", "port": 8000, "vpc_id": there["vpc"], "health_check": {"path": "/health"}}
    return {
        "name": "t",
        "scheme": "internal",
        "subnets": there["subnets"],
        "security_groups": [there["group"]],
        "idle_timeout": 120,
        "target_group": {**group, "deregistration_delay": 30},
        "listeners": [{"port": 80}],
    }


def ecs_service(sandbox):
    stack = Stack(sandbox, name="t")
    made = stack.args(stack.service("x"), stack.service("y"))
    return {**made, "force": True}


def application_autoscaling(sandbox):
    stack = Stack(sandbox, name="t")
    ecs = sandbox.client("ecs")
    container = {"name": "sleep", "image": "busybox", "command": ["sleep", "3600"]}
    ecs.register_task_definition(
        family="t", requiresCompatibilities=["FARGATE"], networkMode="awsvpc", cpu="256", memory="512",
        containerDefinitions=[container],
    )  # fmt: skip
    where = {"awsvpcConfiguration": {"subnets": stack.subnets[:1]}}
    ecs.create_service(
        cluster=stack.cluster, serviceName="x", taskDefinition="t", desiredCount=0, launchType="FARGATE",
        networkConfiguration=where,
    )  # fmt: skip
    metrics = {"cpu": "ECSServiceAverageCPUUtilization", "memory": "ECSServiceAverageMemoryUtilization"}
    policies = [
        {"name": name, "predefined_metric_type": metric, "target_value": 70} for name, metric in metrics.items()
    ]
    target = {"resource_id": f"service/{stack.cluster}/x", "min_capacity": 0, "max_capacity": 4, "policies": policies}
    return {"targets": [target]}


def cloudwatch_alarms(sandbox):
    threshold = {"comparison_operator": "GreaterThanThreshold", "evaluation_periods": 1, "threshold": 80}
    metric = {"namespace": "AWS/ECS", "metric_name": "CPUUtilization", "statistic": "Average", "period": 60}
    return {
        "metric_alarms": [{"name": f"t-{name}", **metric, **threshold} for name in "xy"],
        "composite_alarms": [{"name": "t-both", "alarm_rule": "ALARM(t-x) AND ALARM(t-y)"}],
    }


def cloudwatch_dashboards(sandbox):
    return {"dashboards": [{"name": f"t-{name}", "body": {"widgets": []}} for name in "xy"]}


def s3_bucket(sandbox):
    rules = [{"id": "old", "noncurrent_version_expiration_days": 30}]
    return {
        "name": "t-{account_id}",
        "versioning": True,
        "encryption": {"sse_algorithm": "aws:kms"},
        "public_access_block": {},
        "object_ownership": "BucketOwnerEnforced",
        "lifecycle_rules": rules,
        "force": True,
    }


def ecr_repository(sandbox):
    rule = {"tag_status": "untagged", "count_type": "sinceImagePushed", "count_number": 14}
    statement = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::210987654321:root"}, "Action": "ecr:ListImages"}
    return {
        "name": "team/t",
        "scan_on_push": True,
        "encryption": {"encryption_type": "KMS"},
        "lifecycle_policy": [rule],
        "policy": {"Version": "2012-10-17", "Statement": [statement]},
    }


CASES = {
    function.__name__: function
    for function in (
        vpc,
        ec2_security_groups,
        iam_roles,
        cloudwatch_log_groups,
        elasticache_replication_group,
        ecs_cluster,
        elbv2_load_balancer,
        ecs_service,
        application_autoscaling,
        cloudwatch_alarms,
        cloudwatch_dashboards,
        s3_bucket,
        ecr_repository,
    )
}


def test_every_module_has_a_case():
    assert {file.stem for file in MODULES.glob("[!_]*.py")} - NO_WRITES - ONCE == CASES.keys()


class Trial:
    """One module from an empty account on, once without a fault and then with one at each write."""

    def __init__(self, name, module, sandbox, writes):
        self.name, self.module, self.sandbox, self.writes = name, module, sandbox, writes
        self.start()
        self.made, self.creating = self.run("present"), writes.count
        self.gone, self.deleting = self.run("absent"), writes.count

    def start(self):
        self.writes.watch()
        self.sandbox.ask("reset", "POST")
        self.args = {"tags": TAGS, **CASES[self.name](self.sandbox)}

    def run(self, state, at=None, end=None, faults=None):
        """The inventory after a run; with a crash, after a second one that nothing disturbs."""
        args = {**self.args, "state": state}
        self.writes.watch(at, end)
        if end is Crash and at is not None:
            with pytest.raises(Crash):
                self.module(self.name, args)
            self.writes.watch()
        self.sandbox.faults(**faults or {})
        self.module(self.name, args)
        self.sandbox.faults()
        count = self.writes.count
        if state == "present":
            assert self.module(self.name, args, check=True)["changes"] == []
        found = inventory(self.sandbox.client)
        self.writes.count = count
        return found

    def points(self):
        """``[(number of a write, what happens after it)]``"""
        everywhere = range(1, max(self.creating, self.deleting) + 1)
        points = [(at, end) for end in (Crash, "lost answer") for at in everywhere]
        return points[::STRIDE] if STRIDE else random.Random(SEED).sample(points, min(FEW, len(points)))


@pytest.mark.parametrize("name", CASES)
def test_any_write_may_be_the_last(name, module, sandbox, writes):
    trial = Trial(name, module, sandbox, writes)
    points, wrong = trial.points(), []
    for at, end in points:
        trial.start()
        for state, clean, count in (("present", trial.made, trial.creating), ("absent", trial.gone, trial.deleting)):
            there = trial.run(state, *((at, end) if at <= count else ()))
            wrong += [f"{state}, {end} after write {at} of {count}: {line}" for line in differences(clean, there)]
    trial.start()
    for state, clean in (("present", trial.made), ("absent", trial.gone)):
        there = trial.run(state, faults={"errors": 0.15, "resets": 0.05, "seed": SEED})
        wrong += [f"{state} on a bad day: {line}" for line in differences(clean, there)]
    print(f"{name}: {trial.creating} writes to create, {trial.deleting} to delete; seed {SEED}, {len(points)} points")
    assert not wrong, "\n".join(wrong)
