"""From a call to what IAM decides about: each action, on each resource, with the keys that conditions may ask for."""

import itertools
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from . import actions
from .actions import Arns, Need, action_of, needs, request_tags, tag_keys
from .calls import Call, values
from .evaluate import Principal, Request, context_of, parse

TAGS = {
    "ec2": ("describe_tags", lambda arn: {"Filters": [{"Name": "resource-id", "Values": [arn.rpartition("/")[2]]}]}),
    "ecs": ("list_tags_for_resource", lambda arn: {"resourceArn": arn}),
    "elasticache": ("list_tags_for_resource", lambda arn: {"ResourceName": arn}),
    "elasticloadbalancing": ("describe_tags", lambda arn: {"ResourceArns": [arn]}),
    "logs": ("list_tags_for_resource", lambda arn: {"resourceArn": ":".join(arn.split(":")[:7])}),
    "secretsmanager": ("describe_secret", lambda arn: {"SecretId": arn}),
    "iam": ("list_role_tags", lambda arn: {"RoleName": arn.rpartition("/")[2]}),
    "application-autoscaling": ("list_tags_for_resource", lambda arn: {"ResourceARN": arn}),
    "cloudwatch": ("list_tags_for_resource", lambda arn: {"ResourceARN": arn}),
    "ecr": ("list_tags_for_resource", lambda arn: {"resourceArn": arn}),
    "kms": ("list_resource_tags", lambda arn: {"KeyId": arn}),
}
"""How the tags of a resource are asked for, by the service in its ARN."""
CLIENTS = {"elasticloadbalancing": "elbv2"}

TRUST, KEY_POLICY = {"sts:AssumeRole"}, {"kms"}
"""Where the resource's policy must name the principal or its account: actions, and services."""


@dataclass(frozen=True)
class Check:
    """One decision. resource_policy is that of the resource, if it has one; it may also be one that must allow."""

    request: Request
    resource_policy: dict | None = None
    resource_policy_decides: bool = False


class Checks:
    """Reads, as root, what the account holds: names behind ids, tags, policies of resources."""

    def __init__(self, sandbox):
        self.sandbox = sandbox
        self.linked: set[str] = set()
        """Service-linked roles that some call has made."""

    def of(self, call: Call, principal: Principal) -> Iterator[Check]:
        """What must be allowed for the call, in the order in which AWS asks."""
        partition = principal.arn.split(":")[1]
        arns = Arns(partition, principal.account, self._lookup)
        caller = [*self._caller(principal), ("aws:RequestedRegion", call.region)]
        for action, arn, keys in itertools.chain(
            self._itself(call, arns),
            self._tagging(call, arns),
            self._passing(call),
            self._behalf(call, arns),
            self._linking(call, f"arn:{partition}:iam::{principal.account}"),
        ):
            context = context_of([*caller, *keys, *self._resource_keys(arn, call.region)])
            service = action.partition(":")[0]
            policy = self._resource_policy(service, arn, call.region)
            decides = policy is not None and (action in TRUST or service in KEY_POLICY)
            yield Check(Request(action, arn, context), policy, decides)

    # Each of these yields (action, ARN, keys of this check).

    def _itself(self, call: Call, arns: Arns) -> Iterator[tuple[str, str, list]]:
        parameter, wanted = needs(call.service, action_of(call))
        found = [(self._named(call, arns, one), True) for one in map(str, values(call.params, parameter))]
        found += [(arn, need.made) for need in wanted if not parameter for arn in arns.of(call, need)]
        own, tags = self._own_keys(call, arns), _tag_keys(call)
        for arn, made in found or [("*", True)]:
            # these ask for each resource by itself: the tags of the request are those of the one that is made
            apart = call.service in ("ec2", "elasticache") and not made
            yield f"{call.service}:{action_of(call)}", arn, [*own, *([] if apart else tags)]

    def _tagging(self, call: Call, arns: Arns) -> Iterator[tuple[str, str, list]]:
        """The action that tags what the call makes."""
        another = actions.TAGS_ANOTHER.get(call.action)
        made = [need for need in needs(call.service, call.operation)[1] if need.made and need.kind != "snapshot"]
        made = [Need(another, made=True)] if another else made
        if not request_tags(call) or call.service not in actions.TAGGING:
            return
        tagging, key = actions.TAGGING[call.service]
        keys = [*self._own_keys(call, arns), *_tag_keys(call), *([(key, call.operation)] if key else [])]
        for need in made:
            for arn in arns.of(_listener(call) if another == "listener" else call, need):
                yield f"{call.service}:{tagging}", arn.removesuffix(":log-stream:"), keys

    def _passing(self, call: Call) -> Iterator[tuple[str, str, list]]:
        for role in self._passed(call, actions.PASSES[call.action]) if call.action in actions.PASSES else []:
            yield "iam:PassRole", role, [("iam:PassedToService", actions.PASSED_TO)]

    def _behalf(self, call: Call, arns: Arns) -> Iterator[tuple[str, str, list]]:
        """What the service does for the caller."""
        for text in actions.ON_BEHALF.get(call.action, ()):
            action, _, kind = text.partition(" ")
            need = Need(kind.rstrip("?"), optional=kind.endswith("?"))
            other = self._on_behalf(call, action)
            if other is None:
                continue
            keys = [*self._own_keys(other, arns), ("aws:ViaAWSService", True)]
            if need.kind == "key":
                keys.append(("kms:ViaService", f"{call.service}.{call.region}.amazonaws.com"))
            for arn in ["*"] if need.kind == "*" else arns.of(other, need):
                yield action, arn, keys

    def _linking(self, call: Call, account: str) -> Iterator[tuple[str, str, list]]:
        service, role = actions.SERVICE_LINKED_ROLES.get(call.action, ("", ""))
        if role and role not in self.linked:
            arn = f"{account}:role/aws-service-role/{service}/{role}"
            yield "iam:CreateServiceLinkedRole", arn, [("iam:AWSServiceName", service)]

    def done(self, call: Call) -> None:
        """The call was allowed: what AWS makes along with it is there from now on."""
        role = actions.SERVICE_LINKED_ROLES.get(call.action)
        if role:
            self.linked.add(role[1])

    # ---- keys ----

    def _caller(self, principal: Principal) -> list[tuple]:
        kind = "Account" if principal.root else "User" if ":user/" in principal.arn else "AssumedRole"
        return [
            ("aws:PrincipalArn", principal.role_arn or principal.arn),
            ("aws:PrincipalAccount", principal.account),
            ("aws:PrincipalType", kind),
            ("aws:username", principal.arn.rpartition("/")[2] if kind == "User" else None),
            ("aws:CurrentTime", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())),
            ("aws:EpochTime", int(time.time())),
            ("aws:SourceIp", "127.0.0.1"),
            ("aws:SecureTransport", True),  # as at AWS's own endpoints
        ]

    def _own_keys(self, call: Call, arns: Arns) -> list[tuple[str, Any]]:
        """Keys of the call's own service, out of its parameters."""
        params = call.params
        if call.service == "ecs" and "cluster" in params:
            cluster = str(params["cluster"]).rpartition("/")[2]
            return [
                ("ecs:cluster", arns.build(call, "cluster", cluster)),
                ("ecs:task-definition", params.get("taskDefinition")),
                ("ecs:enable-execute-command", params.get("enableExecuteCommand")),
            ]
        if call.service == "iam":
            role = None if call.operation == "CreateRole" else self.role(str(params.get("RoleName", "")))
            boundary = params.get("PermissionsBoundary") or (role and role.permissions_boundary_arn)
            return [("iam:PermissionsBoundary", boundary), ("iam:PolicyARN", params.get("PolicyArn"))]
        if call.service == "application-autoscaling":
            return [
                ("application-autoscaling:service-namespace", params.get("ServiceNamespace")),
                ("application-autoscaling:scalable-dimension", params.get("ScalableDimension")),
            ]
        if call.service == "secretsmanager":
            return [
                ("secretsmanager:Name", params.get("Name")),
                ("secretsmanager:VersionStage", params.get("VersionStage")),
                ("secretsmanager:KmsKeyId", params.get("KmsKeyId")),
                ("secretsmanager:RecoveryWindowInDays", params.get("RecoveryWindowInDays")),
                ("secretsmanager:ForceDeleteWithoutRecovery", params.get("ForceDeleteWithoutRecovery")),
            ]
        if call.service == "elasticache":
            return [
                (f"elasticache:{name}", params.get(parameter))
                for name, parameter in (
                    ("CacheNodeType", "CacheNodeType"),
                    ("EngineType", "Engine"),
                    ("EngineVersion", "EngineVersion"),
                    ("AtRestEncryptionEnabled", "AtRestEncryptionEnabled"),
                    ("TransitEncryptionEnabled", "TransitEncryptionEnabled"),
                    ("SnapshotRetentionLimit", "SnapshotRetentionLimit"),
                    ("CacheParameterGroupName", "CacheParameterGroupName"),
                    ("KmsKeyId", "KmsKeyId"),
                )
            ]
        if call.service == "cloudwatch":
            return [("cloudwatch:namespace", params.get("Namespace"))]
        if call.service == "sts":
            return [
                ("sts:ExternalId", params.get("ExternalId")),
                ("sts:RoleSessionName", params.get("RoleSessionName")),
            ]
        if call.service == "s3":
            return [("s3:prefix", params.get("Prefix"))]
        return []

    def _resource_keys(self, arn: str, region: str) -> list[tuple]:
        tags = self.tags(arn, region)
        service = arn.split(":")[2] if arn.startswith("arn:") else ""
        pairs = [(f"aws:ResourceTag/{key}", value) for key, value in tags.items()]
        if service in ("ec2", "ecr", "ecs", "iam", "secretsmanager", "elasticloadbalancing"):
            pairs += [(f"{service}:ResourceTag/{key}", value) for key, value in tags.items()]
        return pairs

    def tags(self, arn: str, region: str) -> dict[str, str]:
        """The tags of a resource that is there, else none."""
        service = arn.split(":")[2] if arn.startswith("arn:") else ""
        if "*" in arn or service not in TAGS or (service == "iam" and ":role/" not in arn):
            return {}
        operation, arguments = TAGS[service]
        try:
            client = self.sandbox.client(CLIENTS.get(service, service), region)
            answer = getattr(client, operation)(**arguments(arn))
        except ClientError:
            return {}
        found = answer.get("TagDescriptions", answer)
        found = found[0] if isinstance(found, list) and found and "Tags" in found[0] else found
        if isinstance(found, dict):
            found = next((found[name] for name in ("Tags", "tags", "TagList") if name in found), [])
        if isinstance(found, dict):
            return found
        return {
            one.get("Key") or one.get("key") or one.get("TagKey"): one.get("Value") or one.get("value")
            or one.get("TagValue") or "" for one in found
        }  # fmt: skip

    # ---- what names stand for ----

    def _lookup(self, call: Call, kind: str, name: str) -> str | None:
        try:
            if kind == "secret" and name:
                return self.sandbox.client("secretsmanager", call.region).describe_secret(SecretId=name)["ARN"]
            if kind == "key" and name:
                return self.sandbox.client("kms", call.region).describe_key(KeyId=name)["KeyMetadata"]["Arn"]
            if kind == "role" and name:
                role = self.role(name)
                return role.arn if role else None
            if kind == "scalable-target" and name:
                scaling = self.sandbox.client("application-autoscaling", call.region)
                there = scaling.describe_scalable_targets(
                    ServiceNamespace=call.params["ServiceNamespace"], ResourceIds=[name]
                )["ScalableTargets"]
                return there[0].get("ScalableTargetARN") if there else None
            if kind in ("route-table", "subnet") and "AssociationId" in call.params and not name:
                return self._associated(call, kind)
        except ClientError:
            pass
        return None

    def _associated(self, call: Call, kind: str) -> str | None:
        link = call.params["AssociationId"]
        tables = self.sandbox.client("ec2", call.region).describe_route_tables(
            Filters=[{"Name": "association.route-table-association-id", "Values": [link]}]
        )["RouteTables"]
        for one in (one for table in tables for one in table["Associations"]):
            if one["RouteTableAssociationId"] == link:
                found = one["RouteTableId"] if kind == "route-table" else one.get("SubnetId")
                return found and f"arn:aws:ec2:{call.region}:{self.sandbox.account_id}:{kind}/{found}"
        return None

    def _named(self, call: Call, arns: Arns, name: str) -> str:
        """What a parameter of TagResource or the like holds: an ARN, or EC2's id."""
        if call.service != "ec2":
            return name
        kind = actions.EC2_IDS.get(name.rpartition("-")[0], "*")
        return arns.build(call, kind, name) if kind != "*" else "*"

    def role(self, name: str):
        from moto.iam.models import iam_backends

        roles = iam_backends[self.sandbox.account_id]["aws"].roles.values()
        return next((role for role in list(roles) if role.name == name), None)

    def _passed(self, call: Call, parameters: tuple[str, ...]) -> list[str]:
        """ARNs of the roles that the call hands over."""
        holder = call.params
        if call.operation == "RunTask":
            try:
                holder = self.sandbox.client("ecs", call.region).describe_task_definition(
                    taskDefinition=call.params.get("taskDefinition", "")
                )["taskDefinition"]
            except ClientError:
                return []
            parameters = actions.PASSES["ecs:RegisterTaskDefinition"]
        named = [str(holder[parameter]) for parameter in parameters if holder.get(parameter)]
        return list(dict.fromkeys(one if one.startswith("arn:") else self._role_arn(one) for one in named))

    def _role_arn(self, name: str) -> str:
        role = self.role(name)
        return role.arn if role else f"arn:aws:iam::{self.sandbox.account_id}:role/{name}"

    def _on_behalf(self, call: Call, action: str) -> Call | None:
        """The call that the service makes for the caller."""
        service, _, operation = action.partition(":")
        if service == "ecs":
            _, cluster, name = [*str(call.params.get("ResourceId", "")).split("/"), "", "", ""][:3]
            return Call(service, operation, call.region, {"cluster": cluster, "service": name}) if name else None
        if service == "cloudwatch":
            name = f"TargetTracking-{call.params.get('ResourceId', '*')}-*" if operation != "DescribeAlarms" else "*"
            return Call(service, operation, call.region, {"AlarmName": name})
        if service == "logs":
            delivered = values(call.params, "LogDeliveryConfigurations")
            return Call(service, operation, call.region) if delivered else None
        repository = call.params.get("encryptionConfiguration") or {}
        key = (
            call.params.get("KmsKeyId")
            or repository.get("kmsKey")
            or self._key_of_secret(call)
            or self._key_of_bucket(call)
        )
        return Call(service, operation, call.region, {"KeyId": key}) if key else None

    def _key_of_secret(self, call: Call) -> str | None:
        if call.service != "secretsmanager":
            return None
        try:
            secret = self.sandbox.client("secretsmanager", call.region).describe_secret(
                SecretId=call.params["SecretId"]
            )
        except (ClientError, KeyError):
            return None
        key = secret.get("KmsKeyId", "")
        return None if key.endswith("alias/aws/secretsmanager") else key or None

    def _key_of_bucket(self, call: Call) -> str | None:
        if call.service != "s3":
            return None
        try:
            answer = self.sandbox.client("s3", call.region).get_bucket_encryption(Bucket=call.params["Bucket"])
        except ClientError:
            return None
        rule = answer["ServerSideEncryptionConfiguration"]["Rules"][0]["ApplyServerSideEncryptionByDefault"]
        key = rule.get("KMSMasterKeyID", "")
        return None if key.endswith("alias/aws/s3") else key or None

    # ---- policies of resources ----

    def _resource_policy(self, service: str, arn: str, region: str) -> dict | None:
        """The policy of a bucket, a secret or a key, or the trust policy of a role that is to be assumed."""
        try:
            if service == "s3" and arn != "*":
                bucket = arn.rpartition(":")[2].partition("/")[0]
                return parse(self.sandbox.client("s3", region).get_bucket_policy(Bucket=bucket)["Policy"])
            if service == "secretsmanager" and re.search(r"-\w{6}$", arn):
                manager = self.sandbox.client("secretsmanager", region)
                policy = manager.get_resource_policy(SecretId=arn).get("ResourcePolicy")
                return parse(policy) if policy else None
            if service == "kms" and "*" not in arn:
                return parse(
                    self.sandbox.client("kms", region).get_key_policy(KeyId=arn, PolicyName="default")["Policy"]
                )
        except ClientError:
            return None
        if service == "sts" and ":role/" in arn:
            role = self.role(arn.rpartition("/")[2])
            return self.trust(role) if role else {}
        return None

    @staticmethod
    def trust(role) -> dict:
        return parse(role.assume_role_policy_document)


def _listener(call: Call) -> Call:
    """CreateListener as a call that makes a listener of that load balancer, whose id is not known yet."""
    name = str(call.params.get("LoadBalancerArn", "*")).partition(":loadbalancer/app/")[2]
    return Call(call.service, call.operation, call.region, {**call.params, "ListenerArn": name or "*"})


def _tag_keys(call: Call) -> list[tuple]:
    tags = [(f"aws:RequestTag/{key}", value) for key, value in request_tags(call).items()]
    return [*tags, ("aws:TagKeys", tag_keys(call))]
