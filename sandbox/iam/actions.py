"""What each operation needs: actions, the resources they are for, and what else IAM checks along with them.

https://docs.aws.amazon.com/service-authorization/latest/reference/, which tests/sandbox/test_iam_actions.py compares.
An operation that is not in here needs the action of its name on "*".
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .calls import Call, values


@dataclass(frozen=True)
class Type:
    """A type of resource: its ARN after `arn:partition:`, and the parameters that name one."""

    arn: str
    params: tuple[str, ...] = ()


def _ec2(kind: str, *params: str) -> Type:
    return Type(f"ec2:{{region}}:{{account}}:{kind}/{{name}}", params)


def _elasticache(kind: str, *params: str) -> Type:
    return Type(f"elasticache:{{region}}:{{account}}:{kind}:{{name}}", params)


TYPES = {
    "ec2": {
        "vpc": _ec2("vpc", "VpcId", "ResourceId"),
        "subnet": _ec2("subnet", "SubnetId", "AddSubnetId", "RemoveSubnetId"),
        "internet-gateway": _ec2("internet-gateway", "InternetGatewayId"),
        "natgateway": _ec2("natgateway", "NatGatewayId"),
        "elastic-ip": _ec2("elastic-ip", "AllocationId"),
        "route-table": _ec2("route-table", "RouteTableId", "AddRouteTableId", "RemoveRouteTableId"),
        "security-group": _ec2("security-group", "GroupId", "SecurityGroupId", "AddSecurityGroupId"),
        "vpc-endpoint": _ec2("vpc-endpoint", "VpcEndpointId"),
        "vpc-flow-log": _ec2("vpc-flow-log", "FlowLogId"),
    },
    "ecs": {
        "cluster": Type("ecs:{region}:{account}:cluster/{name}", ("clusterName", "cluster", "clusters")),
        "service": Type("ecs:{region}:{account}:service/{cluster}/{name}", ("serviceName", "service", "services")),
        "service-deployment": Type(
            "ecs:{region}:{account}:service-deployment/{cluster}/{service}/{name}",
            ("serviceDeploymentArn", "serviceDeploymentArns"),
        ),
        "service-revision": Type(
            "ecs:{region}:{account}:service-revision/{cluster}/{service}/{name}", ("serviceRevisionArns",)
        ),
        "task": Type("ecs:{region}:{account}:task/{cluster}/{name}", ("task", "tasks")),
        "task-definition": Type("ecs:{region}:{account}:task-definition/{name}", ("family", "taskDefinition")),
    },
    "elasticache": {
        "cluster": _elasticache("cluster", "CacheClusterId", "PrimaryClusterId"),
        "replicationgroup": _elasticache("replicationgroup", "ReplicationGroupId"),
        "parametergroup": _elasticache("parametergroup", "CacheParameterGroupName"),
        "subnetgroup": _elasticache("subnetgroup", "CacheSubnetGroupName"),
        "snapshot": _elasticache("snapshot", "FinalSnapshotIdentifier", "SnapshotName"),
        "user": _elasticache("user", "UserId", "UserIds", "UserIdsToAdd", "UserIdsToRemove"),
        "usergroup": _elasticache(
            "usergroup", "UserGroupId", "UserGroupIds", "UserGroupIdsToAdd", "UserGroupIdsToRemove"
        ),
    },
    "elasticloadbalancing": {
        "loadbalancer": Type(
            "elasticloadbalancing:{region}:{account}:loadbalancer/app/{name}/*", ("LoadBalancerArn", "Name")
        ),
        "targetgroup": Type("elasticloadbalancing:{region}:{account}:targetgroup/{name}/*", ("TargetGroupArn", "Name")),
        "listener": Type("elasticloadbalancing:{region}:{account}:listener/app/{name}/*", ("ListenerArn",)),
    },
    "logs": {
        "log-group": Type("logs:{region}:{account}:log-group:{name}:log-stream:", ("logGroupName",)),
        "log-stream": Type("logs:{region}:{account}:log-group:{group}:log-stream:{name}", ("logStreamName",)),
    },
    "secretsmanager": {"secret": Type("secretsmanager:{region}:{account}:secret:{name}", ("SecretId", "Name"))},
    "iam": {"role": Type("iam::{account}:role/{name}", ("RoleName", "PolicySourceArn"))},
    "ecr": {
        "repository": Type("ecr:{region}:{account}:repository/{name}", ("repositoryName", "repositoryNames")),
    },
    "kms": {"key": Type("kms:{region}:{account}:key/{name}", ("KeyId", "KmsKeyId"))},
    "cloudwatch": {
        "alarm": Type("cloudwatch:{region}:{account}:alarm:{name}", ("AlarmName", "AlarmNames")),
        "dashboard": Type("cloudwatch::{account}:dashboard/{name}", ("DashboardName",)),
    },
    "application-autoscaling": {
        "scalable-target": Type("application-autoscaling:{region}:{account}:scalable-target/{name}", ("ResourceId",)),
    },
    "s3": {"bucket": Type("s3:::{name}", ("Bucket",)), "object": Type("s3:::{bucket}/{name}", ("Key",))},
    "sts": {"role": Type("iam::{account}:role/{name}", ())},
}

EC2_IDS = {
    "vpc": "vpc", "subnet": "subnet", "igw": "internet-gateway", "nat": "natgateway", "eipalloc": "elastic-ip",
    "rtb": "route-table", "sg": "security-group", "vpce": "vpc-endpoint",
    "fl": "vpc-flow-log",
}  # fmt: skip
"""What CreateTags is given, by the beginning of its id."""

_ROWS = {
    "ec2": {
        "+vpc": "CreateVpc",
        "+subnet vpc": "CreateSubnet",
        "+internet-gateway": "CreateInternetGateway",
        "+route-table vpc": "CreateRouteTable",
        "+natgateway elastic-ip? subnet?": "CreateNatGateway",
        "+vpc-endpoint vpc route-table? subnet? security-group?": "CreateVpcEndpoint",
        "+security-group vpc?": "CreateSecurityGroup",
        "+elastic-ip": "AllocateAddress",
        "+vpc-flow-log vpc": "CreateFlowLogs",
        "internet-gateway vpc": "AttachInternetGateway DetachInternetGateway",
        "route-table subnet?": "AssociateRouteTable DisassociateRouteTable ReplaceRouteTableAssociation",
        "vpc-endpoint route-table? subnet? security-group?": "ModifyVpcEndpoint",
        "route-table": "CreateRoute DeleteRoute ReplaceRoute DeleteRouteTable",
        "vpc": "DescribeVpcAttribute ModifyVpcAttribute DeleteVpc",
        "subnet": "ModifySubnetAttribute DeleteSubnet",
        "security-group": (
            "AuthorizeSecurityGroupIngress AuthorizeSecurityGroupEgress RevokeSecurityGroupIngress "
            "RevokeSecurityGroupEgress UpdateSecurityGroupRuleDescriptionsIngress "
            "UpdateSecurityGroupRuleDescriptionsEgress DeleteSecurityGroup"
        ),
        "internet-gateway": "DeleteInternetGateway",
        "natgateway": "DeleteNatGateway",
        "vpc-endpoint": "DeleteVpcEndpoints",
        "vpc-flow-log": "DeleteFlowLogs",
        "elastic-ip": "ReleaseAddress",
        f"@ResourceId {' '.join(EC2_IDS.values())}": "CreateTags DeleteTags",
    },
    "ecs": {
        "+cluster": "CreateCluster",
        "+service": "CreateService",
        "+task-definition": "RegisterTaskDefinition",
        "task-definition": "RunTask",
        "cluster": "DescribeClusters DeleteCluster UpdateCluster PutClusterCapacityProviders",
        "service": "DescribeServices UpdateService DeleteService ListServiceDeployments",
        # the call names these only, and their ARNs the service
        "service? service-deployment": "DescribeServiceDeployments StopServiceDeployment",
        "service? service-revision": "DescribeServiceRevisions",
        "task": "DescribeTasks StopTask GetTaskProtection UpdateTaskProtection",
        "@resourceArn cluster service task-definition": "TagResource UntagResource ListTagsForResource",
    },
    "elasticache": {
        "+replicationgroup parametergroup? subnetgroup? usergroup? snapshot?": "CreateReplicationGroup",
        "+parametergroup": "CreateCacheParameterGroup",
        "+subnetgroup": "CreateCacheSubnetGroup",
        "replicationgroup parametergroup? usergroup?": "ModifyReplicationGroup",
        "replicationgroup +snapshot?": "DeleteReplicationGroup",
        "replicationgroup": "DescribeReplicationGroups IncreaseReplicaCount DecreaseReplicaCount TestFailover",
        "parametergroup": (
            "DescribeCacheParameterGroups DescribeCacheParameters ModifyCacheParameterGroup "
            "ResetCacheParameterGroup DeleteCacheParameterGroup"
        ),
        "subnetgroup": "DescribeCacheSubnetGroups ModifyCacheSubnetGroup DeleteCacheSubnetGroup",
        "cluster": "DescribeCacheClusters",
        "snapshot": "DescribeSnapshots DeleteSnapshot",
        "+user": "CreateUser",
        "+usergroup user": "CreateUserGroup",
        "usergroup user?": "ModifyUserGroup",
        "usergroup": "DescribeUserGroups DeleteUserGroup",
        "user": "DescribeUsers ModifyUser DeleteUser",
        "@ResourceName replicationgroup parametergroup subnetgroup user usergroup": (
            "AddTagsToResource RemoveTagsFromResource ListTagsForResource"
        ),
    },
    "elasticloadbalancing": {
        "+loadbalancer": "CreateLoadBalancer",
        "+targetgroup": "CreateTargetGroup",
        "loadbalancer": ("CreateListener ModifyLoadBalancerAttributes SetSecurityGroups SetSubnets DeleteLoadBalancer"),
        "targetgroup": "ModifyTargetGroup ModifyTargetGroupAttributes DeleteTargetGroup",
        "listener": "ModifyListener DeleteListener",
        "@ResourceArns loadbalancer targetgroup listener": "AddTags RemoveTags",
    },
    "logs": {
        "+log-group": "CreateLogGroup",
        "log-group": (
            "DeleteLogGroup PutRetentionPolicy DeleteRetentionPolicy AssociateKmsKey DisassociateKmsKey "
            "PutLogGroupDeletionProtection FilterLogEvents DescribeLogStreams"
        ),
        "log-stream": "CreateLogStream PutLogEvents GetLogEvents",
        "@resourceArn log-group": "TagResource UntagResource ListTagsForResource",
    },
    "secretsmanager": {
        "+secret": "CreateSecret",
        "secret": (
            "DescribeSecret GetResourcePolicy GetSecretValue PutSecretValue UpdateSecret UpdateSecretVersionStage "
            "DeleteSecret RestoreSecret TagResource UntagResource"
        ),
    },
    "iam": {
        "+role": "CreateRole",
        "role": (
            "GetRole UpdateRole DeleteRole UpdateAssumeRolePolicy ListRolePolicies GetRolePolicy PutRolePolicy "
            "DeleteRolePolicy ListAttachedRolePolicies AttachRolePolicy DetachRolePolicy "
            "PutRolePermissionsBoundary DeleteRolePermissionsBoundary TagRole UntagRole ListRoleTags "
            "ListInstanceProfilesForRole PassRole SimulatePrincipalPolicy"
        ),
    },
    "ecr": {
        "+repository": "CreateRepository",
        "repository": (
            "BatchGetImage DescribeImages DescribeRepositories ListImages DeleteRepository PutImageTagMutability "
            "PutImageScanningConfiguration GetLifecyclePolicy PutLifecyclePolicy DeleteLifecyclePolicy "
            "GetRepositoryPolicy SetRepositoryPolicy DeleteRepositoryPolicy BatchCheckLayerAvailability "
            "GetDownloadUrlForLayer InitiateLayerUpload UploadLayerPart CompleteLayerUpload PutImage"
        ),
        "@resourceArn repository": "TagResource UntagResource ListTagsForResource",
    },
    "kms": {
        "key": "DescribeKey Encrypt Decrypt GenerateDataKey CreateGrant RetireGrant ScheduleKeyDeletion",
    },
    "cloudwatch": {
        "~alarm": "PutMetricAlarm PutCompositeAlarm",
        "alarm": "DescribeAlarms DeleteAlarms",
        "~dashboard": "PutDashboard",
        "dashboard": "GetDashboard DeleteDashboards",
        "@ResourceARN alarm dashboard": "TagResource UntagResource ListTagsForResource",
    },
    "application-autoscaling": {
        "~scalable-target": "RegisterScalableTarget",
        "scalable-target": (
            "DeregisterScalableTarget PutScalingPolicy DeleteScalingPolicy PutScheduledAction DeleteScheduledAction"
        ),
        "@ResourceARN scalable-target": "TagResource UntagResource ListTagsForResource",
    },
    "s3": {
        "+bucket": "CreateBucket",
        "bucket": (
            "TagResource DeleteBucket ListBucket ListBucketVersions GetBucketLocation GetBucketVersioning "
            "GetEncryptionConfiguration GetBucketPublicAccessBlock GetBucketTagging GetLifecycleConfiguration "
            "GetBucketPolicy GetBucketOwnershipControls PutBucketVersioning PutEncryptionConfiguration "
            "PutBucketPublicAccessBlock PutBucketTagging PutLifecycleConfiguration PutBucketPolicy "
            "PutBucketOwnershipControls DeleteBucketPolicy GetBucketLogging PutBucketLogging"
        ),
        "object": "GetObject GetObjectVersion PutObject DeleteObject DeleteObjectVersion",
    },
    "sts": {
        "@RoleArn role": "AssumeRole",
    },
}
"""Operations by what they need. `type`: a permission for it; `+type`: for a new one, whose tags are those of the
request; `~type`: new or not; `type?`: if the call names one; `@param`: that parameter holds ARNs, of these types."""
NEEDS = {
    service: {name: text for text, names in rows.items() for name in names.split()} for service, rows in _ROWS.items()
}

S3_ACTIONS = {
    "ListBuckets": "ListAllMyBuckets",
    "HeadBucket": "ListBucket",
    "ListObjects": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "ListObjectVersions": "ListBucketVersions",
    "HeadObject": "GetObject",
    "DeleteObjects": "DeleteObject",
    "DeletePublicAccessBlock": "PutBucketPublicAccessBlock",
    "DeleteBucketEncryption": "PutEncryptionConfiguration",
    "DeleteBucketTagging": "PutBucketTagging",
    "DeleteBucketLifecycle": "PutLifecycleConfiguration",
    "DeleteBucketOwnershipControls": "PutBucketOwnershipControls",
    **{
        f"{verb}{operation}": f"{verb}{action}"
        for verb in ("Get", "Put")
        for operation, action in (
            ("BucketEncryption", "EncryptionConfiguration"),
            ("PublicAccessBlock", "BucketPublicAccessBlock"),
            ("BucketLifecycleConfiguration", "LifecycleConfiguration"),
        )
    },
}
"""Of S3, whose actions are not all called as its operations are."""

TAGGING = {
    "ec2": ("CreateTags", "ec2:CreateAction"),
    "ecs": ("TagResource", "ecs:CreateAction"),
    "elasticloadbalancing": ("AddTags", "elasticloadbalancing:CreateAction"),
    "elasticache": ("AddTagsToResource", ""),
    "logs": ("TagResource", ""),
    "secretsmanager": ("TagResource", ""),
    "iam": ("TagRole", ""),
    "application-autoscaling": ("TagResource", ""),
    "cloudwatch": ("TagResource", ""),
    "ecr": ("TagResource", ""),
    "s3": ("TagResource", ""),
}
"""The action that a call which makes something with tags needs too, and the key that then says which call it is."""
TAGS_ANOTHER = {"elasticloadbalancing:CreateListener": "listener", "ecs:RunTask": "task"}
"""The type that such a call tags, where it is not the one that it asks the permission for."""

PASSES = {"ecs:RegisterTaskDefinition": ("executionRoleArn", "taskRoleArn"), "ecs:RunTask": ()}
"""Calls that hand roles to ECS tasks, and the parameters that hold them (RunTask: its task definition's)."""
PASSED_TO = "ecs-tasks.amazonaws.com"

LOG_DELIVERY = tuple(
    f"logs:{action} *?"
    for action in (
        *("CreateLogDelivery", "GetLogDelivery", "UpdateLogDelivery", "DeleteLogDelivery", "ListLogDeliveries"),
        *("PutResourcePolicy", "DescribeResourcePolicies", "DescribeLogGroups"),
    )
)
"""ElastiCache User Guide, "Logging destinations"."""
ON_BEHALF = {
    "application-autoscaling:RegisterScalableTarget": ("ecs:DescribeServices service", "ecs:UpdateService service"),
    "application-autoscaling:PutScalingPolicy": ("cloudwatch:PutMetricAlarm alarm", "cloudwatch:DescribeAlarms alarm"),
    "application-autoscaling:DeleteScalingPolicy": ("cloudwatch:DeleteAlarms alarm",),
    "application-autoscaling:DeregisterScalableTarget": ("cloudwatch:DeleteAlarms alarm",),
    "elasticache:CreateReplicationGroup": ("kms:DescribeKey key?", "kms:CreateGrant key?", *LOG_DELIVERY),
    "elasticache:ModifyReplicationGroup": LOG_DELIVERY,
    **{
        f"secretsmanager:{operation}": ("kms:GenerateDataKey key?", "kms:Decrypt key?")
        for operation in ("CreateSecret", "PutSecretValue", "UpdateSecret")
    },
    "secretsmanager:GetSecretValue": ("kms:Decrypt key?",),
    "ecr:CreateRepository": ("kms:DescribeKey key?", "kms:CreateGrant key?"),
    "ecr:DeleteRepository": ("kms:RetireGrant key?",),
    "s3:PutObject": ("kms:GenerateDataKey key?", "kms:Decrypt key?"),
    "s3:GetObject": ("kms:Decrypt key?",),
}
"""What a service does on behalf of the caller, who must be allowed to do it. Application Auto Scaling User Guide,
"Permissions required for API actions on target services and CloudWatch"; Secrets Manager User Guide, "Secret encryption
and decryption"; S3 User Guide, "Using server-side encryption with AWS KMS keys"; ElastiCache User Guide, "At-Rest
Encryption"; ECR User Guide, "Encryption at rest". `key?`: a key of the customer's; `*?`: all resources, where the call
has logs delivered."""

SERVICE_LINKED_ROLES = {
    "ecs:CreateCluster": ("ecs.amazonaws.com", "AWSServiceRoleForECS"),
    "elasticache:CreateReplicationGroup": ("elasticache.amazonaws.com", "AWSServiceRoleForElastiCache"),
    "elasticloadbalancing:CreateLoadBalancer": (
        "elasticloadbalancing.amazonaws.com",
        "AWSServiceRoleForElasticLoadBalancing",
    ),
    "application-autoscaling:RegisterScalableTarget": (
        "ecs.application-autoscaling.amazonaws.com",
        "AWSServiceRoleForApplicationAutoScaling_ECSService",
    ),
}
"""The first such call in an account makes this role, as the caller."""
ALWAYS_ALLOWED = {"sts:GetCallerIdentity", "sts:GetSessionToken"}
"""https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html"""


@dataclass(frozen=True)
class Need:
    """One token of NEEDS."""

    kind: str
    made: bool = False
    changed: bool = True
    optional: bool = False


def needs(service: str, action: str) -> tuple[str, list[Need]]:
    """(parameter that holds ARNs or "", needs) of an action's name, ("", []) if it is for all resources."""
    first, *rest = [*NEEDS.get(service, {}).get(action, "").split(), ""]
    tokens = rest[:-1] if first.startswith("@") else [first, *rest[:-1]] if first else []
    found = [
        Need(token.strip("+~?"), token[0] in "+~", token[0] != "+", token.endswith("?")) for token in tokens if token
    ]
    return first[1:] if first.startswith("@") else "", found


def action_of(call: Call) -> str:
    """The name of the action, without its service."""
    if call.service == "s3":
        name = S3_ACTIONS.get(call.operation, call.operation)
        return f"{name}Version" if name in ("GetObject", "DeleteObject") and "VersionId" in call.params else name
    return call.operation


class Arns:
    """Builds ARNs of one account and region from a call's parameters.

    lookup(call, kind, name) -> ARN or None: finds what a name or id stands for where the ARN has more in it.
    """

    def __init__(self, partition: str, account: str, lookup: Callable[[Call, str, str], str | None]):
        self.partition, self.account, self.lookup = partition, account, lookup

    def of(self, call: Call, need: Need) -> list[str]:
        """ARNs of the need's type that the call names; `*` stands for a name that is not known (yet)."""
        kind = TYPES[call.service][need.kind]
        named = values(call.params, *kind.params)
        if call.service == "ec2" and need.made:
            named = []  # AWS gives the id
        if not named and not need.made and (found := self.lookup(call, need.kind, "")):
            return [found]
        if not named and need.optional:
            return []
        return [self._one(call, need, str(name)) for name in named or ["*"]]

    def _one(self, call: Call, need: Need, name: str) -> str:
        if name.startswith("arn:"):
            return name if call.operation != "CreateListener" or need.kind != "listener" else f"{name}/*"
        found = None if need.made and need.kind != "scalable-target" else self.lookup(call, need.kind, name)
        return found or self.build(call, need.kind, name)

    def build(self, call: Call, kind: str, name: str) -> str:
        params = call.params
        if kind == "task-definition" and ":" not in name and name != "*":
            name = f"{name}:*"
        if kind == "scalable-target":
            name = "*"  # its name is an id that AWS gives
        if kind == "role" and params.get("Path"):
            name = f"{params['Path'].strip('/')}/{name}".lstrip("/")
        cluster = str(params.get("cluster") or "default").rpartition("/")[2]
        text = TYPES[call.service][kind].arn.format(
            region=call.region, account=self.account, name=name, cluster=cluster,
            group=params.get("logGroupName", "*"), bucket=params.get("Bucket", "*"), service="*",
        )  # fmt: skip
        return f"arn:{self.partition}:{text}"


def request_tags(call: Call) -> dict[str, str]:
    """The tags that the call sets."""
    found: Any = next((call.params[name] for name in ("Tags", "tags", "Tag") if call.params.get(name)), [])
    if call.service == "ec2" and not found:
        found = [tag for one in values(call.params, "TagSpecification") for tag in values(one, "Tag")]
    if isinstance(found, dict) and not any(isinstance(value, list) for value in found.values()):
        return {str(key): str(value) for key, value in found.items()}  # CloudWatch Logs
    tags = [tag for tag in (values({"": found}, "")) if isinstance(tag, dict)]
    return {str(tag.get("Key", tag.get("key"))): str(tag.get("Value", tag.get("value", ""))) for tag in tags}


def tag_keys(call: Call) -> list[str]:
    """The keys of tags that the call sets or takes away."""
    gone = [one["Key"] if isinstance(one, dict) else one for one in values(call.params, "TagKeys", "tagKeys")]
    return sorted({*request_tags(call), *map(str, gone)})
