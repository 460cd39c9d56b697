# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a task needs before it runs (image, roles, secrets, log group), what watches its deployment, how it stops."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.nexus_learn.aws.plugins.module_utils import cloudwatch_log_groups, ecr_repository, iam_roles
from ansible_collections.nexus_learn.aws.plugins.module_utils.aws import Aws, together
from ansible_collections.nexus_learn.aws.plugins.module_utils.ecs_secret_versions import SECRET
from ansible_collections.nexus_learn.aws.plugins.module_utils.engine import is_unknown
from ansible_collections.nexus_learn.aws.plugins.module_utils.verify import (
    CREATED,
    FAILED,
    NOT_APPLICABLE,
    OK,
    UNKNOWN,
    Finding,
    Service,
    Stack,
    attempt,
    distinct,
    statements,
)

# ---- image ----

_ECR = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?"
    r"/(?P<repository>[^:@]+)(?::(?P<tag>[^@]+))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RuntimePlatform.html and what images call the same
_PLATFORMS = {"X86_64": "amd64", "ARM64": "arm64"}
_LISTS = (
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.index.v1+json",
)
_MANIFESTS = ("application/vnd.docker.distribution.manifest.v2+json", "application/vnd.oci.image.manifest.v1+json")


def images(aws: Aws, stack: Stack) -> list[Finding]:
    """The variables that mend it are the first service's that has the image."""
    asked: dict[tuple[str, str], tuple[str, str]] = {}  # variables by image and architecture
    for service in stack.services:
        for name, container in service.containers.items():
            main = service.role.endswith(name.replace("-", "_"))
            variables = ("app_image" if main else f"{service.role}_sidecars", f"{service.role}_cpu_architecture")
            asked.setdefault((container["image"], service.task["cpu_architecture"]), variables)

    def one(image: str, architecture: str) -> Finding:
        return attempt("image", image, lambda: _image(aws, stack, image, architecture, *asked[image, architecture]))

    return together(*(lambda wanted=wanted: one(*wanted) for wanted in asked))


def is_ecr(image: str) -> bool:
    return _ECR.fullmatch(image) is not None


def _image(aws: Aws, stack: Stack, image: str, architecture: str, variable: str, chooser: str) -> Finding:
    match = _ECR.fullmatch(image)
    client = aws.client("ecr")
    if match is None:
        if ".amazonaws.com" not in client.meta.endpoint_url:
            text = "no image of ECR; a local AWS pulls nothing. For AWS, push it to ECR and set " + variable + "."
            return Finding("image", image, NOT_APPLICABLE, text)
        return Finding("image", image, UNKNOWN, "not an image of ECR: whether its registry has it was not asked.")
    if match["region"] != aws.region:
        return Finding("image", image, UNKNOWN, f"it is in {match['region']}, this stack in {aws.region}.")
    wanted = {"imageDigest": match["digest"]} if match["digest"] else {"imageTag": match["tag"] or "latest"}
    mend = f"Push it, or set {variable} to one that is there."
    try:
        answer = client.batch_get_image(
            registryId=match["account"],
            repositoryName=match["repository"],
            imageIds=[wanted],
            acceptedMediaTypes=[*_LISTS, *_MANIFESTS],
        )
    except client.exceptions.RepositoryNotFoundException:
        if stack.planned(ecr_repository.resource(match["repository"])):
            mend = "playbooks/image.yml makes it, and pushes the image."
        return Finding("image", image, FAILED, f"ECR has no repository {match['repository']}.", mend)
    if not answer["images"]:
        return Finding("image", image, FAILED, f"ECR does not have it in {match['repository']}.", mend)
    found = answer["images"][0]
    return image_finding(
        image, found["imageId"]["imageDigest"], found["imageManifest"], architecture, f"{variable} or {chooser}"
    )


def image_finding(image: str, digest: str, manifest: str, architecture: str, variables: str) -> Finding:
    """Whether the image is for the architecture. Pure.

    A manifest of one platform does not name it; that stands in the configuration, which only a pull would show.
    """
    pinned = f"it is {digest[:19]}, which ECS keeps to until the next deployment"
    listed = json.loads(manifest).get("manifests")
    if listed is None:
        return Finding("image", image, OK, f"{pinned}; for which one platform, its manifest does not say.")
    there = distinct(one.get("platform", {}).get("architecture", "?") for one in listed)
    there = [name for name in there if name != "unknown"]  # attestations
    if _PLATFORMS[architecture] in there:
        return Finding("image", image, OK, f"{pinned}; built for {', '.join(there)}.")
    return Finding(
        "image", image, FAILED, f"it is built for {', '.join(there)}, and the task definition asks for {architecture}.",
        f"Build it for linux/{_PLATFORMS[architecture]}, or set {variables}.",
    )  # fmt: skip


# ---- roles ----

_TASKS = "ecs-tasks.amazonaws.com"
_OPERATORS = ("StringEquals", "StringLike", "ArnEquals", "ArnLike")


def roles(aws: Aws, stack: Stack) -> Iterator[Finding]:
    """Each role of the services: is it, or will it be, there, and may ECS assume it for tasks of this account?"""
    wanted = {name: role for step in stack.of("iam_roles") for name, role in _roles_of(step).items()}
    for arn in distinct(
        service.task[f"{kind}_role_arn"]
        for service in stack.services
        for kind in ("execution", "task")
        if service.task.get(f"{kind}_role_arn")
    ):
        name = arn.rpartition("/")[2]
        if name not in wanted:
            yield Finding("role", name, UNKNOWN, "site.yml does not manage it.")
            continue
        document = wanted[name]["assume_role_policy"]
        problem = trust_problem(document, aws.account_id, aws.region, aws.partition)
        if problem:
            yield Finding("role", name, FAILED, problem, "Mend its assume_role_policy in roles/ecs_task_roles.")
            continue
        yield stack.pending("role", name, iam_roles.resource(name), paths=["assume_role_policy"]) or Finding(
            "role", name, OK, f"{_TASKS} may assume it for tasks of {aws.account_id}."
        )


def _roles_of(step: Any) -> dict[str, Mapping[str, Any]]:
    return {role["name"]: role for role in step.args["roles"]} if step.args["state"] == "present" else {}


def trust_problem(document: Mapping[str, Any], account: str, region: str, partition: str) -> str:
    """Why ECS could not assume the role for a task of this account and region, or nothing. Pure.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html: ECS says whose task it is for, by
    aws:SourceAccount and aws:SourceArn. Other conditions are beyond it.
    """
    arn = f"arn:{partition}:ecs:{region}:{account}:*"
    given = {"aws:sourceaccount": account, "aws:sourcearn": arn}
    named = False
    for effect in ("Deny", "Allow"):
        for statement in statements(document, effect):
            if not _concerns_tasks(statement):
                continue
            unmet = [key for key, patterns in _conditions(statement) if not _holds(given.get(key), patterns)]
            if effect == "Deny" and not unmet:
                return f"its trust policy denies {_TASKS} sts:AssumeRole."
            if effect == "Allow" and not unmet:
                return ""
            named = named or effect == "Allow"
    if named:
        return (
            f"its trust policy lets {_TASKS} assume it only under a condition that is not met in {account}, {region}."
        )
    return f"its trust policy does not let {_TASKS} assume it."


def _concerns_tasks(statement: Mapping[str, Any]) -> bool:
    principal = statement.get("Principal", {})
    services = ["*"] if principal == "*" else _texts(principal.get("Service", []))
    actions = [action.lower() for action in _texts(statement.get("Action", []))]
    return bool({"*", _TASKS} & set(services)) and bool({"*", "sts:*", "sts:assumerole"} & set(actions))


def _conditions(statement: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Keys and patterns; of operators that are not understood without a key, so that they do not hold."""
    for operator, keys in statement.get("Condition", {}).items():
        for key, patterns in keys.items():
            yield key.lower() if operator.removesuffix("IfExists") in _OPERATORS else "", _texts(patterns)


def _holds(value: str | None, patterns: Sequence[str]) -> bool:
    """The value's own ``*``, which stands for the task, fits what any pattern allows there."""
    if value is None:
        return False
    words = [re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".") for pattern in patterns]
    probe = value.replace("*", "task/cluster/id")
    return any(re.fullmatch(word, probe) for word in words)


def _texts(value: str | Sequence[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


# ---- secrets ----


def secrets(aws: Aws, stack: Stack) -> list[Finding]:
    """Every secret and JSON key that a container is given is there, and execution roles may do what they have to."""
    asked: dict[str, Service] = {}
    for service in stack.services:
        asked |= {value: service for value in _values(service) if value not in asked}
    keys: dict[str, str] = {}  # ARNs of customers' KMS keys, by value

    def look(value: str) -> Finding:
        return attempt("secret", _shown(value), lambda: _secret(aws, stack, value, asked[value], keys))

    found = together(*(lambda value=value: look(value) for value in asked))
    there = [value for value, one in zip(asked, found, strict=True) if one.status != FAILED]
    needs: dict[str, dict[tuple[str, ...], list[str]]] = {}
    for service in stack.services:
        mine = needs.setdefault(service.task["execution_role_arn"], {})
        for actions, resource in role_needs(
            service, there, keys, f"arn:{aws.partition}:logs:{aws.region}:{aws.account_id}"
        ):
            mine.setdefault(actions, []).append(resource)

    def ask(role: str) -> Finding:
        name = role.rpartition("/")[2]
        return attempt("execution role", name, lambda: _allowed(aws, stack, role, needs[role]))

    return [*found, *together(*(lambda role=role: ask(role) for role in needs))]


def _values(service: Service) -> list[str]:
    return [value for container in service.containers.values() for value in container["secrets"].values()]


_TO_READ, _TO_DECRYPT = ("secretsmanager:GetSecretValue",), ("kms:Decrypt",)
_TO_LOG = ("logs:CreateLogStream", "logs:PutLogEvents")
_TO_PULL = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
_TO_LOG_IN = ("ecr:GetAuthorizationToken",)


def role_needs(
    service: Service, there: Sequence[str], keys: Mapping[str, str], logs_arn: str
) -> Iterator[tuple[tuple[str, ...], str]]:
    """What the execution role of a service must be allowed: actions, and a resource. Pure.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_execution_IAM_role.html
    """
    for value in _values(service):
        match = None if is_unknown(value) else SECRET.fullmatch(value)
        if match and value in there:
            yield _TO_READ, match[1]
            if value in keys:
                yield _TO_DECRYPT, keys[value]
    for container in service.containers.values():
        image = _ECR.fullmatch(container["image"])
        if image:
            partition = logs_arn.split(":")[1]
            yield _TO_PULL, f"arn:{partition}:ecr:{image['region']}:{image['account']}:repository/{image['repository']}"
            yield _TO_LOG_IN, "*"
        group = _log_group(container)
        if group:
            yield _TO_LOG, f"{logs_arn}:log-group:{group}:log-stream:ecs/{service.name}"


def _shown(value: str) -> str:
    match = SECRET.fullmatch(value)
    if match is None:
        return value
    name = match[1].partition(":secret:")[2]
    return f"{name} key {match[2]}" if match[2] else name


def _secret(aws: Aws, stack: Stack, value: str, service: Service, keys: dict[str, str]) -> Finding:
    subject, variable = _shown(value), f"{service.role}_secrets"
    redis = next((step.args["auth_token_secret"] for step in stack.of("elasticache_replication_group")), None) or {}
    if is_unknown(value):
        return Finding("secret", redis.get("name", value), CREATED, "site.yml makes it.")
    match = SECRET.fullmatch(value)
    if match is None:
        return Finding("secret", subject, UNKNOWN, f"not the ARN of a secret of Secrets Manager (in {variable}).")
    arn, key, stage, version = match.groups()
    name = redis.get("name")
    if name and arn.partition(":secret:")[2].startswith(f"{name}-"):
        subject = f"{name} key {key}"
        pending = stack.pending("secret", subject, f"secret {name}")
        if pending:
            return pending
    manager = aws.client("secretsmanager")
    try:
        found = manager.describe_secret(SecretId=arn)
    except manager.exceptions.ResourceNotFoundException:
        return Finding("secret", subject, FAILED, "Secrets Manager does not have it.", f"Make it, or mend {variable}.")
    if found.get("DeletedDate"):
        mend = f"Restore it: aws secretsmanager restore-secret --secret-id {found['Name']}"
        return Finding("secret", subject, FAILED, "it is scheduled for deletion.", mend)
    key_id = found.get("KmsKeyId")
    if key_id and not key_id.endswith("alias/aws/secretsmanager"):
        metadata = aws.client("kms").describe_key(KeyId=key_id)["KeyMetadata"]
        keys[value] = metadata["Arn"]
        if metadata["KeyState"] != "Enabled":
            evidence = f"its KMS key {key_id} is {metadata['KeyState']}."
            return Finding("secret", subject, FAILED, evidence, f"Enable the key, or mend {variable}.")
    which = {name: text for name, text in (("VersionStage", stage), ("VersionId", version)) if text}
    if key:
        try:
            text = manager.get_secret_value(SecretId=arn, **which).get("SecretString", "")
        except manager.exceptions.ResourceNotFoundException:
            return Finding("secret", subject, FAILED, "it has no such version.", f"Write one, or mend {variable}.")
        problem = json_key_problem(text, key)
        if problem:
            return Finding("secret", subject, FAILED, problem, f"Write it into the secret, or mend {variable}.")
    policy = manager.get_resource_policy(SecretId=arn).get("ResourcePolicy")
    if policy and any(statements(json.loads(policy), "Deny")):
        return Finding("secret", subject, UNKNOWN, "it is there; its own policy denies something to somebody.")
    return Finding("secret", subject, OK, "it is there" + (f", and has the key {key}." if key else "."))


def json_key_problem(text: str, key: str) -> str:
    """What ECS would not find in a secret's value, without showing any of it. Pure."""
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        return f"its value is no JSON object, and so has no key {key}."
    return "" if key in value else f"its value has no key {key}."


def _allowed(aws: Aws, stack: Stack, role: str, needs: Mapping[tuple[str, ...], Sequence[str]]) -> Finding:
    """As IAM simulates it, which knows the role's policies, its boundary and the organization's, and none of resources.

    https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html
    """
    name = role.rpartition("/")[2]
    pending = stack.pending("execution role", name, iam_roles.resource(name))
    if pending:
        return pending
    via = {
        "ContextKeyName": "kms:ViaService",
        "ContextKeyValues": [f"secretsmanager.{aws.region}.amazonaws.com"],
        "ContextKeyType": "string",
    }

    def simulate(actions: Sequence[str], resources: Sequence[str]) -> list[dict]:
        return aws.client("iam").simulate_principal_policy(
            PolicySourceArn=role, ActionNames=list(actions), ResourceArns=distinct(resources), ContextEntries=[via]
        )["EvaluationResults"]

    answers = together(*(lambda actions=actions: simulate(actions, needs[actions]) for actions in needs))
    return simulation_finding(name, [one for results in answers for one in results])


def simulation_finding(role: str, results: Sequence[Mapping[str, Any]]) -> Finding:
    """What IAM's simulation says of a role. Pure."""
    for result in results:
        whole = {"EvalResourceName": "*", "EvalResourceDecision": result["EvalDecision"], **result}
        for one in result.get("ResourceSpecificResults") or [whole]:
            if one["EvalResourceDecision"] == "allowed":
                continue
            why = "a policy denies" if one["EvalResourceDecision"] == "explicitDeny" else "no policy allows"
            if one.get("PermissionsBoundaryDecisionDetail", {}).get("AllowedByPermissionsBoundary") is False:
                why = "its permissions boundary does not allow"
            return Finding(
                "execution role", role, FAILED, f"{why} {result['EvalActionName']} on {one['EvalResourceName']}.",
                f"Look at what is attached to it: aws iam list-attached-role-policies --role-name {role}",
            )  # fmt: skip
    actions = ", ".join(result["EvalActionName"] for result in results)
    return Finding("execution role", role, OK, f"its policies allow {actions}.")


# ---- log groups ----


def _log_group(container: Mapping[str, Any]) -> str | None:
    """The log group that has to be there before the container starts."""
    configuration = container.get("log_configuration", {})
    options = configuration.get("options", {})
    made = options.get("awslogs-create-group") == "true"
    return None if configuration.get("log_driver") != "awslogs" or made else options["awslogs-group"]


def logs(aws: Aws, stack: Stack) -> list[Finding]:
    """A task whose log group is not there does not start."""
    containers = [container for service in stack.services for container in service.containers.values()]
    groups = distinct(filter(None, map(_log_group, containers)))
    managed = {group["name"] for step in stack.of("cloudwatch_log_groups") for group in step.args["log_groups"]}

    def one(name: str) -> Finding:
        pending = stack.pending("log group", name, cloudwatch_log_groups.resource(name))
        if pending or name in managed:
            return pending or Finding("log group", name, OK, "it is there.")
        found = aws.pages("logs", "describe_log_groups", "logGroups", logGroupNamePrefix=name)
        if any(group["logGroupName"] == name for group in found):
            return Finding("log group", name, OK, "it is there; site.yml does not manage it.")
        mend = "Add it to observability_log_groups."
        return Finding("log group", name, FAILED, "it is not there, and site.yml does not make it.", mend)

    return together(*(lambda name=name: attempt("log group", name, lambda: one(name)) for name in groups))


# ---- deployment alarms ----


def alarms(aws: Aws, stack: Stack) -> Iterator[Finding]:
    """An alarm that rings when a deployment begins cannot go off during it, and so protects nothing.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-alarm-failure.html
    """
    watching = {
        name: service
        for service in stack.services
        if (service.wanted["deployment_alarms"] or {}).get("enable")
        for name in service.wanted["deployment_alarms"]["alarm_names"]
    }
    if not watching:
        yield Finding("deployment alarms", "all services", NOT_APPLICABLE, "none are configured.")
        return
    types = ["MetricAlarm", "CompositeAlarm"]
    answer = aws.client("cloudwatch").describe_alarms(AlarmNames=list(watching), AlarmTypes=types)
    states = {one["AlarmName"]: one["StateValue"] for kind in types for one in answer.get(f"{kind}s", [])}
    for name, service in watching.items():
        variable = f"{service.role}_deployment_alarms"
        pending = stack.pending("deployment alarm", name, f"alarm {name}")
        if pending:
            yield pending
        elif name not in states:
            mend = f"Make it, or take it from {variable}."
            yield Finding("deployment alarm", name, FAILED, "CloudWatch does not have it.", mend)
        elif states[name] == "ALARM":
            mend = f"Wait until it is OK, or deploy without it: -e '{json.dumps({variable: []})}'"
            yield Finding("deployment alarm", name, FAILED, "it is in ALARM, so it would not stop a deployment.", mend)
        else:
            yield Finding("deployment alarm", name, OK, f"it is {states[name]}.")


# ---- shutdown ----

# stopTimeout on Fargate: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html
LONGEST_STOP = 120
# Of the worker image, as tests/unit/test_repository.py holds against it: what a worker keeps of STOP_TIMEOUT to
# hand tasks back (config/lifecycle.py), time limits and their variables (config/settings.py), and how much longer than
# the longest of them a message that is not acknowledged stays out of its queue.
HAND_BACK = 15
TIME_LIMITS = {"LANGGRAPH_TIME_LIMIT": 300.0, "EMBEDDINGS_TIME_LIMIT": 120.0}
VISIBILITY = 1.25


def shutdown(aws: Aws, stack: Stack) -> Iterator[Finding]:
    for service in stack.services:
        for name, container in service.containers.items():
            yield shutdown_finding(service.name, name, container, service.role)


def shutdown_finding(service: str, name: str, container: Mapping[str, Any], role: str) -> Finding:
    """Whether ECS gives a container the time that it takes to stop without losing tasks. Pure."""
    subject, stop, environment = f"{service} {name}", container["stop_timeout"], container["environment"]

    def failed(evidence: str, mend: str) -> Finding:
        return Finding("shutdown", subject, FAILED, evidence, mend)

    if not 2 <= stop <= LONGEST_STOP:
        return failed(f"stopTimeout is {stop} s, and Fargate allows 2 to {LONGEST_STOP}.", f"Set {role}_stop_timeout.")
    if "STOP_TIMEOUT" not in environment:
        return Finding("shutdown", subject, OK, f"it has {stop} s from SIGTERM to SIGKILL.")
    told = _seconds(environment["STOP_TIMEOUT"])
    limits = {variable: _seconds(environment.get(variable, default)) for variable, default in TIME_LIMITS.items()}
    wrong = [variable for variable, value in {"STOP_TIMEOUT": told, **limits}.items() if not value]
    if wrong:
        return failed(f"{wrong[0]} is no number of seconds above 0.", f"Mend it in {role}_environment.")
    assert told is not None
    if told > stop:
        return failed(
            f"the worker is told {told:g} s (STOP_TIMEOUT), and ECS kills it after {stop} s: tasks that it has not "
            "handed back by then wait for the visibility timeout.",
            f"Leave STOP_TIMEOUT out of {role}_environment, or set {role}_stop_timeout.",
        )
    if told <= HAND_BACK:
        return failed(
            f"of {told:g} s (STOP_TIMEOUT) the last {HAND_BACK} s are for handing tasks back, so none is finished.",
            f"Set {role}_stop_timeout to more than {HAND_BACK}.",
        )
    longest = max(value for value in limits.values() if value)
    visibility = VISIBILITY * longest
    return Finding(
        "shutdown", subject, OK,
        f"tasks have {told - HAND_BACK:g} of {stop} s to end, longer ones go back to their queue; the longest may take "
        f"{longest:g} s, and a lost one comes back after {visibility:g} s.",
    )  # fmt: skip


def _seconds(value: Any) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if number > 0 else None
