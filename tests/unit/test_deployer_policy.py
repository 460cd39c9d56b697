"""What the deployer's rendered policies allow and deny, question by question, without a sandbox."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from sandbox.iam.actions import LOG_DELIVERY
from sandbox.iam.evaluate import Request, applies, context_of

ROOT = Path(__file__).resolve().parents[2]
ACCOUNT = "123456789012"
MINE = {"Project": "nexus-learn", "Environment": "dev"}
THEIRS = {"Project": "nexus-learn", "Environment": "prod"}
NEVER_TAGGED = r"^(Ec2Use|KmsFor\w+|LogsForElastiCache|ServiceLinkedRoles)$"
"""Statements on what the stack is given or shares: a VPC, the customer's keys, the account's service-linked roles and
deliveries of logs."""


def rendered(folder: Path, *arguments: str) -> list[dict]:
    """The statements that playbooks/deployer_policy.yml writes for dev."""
    playbook = ("ansible-playbook", "playbooks/deployer_policy.yml", "-i", "inventories/dev")
    given = ("-e", f"account_id={ACCOUNT}", "-e", f"folder={folder}")
    done = subprocess.run([*playbook, *given, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return [one for path in sorted(folder.glob("*.json")) for one in json.loads(path.read_text())["Statement"]]


@pytest.fixture(scope="module")
def statements(tmp_path_factory) -> list[dict]:
    return rendered(tmp_path_factory.mktemp("policies"))


BOUNDARY = f"arn:aws:iam::{ACCOUNT}:policy/tasks"


@pytest.fixture(scope="module")
def bounded(tmp_path_factory) -> list[dict]:
    return rendered(tmp_path_factory.mktemp("bounded"), "-e", f"permissions_boundary_arn={BOUNDARY}")


def allowing(statements: list[dict], action: str, resource: str, resource_tags=None, request_tags=None, **keys):
    """Sids of the statements that allow it; keys of services with `__` for the colon."""
    context = context_of(
        [
            ("aws:RequestedRegion", "us-east-1"),
            ("iam:PassedToService", "ecs-tasks.amazonaws.com"),
            ("application-autoscaling:service-namespace", "ecs"),
            *((f"aws:ResourceTag/{key}", value) for key, value in (resource_tags or {}).items()),
            *((f"aws:RequestTag/{key}", value) for key, value in (request_tags or {}).items()),
            *((key.replace("__", ":"), value) for key, value in keys.items()),
        ]
    )
    return [one["Sid"] for one in statements if applies(one, Request(action, resource, context))]


def changes(statements: list[dict]) -> list[tuple[dict, str, str]]:
    """(statement, action, pattern) of all that is not reading."""
    return [
        (one, action, pattern)
        for one in statements
        for action in one["Action"]
        for pattern in one["Resource"]
        if not re.search(r":(Describe|List|Get|BatchGet|Simulate|Filter)", action)
        and not re.search(NEVER_TAGGED, one["Sid"])
    ]


def test_no_tag_turns_another_stack_s_resource_into_this_one_s(statements):
    """Whoever may tag what is there could make it its own, and do the rest afterwards."""
    tagging = [
        (action, pattern.replace("*", "x"))
        for _, action, pattern in changes(statements)
        if re.search(r":(AddTags|AddTagsToResource|CreateTags|TagResource|TagRole)$", action)
        and not action.startswith("s3:")  # by the bucket's name alone
        and ":task/" not in pattern  # only as they are started
    ]
    assert len({action.partition(":")[0] for action, _ in tagging}) > 6
    for action, resource in tagging:
        assert allowing(statements, action, resource, MINE, MINE), (action, resource)
        assert not allowing(statements, action, resource, THEIRS, MINE), (action, resource)
        assert not allowing(statements, action, resource, {**MINE, "Project": "another"}, MINE), (action, resource)


def test_a_stack_whose_prefix_begins_with_this_one_s_is_out_of_reach(statements):
    """Every change, asked about the neighbour's names and tags. What is made has no tags yet."""
    asked = changes(statements)
    assert len({action for _, action, _ in asked}) > 80
    for one, action, pattern in asked:
        resource = pattern.replace("nexus-learn", "nexus-learn-prod").replace("*", "x")
        own, theirs = (allowing(statements, action, where, tags, MINE)
                       for where, tags in ((pattern.replace("*", "x"), MINE), (resource, THEIRS)))  # fmt: skip
        named = {sid for sid in theirs if not re.search(NEVER_TAGGED, sid)}
        created = {sid for sid in named if sid.endswith("Create") and sid != "AutoScalingCreate"}
        assert own or "Null" in one["Condition"], (action, pattern)
        assert not named - created, (action, resource, theirs)


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("elasticache:DeleteSnapshot", "elasticache:us-east-1:{}:snapshot:nexus-learn-prod-redis-final"),
        ("elasticache:CreateReplicationGroup", "elasticache:us-east-1:{}:snapshot:nexus-learn-prod-redis-final"),
        ("elasticache:CreateReplicationGroup", "elasticache:us-east-1:{}:replicationgroup:nexus-learn-prod-redis"),
        ("elasticache:CreateCacheSubnetGroup", "elasticache:us-east-1:{}:subnetgroup:nexus-learn-prod-redis"),
        ("elasticache:CreateCacheParameterGroup", "elasticache:us-east-1:{}:parametergroup:nexus-learn-prod-redis7"),
        ("elasticache:CreateUserGroup", "elasticache:us-east-1:{}:usergroup:nexus-learn-prod-redis"),
        ("iam:CreateRole", "iam::{}:role/nexus-learn-prod-celery-beat-task"),
        ("iam:PassRole", "iam::{}:role/nexus-learn-prod-celery-beat-task"),
        ("logs:CreateLogGroup", "logs:us-east-1:{}:log-group:/ecs/nexus-learn-prod/backend:log-stream:"),
        ("secretsmanager:CreateSecret", "secretsmanager:us-east-1:{}:secret:nexus-learn-prod/redis-x"),
    ],
)
def test_nothing_is_made_under_a_neighbour_s_name(statements, action, resource):
    there = f"arn:aws:{resource.format(ACCOUNT)}"
    assert allowing(statements, action, there.replace("-prod", ""), None, MINE)
    assert not allowing(statements, action, there, None, MINE)


def test_what_has_no_tags_can_be_tagged(statements):
    target = f"arn:aws:application-autoscaling:us-east-1:{ACCOUNT}:scalable-target/x"
    user = f"arn:aws:elasticache:us-east-1:{ACCOUNT}:user:x"
    assert allowing(statements, "application-autoscaling:TagResource", target, None, MINE)
    assert allowing(statements, "elasticache:AddTagsToResource", user, None, MINE)
    assert not allowing(statements, "elasticache:AddTagsToResource", user, None, THEIRS)


def test_only_targets_of_ecs_are_scaled(statements):
    target = f"arn:aws:application-autoscaling:us-east-1:{ACCOUNT}:scalable-target/x"
    for action in ("RegisterScalableTarget", "PutScalingPolicy", "DeregisterScalableTarget", "PutScheduledAction"):
        for namespace, expected in (("ecs", True), ("dynamodb", False)):
            keys = {"application-autoscaling__service-namespace": namespace}
            found = allowing(statements, f"application-autoscaling:{action}", target, MINE, MINE, **keys)
            assert bool(found) == expected, (action, namespace)


def test_what_elasticache_logs_has_a_place_and_is_delivered(statements):
    group = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:/elasticache/nexus-learn/slow-log"
    for action in ("CreateLogGroup", "TagResource", "PutRetentionPolicy", "DeleteLogGroup"):
        assert allowing(statements, f"logs:{action}", group, MINE, MINE), action
        assert not allowing(statements, f"logs:{action}", group.replace("nexus-learn", "nexus-learn-prod"), MINE, MINE)
    assert len(LOG_DELIVERY) == 8
    for text in LOG_DELIVERY:
        assert allowing(statements, text.partition(" ")[0], "*"), text


def test_a_group_is_restored_from_the_stack_s_own_snapshots(statements):
    def allowed(action: str, name: str) -> bool:
        return bool(
            allowing(statements, f"elasticache:{action}", f"arn:aws:elasticache:us-east-1:{ACCOUNT}:snapshot:{name}")
        )

    for name in ("nexus-learn-redis-final", "automatic.nexus-learn-redis-001-2026-11-25-03-00"):
        assert allowed("CreateReplicationGroup", name)
        assert not allowed("CreateReplicationGroup", name.replace("nexus-learn", "nexus-learn-prod"))
        assert allowed("DeleteSnapshot", name) == (not name.startswith("automatic."))


EMPOWERING = ["CreateRole", "PutRolePolicy", "AttachRolePolicy", "DetachRolePolicy", "DeleteRolePolicy"]


@pytest.mark.parametrize("action", [*EMPOWERING, "PutRolePermissionsBoundary", "DeleteRolePermissionsBoundary"])
def test_roles_get_permissions_only_with_the_boundary(statements, bounded, action):
    """The key is the boundary that the call gives, or else that of the role."""
    role = f"arn:aws:iam::{ACCOUNT}:role/nexus-learn-backend-task"

    def allowed(found: list[dict], boundary: str | None) -> bool:
        return bool(allowing(found, f"iam:{action}", role, MINE, MINE, iam__PermissionsBoundary=boundary))

    assert allowed(bounded, BOUNDARY) == (action != "DeleteRolePermissionsBoundary")
    assert not allowed(bounded, None)
    assert not allowed(bounded, f"{BOUNDARY}-wider")
    assert allowed(statements, None) == (action in EMPOWERING)


def test_the_boundary_takes_nothing_else(statements, bounded):
    def granted(found: list[dict]) -> set[tuple[str, str]]:
        return {(action, pattern) for one in found for action in one["Action"] for pattern in one["Resource"]}

    more = granted(bounded) - granted(statements)
    assert {action for action, _ in more} == {"iam:PutRolePermissionsBoundary"}
    assert not granted(statements) - granted(bounded)
