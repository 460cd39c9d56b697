# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A replication group (cluster mode disabled) with its subnet group, parameter group and secret.

AWS takes many changes of a group only one after another, each from status ``available``: ``migration`` puts them in
an order in which no step breaks a rule of the step before. The groups beside it are the business of
``elasticache_groups``, the auth token that of ``elasticache_secret``, users in its place that of ``elasticache_users``.

What happens to a token:

- A group without one, or a new group: a token is generated, unless the secret holds one already.
- The secret is scheduled for deletion: it is restored, and its token with it.
- The secret, or the token in it, is lost and the group demands one: nobody can read it back from AWS. A new token is
  added with ROTATE. The old one stays valid until the next rotation, so that tasks which hold it go on working.
- The secret was overwritten with another token: AWS has no call that would tell, so this is not seen.

What AWS can change only with a new group is refused, unless ``replace`` names the group. Then its final snapshot is
made, it is deleted, and a new one is filled from that snapshot. The snapshot's name is made of the group's: whatever
was interrupted, a run that finds no group and that snapshot fills the new one from it.

https://docs.aws.amazon.com/AmazonElastiCache/latest/APIReference/API_ModifyReplicationGroup.html
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.tagging import ansible_dict_to_boto3_tag_list
from ansible_collections.nexus_learn.aws.plugins.module_utils import elasticache_secret as secret
from ansible_collections.nexus_learn.aws.plugins.module_utils import elasticache_users as users
from ansible_collections.nexus_learn.aws.plugins.module_utils.aws import Aws, error_code, together, wait_until
from ansible_collections.nexus_learn.aws.plugins.module_utils.elasticache_groups import (
    apply_parameters,
    apply_subnets,
    arn_of,
    delete_parameter_groups,
    delete_unused,
    describe_parameter_groups,
    describe_subnets,
    is_default,
    lower_name,
    mend_tags,
    parameter_fields,
    parameter_group,
    parameter_resource,
    plan_former_parameter_groups,
    plan_parameter_groups_absent,
    plan_parameters,
    plan_subnets,
    subnet_fields,
    subnet_resource,
    tags_of,
    with_tags,
)
from ansible_collections.nexus_learn.aws.plugins.module_utils.elasticache_secret import HIDDEN, NEW
from ansible_collections.nexus_learn.aws.plugins.module_utils.engine import (
    DISRUPTIVE,
    GATHERED,
    IN_PLACE,
    REPLACEMENT,
    Change,
    Exact,
    Failed,
    Refused,
    Say,
    by_resource,
    create,
    delete,
    differences,
    expanded,
    is_foreign,
    is_unknown,
    leave,
    leave_foreign,
    predicted,
    refuse_foreign,
    unknown,
    update,
)

DEFAULT_PORT = 6379
_IN_MOTION = ("creating", "modifying", "snapshotting", "deleting")

# Option -> argument of CreateReplicationGroup and, for those AWS can change, of ModifyReplicationGroup.
_ARGUMENTS = {
    "description": "ReplicationGroupDescription",
    "engine": "Engine",
    "engine_version": "EngineVersion",
    "node_type": "CacheNodeType",
    "num_nodes": "NumCacheClusters",
    "port": "Port",
    "multi_az_enabled": "MultiAZEnabled",
    "automatic_failover_enabled": "AutomaticFailoverEnabled",
    "subnet_group": "CacheSubnetGroupName",
    "parameter_group": "CacheParameterGroupName",
    "security_group_ids": "SecurityGroupIds",
    "at_rest_encryption_enabled": "AtRestEncryptionEnabled",
    "kms_key_id": "KmsKeyId",
    "transit_encryption_enabled": "TransitEncryptionEnabled",
    "transit_encryption_mode": "TransitEncryptionMode",
    "snapshot_retention_limit": "SnapshotRetentionLimit",
    "snapshot_window": "SnapshotWindow",
    "preferred_maintenance_window": "PreferredMaintenanceWindow",
    "auto_minor_version_upgrade": "AutoMinorVersionUpgrade",
    "notification_topic_arn": "NotificationTopicArn",
    "log_delivery_configurations": "LogDeliveryConfigurations",
    "network_type": "NetworkType",
    "ip_discovery": "IpDiscovery",
    "data_tiering_enabled": "DataTieringEnabled",
    "durability": "Durability",
    "preferred_cache_cluster_azs": "PreferredCacheClusterAZs",
    "user_group": "UserGroupIds",
}
# Of CreateReplicationGroup alone: AWS does not say later what a group was made from.
_ORIGIN = {"snapshot_name": "SnapshotName", "snapshot_arns": "SnapshotArns"}
_ENGINE = ("engine", "engine_version", "parameter_group")


# ---- names ----


def group_resource(params: Mapping) -> str:
    return f"replication group {lower_name(params)}"


def snapshot_resource(name: str) -> str:
    return f"snapshot {name}"


def replacement_snapshot(params: Mapping) -> str:
    """The name of the snapshot that a group is restored from when it is replaced, and that goes after that."""
    return f"{lower_name(params)}-replacement"


def secret_resource(params: Mapping) -> str:
    return f"secret {params['auth_token_secret']['name']}"


# ---- describe ----


def expand(aws: Aws, params: Mapping) -> dict[str, Any]:
    """With ``parameter_groups``: the one of the option, or those whose names begin as it says."""

    def find(beginning: str) -> list[str]:
        found = aws.pages("elasticache", "describe_cache_parameter_groups", "CacheParameterGroups")
        names = [group["CacheParameterGroupName"] for group in found]
        return [name for name in names if name.startswith(beginning.lower())]

    option = params["parameter_group"]
    return {**params, "parameter_groups": expanded([option] if option else [], "name", params, find)}


def describe(aws: Aws, params: Mapping) -> dict[str, Any]:
    """``{replication_group, subnet_group, parameter_groups, secret, keys, users, snapshots}``; None if it is not there.

    ``parameter_groups`` has those that are there by name, ``keys`` the ARN of every KMS key that the options name by id
    or alias, ``snapshots`` those that a new group may be filled from, by name: looked up only where one may be needed.
    """
    option = params["auth_token_secret"]
    group, subnets, parameters, auth, keys, access = together(
        lambda: _describe_group(aws, params),
        lambda: params["subnet_group"] and describe_subnets(aws, params),
        lambda: describe_parameter_groups(aws, params),
        lambda: option and secret.describe(aws, option["name"]),
        lambda: _describe_keys(aws, [params["kms_key_id"], (option or {}).get("kms_key_id")]),
        lambda: users.describe(aws, params),
    )
    return {
        "replication_group": group,
        "subnet_group": subnets,
        "parameter_groups": parameters,
        "secret": auth,
        "keys": keys,
        "users": access,
        "snapshots": _describe_snapshots(aws, params, group),
    }


def _describe_snapshots(aws: Aws, params: Mapping, group: Mapping | None) -> dict[str, dict[str, Any]]:
    """``{status, engine, engine_version, made}`` of the snapshots to restore from, and of a replacement's."""
    names = []
    if group is None or params["state"] == "absent" or params["replace"]:
        names.append(replacement_snapshot(params))
    if group is None and params["snapshot_name"] and params["state"] == "present":
        names.append(params["snapshot_name"].lower())
    cache = aws.client("elasticache")

    def find(name: str) -> dict[str, Any] | None:
        try:
            found = cache.describe_snapshots(SnapshotName=name)["Snapshots"]
        except cache.exceptions.SnapshotNotFoundFault:
            return None
        if not found:
            return None
        made = [
            node["SnapshotCreateTime"] for node in found[0].get("NodeSnapshots", []) if "SnapshotCreateTime" in node
        ]
        return {
            "status": found[0]["SnapshotStatus"],
            "engine": found[0]["Engine"],
            "engine_version": found[0]["EngineVersion"],
            "made": max(made).isoformat(timespec="seconds") if made else None,
        }

    found = together(*(lambda name=name: find(name) for name in names))
    return {name: snapshot for name, snapshot in zip(names, found, strict=True) if snapshot is not None}


def _describe_group(aws: Aws, params: Mapping) -> dict[str, Any] | None:
    """The group in terms of the options. In motion it has its status alone: AWS answers the rest only at rest."""
    cache = aws.client("elasticache")
    try:
        found = cache.describe_replication_groups(ReplicationGroupId=lower_name(params))["ReplicationGroups"][0]
    except cache.exceptions.ReplicationGroupNotFoundFault:
        return None
    status = found["Status"]
    if status in _IN_MOTION:
        return {"status": status}
    if found.get("ClusterEnabled") and params["state"] != "absent":
        raise Refused(
            f"{group_resource(params)} has cluster mode enabled, with which Celery does not work and which cannot be "
            "turned off. Nothing was changed. Set name_prefix in the inventory to a name of its own."
        )
    if status == "create-failed" or found.get("ClusterEnabled"):
        events, tags = together(lambda: _events(aws, params), lambda: _tags_at_rest(aws, params))
        return {"status": status, "events": events, "tags": tags}
    try:
        member, snapshots, tags = together(
            lambda: cache.describe_cache_clusters(CacheClusterId=found["MemberClusters"][0])["CacheClusters"][0],
            lambda: _final_snapshot(aws, params),
            lambda: tags_of(aws, "replicationgroup", params),
        )
    except cache.exceptions.ClientError as error:
        # a change began between these calls: the member is going, or tags cannot be read meanwhile
        if error_code(error).startswith(("CacheClusterNotFound", "InvalidReplicationGroupState")):
            return {"status": "modifying"}
        raise
    return {**_normal(found, member), "tags": tags, "final_snapshot_exists": snapshots}


def _tags_at_rest(aws: Aws, params: Mapping) -> dict[str, str]:
    """None at all where ElastiCache tells of none, as of a group that could not be created.

    https://docs.aws.amazon.com/AmazonElastiCache/latest/APIReference/API_ListTagsForResource.html
    """
    try:
        return tags_of(aws, "replicationgroup", params)
    except aws.client("elasticache").exceptions.InvalidReplicationGroupStateFault:
        return {}


def _normal(group: Mapping, member: Mapping) -> dict[str, Any]:
    """DescribeReplicationGroups and DescribeCacheClusters of one member -> the options of this module."""
    node_group = group["NodeGroups"][0]
    nodes = node_group["NodeGroupMembers"]
    topic = member.get("NotificationConfiguration", {})
    encrypted = group.get("TransitEncryptionEnabled", False)
    pending = {**group.get("PendingModifiedValues", {}), **member.get("PendingModifiedValues", {})}
    return {
        "status": group["Status"],
        "arn": group["ARN"],
        "member_clusters": group["MemberClusters"],
        "primary_endpoint": _endpoint(node_group["PrimaryEndpoint"]),
        "reader_endpoint": _endpoint(node_group["ReaderEndpoint"]),
        "description": group["Description"],
        "engine": member["Engine"],
        "engine_version": member["EngineVersion"],
        "node_type": group["CacheNodeType"],
        "num_nodes": len(group["MemberClusters"]),
        "port": node_group["PrimaryEndpoint"]["Port"],
        "multi_az_enabled": group["MultiAZ"] == "enabled",
        "automatic_failover_enabled": group["AutomaticFailover"] in ("enabled", "enabling"),
        "subnet_group": member["CacheSubnetGroupName"],
        "parameter_group": member["CacheParameterGroup"]["CacheParameterGroupName"],
        "security_group_ids": sorted(item["SecurityGroupId"] for item in member.get("SecurityGroups", [])),
        "at_rest_encryption_enabled": group.get("AtRestEncryptionEnabled", False),
        "kms_key_id": group.get("KmsKeyId", ""),
        "transit_encryption_enabled": encrypted,
        # engines before 7 have one mode and do not name it
        "transit_encryption_mode": group.get("TransitEncryptionMode") or "required" if encrypted else None,
        "created": group["ReplicationGroupCreateTime"],
        "auth_token_enabled": group.get("AuthTokenEnabled", False),
        "auth_token_changed": group.get("AuthTokenLastModifiedDate"),
        "snapshot_retention_limit": group["SnapshotRetentionLimit"],
        "snapshot_window": group["SnapshotWindow"],
        "preferred_maintenance_window": member["PreferredMaintenanceWindow"],
        "auto_minor_version_upgrade": group.get("AutoMinorVersionUpgrade", member["AutoMinorVersionUpgrade"]),
        "notification_topic_arn": topic.get("TopicArn", "") if topic.get("TopicStatus") == "active" else "",
        "user_group": next(iter(group.get("UserGroupIds", [])), ""),
        "log_delivery_configurations": _log_deliveries(group.get("LogDeliveryConfigurations", [])),
        "network_type": group.get("NetworkType", "ipv4"),
        "ip_discovery": group.get("IpDiscovery", "ipv4"),
        "data_tiering_enabled": group.get("DataTiering") == "enabled",
        "durability": group.get("EffectiveDurability", "disabled"),
        "preferred_cache_cluster_azs": sorted(node["PreferredAvailabilityZone"] for node in nodes),
        "nodes": [
            {"id": node["CacheClusterId"], "zone": node["PreferredAvailabilityZone"], "role": node.get("CurrentRole")}
            for node in nodes
        ],
        "scheduled": {
            field: pending[key]
            for field, key in (("node_type", "CacheNodeType"), ("engine_version", "EngineVersion"))
            if key in pending
        },
        "auth_token_in_motion": "AuthTokenStatus" in pending,
    }


def _log_deliveries(configurations: Sequence[Mapping]) -> dict[str, dict[str, str]]:
    """By log type. One that AWS cannot deliver has ``error``, the reason, and so is never what was asked for."""
    deliveries = {}
    for entry in configurations:
        details = entry.get("DestinationDetails", {})
        deliveries[entry["LogType"]] = {
            "destination_type": entry["DestinationType"],
            "destination": details.get("CloudWatchLogsDetails", {}).get("LogGroup")
            or details.get("KinesisFirehoseDetails", {}).get("DeliveryStream"),
            "log_format": entry["LogFormat"],
            **({"error": entry.get("Message", "unknown")} if entry.get("Status") == "error" else {}),
        }
    return deliveries


def _log_requests(there: Mapping[str, Mapping], wanted: Mapping[str, Mapping]) -> list[dict[str, Any]]:
    """LogDeliveryConfigurations of a request that turns ``there`` into ``wanted``."""
    requests = []
    for kind in sorted({*there, *wanted}):
        entry = wanted.get(kind)
        if entry is None:
            requests.append({"LogType": kind, "Enabled": False})
        elif entry != there.get(kind):
            key, name = {
                "cloudwatch-logs": ("CloudWatchLogsDetails", "LogGroup"),
                "kinesis-firehose": ("KinesisFirehoseDetails", "DeliveryStream"),
            }[entry["destination_type"]]
            requests.append(
                {
                    "LogType": kind,
                    "DestinationType": entry["destination_type"],
                    "DestinationDetails": {key: {name: entry["destination"]}},
                    "LogFormat": entry["log_format"],
                    "Enabled": True,
                }
            )
    return requests


def _endpoint(endpoint: Mapping) -> dict[str, Any]:
    return {"address": endpoint["Address"], "port": endpoint["Port"]}


def _events(aws: Aws, params: Mapping) -> list[str]:
    """What ElastiCache said about the group in the last 14 days, as long as it remembers."""
    events = aws.pages(
        "elasticache",
        "describe_events",
        "Events",
        SourceType="replication-group",
        SourceIdentifier=lower_name(params),
        Duration=14 * 24 * 60,
    )
    return [event["Message"] for event in events]


def _final_snapshot(aws: Aws, params: Mapping) -> bool:
    """Whether the name of the final snapshot is taken."""
    if params["state"] != "absent" or not params["final_snapshot_identifier"]:
        return False
    cache = aws.client("elasticache")
    try:
        return bool(cache.describe_snapshots(SnapshotName=params["final_snapshot_identifier"])["Snapshots"])
    except cache.exceptions.SnapshotNotFoundFault:
        return False


def _describe_keys(aws: Aws, keys: Sequence[str | None]) -> dict[str, str]:
    """The ARNs of keys that are given by id or alias: AWS shows the ARN, whatever it was given."""
    named = sorted(
        {key for key in keys if key and not is_unknown(key) and not re.match(r"arn:[^:]+:kms:[^:]*:\d*:key/", key)}
    )
    found = together(
        *(lambda key=key: aws.client("kms").describe_key(KeyId=key)["KeyMetadata"]["Arn"] for key in named)
    )
    return dict(zip(named, found, strict=True))


# ---- what is wanted ----


def desired_group(params: Mapping, current: Mapping) -> dict[str, Any]:
    """What the parameters ask of the group, in the words of ``current`` where both mean the same."""
    there = current["replication_group"] or {}
    fields = {field: params[field] for field in _ARGUMENTS if params[field] is not None}
    for field in ("subnet_group", "parameter_group", "user_group"):
        if field in fields:
            fields[field] = lower_name(params[field])
    if "log_delivery_configurations" in fields:
        fields["log_delivery_configurations"] = Exact(
            {
                entry["log_type"]: Exact({key: value for key, value in entry.items() if key != "log_type"})
                for entry in fields["log_delivery_configurations"]
            }
        )
    if "preferred_cache_cluster_azs" in fields:
        fields["preferred_cache_cluster_azs"] = sorted(fields["preferred_cache_cluster_azs"])
        fields.setdefault("num_nodes", len(fields["preferred_cache_cluster_azs"]))
    if fields.get("durability") == "default" and there:
        del fields["durability"]  # what it means is the engine's, and was decided when the group was made
    if "security_group_ids" in fields:
        fields["security_group_ids"] = sorted(set(fields["security_group_ids"]))
    if "preferred_maintenance_window" in fields:
        fields["preferred_maintenance_window"] = fields["preferred_maintenance_window"].lower()
    if fields.get("kms_key_id"):
        fields["kms_key_id"] = current["keys"].get(fields["kms_key_id"], fields["kms_key_id"])
    if not there:
        fields.setdefault("description", lower_name(params))
    if there.get("engine_version") and same_version(fields.get("engine_version", ""), there["engine_version"]):
        fields["engine_version"] = there["engine_version"]
    if fields.get("transit_encryption_enabled") is False:
        fields["transit_encryption_mode"] = None
    elif fields.get("transit_encryption_enabled") and there and not there["transit_encryption_enabled"]:
        fields.setdefault("transit_encryption_mode", "required")  # as on creation
    if there and _shares_one_address(there):
        fields.pop("port", None)
    if params["tags"] is not None:
        fields["tags"] = Exact(params["tags"])
    return fields


def same_version(wanted: str, current: str) -> bool:
    """Whether ``7.0`` (any patch), ``6.x`` or ``7.0.7`` is what AWS calls ``7.0.7``."""
    parts = [part for part in wanted.split(".") if part not in ("x", "")]
    return bool(parts) and current.split(".")[: len(parts)] == parts


def _shares_one_address(there: Mapping) -> bool:
    """Whether this is an emulator: its groups share 127.0.0.1, so that they cannot all have the port that was asked."""
    try:
        return ipaddress.ip_address(there["primary_endpoint"]["address"]).is_loopback
    except ValueError:
        return False


def _secret_fields(params: Mapping, current: Mapping) -> dict[str, Any]:
    option, keys = params["auth_token_secret"], current["keys"]
    fields = {field: option[field] for field in ("description", "kms_key_id") if option[field] is not None}
    there = (current["secret"] or {}).get("kms_key_id")
    wanted = fields.get("kms_key_id")
    # Secrets Manager answers what it was given: an id, an alias or an ARN.
    if wanted and there and keys.get(wanted, wanted).endswith(there):
        fields["kms_key_id"] = there
    return with_tags(params, fields)


def wants_token(params: Mapping, current: Mapping) -> bool:
    """Whether clients shall have to present a token: as given, or else whenever there are TLS and a secret for it.

    The users of a user group have passwords instead.
    """
    if params["auth_token_secret"] is None:
        return False
    if params["auth_token_enabled"] is not None:
        return params["auth_token_enabled"]
    group = predicted(current["replication_group"] or {}, desired_group(params, current))
    return bool(group.get("transit_encryption_enabled")) and not group.get("user_group")


def wanted_value(params: Mapping, current: Mapping) -> dict[str, str]:
    """The keys of the secret's value that are ours, as far as they can be known.

    Without a group the endpoint cannot, and without a token neither: both stand in for themselves.
    """
    there = (current["secret"] or {}).get("value", {})
    return _value(params, _predicted_group(params, current), there, wants_token(params, current))


def _value(params: Mapping, group: Mapping, there: Mapping, token_wanted: bool) -> dict[str, str]:
    """The secret's keys that are ours, for a group; what ``there`` lacks of tokens stands in for itself."""
    option = users.wanted_option(params)
    if group.get("user_group") and not option:
        return {}  # of another's users, who knows what they are called
    keys = users.password_keys(option).values() if option else ["auth_token"] if token_wanted else []
    wanted = {key: users.password_of(there, key) or unknown(f"{key} of", lower_name(params)) for key in sorted(keys)}
    user = users.login(option) if option else "default"
    endpoint, tls = group["primary_endpoint"], bool(group.get("transit_encryption_enabled"))
    name = "" if user == "default" else user
    wanted["url"] = secret.url(endpoint["address"], endpoint["port"], tls, wanted.get("auth_token"), name)
    return wanted


# ---- plan ----


def plan(aws: Aws, params: Mapping, current: Mapping) -> list[Change]:
    if params["state"] == "absent":
        return _plan_absent(params, current)
    group, parameters = current["replication_group"], parameter_group(params, current)
    if group is not None:
        _refuse_create_failed(params, group)
        refuse_foreign(group_resource(params), group["tags"], params)
    if current["subnet_group"]:
        refuse_foreign(subnet_resource(params), current["subnet_group"]["tags"], params)
    if parameters:
        refuse_foreign(parameter_resource(params["parameter_group"]), parameters["tags"], params)
    if current["secret"]:
        refuse_foreign(secret_resource(params), current["secret"]["tags"], params)
    return [
        *plan_subnets(params, current["subnet_group"]),
        *plan_parameters(params, parameters),
        *_plan_secret(params, current),
        *users.plan(params, current, _engine_of(params, current)),
        *_plan_group(params, current),
        *users.plan_leaving(params, current),
        *plan_former_parameter_groups(params, current),
    ]


def _refuse_create_failed(params: Mapping, group: Mapping) -> None:
    """Whose it is, ElastiCache does not tell: so it is nobody's to delete but who asked for it."""
    if group["status"] == "create-failed":
        said = " ".join(group["events"]) or "ElastiCache gives no reason."
        raise Refused(
            f"{group_resource(params)} could not be created (create-failed): {said} Nothing is in it. Delete it with "
            f"`aws elasticache delete-replication-group --replication-group-id {lower_name(params)}`, mend the cause "
            "and run the playbook again."
        )


def _engine_of(params: Mapping, current: Mapping) -> str:
    return params["engine"] or (current["replication_group"] or {}).get("engine") or "redis"


def _plan_secret(params: Mapping, current: Mapping) -> list[Change]:
    if params["auth_token_secret"] is None:
        return []
    resource, there = secret_resource(params), current["secret"]
    fields, wanted = _secret_fields(params, current), wanted_value(params, current)
    if there is None:
        return [create(resource, {**fields, "value": dict.fromkeys(wanted, HIDDEN)})]
    changes = []
    if there["deletion_date"]:
        changes.append(
            Change(resource, "update", "deletion_date", there["deletion_date"], None, note="restored, with its token")
        )
        # What is in it cannot be read before it is restored. A group that is there fits it as far as one knows.
        wanted = {} if current["replication_group"] else {"url": wanted["url"]}
    changes += update(resource, there, fields)
    for key, value in wanted.items():
        old = there["value"].get(key)
        known = old if key == "url" else users.password_of(there["value"], key)
        if known != value:
            changes.append(Change(resource, "update", f"value.{key}", HIDDEN if old else None, NEW))
    return changes


def _plan_group(params: Mapping, current: Mapping) -> list[Change]:
    resource, there = group_resource(params), current["replication_group"]
    wanted = desired_group(params, current)
    token = wants_token(params, current)
    _refuse_contradictions(params, predicted(there or {}, wanted), token)
    if there is None:
        if "node_type" not in wanted:
            raise Refused(f"{resource} does not exist yet. Give its node_type, for example cache.t4g.micro.")
        return _plan_creation(params, current, {**wanted, **({"auth_token": HIDDEN} if token else {})})
    before = before_change(params, there, wanted)
    impossible = _impossible(params, before, wanted)
    leftover = [
        delete(snapshot_resource(name), snapshot, IN_PLACE, "the group was filled from it")
        for name, snapshot in current["snapshots"].items()
    ]
    if impossible and not _may_be_replaced(params):
        raise _replacement(params, *impossible)
    if impossible:
        return [*leftover, *_plan_replacement(params, before, wanted, token)]
    changes = update(resource, before, wanted, _impacts(params, before, wanted))
    if token:
        changes += _plan_token(params, current)
    return [*changes, *leftover]


def _origin(params: Mapping, current: Mapping) -> dict[str, Any]:
    """What a group that is created is filled from: the snapshot of the one whose place it takes comes first."""
    if replacement_snapshot(params) in current["snapshots"]:
        return {"snapshot_name": replacement_snapshot(params)}
    if params["snapshot_name"]:
        return {"snapshot_name": params["snapshot_name"].lower()}
    return {"snapshot_arns": params["snapshot_arns"]} if params["snapshot_arns"] else {}


def _plan_creation(params: Mapping, current: Mapping, wanted: Mapping) -> list[Change]:
    resource, origin = group_resource(params), _origin(params, current)
    if params["snapshot_name"] and params["snapshot_arns"]:
        raise Refused(f"{resource}: give snapshot_name or snapshot_arns, not both.")
    if "snapshot_name" not in origin:
        return [Change(resource, "create", after={**wanted, **origin})]
    name = origin["snapshot_name"]
    snapshot = current["snapshots"].get(name)
    if snapshot is None:
        raise Refused(
            f"{resource} was to be filled from the snapshot {name}, and there is none of that name. Nothing was "
            "created. `aws elasticache describe-snapshots` lists those that there are."
        )
    engine, version = wanted.get("engine", snapshot["engine"]), wanted.get("engine_version", snapshot["engine_version"])
    if _is_older(engine, version, snapshot):
        raise Refused(
            f"{resource}: the snapshot {name} is of {snapshot['engine']} {snapshot['engine_version']}, which "
            f"{engine} {version} cannot read. Give engine and engine_version (redis_engine, redis_version) of the "
            "snapshot, or later ones."
        )
    made = f"filled from the snapshot {name}, made {snapshot['made'] or 'just now'}"
    changes = [Change(resource, "create", after={**wanted, **origin}, note=made)]
    if name == replacement_snapshot(params):
        changes.append(delete(snapshot_resource(name), snapshot, IN_PLACE, "when the group has been filled from it"))
    return changes


def _is_older(engine: str, version: str, than: Mapping) -> bool:
    """Whether an engine reads no data of another: of a later version, or of Valkey when it is Redis."""
    if engine != than["engine"]:
        return engine == "redis"
    return _numbers(version) < _numbers(than["engine_version"])[: len(_numbers(version))]


def _may_be_replaced(params: Mapping) -> bool:
    return (params["replace"] or "").lower() == lower_name(params)


def _loses_data(there: Mapping, wanted: Mapping) -> bool:
    """Whether the group that takes its place cannot read the old one's data."""
    engine, version = wanted.get("engine", there["engine"]), wanted.get("engine_version", there["engine_version"])
    return _is_older(engine, version, there)


def _last_snapshot(params: Mapping, there: Mapping, wanted: Mapping) -> str:
    """The name of the final snapshot of a group that is replaced; one that cannot be read is kept as a backup."""
    if _loses_data(there, wanted):
        return f"{lower_name(params)}-replaced-{there['created']:%Y%m%d%H%M%S}"
    return replacement_snapshot(params)


def _plan_replacement(params: Mapping, there: Mapping, wanted: Mapping, token: bool) -> list[Change]:
    resource, name = group_resource(params), _last_snapshot(params, there, wanted)
    if _loses_data(there, wanted):
        note = (
            f"every queued task and every result is lost: they stay in the snapshot {name}, which only a later engine "
            "reads"
        )
    else:
        note = (
            f"deleted after the snapshot {name}, and made anew from it: Redis is away for some minutes, and what is "
            "written while the snapshot is made may be lost"
        )
    changes = [
        Change(resource, "replace", change.path, change.before, change.after, REPLACEMENT, note)
        for change in update(resource, there, wanted)
    ]
    if token != there["auth_token_enabled"]:
        before, after = (None, NEW) if token else (HIDDEN, None)
        changes.append(Change(resource, "replace", "auth_token", before, after, REPLACEMENT, note))
    return changes


def _ends_others(params: Mapping, there: Mapping) -> bool:
    """Whether a new token shall be the only way in: as given, or else where there was none."""
    strategy = params["auth_token_update_strategy"]
    return strategy == "SET" if strategy else not there["auth_token_enabled"]


def _plan_token(params: Mapping, current: Mapping) -> list[Change]:
    there, auth = current["replication_group"], current["secret"] or {}
    resource, pending = group_resource(params), auth.get("pending")
    lost = not auth.get("deletion_date") and secret.token_of(auth.get("value", {})) is None
    wanted = not there["auth_token_enabled"] or lost
    if (pending and pending["then_set"]) or (wanted and not pending and _ends_others(params, there)):
        note = "clients that connect without the token, or with the one before it, are refused from then on"
        before = HIDDEN if there["auth_token_enabled"] else None
        return [Change(resource, "update", "auth_token", before, NEW, DISRUPTIVE, note)]
    if wanted or pending:
        before = HIDDEN if there["auth_token_enabled"] else None
        note = "added beside the old one, which stays valid: what runs with it goes on"
        if before is None:
            note = "demanded of nobody: connections without it stay possible"
        return [Change(resource, "update", "auth_token", before, NEW, IN_PLACE, note)]
    return []


def before_change(params: Mapping, there: Mapping, wanted: Mapping) -> dict[str, Any]:
    """The group as it is; without apply_immediately, as it will be after its maintenance window."""
    if params["apply_immediately"] or not there["scheduled"]:
        return dict(there)
    scheduled = dict(there["scheduled"])
    version = scheduled.get("engine_version")
    if version and same_version(wanted.get("engine_version", ""), version):
        # AWS does not show engine and parameter group, which change together with the version
        scheduled |= {field: wanted[field] for field in _ENGINE if field in wanted}
    return {**there, **scheduled}


def _refuse_contradictions(params: Mapping, group: Mapping, token: bool) -> None:
    """Refuse what AWS would refuse in the middle of the work."""
    resource = group_resource(params)
    if group.get("automatic_failover_enabled") and group.get("num_nodes", 1) < 2:
        raise Refused(
            f"{resource}: automatic failover needs a replica to fail over to. Set num_nodes (redis_num_nodes) to 2 or "
            "more, or automatic_failover_enabled (redis_automatic_failover_enabled) to false."
        )
    if group.get("multi_az_enabled") and not group.get("automatic_failover_enabled"):
        raise Refused(
            f"{resource}: Multi-AZ needs automatic failover. Set automatic_failover_enabled "
            "(redis_automatic_failover_enabled) to true, or multi_az_enabled (redis_multi_az_enabled) to false."
        )
    if not 1 <= group.get("num_nodes", 1) <= 6:
        raise Refused(f"{resource}: num_nodes (redis_num_nodes) is {group['num_nodes']}; ElastiCache allows 1 to 6.")
    if group.get("transit_encryption_mode") and not group.get("transit_encryption_enabled"):
        raise Refused(
            f"{resource}: transit_encryption_mode needs transit_encryption_enabled "
            "(elasticache_transit_encryption_enabled) to be true."
        )
    zones = group.get("preferred_cache_cluster_azs")
    if params["preferred_cache_cluster_azs"] is not None and len(zones or ()) != group.get("num_nodes", 1):
        raise Refused(
            f"{resource}: preferred_cache_cluster_azs (elasticache_preferred_azs) names {len(zones or ())} zones for "
            f"{group.get('num_nodes', 1)} nodes. Give one for each node, or leave it out and let AWS choose."
        )
    network, discovery = group.get("network_type", "ipv4"), group.get("ip_discovery", "ipv4")
    if network not in ("dual_stack", discovery):
        raise Refused(
            f"{resource}: ip_discovery {discovery} (elasticache_ip_discovery) does not fit network_type {network} "
            "(elasticache_network_type). Give both the same, or network_type dual_stack."
        )
    if params["kms_key_id"] and not group.get("at_rest_encryption_enabled"):
        raise Refused(
            f"{resource}: kms_key_id (elasticache_kms_key_id) needs at_rest_encryption_enabled "
            "(elasticache_at_rest_encryption_enabled) to be true."
        )
    if params["auth_token_enabled"] and params["auth_token_secret"] is None:
        raise Refused(f"{resource}: auth_token_enabled needs auth_token_secret, the place where the token is kept.")
    if group.get("user_group") and not group.get("transit_encryption_enabled"):
        raise Refused(
            f"{resource}: passwords would travel in clear without TLS, so ElastiCache takes no user group. Set "
            "transit_encryption_enabled (elasticache_transit_encryption_enabled) to true, or the name of user_group to "
            "an empty one (elasticache_users to an empty list)."
        )
    if token and group.get("user_group"):
        raise Refused(
            f"{resource}: auth_token_enabled and the user group {group['user_group']} exclude each other. Leave "
            "auth_token_enabled out, or give user_group with an empty name (elasticache_users: []): the token takes "
            "its place."
        )
    option = users.wanted_option(params)
    if option and option["engine"] == "valkey" and group.get("engine", "redis") == "redis":
        raise Refused(
            f"{resource}: Redis takes user groups of engine redis only. Set the engine of user_group to redis."
        )
    if token and not group.get("transit_encryption_enabled"):
        raise Refused(
            f"{resource}: a token would travel in clear without TLS, so ElastiCache refuses it. Set "
            "transit_encryption_enabled (elasticache_transit_encryption_enabled) to true, or auth_token_enabled "
            "(elasticache_auth_token_enabled) to false."
        )


def _impossible(params: Mapping, there: Mapping, wanted: Mapping) -> tuple[str, str, Any, Any] | None:
    """What AWS can do only with a new group, as ``(in words, field, before, after)``; None when there is nothing."""
    for field, words in (
        ("port", "its port"),
        ("at_rest_encryption_enabled", "encryption at rest"),
        ("kms_key_id", "the KMS key of its data"),
        ("subnet_group", "its subnet group"),
        ("network_type", "its network type"),
        ("data_tiering_enabled", "data tiering"),
    ):
        if wanted.get(field, there[field]) != there[field]:
            return words, field, there[field], wanted[field]
    engine, version = wanted.get("engine", there["engine"]), wanted.get("engine_version", there["engine_version"])
    if engine != there["engine"] and "engine_version" not in wanted:
        raise Refused(f"{group_resource(params)}: give engine_version (redis_version) along with the new engine.")
    if (there["engine"], engine) == ("valkey", "redis"):
        return "the engine from valkey back", "engine", there["engine"], engine
    if _is_older(engine, version, there):
        return "the engine to an older version", "engine_version", there["engine_version"], version
    durable = [value != "disabled" for value in (there["durability"], wanted.get("durability", there["durability"]))]
    if durable[0] != durable[1]:
        return "whether writes are durable", "durability", there["durability"], wanted["durability"]
    mode = (there["transit_encryption_mode"], wanted.get("transit_encryption_mode", there["transit_encryption_mode"]))
    # 7.0.5 is the first: https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/in-transit-encryption-enable.html
    if mode[0] != mode[1] and engine == "redis" and _numbers(version) < (7, 0, 5)[: len(_numbers(version))]:
        return f"TLS of redis {version} (7.0.5 and later can)", "transit_encryption_mode", *mode
    if mode[1] is None and there["auth_token_enabled"]:
        return "TLS to off while a token is demanded", "transit_encryption_enabled", True, False
    if there["auth_token_enabled"] and params["auth_token_enabled"] is False and not wanted.get("user_group"):
        return "a group that demands a token to none", "auth_token_enabled", True, False
    zones = _moved_zones(there, wanted)
    return ("the zones of nodes that are there", "preferred_cache_cluster_azs", *zones) if zones else None


def _moved_zones(there: Mapping, wanted: Mapping) -> tuple[list, list] | None:
    """The zones before and after when replicas that come or go do not make the one of the other."""
    if "preferred_cache_cluster_azs" not in wanted:
        return None
    before, after = Counter(there["preferred_cache_cluster_azs"]), Counter(wanted["preferred_cache_cluster_azs"])
    grows = wanted.get("num_nodes", there["num_nodes"]) > there["num_nodes"]
    stays = all(node["zone"] in after for node in there["nodes"] if node["role"] == "primary")
    if stays and (before <= after if grows else after <= before):
        return None
    return there["preferred_cache_cluster_azs"], wanted["preferred_cache_cluster_azs"]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def _replacement(params: Mapping, words: str, field: str, before: Any, after: Any) -> Refused:
    name = lower_name(params)
    return Refused(
        f"{group_resource(params)}: AWS cannot change {words} ({field} {before!r} to {after!r}) in place. A new group "
        "would have to take its place, and every queued task and every result in it would be lost, so it was not "
        f"touched. Set {field} back to {before!r}. Or have it replaced, with -e elasticache_replace={name}: it is "
        f"deleted after a last snapshot, {replacement_snapshot(params)}, and made anew from that, for which Redis is "
        "away for some minutes; an older engine cannot read the snapshot and starts empty. Or set another name_prefix "
        "in the inventory, which makes a second stack, and when the queues of this one are empty, take it away with "
        "playbooks/destroy.yml, which keeps a final snapshot."
    )


def _impacts(params: Mapping, there: Mapping, wanted: Mapping) -> dict[str, tuple[str, str]]:
    # A fail over lasts a few seconds; a single node serves nobody while it is upgraded:
    # https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/VersionManagement-upgrade-considerations.html
    # New node types: https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/Scaling.RedisReplGrps.html
    when = "" if params["apply_immediately"] else ", in the maintenance window"
    nodes = wanted.get("num_nodes", there["num_nodes"])
    pause = "connections break for some seconds" if nodes > 1 else "Redis is away for some minutes, having no replica"
    impacts = {
        "engine": (DISRUPTIVE, f"nodes are upgraded one after another: {pause}{when}"),
        "node_type": (DISRUPTIVE, f"the data moves to new nodes: connections break for some seconds{when}"),
    }
    impacts["engine_version"] = impacts["engine"]
    impacts["user_group"] = (DISRUPTIVE, "from then on clients have to log in as one of its users")
    if not wanted.get("user_group"):
        impacts["user_group"] = (DISRUPTIVE, "from then on its users cannot log in")
    if nodes < there["num_nodes"]:
        impacts["num_nodes"] = (DISRUPTIVE, "clients of a replica that goes away have to connect again, at once")
    mode = wanted.get("transit_encryption_mode")
    tls = {
        "required": "clients that do not speak TLS are refused; set transit_encryption_mode to preferred until all do",
        "preferred": "the endpoint may get another name from then on; both TLS and plain connections are accepted",
        None: "clients that speak TLS are refused from then on",
    }[mode]
    impacts["transit_encryption_enabled"] = impacts["transit_encryption_mode"] = (DISRUPTIVE, tls)
    return impacts


def _plan_absent(params: Mapping, current: Mapping) -> list[Change]:
    changes = []
    group, name = current["replication_group"], params["final_snapshot_identifier"]
    if group is not None and not group["tags"]:
        _refuse_create_failed(params, group)
    if group is not None and is_foreign(group["tags"], params["tags"]):
        changes.append(leave_foreign(group_resource(params), group["tags"]))
        group = None
    if group is not None:
        if not name and not params["skip_final_snapshot"]:
            raise Refused(
                f"{group_resource(params)} holds every queued task and result, and its automatic snapshots go with it. "
                "Give final_snapshot_identifier, the name of a last snapshot, or set skip_final_snapshot to true."
            )
        if group.get("final_snapshot_exists"):
            raise Refused(
                f"There is a snapshot {name} already, so {group_resource(params)} was not deleted. "
                "Give final_snapshot_identifier another name."
            )
        lost = f"its data stays in the snapshot {name}" if name else "all its data is lost"
        before = {field: value for field, value in group.items() if field in _ARGUMENTS or field in ("tags", "status")}
        changes.append(delete(group_resource(params), before, note=lost))
    for snapshot, fields in current["snapshots"].items():
        if current["replication_group"] is None:
            reason = "a replacement was interrupted, and it holds the data; a run with state present restores it"
            changes.append(leave(snapshot_resource(snapshot), reason))
        elif group is not None:
            changes.append(delete(snapshot_resource(snapshot), fields, IN_PLACE, "the group was filled from it"))
    changes += users.plan_absent(params, current, lower_name(params) if group is not None else None)
    subnets, auth = current["subnet_group"], current["secret"]
    if subnets and is_foreign(subnets["tags"], params["tags"]):
        changes.append(leave_foreign(subnet_resource(params), subnets["tags"]))
    elif subnets:
        changes.append(delete(subnet_resource(params), subnets, IN_PLACE))
    changes += plan_parameter_groups_absent(params, current, going=group is not None)
    if auth and is_foreign(auth["tags"], params["tags"]):
        changes.append(leave_foreign(secret_resource(params), auth["tags"]))
    elif auth and not auth["deletion_date"]:
        days = params["auth_token_secret"]["recovery_window_in_days"]
        note = f"can be restored for {days} days" if days else "cannot be restored"
        before = {field: auth[field] for field in ("description", "kms_key_id", "tags")}
        changes.append(delete(secret_resource(params), before, IN_PLACE, note))
    return changes


def migration(there: Mapping, wanted: Mapping) -> list[dict[str, Any]]:
    """The fields that each step changes, in an order that ElastiCache takes: one step, one call, one wait.

    Replicas come before failover, failover before Multi-AZ, and they go in reverse; the engine takes its parameter
    group along; TLS goes through ``preferred`` both ways, for AWS knows no other.
    """
    new = {field: wanted[field] for field in _ARGUMENTS if field in wanted and wanted[field] != there[field]}

    def taken(*fields: str) -> dict[str, Any]:
        return {field: new.pop(field) for field in fields if field in new}

    tls, access = taken("transit_encryption_enabled", "transit_encryption_mode"), taken("user_group")
    nodes = taken("num_nodes", "preferred_cache_cluster_azs")
    engine = taken(*_ENGINE) if {"engine", "engine_version"} & new.keys() else {}
    node_type = taken("node_type")
    failover, multi_az = taken("automatic_failover_enabled"), taken("multi_az_enabled")
    grows = nodes.get("num_nodes", 0) > there["num_nodes"]
    on = failover.get("automatic_failover_enabled", multi_az.get("multi_az_enabled"))
    steps = [
        {} if access.get("user_group") else access,  # users need TLS
        nodes if grows else {},
        new,
        engine,
        node_type,
        *([failover, multi_az] if on else [multi_az, failover]),
        {} if grows else nodes,
        *_tls_steps(there, tls),
        access if access.get("user_group") else {},
    ]
    return [step for step in steps if step]


def _tls_steps(there: Mapping, change: Mapping) -> list[dict[str, Any]]:
    if not change:
        return []
    before = there["transit_encryption_mode"]
    after = change["transit_encryption_mode"]
    preferred = {"transit_encryption_enabled": True, "transit_encryption_mode": "preferred"}
    last = {"transit_encryption_enabled": after is not None, "transit_encryption_mode": after}
    return [preferred, last] if {before, after} == {None, "required"} else [last]


# ---- apply ----


def settle(aws: Aws, params: Mapping, current: Mapping, say: Say) -> bool:
    """Wait for a change that is under way: of a run that was interrupted, or of AWS itself."""
    group, access = current["replication_group"], current["users"]
    moving = [group is not None and group["status"] in _IN_MOTION, access is not None and access["in_motion"]]
    if moving[0]:
        _wait_for(aws, params, lambda group: None, say)
    if moving[1]:
        users.settle(aws, params, say)
    return any(moving)


def _wait_for(aws: Aws, params: Mapping, missing: Callable[[Mapping | None], str | None], say: Say) -> None:
    """Wait until the group is at rest and ``missing`` names nothing more.

    Status alone would not do: for some seconds after a call AWS may still answer the status from before it.
    """

    def probe() -> tuple[bool, str]:
        group = _describe_group(aws, params)
        if group is not None and group["status"] in _IN_MOTION:
            return False, group["status"]
        lacks = missing(group)
        state = "deleted" if group is None else group["status"]
        return lacks is None, f"{state}, {lacks}" if lacks else state

    wait_until(
        probe,
        timeout=params["wait_timeout"],
        pause=10,
        what=group_resource(params),
        variable="elasticache_wait_timeout",
        say=say,
    )


def apply(aws: Aws, params: Mapping, current: Mapping, changes: Sequence[Change], say: Say) -> None:
    planned = by_resource(changes)
    if params["state"] == "absent":
        _apply_absent(aws, params, current, planned, say)
        return
    before: list[Callable[[], None]] = []
    if params["subnet_group"] and subnet_resource(params) in planned:
        before.append(lambda: apply_subnets(aws, params, planned[subnet_resource(params)]))
    if params["parameter_group"] and parameter_resource(params["parameter_group"]) in planned:
        its_changes = planned[parameter_resource(params["parameter_group"])]
        before.append(lambda: apply_parameters(aws, params, its_changes))
    if params["auth_token_secret"] and secret_resource(params) in planned:
        metadata = [change for change in planned[secret_resource(params)] if not change.path.startswith("value.")]
        if metadata:
            name, fields = params["auth_token_secret"]["name"], _secret_fields(params, current)
            before.append(lambda: secret.apply(aws, name, fields, metadata, say))
    together(*before)
    users.apply(aws, params, current, planned, say)
    wanted = desired_group(params, current)
    there = current["replication_group"]
    its_changes = planned.get(group_resource(params), [])
    leftover = snapshot_resource(replacement_snapshot(params)) in planned
    token_wanted = wants_token(params, current)
    if there is None:
        _create_group(aws, params, wanted, _origin(params, current), token_wanted, say)
    elif its_changes and its_changes[0].action == "replace":
        if leftover:
            _delete_snapshot(aws, params)
        _replace_group(aws, params, there, wanted, token_wanted, say)
        leftover = not _loses_data(there, wanted)
    else:
        _update_group(aws, params, there, wanted, its_changes, say)
    if leftover:
        _delete_snapshot(aws, params)
    if params["auth_token_secret"]:
        _mend_url(aws, params, token_wanted)
    users.apply_leaving(aws, params, planned, say)
    delete_parameter_groups(aws, params, current, planned, say)


def _delete_snapshot(aws: Aws, params: Mapping) -> None:
    aws.client("elasticache").delete_snapshot(SnapshotName=replacement_snapshot(params))


def _replace_group(aws: Aws, params: Mapping, there: Mapping, wanted: Mapping, token_wanted: bool, say: Say) -> None:
    """Delete the group with a final snapshot and make one anew from it, with what it had where nothing is asked for."""
    snapshot = _last_snapshot(params, there, wanted)
    aws.client("elasticache").delete_replication_group(
        ReplicationGroupId=lower_name(params), FinalSnapshotIdentifier=snapshot
    )
    _wait_for(aws, params, lambda group: "not deleted yet" if group else None, say)
    origin = {} if _loses_data(there, wanted) else {"snapshot_name": snapshot}
    _create_group(aws, params, _succession(there, wanted), origin, token_wanted, say)


def _succession(there: Mapping, wanted: Mapping) -> dict[str, Any]:
    """The settings of the group that takes the place of another."""
    kept = {field: there[field] for field in (*_ARGUMENTS, "tags")}
    if "engine_version" not in wanted:
        # what AWS answers, 7.0.7, is not what it offers to new groups, 7.0
        kept["engine_version"] = ".".join(there["engine_version"].split(".")[:2])
    if "port" not in wanted and _shares_one_address(there):
        del kept["port"]
    if "preferred_cache_cluster_azs" not in wanted:
        del kept["preferred_cache_cluster_azs"]
    if wanted.get("engine", there["engine"]) != there["engine"] or there["durability"] == "disabled":
        del kept["durability"]
    if wanted.get("at_rest_encryption_enabled") is False:
        kept["kms_key_id"] = ""
    return {**kept, **wanted}


def _create_group(aws: Aws, params: Mapping, wanted: Mapping, origin: Mapping, token_wanted: bool, say: Say) -> None:
    arguments = {argument: wanted[field] for field, argument in _ARGUMENTS.items() if wanted.get(field) is not None}
    arguments |= {_ORIGIN[field]: value for field, value in origin.items()}
    if params["preferred_cache_cluster_azs"]:
        arguments["PreferredCacheClusterAZs"] = params["preferred_cache_cluster_azs"]  # the first is the primary's
    if "log_delivery_configurations" in wanted:
        arguments["LogDeliveryConfigurations"] = _log_requests({}, wanted["log_delivery_configurations"])
    if wanted.get("user_group"):
        arguments["UserGroupIds"] = [wanted["user_group"]]
    if arguments.get("TransitEncryptionMode") == "required":
        # the only mode of engines that know no other, and AWS's default: they take no word of it
        # https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/in-transit-encryption-enable.html
        del arguments["TransitEncryptionMode"]
    if "snapshot_name" in origin:
        _wait_for_snapshot(aws, params, origin["snapshot_name"], say)
    for field in ("kms_key_id", "notification_topic_arn", "user_group"):
        if not wanted.get(field):  # empty: none
            arguments.pop(_ARGUMENTS[field], None)
    if token_wanted:
        arguments["AuthToken"] = _token_for_creation(aws, params["auth_token_secret"]["name"])
    aws.client("elasticache").create_replication_group(
        ReplicationGroupId=lower_name(params), Tags=ansible_dict_to_boto3_tag_list(wanted.get("tags", {})), **arguments
    )
    _wait_for(aws, params, lambda group: "not visible yet" if group is None else None, say)
    group = _describe_group(aws, params)
    if group is None or group["status"] != "available":
        said = " ".join((group or {}).get("events", [])) or "ElastiCache gives no reason."
        raise Failed(f"{group_resource(params)} could not be created: {said}")


def _wait_for_snapshot(aws: Aws, params: Mapping, name: str, say: Say) -> None:
    def probe() -> tuple[bool, str]:
        found = aws.client("elasticache").describe_snapshots(SnapshotName=name)["Snapshots"]
        if not found or found[0]["SnapshotStatus"] in ("failed", "deleting"):
            status = found[0]["SnapshotStatus"] if found else "gone"
            raise Failed(f"{snapshot_resource(name)} cannot be used: it is {status}.")
        return found[0]["SnapshotStatus"] == "available", found[0]["SnapshotStatus"]

    wait_until(
        probe,
        timeout=params["wait_timeout"],
        pause=10,
        what=snapshot_resource(name),
        variable="elasticache_wait_timeout",
        say=say,
    )


def _token_for_creation(aws: Aws, name: str) -> str:
    """The token for a group that does not exist yet, kept in the secret by the time this returns."""
    there = secret.describe(aws, name)
    if there["pending"]:  # of a group that is gone
        secret.promote(aws, name, there)
        secret.finish(aws, name, there)
        there = secret.describe(aws, name)
    token = secret.token_of(there["value"])
    if token is None:
        token = secret.new_token()
        secret.write(aws, name, {**there["value"], "auth_token": token})
    return token


def _update_group(
    aws: Aws, params: Mapping, there: Mapping, wanted: Mapping, changes: Sequence[Change], say: Say
) -> None:
    paths = {change.path for change in changes}
    mend_tags(aws, there["arn"], changes)
    token = None
    if "auth_token" in paths and there["user_group"]:
        token = _token_for_creation(aws, params["auth_token_secret"]["name"])
    for step in migration(before_change(params, there, wanted), wanted):
        _step(aws, params, there, step, say, token)
    if "auth_token" in paths and token is None:
        _change_token(aws, params, then_set=_ends_others(params, there), say=say)


def _step(aws: Aws, params: Mapping, there: Mapping, fields: Mapping, say: Say, token: str | None) -> None:
    cache = aws.client("elasticache")
    group = lower_name(params)
    if "num_nodes" in fields:
        call = (
            cache.increase_replica_count if fields["num_nodes"] > there["num_nodes"] else cache.decrease_replica_count
        )
        call(ReplicationGroupId=group, ApplyImmediately=True, **_replicas(there, fields))
    else:
        arguments = {_ARGUMENTS[field]: value for field, value in fields.items() if value is not None}
        if "log_delivery_configurations" in fields:
            arguments["LogDeliveryConfigurations"] = _log_requests(
                there["log_delivery_configurations"], fields["log_delivery_configurations"]
            )
        if "user_group" in fields:
            arguments = _access_change(there, fields["user_group"], token)
        if "notification_topic_arn" in fields:
            if not fields["notification_topic_arn"]:
                del arguments["NotificationTopicArn"]
            arguments["NotificationTopicStatus"] = "active" if fields["notification_topic_arn"] else "inactive"
        # Only what interrupts clients can wait for the maintenance window; the rest is harmless, and checked at once.
        later = not params["apply_immediately"] and bool({"node_type", "engine", "engine_version"} & fields.keys())
        cache.modify_replication_group(ReplicationGroupId=group, ApplyImmediately=not later, **arguments)
        if later:
            _wait_for(aws, params, lambda group: None, say)
            return

    def missing(group: Mapping | None) -> str | None:
        for path, before, after in differences(group or {}, fields):
            if path != "engine_version" or not same_version(after, before or ""):
                return f"{path} is {before} and not yet {after}"
        return None

    _wait_for(aws, params, missing, say)


def _access_change(there: Mapping, user_group: str, token: str | None) -> dict[str, Any]:
    """Arguments that put a user group in the place of a token, of another group or of none, or take it away.

    https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/auth.html ("Migrating from RBAC to AUTH")
    """
    if not user_group:
        strategy = {"AuthToken": token, "AuthTokenUpdateStrategy": "SET"} if token else {}
        return {"RemoveUserGroups": True, **strategy}
    former = {"UserGroupIdsToRemove": [there["user_group"]]} if there["user_group"] else {}
    strategy = {"AuthTokenUpdateStrategy": "DELETE"} if there["auth_token_enabled"] else {}
    return {"UserGroupIdsToAdd": [user_group], **former, **strategy}


def _replicas(there: Mapping, fields: Mapping) -> dict[str, Any]:
    """Which replicas come or go, as far as the zones are given."""
    count, zones = fields["num_nodes"] - 1, fields.get("preferred_cache_cluster_azs")
    if zones is None:
        return {"NewReplicaCount": count}
    if fields["num_nodes"] > there["num_nodes"]:
        nodes = sorted(there["nodes"], key=lambda node: node["role"] != "primary")
        new = (Counter(zones) - Counter(node["zone"] for node in nodes)).elements()
        shard = {"NodeGroupId": "0001", "NewReplicaCount": count}
        return {
            "ReplicaConfiguration": [
                {**shard, "PreferredAvailabilityZones": [*(node["zone"] for node in nodes), *sorted(new)]}
            ]
        }
    surplus, leaving = Counter(node["zone"] for node in there["nodes"]) - Counter(zones), []
    for node in reversed(there["nodes"]):  # the newest first
        if node["role"] != "primary" and surplus[node["zone"]] > 0:
            surplus[node["zone"]] -= 1
            leaving.append(node["id"])
    return {"ReplicasToRemove": leaving}


def _existing_group(aws: Aws, params: Mapping) -> dict[str, Any]:
    group = _describe_group(aws, params)
    if group is None:
        raise Failed(f"{group_resource(params)} was deleted by somebody else meanwhile. Run the playbook again.")
    return group


def _change_token(aws: Aws, params: Mapping, then_set: bool, say: Say) -> None:
    """Give a token to a group that serves already; see ``elasticache_secret`` for what happens after a crash."""
    name = params["auth_token_secret"]["name"]
    there = secret.describe(aws, name)
    if there["pending"] is None:
        value = there["value"]
        value = {**value, "auth_token": secret.token_of(value) or secret.new_token()}
        group = _existing_group(aws, params)
        secret.stage(aws, name, {**value, **_value(params, group, value, token_wanted=True)}, then_set)
        there = secret.describe(aws, name)
    token = secret.token_of(there["pending"]["value"])
    group = _existing_group(aws, params)
    if group["auth_token_changed"] is None or group["auth_token_changed"] < there["pending"]["created"]:
        _send_token(aws, params, token, "ROTATE", say)
    secret.promote(aws, name, there)
    if there["pending"]["then_set"]:
        _send_token(aws, params, token, "SET", say)
    secret.finish(aws, name, there)


def _send_token(aws: Aws, params: Mapping, token: str, strategy: str, say: Say) -> None:
    aws.client("elasticache").modify_replication_group(
        ReplicationGroupId=lower_name(params), AuthToken=token, AuthTokenUpdateStrategy=strategy, ApplyImmediately=True
    )

    def missing(group: Mapping | None) -> str | None:
        applied = group is not None and group["auth_token_enabled"] and not group["auth_token_in_motion"]
        return None if applied else "without the new token yet"

    _wait_for(aws, params, missing, say)


def _mend_url(aws: Aws, params: Mapping, token_wanted: bool) -> None:
    name = params["auth_token_secret"]["name"]
    there, group = together(lambda: secret.describe(aws, name), lambda: _existing_group(aws, params))
    wanted = _value(params, group, there["value"], token_wanted)
    value = {**there["value"], **{key: text for key, text in wanted.items() if not is_unknown(text)}}
    if value != there["value"]:
        secret.write(aws, name, value)


def _apply_absent(aws: Aws, params: Mapping, current: Mapping, planned: Mapping, say: Say) -> None:
    cache = aws.client("elasticache")
    if group_resource(params) in planned:
        arguments = {}
        # one that could not be created has nothing to be kept; in any other state AWS takes the snapshot, or refuses
        if params["final_snapshot_identifier"] and current["replication_group"]["status"] != "create-failed":
            arguments["FinalSnapshotIdentifier"] = params["final_snapshot_identifier"]
        cache.delete_replication_group(ReplicationGroupId=lower_name(params), **arguments)
        _wait_for(aws, params, lambda group: "not deleted yet" if group else None, say)
    users.apply_leaving(aws, params, planned, say)
    if params["subnet_group"] and subnet_resource(params) in planned:
        delete_unused(
            aws,
            lambda: cache.delete_cache_subnet_group(CacheSubnetGroupName=lower_name(params["subnet_group"])),
            subnet_resource(params),
            say,
        )
    delete_parameter_groups(aws, params, current, planned, say)
    if snapshot_resource(replacement_snapshot(params)) in planned:
        _delete_snapshot(aws, params)
    if params["auth_token_secret"] and secret_resource(params) in planned:
        option = params["auth_token_secret"]
        secret.delete(aws, option["name"], option["recovery_window_in_days"])


def wait(aws: Aws, params: Mapping, say: Say) -> None:
    """Each step of apply has waited; what an earlier run began, settle has waited for."""


# ---- output ----


def _predicted_group(params: Mapping, current: Mapping) -> dict[str, Any]:
    name, there = lower_name(params), current["replication_group"]
    if params["state"] == GATHERED:
        return there or {"status": None}
    wanted = desired_group(params, current)
    if _is_replaced(params, current):
        wanted = _succession(there, wanted)
    elif there is not None and "primary_endpoint" in there:
        return _shown({**predicted(there, wanted), "member_clusters": _members(there, wanted)}, name)
    group = {**_defaults(params, wanted), **wanted}
    if group["transit_encryption_enabled"] is True and group["transit_encryption_mode"] is None:
        group["transit_encryption_mode"] = "required"
    return _shown(
        {
            "status": "available",
            "member_clusters": [f"{name}-{number:03}" for number in range(1, group["num_nodes"] + 1)],
            "primary_endpoint": {"address": unknown("primary endpoint", name), "port": group["port"]},
            "reader_endpoint": {"address": unknown("reader endpoint", name), "port": group["port"]},
            "tags": {},
            **group,
        },
        name,
    )


def _defaults(params: Mapping, wanted: Mapping) -> dict[str, Any]:
    """What AWS makes of options that are left out on creation, as far as it says so."""
    name, nodes = lower_name(params), wanted.get("num_nodes", 1)
    return {
        **{field: unknown(field, name) for field in _ARGUMENTS},
        "engine": "redis",
        "num_nodes": nodes,
        "port": DEFAULT_PORT,
        "multi_az_enabled": False,
        "automatic_failover_enabled": False,
        "subnet_group": "default",
        "security_group_ids": [unknown("security_group_ids", name)],
        "at_rest_encryption_enabled": wanted.get("engine") == "valkey",
        "kms_key_id": "",
        "transit_encryption_enabled": False,
        "transit_encryption_mode": None,
        "snapshot_retention_limit": 0,
        "auto_minor_version_upgrade": True,
        "notification_topic_arn": "",
        "log_delivery_configurations": {},
        "network_type": "ipv4",
        "ip_discovery": "ipv4",
        "data_tiering_enabled": False,
        "durability": "disabled",
        "user_group": "",
        "preferred_cache_cluster_azs": [unknown("zone", name)] * nodes,
    }


def _members(there: Mapping, wanted: Mapping) -> list[str]:
    """Who comes and who goes, AWS decides."""
    members, count = there["member_clusters"], wanted.get("num_nodes", there["num_nodes"])
    if count == len(members):
        return members
    kept = members if count > len(members) else []
    return [*kept, *([unknown("member cluster", "")] * (count - len(kept)))]


def _shown(group: dict[str, Any], name: str) -> dict[str, Any]:
    """With what AWS alone fills in: 7.0 becomes a patch of it, and nodes that come have their zones."""
    if len(_numbers(group["engine_version"])) < 3:
        group["engine_version"] = unknown("engine version", name)
    if len(group["preferred_cache_cluster_azs"]) != group["num_nodes"]:
        group["preferred_cache_cluster_azs"] = [unknown("zone", name)] * group["num_nodes"]
    if group["durability"] == "default":
        group["durability"] = unknown("durability", name)
    return group


def _predicted_token(params: Mapping, current: Mapping) -> bool:
    there = current["replication_group"] or {}
    if params["state"] == GATHERED or not _is_replaced(params, current):
        demanded = bool(there.get("auth_token_enabled"))
        return demanded or (params["state"] != GATHERED and wants_token(params, current))
    return wants_token(params, current)


def _is_replaced(params: Mapping, current: Mapping) -> bool:
    """Whether the plan puts another group in the place of the one that is there."""
    there, wanted = current["replication_group"], desired_group(params, current)
    if there is None or "primary_endpoint" not in there:
        return False
    return _impossible(params, before_change(params, there, wanted), wanted) is not None


def _predicted(
    params: Mapping, option: Mapping, there: Mapping | None, wanted: Callable[[Mapping], dict]
) -> dict[str, Any]:
    if params["state"] == GATHERED:
        return dict(there or {})
    new = {"description": lower_name(option), "tags": {}}  # as apply and AWS fill it in
    return predicted(there or new, wanted(params))


def _secret_version(params: Mapping, current: Mapping) -> str | None:
    """The version that tasks which start now are given; not to be known where a change of the value is planned."""
    changes = [] if params["state"] == GATHERED else [*_plan_secret(params, current), *_plan_group(params, current)]
    if any(change.action == "create" or change.path.startswith(("value.", "auth_token")) for change in changes):
        return unknown("version of secret", params["auth_token_secret"]["name"])
    return (current["secret"] or {}).get("version")


def output(aws: Aws, params: Mapping, current: Mapping) -> dict[str, Any]:
    if params["state"] == "absent":
        return dict.fromkeys(
            (
                "replication_group",
                "subnet_group",
                "parameter_group",
                "user_group",
                "auth_token_secret_arn",
                "auth_token_secret_kms_key_arn",
                "auth_token_secret_version_id",
            )
        )
    inner = (
        "final_snapshot_exists",
        "scheduled",
        "auth_token_changed",
        "auth_token_in_motion",
        "auth_token_enabled",
        "created",
        "nodes",
    )
    group = {key: value for key, value in _predicted_group(params, current).items() if key not in inner}
    option, arn, key, version = params["auth_token_secret"], None, None, None
    if option:
        version = _secret_version(params, current)
        key = option["kms_key_id"] and current["keys"].get(option["kms_key_id"], option["kms_key_id"])
        # six characters that Secrets Manager chooses end the ARN
        new = aws.arn("secretsmanager", f"secret:{option['name']}-{unknown('ARN suffix of secret', option['name'])}")
        arn = current["secret"]["arn"] if current["secret"] else new
    return {
        "replication_group": {
            "id": lower_name(params),
            "arn": arn_of(aws, "replicationgroup", params),
            "auth_token_enabled": _predicted_token(params, current),
            **group,
        },
        "subnet_group": params["subnet_group"]
        and {
            "name": lower_name(params["subnet_group"]),
            "arn": arn_of(aws, "subnetgroup", params["subnet_group"]),
            **_predicted(params, params["subnet_group"], current["subnet_group"], subnet_fields),
        },
        "parameter_group": params["parameter_group"]
        and {
            "name": lower_name(params["parameter_group"]),
            "arn": arn_of(aws, "parametergroup", params["parameter_group"]),
            "parameters": {},
            **_predicted(params, params["parameter_group"], parameter_group(params, current), parameter_fields),
        },
        "user_group": users.output(aws, params, current, _engine_of(params, current)),
        "auth_token_secret_arn": arn,
        "auth_token_secret_kms_key_arn": key,
        "auth_token_secret_version_id": version,
    }


def resources(aws: Aws, params: Mapping, current: Mapping) -> list[str]:
    own_parameters = params["parameter_group"] and not is_default(params["parameter_group"])
    return [
        *([subnet_resource(params)] if params["subnet_group"] else []),
        *([parameter_resource(params["parameter_group"])] if own_parameters else []),
        *([secret_resource(params)] if params["auth_token_secret"] else []),
        *users.resources(params),
        group_resource(params),
    ]


def billed(aws: Aws, params: Mapping, current: Mapping, wanted: bool) -> list[dict[str, Any]]:
    group = _predicted_group(params, current) if wanted else current["replication_group"] or {}
    items: list[dict[str, Any]] = []
    if group.get("node_type"):
        items.append(
            {
                "kind": "redis",
                "resource": group_resource(params),
                "engine": group.get("engine", "redis"),
                "node_type": group["node_type"],
                "nodes": group.get("num_nodes", 1),
                "backups": group.get("snapshot_retention_limit", 0),
            }
        )
    if params["auth_token_secret"] and (wanted or (current["secret"] and not current["secret"]["deletion_date"])):
        items.append({"kind": "secret", "resource": secret_resource(params)})
    return items
