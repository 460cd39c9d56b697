# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is still there of a stack that was destroyed: kept on purpose, on its way out, or of others.

Each service is asked for what has the stack's names or tags. The Resource Groups Tagging API has all of it in a call,
but still tells of what was deleted minutes ago.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.nexus_learn.aws.plugins.module_utils import ecr_repository
from ansible_collections.nexus_learn.aws.plugins.module_utils.aws import Aws, error_code, together
from ansible_collections.nexus_learn.aws.plugins.module_utils.ecs_rollout import read_services, short
from ansible_collections.nexus_learn.aws.plugins.module_utils.engine import GATHERED, OWNER_TAGS

try:
    from botocore.exceptions import ClientError
except ImportError:
    ClientError = ()

Leftover = dict[str, str]


def describe(aws: Aws, params: Mapping) -> list[Leftover]:
    found = together(*(lambda look=look: look(aws, params) for look in _LOOKS))
    return [one for some in found for one in some]


def _leftover(resource: str, why: str, delete: str) -> Leftover:
    return {"resource": resource, "why": why, "delete": delete}


def _services(aws: Aws, params: Mapping) -> list[Leftover]:
    cluster = f"{params['name_prefix']}-cluster"
    try:
        arns = aws.pages("ecs", "list_services", "serviceArns", cluster=cluster)
    except ClientError as error:
        if error_code(error) != "ClusterNotFoundException":
            raise
        return []
    found = read_services(aws, cluster, sorted(map(short, arns)), tags=True)
    return [
        _leftover(
            f"service {name}",
            f"it is {_owner({tag['key']: tag['value'] for tag in service.get('tags', [])}, params)}",
            f"aws ecs delete-service --force --cluster {cluster} --service {name}",
        )
        for name, service in found.items()
    ]


def _redis(aws: Aws, params: Mapping) -> list[Leftover]:
    name, cache = f"{params['name_prefix']}-redis", aws.client("elasticache")
    left = []
    try:
        cache.describe_replication_groups(ReplicationGroupId=name)
        delete = f"aws elasticache delete-replication-group --replication-group-id {name}"
        left.append(_leftover(f"replication group {name}", "it was not deleted", delete))
    except cache.exceptions.ReplicationGroupNotFoundFault:
        pass
    for snapshot in aws.pages("elasticache", "describe_snapshots", "Snapshots"):
        if snapshot.get("ReplicationGroupId") == name or snapshot["SnapshotName"].startswith(f"{name}-"):
            text = snapshot["SnapshotName"]
            why = f"it holds the data of Redis; elasticache_snapshot_name={text} makes a new stack begin with it"
            delete = f"aws elasticache delete-snapshot --snapshot-name {text}"
            left.append(_leftover(f"snapshot {text}", why, delete))
    return left


def _secret(aws: Aws, params: Mapping) -> list[Leftover]:
    name, manager = f"{params['name_prefix']}/redis", aws.client("secretsmanager")
    try:
        found = manager.describe_secret(SecretId=name)
    except manager.exceptions.ResourceNotFoundException:
        return []
    delete = f"aws secretsmanager delete-secret --force-delete-without-recovery --secret-id {name}"
    when = found.get("DeletedDate")
    why = f"it can be restored until {when:%Y-%m-%d} and is then deleted" if when else "it was not deleted"
    return [_leftover(f"secret {name}", why, delete)]


def _log_groups(aws: Aws, params: Mapping) -> list[Leftover]:
    prefixes = [f"/{service}/{params['name_prefix']}/" for service in ("ecs", "elasticache")]
    pages = together(
        *(
            lambda prefix=prefix: aws.pages("logs", "describe_log_groups", "logGroups", logGroupNamePrefix=prefix)
            for prefix in prefixes
        )
    )
    names = [group["logGroupName"] for groups in pages for group in groups]
    return [
        _leftover(f"log group {name}", "it was not deleted", f"aws logs delete-log-group --log-group-name {name}")
        for name in names
    ]


def _network(aws: Aws, params: Mapping) -> list[Leftover]:
    mine = [{"Name": f"tag:{key}", "Values": [params["tags"][key]]} for key in OWNER_TAGS if key in params["tags"]]
    vpcs, groups, addresses = together(
        lambda: aws.pages("ec2", "describe_vpcs", "Vpcs", Filters=mine),
        lambda: aws.pages("ec2", "describe_security_groups", "SecurityGroups", Filters=mine),
        lambda: aws.pages("ec2", "describe_addresses", "Addresses", Filters=mine),
    )
    why = "it was not deleted"
    return [
        *(_leftover(f"VPC {one['VpcId']}", why, f"aws ec2 delete-vpc --vpc-id {one['VpcId']}") for one in vpcs),
        *(
            _leftover(
                f"security group {one['GroupName']}", why, f"aws ec2 delete-security-group --group-id {one['GroupId']}"
            )
            for one in groups
        ),
        *(
            _leftover(
                f"elastic IP {one['PublicIp']}", f"{why}, and costs something",
                f"aws ec2 release-address --allocation-id {one['AllocationId']}",
            )
            for one in addresses
        ),
    ]  # fmt: skip


def _bucket(aws: Aws, params: Mapping) -> list[Leftover]:
    name = aws.fill(params["bucket"])
    try:
        aws.client("s3").head_bucket(Bucket=name, ExpectedBucketOwner=aws.account_id)
    except ClientError as error:
        if error_code(error) != "404":
            raise
        return []
    return [_leftover(f"bucket {name}", "it holds the journal of the stack", f"aws s3 rb --force s3://{name}")]


def _repository(aws: Aws, params: Mapping) -> list[Leftover]:
    name = params["repository"]
    found = name and ecr_repository.describe(aws, {"name": name, "state": GATHERED})
    if not found:
        return []
    why = f"it is {_owner(found['tags'], params)} and holds the images of the application, {found['images']} of them"
    delete = f"aws ecr delete-repository --force --repository-name {name}"
    return [_leftover(ecr_repository.resource(name), why, delete)]


_LOOKS: Sequence[Callable[[Aws, Mapping], list[Leftover]]] = (
    _services,
    _redis,
    _secret,
    _log_groups,
    _network,
    _repository,
    _bucket,
)


def _owner(tags: Mapping[str, str], params: Mapping) -> str:
    mine = all(tags.get(key) == params["tags"][key] for key in OWNER_TAGS if key in params["tags"])
    return "of this stack" if mine else "of somebody else"


def output(aws: Aws, params: Mapping, current: Any) -> dict[str, Any]:
    return {"leftovers": current}
