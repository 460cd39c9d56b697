"""What moto accepts and AWS refuses, or the other way round, as far as this stack meets it.

Each function replaces one method of moto's and says what AWS does; tests/sandbox/test_moto_gaps.py has a test for each.
"""

import functools
import importlib
import json
import threading
import time
from unittest import mock

from .core import Sandbox

RETENTION_DAYS = (
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
)  # fmt: skip
"""What PutRetentionPolicy accepts (CloudWatch Logs API reference)."""


def install(sandbox: Sandbox) -> None:
    no_instance_types()
    logs_retention()
    logs_kms_key()
    logs_class_and_deletion_protection()
    security_group_in_use(sandbox)
    security_group_rules()
    network_in_use()
    vpc_endpoint_changes()
    flow_log_destinations()
    secret_promotion()
    secret_scheduled_for_deletion(sandbox)
    role_with_policies(sandbox)
    aws_managed_policies()
    kms_key_that_cannot_be_used()
    s3_conditional_writes()
    s3_bucket_tags()
    s3_bucket_name(sandbox)
    s3_bucket_policy_conditions()
    s3_lifecycle_rules()
    s3_logging_key_format()
    s3_kms_key()
    ecr_lifecycle_policy()
    ecr_encryption()


def replaces(owner: type, name: str):
    """Decorator: put `function(original, self, ...)` in place of owner.name, once. AttributeError if there is none."""

    def decorate(function):
        original = getattr(owner, name)
        if not hasattr(original, "__wrapped__"):

            @functools.wraps(original)
            def method(self, *args, **kwargs):
                return function(original, self, *args, **kwargs)

            setattr(owner, name, method)
        return function

    return decorate


def no_instance_types() -> None:
    """Fargate has no EC2 instances: without the tables of their types moto needs 100 MB less and starts sooner."""
    from moto.utilities import utils

    load = utils.load_resource
    with mock.patch.object(utils, "load_resource", lambda name: {} if "/instance_type" in name else load(name)):
        importlib.import_module("moto.ec2.models.instance_types")


def logs_retention() -> None:
    """A retention that AWS does not offer is an InvalidParameterException."""
    from moto.logs.exceptions import InvalidParameterException
    from moto.logs.models import LogsBackend

    @replaces(LogsBackend, "put_retention_policy")
    def put_retention_policy(original, self, log_group_name, retention_in_days):
        if int(retention_in_days) not in RETENTION_DAYS:
            offered = ", ".join(map(str, RETENTION_DAYS))
            raise InvalidParameterException(
                constraint=f"Member must satisfy enum value set: [{offered}]",
                parameter="retentionInDays",
                value=retention_in_days,
            )
        return original(self, log_group_name, retention_in_days)


def logs_kms_key() -> None:
    """AssociateKmsKey and DisassociateKmsKey of a log group."""
    from moto.logs.exceptions import InvalidParameterException, ResourceNotFoundException
    from moto.logs.responses import LogsResponse

    def group(self):
        identifier = self._get_param("resourceIdentifier") or ""
        name = self._get_param("logGroupName") or identifier.partition(":log-group:")[2].removesuffix(":*")
        found = self.logs_backend.groups.get(name)
        if found is None:
            raise ResourceNotFoundException()
        return found

    def associate_kms_key(self) -> str:
        key = self._get_param("kmsKeyId")
        if not key.startswith("arn:"):
            raise InvalidParameterException("The kmsKeyId must be the ARN of a symmetric KMS key.")
        group(self).kms_key_id = key
        return "{}"

    def disassociate_kms_key(self) -> str:
        group(self).kms_key_id = None
        return "{}"

    LogsResponse.associate_kms_key = associate_kms_key
    LogsResponse.disassociate_kms_key = disassociate_kms_key


def logs_class_and_deletion_protection() -> None:
    """A log group has a class and may be protected from deletion; one that is deleted takes its tags along."""
    from moto.core.exceptions import JsonRESTError
    from moto.logs.models import LogGroup, LogsBackend
    from moto.logs.responses import LogsResponse

    @replaces(LogsResponse, "create_log_group")
    def create_log_group(original, self):
        answer = original(self)
        group = self.logs_backend.groups[self._get_param("logGroupName")]
        group.log_group_class = self._get_param("logGroupClass") or "STANDARD"
        group.deletion_protection_enabled = bool(self._get_param("deletionProtectionEnabled"))
        return answer

    @replaces(LogGroup, "to_describe_dict")
    def to_describe_dict(original, self):
        return {
            **original(self),
            "logGroupClass": getattr(self, "log_group_class", "STANDARD"),
            "deletionProtectionEnabled": getattr(self, "deletion_protection_enabled", False),
        }

    def put_log_group_deletion_protection(self) -> str:
        name = self._get_param("logGroupIdentifier").partition(":log-group:")[2].removesuffix(":*")
        group = self.logs_backend.groups.get(name or self._get_param("logGroupIdentifier"))
        if group is None:
            raise JsonRESTError("ResourceNotFoundException", "The specified log group does not exist.")
        group.deletion_protection_enabled = self._get_param("deletionProtectionEnabled")
        return "{}"

    LogsResponse.put_log_group_deletion_protection = put_log_group_deletion_protection

    @replaces(LogsBackend, "delete_log_group")
    def delete_log_group(original, self, log_group_name):
        group = self.groups.get(log_group_name)
        if getattr(group, "deletion_protection_enabled", False):
            raise JsonRESTError(
                "ValidationException",
                "Cannot delete log group with deletion protection enabled. Disable deletion protection first.",
            )
        original(self, log_group_name)
        self.tagger.delete_all_tags_for_resource(group.arn)


def security_group_in_use(sandbox: Sandbox) -> None:
    """A security group that a rule of another group, or a running resource, refers to cannot be deleted."""
    from moto.ec2.exceptions import DependencyViolationError
    from moto.ec2.models.security_groups import SecurityGroupBackend

    @replaces(SecurityGroupBackend, "delete_security_group")
    def delete_security_group(original, self, name=None, group_id=None):
        identifier = group_id or getattr(self.get_security_group_by_name_or_id(name), "id", None)
        referring = [
            group.id
            for groups in self.groups.values()
            for group in groups.values()
            if group.id != identifier
            for rule in [*group.ingress_rules, *group.egress_rules]
            if rule.source_group.get("GroupId") == identifier
        ]
        held = {group.id for interface in self.enis.values() for group in interface.group_set}
        if referring or identifier in held or identifier in group_users(sandbox, self.region_name):
            raise DependencyViolationError(f"resource {identifier} has a dependent object")
        return original(self, name, group_id)


def group_users(sandbox: Sandbox, region: str) -> set[str]:
    """Security groups of load balancers, cache clusters and ECS services: on AWS their network interfaces hold them."""

    def every(service: str, operation: str, key: str, **arguments: str) -> list:
        pages = sandbox.client(service, region).get_paginator(operation).paginate(**arguments)
        return [item for page in pages for item in page[key]]

    balancers = every("elbv2", "describe_load_balancers", "LoadBalancers")
    used = {group for balancer in balancers for group in balancer.get("SecurityGroups", [])}
    clusters = every("elasticache", "describe_cache_clusters", "CacheClusters")
    used |= {group["SecurityGroupId"] for cluster in clusters for group in cluster.get("SecurityGroups", [])}
    ecs = sandbox.client("ecs", region)
    for cluster in every("ecs", "list_clusters", "clusterArns"):
        arns = every("ecs", "list_services", "serviceArns", cluster=cluster)
        for start in range(0, len(arns), 10):
            for service in ecs.describe_services(cluster=cluster, services=arns[start : start + 10])["services"]:
                network = service.get("networkConfiguration", {}).get("awsvpcConfiguration", {})
                used |= set(network.get("securityGroups", [])) if service["runningCount"] else set()
    return used


def network_in_use() -> None:
    """AWS deletes no subnet that has network interfaces, and no VPC that has a gateway or groups of somebody's.

    https://docs.aws.amazon.com/vpc/latest/userguide/delete-vpc.html
    """
    from moto.ec2.exceptions import DependencyViolationError
    from moto.ec2.models.nat_gateways import NatGatewayBackend
    from moto.ec2.models.subnets import SubnetBackend
    from moto.ec2.models.vpcs import VPCBackend

    @replaces(NatGatewayBackend, "delete_nat_gateway")
    def delete_nat_gateway(original, self, nat_gateway_id):
        gateway = original(self, nat_gateway_id)
        self.enis.pop(gateway._eni.id, None)
        for address in self.addresses:
            if address.eni is gateway._eni:
                self.disassociate_address(address=address.public_ip)
        return gateway

    @replaces(SubnetBackend, "delete_subnet")
    def delete_subnet(original, self, subnet_id):
        if any(interface.subnet.id == subnet_id for interface in self.enis.values()):
            raise DependencyViolationError(f"The subnet '{subnet_id}' has dependencies and cannot be deleted.")
        return original(self, subnet_id)

    @replaces(VPCBackend, "delete_vpc")
    def delete_vpc(original, self, vpc_id):
        groups = [group for group in self.groups[vpc_id].values() if group.name != "default"]
        gateways = [gateway for gateway in self.internet_gateways.values() if gateway.vpc and gateway.vpc.id == vpc_id]
        if groups or gateways:
            raise DependencyViolationError(f"The vpc '{vpc_id}' has dependencies and cannot be deleted.")
        return original(self, vpc_id)


def security_group_rules() -> None:
    """A rule is its protocol, its ports and its peer; the description is a field of it, which may change or go.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_UpdateSecurityGroupRuleDescriptionsIngress.html
    """
    from moto.ec2.exceptions import EC2ClientError, InvalidPermissionNotFoundError
    from moto.ec2.models.security_groups import SecurityGroup, SecurityGroupBackend, SecurityGroupRule

    def place(rule) -> dict:
        """Where moto keeps the description: with the peer."""
        return rule.ip_range or rule.source_group or rule.prefix_list

    @replaces(SecurityGroupRule, "__init__")
    def init(original, self, ec2_backend, ip_protocol, group_id, from_port, to_port, *peer, **more):
        ports = [-1 if port is None else port for port in (from_port, to_port)]
        original(self, ec2_backend, ip_protocol, group_id, *ports, *peer, **more)
        self.prefix_list = dict(peer[2] or {}) if len(peer) > 2 else {}
        if self.ip_protocol == "58":
            self.ip_protocol = "icmpv6"

    @replaces(SecurityGroupRule, "__eq__")
    def equal(original, self, other):
        def key(rule):
            peers = [rule.ip_range.get("CidrIp"), rule.ip_range.get("CidrIpv6"), rule.source_group.get("GroupId")]
            return rule.ip_protocol, rule.from_port, rule.to_port, *peers, rule.prefix_list_id

        return key(self) == key(other)

    @replaces(SecurityGroupBackend, "_sg_update_description")
    def update_description(original, self, given, rule):
        place(rule).pop("Description", None)
        if "Description" in place(given):
            place(rule)["Description"] = place(given)["Description"]

    @replaces(SecurityGroup, "_flattened_rules")
    def flattened(original, self, rules):
        views = original(self, rules)
        for view in views:  # one for each protocol and its ports
            what = (view.ip_protocol, view.from_port, view.to_port)
            mine = [rule for rule in rules if (rule.ip_protocol, rule.from_port, rule.to_port) == what]
            view.prefix_list_ids = [rule.prefix_list for rule in mine if rule.prefix_list]
        return views

    def demand_prefix_lists(self, arguments) -> None:
        for item in arguments.get("prefix_list_ids") or []:
            if item["PrefixListId"] not in self.managed_prefix_lists:
                message = f"The prefix list ID '{item['PrefixListId']}' does not exist"
                raise EC2ClientError("InvalidPrefixListID.NotFound", message)

    for direction in ("ingress", "egress"):

        @replaces(SecurityGroupBackend, f"authorize_security_group_{direction}")
        def authorize(original, self, *args, **kwargs):
            demand_prefix_lists(self, kwargs)
            return original(self, *args, **kwargs)

    @replaces(SecurityGroupBackend, "revoke_security_group_egress")
    def revoke_egress(original, self, **arguments):
        # moto leaves rules for IPv6 where the VPC has no such addresses
        ranges = arguments["ip_ranges"]
        group = self.get_security_group_by_name_or_id(arguments["group_name_or_id"])
        for ipv6 in [item for item in ranges if "CidrIpv6" in item]:
            ports = (arguments["from_port"], arguments["to_port"])
            rule = SecurityGroupRule(self, arguments["ip_protocol"], group.group_id, *ports, ipv6)
            if rule not in group.egress_rules:
                raise InvalidPermissionNotFoundError()
            group.egress_rules.remove(rule)
        return original(self, **{**arguments, "ip_ranges": [item for item in ranges if "CidrIpv6" not in item]})


def vpc_endpoint_changes() -> None:
    """ModifyVpcEndpoint moves routes, turns private DNS on and off, and puts back the policy that allows everything.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyVpcEndpoint.html
    """
    from moto.ec2.models.vpcs import VPCEndPoint
    from moto.ec2.responses.vpcs import VPCs

    @replaces(VPCs, "modify_vpc_endpoint")
    def modify(original, self):
        (endpoint,) = self.ec2_backend.describe_vpc_endpoints(vpc_end_point_ids=[self._get_param("VpcEndpointId")])
        before = list(endpoint.route_table_ids)
        answer = original(self)
        prefix_list, tables = endpoint.destination_prefix_list_id, set(endpoint.route_table_ids)
        for table in tables.difference(before) if prefix_list else []:
            way = {"gateway_id": endpoint.id, "destination_prefix_list_id": prefix_list}
            self.ec2_backend.create_route(table, None, **way)
        for table in set(before) - tables if prefix_list else []:
            self.ec2_backend.delete_route(table, prefix_list)
        if self._get_bool_param("ResetPolicy"):
            endpoint.policy_document = json.dumps(VPCEndPoint.DEFAULT_POLICY)
        private_dns = self._get_bool_param("PrivateDnsEnabled")
        if private_dns is not None:
            endpoint.private_dns_enabled = private_dns
        return answer


def flow_log_destinations() -> None:
    """A flow log to a log group is given its ARN, and says its name; one to a bucket may be given a folder of it.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateFlowLogs.html
    """
    from moto.ec2.models.flow_logs import FlowLogsBackend

    @replaces(FlowLogsBackend, "create_flow_logs")
    def create_flow_logs(original, self, **arguments):
        kind, destination = arguments["log_destination_type"] or "cloud-watch-logs", arguments["log_destination"]
        if kind == "cloud-watch-logs" and destination:
            arguments |= {"log_group_name": destination.removesuffix(":*").split(":")[-1], "log_destination": None}
        elif kind == "s3" and destination:
            arguments["log_destination"] = destination.split("/")[0]
        made, failed = original(self, **arguments)
        if kind == "s3":
            for flow_log in made:
                flow_log.log_destination = destination
        return made, failed


def secret_promotion() -> None:
    """After UpdateSecretVersionStage has moved AWSCURRENT, GetSecretValue without a version answers the new one."""
    from moto.secretsmanager.models import SecretsManagerBackend

    @replaces(SecretsManagerBackend, "update_secret_version_stage")
    def update_secret_version_stage(
        original, self, secret_id, version_stage, remove_from_version_id, move_to_version_id
    ):
        answer = original(self, secret_id, version_stage, remove_from_version_id, move_to_version_id)
        if version_stage == "AWSCURRENT" and move_to_version_id:
            self.secrets[secret_id].set_default_version_id(move_to_version_id)
        return answer


def secret_scheduled_for_deletion(sandbox: Sandbox) -> None:
    """The name of a secret in its recovery window is refused with InvalidRequestException, not ResourceExists.

    So is, for a moment, that of one without such a window: the deletion itself is asynchronous.
    https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_DeleteSecret.html
    """
    from moto.secretsmanager.exceptions import InvalidRequestException
    from moto.secretsmanager.models import SecretsManagerBackend

    deleted: dict[str, float] = {}

    @replaces(SecretsManagerBackend, "delete_secret")
    def delete_secret(original, self, secret_id, recovery_window_in_days, force_delete_without_recovery):
        answer = original(self, secret_id, recovery_window_in_days, force_delete_without_recovery)
        if force_delete_without_recovery:
            deleted[answer[1]] = time.monotonic()
        return answer

    @replaces(SecretsManagerBackend, "create_secret")
    def create_secret(original, self, name, *args, **kwargs):
        if (name in self.secrets and self.secrets[name].is_deleted()) or sandbox.young(deleted.get(name, 0.0)):
            raise InvalidRequestException(
                "You can't create this secret because a secret with this name is already scheduled for deletion."
            )
        return original(self, name, *args, **kwargs)


def role_with_policies(sandbox: Sandbox) -> None:
    """For a moment IAM still knows of the policies that were just taken from a role, and does not delete it.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency
    """
    from moto.iam.exceptions import DeleteConflictException
    from moto.iam.models import IAMBackend

    taken: dict[str, float] = {}

    @replaces(IAMBackend, "delete_role_policy")
    def delete_role_policy(original, self, role_name, *args, **kwargs):
        taken[role_name] = time.monotonic()
        return original(self, role_name, *args, **kwargs)

    @replaces(IAMBackend, "delete_role")
    def delete_role(original, self, role_name):
        if sandbox.young(taken.get(role_name, 0.0)):
            raise DeleteConflictException("Cannot delete entity, must delete policies first.")
        return original(self, role_name)


def aws_managed_policies() -> None:
    """AWS's own policies exist. moto can load all of them at a cost of 50 MB; here each comes when it is asked for."""
    from moto.iam.aws_managed_policies import aws_managed_policies_data
    from moto.iam.models import AWSManagedPolicy, IAMBackend

    def load(self, arn: str) -> None:
        name = arn.rpartition("/")[2]
        start = aws_managed_policies_data.find(f'\n "{name}":{{')
        if "::aws:policy/" in arn and arn not in self.managed_policies and start >= 0:
            data, _ = json.JSONDecoder().raw_decode(
                aws_managed_policies_data, aws_managed_policies_data.index("{", start)
            )
            policy = AWSManagedPolicy.from_data(name, self.account_id, self.region_name, data)
            self.managed_policies[policy.arn] = policy

    for method in ("attach_role_policy", "get_policy"):

        @replaces(IAMBackend, method)
        def found(original, self, policy_arn, *args, **kwargs):
            load(self, policy_arn)
            return original(self, policy_arn, *args, **kwargs)


def kms_key_that_cannot_be_used() -> None:
    """A disabled key, or one scheduled for deletion, neither encrypts nor decrypts; the window is 7 to 30 days."""
    from moto.core.exceptions import JsonRESTError
    from moto.kms.exceptions import ValidationException
    from moto.kms.models import KmsBackend

    def demand_usable(key) -> None:
        if key.key_state == "Disabled":
            raise JsonRESTError("DisabledException", f"{key.arn} is disabled.")
        if key.key_state == "PendingDeletion":
            raise JsonRESTError("KMSInvalidStateException", f"{key.arn} is pending deletion.")

    @replaces(KmsBackend, "encrypt")
    def encrypt(original, self, key_id, plaintext, encryption_context):
        demand_usable(self.keys[self.any_id_to_key_id(key_id)])
        return original(self, key_id, plaintext, encryption_context)

    @replaces(KmsBackend, "decrypt")
    def decrypt(original, self, *args, **kwargs):
        answer = original(self, *args, **kwargs)
        demand_usable(self.keys[self.any_id_to_key_id(answer[1])])
        return answer

    @replaces(KmsBackend, "schedule_key_deletion")
    def schedule_key_deletion(original, self, key_id, pending_window_in_days):
        if not 7 <= pending_window_in_days <= 30:
            raise ValidationException("PendingWindowInDays must be between 7 and 30.")
        return original(self, key_id, pending_window_in_days)


def s3_conditional_writes() -> None:
    """If-Match and If-None-Match hold when requests come at once: of many writers that expect the same, one wins.

    moto looks first and writes afterwards, and its server answers every request in a thread of its own.
    """
    from moto.s3.responses import S3Response

    one_at_a_time = threading.Lock()
    for method in ("put_object", "delete_object"):

        @replaces(S3Response, method)
        def write(original, self):
            with one_at_a_time:
                return original(self)


def s3_bucket_name(sandbox: Sandbox) -> None:
    """For a moment the name of a bucket that was deleted is not free: OperationAborted.

    https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
    """
    from moto.s3.exceptions import S3ClientError
    from moto.s3.models import S3Backend

    deleted: dict[str, float] = {}

    @replaces(S3Backend, "delete_bucket")
    def delete_bucket(original, self, bucket_name):
        deleted[bucket_name] = time.monotonic()
        return original(self, bucket_name)

    @replaces(S3Backend, "create_bucket")
    def create_bucket(original, self, bucket_name, *args, **kwargs):
        if sandbox.young(deleted.get(bucket_name, 0.0)):
            text = (
                "A conflicting conditional operation is currently in progress against this resource. Please try again."
            )
            raise S3ClientError("OperationAborted", text)
        return original(self, bucket_name, *args, **kwargs)


def s3_bucket_tags() -> None:
    """CreateBucket sets the tags of CreateBucketConfiguration; a bucket that is there already keeps its own.

    A value may be empty.
    """
    import xmltodict
    from moto.s3.models import S3Backend, s3_backends
    from moto.s3.responses import S3Response

    @replaces(S3Response, "_bucket_response_put")
    def create(original, self, request, bucket_name, *rest):
        new = bucket_name not in s3_backends.bucket_accounts
        answer = original(self, request, bucket_name, *rest)
        if new and self.body:
            configuration = xmltodict.parse(self.body, force_list={"Tag"}).get("CreateBucketConfiguration", {})
            tags = (configuration.get("Tags") or {}).get("Tag", [])
            if tags:
                self.backend.put_bucket_tagging(bucket_name, {tag["Key"]: tag["Value"] for tag in tags})
        return answer

    @replaces(S3Backend, "put_bucket_tagging")
    def put_bucket_tagging(original, self, bucket_name, tags):
        return original(self, bucket_name, {key: value or "" for key, value in tags.items()})


def s3_bucket_policy_conditions() -> None:
    """A statement under a condition is not enforced.

    moto ignores the condition: to deny what comes without TLS would be to deny everything. There is no TLS here.
    """
    from moto.iam.access_control import IAMPolicy
    from moto.s3.models import FakeBucket

    @replaces(FakeBucket, "get_permission")
    def get_permission(original, self, action, resource):
        if self.policy is None:
            return original(self, action, resource)
        document = json.loads(self.policy)
        statements = document["Statement"] if isinstance(document["Statement"], list) else [document["Statement"]]
        document["Statement"] = [statement for statement in statements if not statement.get("Condition")]
        return IAMPolicy(json.dumps(document)).is_action_permitted(action, resource)


def s3_lifecycle_rules() -> None:
    """A lifecycle rule is kept with all of its fields, and one that S3 refuses is refused."""
    from moto.core.responses import ActionResult
    from moto.s3.exceptions import NoSuchLifecycleConfiguration, S3ClientError
    from moto.s3.models import FakeBucket
    from moto.s3.responses import S3Response

    plural = {"Transition": "Transitions", "NoncurrentVersionTransition": "NoncurrentVersionTransitions"}

    def listed(value) -> list:
        return value if isinstance(value, list) else [value] if value else []

    def invalid(message: str) -> S3ClientError:
        return S3ClientError("InvalidArgument", message)

    def validate(rules: list[dict]) -> None:
        ids = [rule.get("ID") for rule in rules]
        if len(set(ids)) < len(ids):
            raise invalid("Rule ID must be unique. Found same ID for more than one rule")
        for rule in rules:
            if not rule.keys() - {"ID", "Prefix", "Filter", "Status"}:
                raise S3ClientError("InvalidRequest", "At least one action needs to be specified in a rule")
            for kind in plural:
                ends, days = ("Expiration", "Days") if kind == "Transition" else (
                    "NoncurrentVersionExpiration", "NoncurrentDays"
                )  # fmt: skip
                end = (rule.get(ends) or {}).get(days)
                if end is not None and int(end) < 1:
                    raise invalid(f"'{days}' for {ends} action must be a positive integer")
                for move in listed(rule.get(kind)):
                    if move["StorageClass"] in ("STANDARD_IA", "ONEZONE_IA") and int(move.get(days) or 30) < 30:
                        at_least = f"greater than or equal to 30 for storageClass '{move['StorageClass']}'"
                        raise invalid(f"'{days}' in {kind} action must be {at_least}")
                    if end is not None and int(end) <= int(move.get(days) or 0):
                        raise invalid(
                            f"'{days}' in the {ends} action must be greater than '{days}' in the {kind} action"
                        )

    @replaces(FakeBucket, "set_lifecycle")
    def set_lifecycle(original, self, rules):
        validate(rules)
        kept = json.loads(json.dumps(rules))
        original(self, rules)
        self.rules_as_given = kept

    @replaces(S3Response, "get_bucket_lifecycle")
    def get_bucket_lifecycle(original, self):
        bucket = self.backend.get_bucket(self.bucket_name)
        self.data["Action"] = "GetBucketLifecycleConfiguration"
        if not bucket.rules:
            raise NoSuchLifecycleConfiguration(bucket_name=self.bucket_name)
        rules = []
        for given in bucket.rules_as_given:
            rule = {plural.get(key, key): value for key, value in given.items()}
            rule |= {key: listed(rule[key]) for key in plural.values() if key in rule}
            if "Filter" in rule:
                rule["Filter"] = where = dict(rule["Filter"] or {})
                if "And" in where:
                    where["And"] = both = dict(where["And"])
                    both |= {"Tags": listed(both.pop("Tag"))} if "Tag" in both else {}
                    both |= {"Prefix": both["Prefix"] or ""} if "Prefix" in both else {}
                where |= {"Prefix": where["Prefix"] or ""} if "Prefix" in where else {}
            rules.append(rule)
        answer = {"Rules": rules, "TransitionDefaultMinimumObjectSize": bucket.least_size_that_moves}
        return self.serialized(ActionResult(answer))

    @replaces(S3Response, "_bucket_response")
    def bucket_response(original, self, request, full_url):
        answer = original(self, request, full_url)
        if request.method == "PUT" and "lifecycle" in self._get_querystring(request, full_url):
            size = request.headers.get("x-amz-transition-default-minimum-object-size", "all_storage_classes_128K")
            bucket = self.parse_bucket_name_from_url(request, full_url)
            self.backend.get_bucket(bucket).least_size_that_moves = size
        return answer


def s3_logging_key_format() -> None:
    """How the keys of access logs are made is kept, and told of."""
    from moto.s3.responses import S3Response

    @replaces(S3Response, "get_bucket_logging")
    def get_bucket_logging(original, self):
        there = self.backend.get_bucket_logging(self.bucket_name)
        given = (there or {}).get("TargetObjectKeyFormat")
        if not given:
            return original(self)
        serialized = self.serialized
        kept = {name: value or {} for name, value in given.items()}

        def with_format(answer):
            answer.result["LoggingEnabled"]["TargetObjectKeyFormat"] = kept
            return serialized(answer)

        self.serialized = with_format
        try:
            return original(self)
        finally:
            del self.serialized


def s3_kms_key() -> None:
    """A KMS key goes only with SSE-KMS."""
    from moto.s3.exceptions import S3ClientError
    from moto.s3.models import S3Backend

    @replaces(S3Backend, "put_bucket_encryption")
    def put_bucket_encryption(original, self, bucket_name, encryption):
        rule = encryption["Rule"]
        default = rule["ApplyServerSideEncryptionByDefault"]
        if default.get("KMSMasterKeyID") and default["SSEAlgorithm"] == "AES256":
            raise S3ClientError(
                "InvalidArgument", "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms"
            )
        return original(self, bucket_name, encryption)


def ecr_lifecycle_policy() -> None:
    """Rules may archive images, and what ECR's User Guide rules out ("Lifecycle policy properties") is refused."""
    from moto.ecr import policy_validation
    from moto.ecr.exceptions import InvalidParameterException
    from moto.ecr.policy_validation import EcrLifecyclePolicyValidator

    policy_validation.VALID_ACTION_PROPERTIES = {"type", "targetStorageClass"}
    policy_validation.VALID_ACTION_TYPE_VALUES |= {"transition"}
    policy_validation.VALID_SELECTION_PROPERTIES |= {"storageClass"}
    policy_validation.VALID_SELECTION_COUNT_TYPE_VALUES |= {"sinceImagePulled", "sinceImageTransitioned"}

    def problem(rule, later):
        selection, action = rule["selection"], rule["action"]
        kind, tags = selection["countType"], selection["tagStatus"]
        lists = [name for name in ("tagPatternList", "tagPrefixList") if selection.get(name)]
        if (tags == "tagged") != (len(lists) == 1) or len(lists) > 1:
            return f"{tags} with {lists}"
        if any(pattern.count("*") > 4 for pattern in selection.get("tagPatternList", [])):
            return "more than four wildcards"
        if (selection.get("countUnit") == "days") != (kind != "imageCountMoreThan"):
            return f"countUnit with {kind}"
        if (action["type"] == "transition") != (action.get("targetStorageClass") == "archive"):
            return "targetStorageClass"
        if kind == "sinceImagePulled" and action["type"] != "transition":
            return "sinceImagePulled without transition"
        archived = selection.get("storageClass") == "archive" and action["type"] == "expire"
        if kind == "sinceImageTransitioned" and not (archived and selection["countNumber"] >= 90):
            return "sinceImageTransitioned"
        of_class = [one for one in later if one["selection"].get("storageClass") == selection.get("storageClass")]
        return "any is not last" if tags == "any" and of_class else ""

    @replaces(EcrLifecyclePolicyValidator, "validate")
    def validate(original, self):
        original(self)
        rules = sorted(self._rules, key=lambda rule: rule["rulePriority"])
        wrong = [problem(rule, rules[place:]) for place, rule in enumerate(rules, 1)]
        if len({rule["rulePriority"] for rule in rules}) < len(rules):
            wrong.append("rulePriority twice")
        if any(wrong):
            raise InvalidParameterException(f"{self.INVALID_PARAMETER_ERROR_MESSAGE}{next(filter(None, wrong))}'")


def ecr_encryption() -> None:
    """AES256 has no key, every other has one, of which the repository tells the ARN."""
    from moto.ecr.exceptions import InvalidParameterException
    from moto.ecr.models import Repository
    from moto.moto_api._internal import mock_random

    @replaces(Repository, "_determine_encryption_config")
    def determine_encryption_config(original, self, encryption_config):
        given = {"encryptionType": "AES256", **(encryption_config or {})}
        key = given.get("kmsKey")
        if given["encryptionType"] == "AES256":
            if key:
                raise InvalidParameterException("Invalid parameter at 'encryptionConfiguration': AES256 has no kmsKey")
            return given
        arn = self.arn.replace(":ecr:", ":kms:").rpartition(":")[0]
        key = key or f"key/{mock_random.uuid4()}"
        if not key.startswith("arn:"):
            key = f"{arn}:{key if '/' in key else f'key/{key}'}"
        return {**given, "kmsKey": key}
