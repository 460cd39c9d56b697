"""Replication groups (cluster mode disabled) and the cache clusters that are their members.

Single cache clusters, global datastores and cluster mode enabled are not here: their parameters are refused, their
operations are unknown.
"""

import re

from botocore.exceptions import ClientError
from moto.core.responses import ActionResult

from . import catalog
from .base import Fault, by_name, checked_tags, combination, given, identifier, invalid, switch
from .parameter_groups import ParameterGroups
from .service import NODE_GROUP_ID, NODE_ID, Group, Member, SubnetGroup, now
from .snapshots import Snapshots
from .users import Users

ADDRESS = "127.0.0.1"
DEFERRED = {
    "AuthTokens", "AutomaticFailover", "CacheNodeType", "Engine", "EngineVersion", "MultiAZ", "PrimaryClusterId",
    "TransitEncryptionEnabled", "TransitEncryptionMode", "UserGroupIds",
}  # fmt: skip
"""Changes that wait in PendingModifiedValues until a request with ApplyImmediately."""

DAY = "(mon|tue|wed|thu|fri|sat|sun)"
TIME = r"([01]\d|2[0-3]):[0-5]\d"


class ReplicationGroups(ParameterGroups, Snapshots, Users):
    def create_replication_group(self) -> ActionResult:
        p, state = self.params, self.state
        name = identifier(p["ReplicationGroupId"], "ReplicationGroupId", 40)
        snapshot, data = self._restored_from(p)
        for field in ("GlobalReplicationGroupId", "PrimaryClusterId", "ServerlessCacheSnapshotName"):
            if p.get(field):
                raise combination(f"The sandbox does not offer {field} yet.")
        if p.get("NumNodeGroups", 1) != 1 or p.get("ClusterMode", "disabled") != "disabled":
            raise combination("The sandbox offers cluster mode disabled (one node group) only.")
        if "NumCacheClusters" in p and "ReplicasPerNodeGroup" in p:
            raise combination("NumCacheClusters and ReplicasPerNodeGroup must not be used together.")
        engine = p.get("Engine", snapshot.get("Engine", "redis"))
        count = p.get("NumCacheClusters", p.get("ReplicasPerNodeGroup", 0) + 1)
        if not 1 <= count <= 6:
            raise invalid("The number of cache clusters must be between 1 and 6.")
        version, family = self._engine_version(engine, p.get("EngineVersion", snapshot.get("EngineVersion")))
        self._check_restorable(snapshot, engine, version)
        subnet_group = self._subnet_group_for(p.get("CacheSubnetGroupName"))
        encrypted = p.get("TransitEncryptionEnabled", False)
        settings = {
            "Description": p["ReplicationGroupDescription"],
            "Engine": engine,
            "EngineVersion": version,
            "CacheNodeType": p.get("CacheNodeType", snapshot.get("CacheNodeType")),
            "CacheParameterGroupName": p.get("CacheParameterGroupName", f"default.{family}").lower(),
            "CacheSubnetGroupName": subnet_group.name,
            "SecurityGroupIds": p.get("SecurityGroupIds") or self._default_security_group(subnet_group.vpc_id),
            "AutomaticFailover": p.get("AutomaticFailoverEnabled", False),
            "MultiAZ": p.get("MultiAZEnabled", False),
            "SnapshotRetentionLimit": p.get("SnapshotRetentionLimit", 0),
            "SnapshotWindow": p.get("SnapshotWindow", "05:00-06:00"),
            "SnapshottingClusterId": None,
            "PreferredMaintenanceWindow": p.get("PreferredMaintenanceWindow", "sun:23:00-mon:01:30").lower(),
            "NotificationTopicArn": p.get("NotificationTopicArn"),
            "NotificationTopicStatus": "active",
            "AutoMinorVersionUpgrade": p.get("AutoMinorVersionUpgrade", True),
            "TransitEncryptionEnabled": encrypted,
            "TransitEncryptionMode": p.get("TransitEncryptionMode") or ("required" if encrypted else None),
            "AtRestEncryptionEnabled": p.get("AtRestEncryptionEnabled", engine == "valkey"),
            "KmsKeyId": p.get("KmsKeyId"),
            "LogDeliveryConfigurations": _log_delivery([], p.get("LogDeliveryConfigurations", [])),
            "NetworkType": p.get("NetworkType", "ipv4"),
            "IpDiscovery": p.get("IpDiscovery", "ipv4"),
            "DataTieringEnabled": p.get("DataTieringEnabled", False),
            "UserGroupIds": [],
            "Durability": p.get("Durability", "default"),
        }
        self._check(settings, count)
        self._check_security_groups(settings["SecurityGroupIds"], subnet_group)
        if p.get("TransitEncryptionMode") and not encrypted:
            raise combination("To modify transit encryption mode, set encryption-in-transit as enabled.")
        # https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/in-transit-encryption-enable.html: since Redis 7.0.5
        if p.get("TransitEncryptionMode") and engine == "redis" and int(version.split(".")[0]) < 7:
            raise combination(f"TransitEncryptionMode is not supported for Redis {version}.")
        self._check_auth_token(p.get("AuthToken"), encrypted)
        if p.get("UserGroupIds"):
            if p.get("AuthToken") or len(p["UserGroupIds"]) > 1:
                raise combination("A replication group has one user group, or an AuthToken.")
            settings["UserGroupIds"] = [self._check_user_group(p["UserGroupIds"][0], engine, encrypted)]
        self._check_log_delivery(settings["LogDeliveryConfigurations"], engine, version)
        self._check_network(settings, subnet_group)
        if settings["KmsKeyId"]:
            self._check_kms_key(settings)
        if settings["DataTieringEnabled"] != settings["CacheNodeType"].startswith("cache.r6gd."):
            raise combination("Data tiering must be enabled with r6gd node types, and only with them.")
        zones = self._zones(subnet_group, p.get("PreferredCacheClusterAZs"), count)
        tags = checked_tags(p.get("Tags", []))
        with self.service.lock:
            if name in state.groups:
                raise Fault("ReplicationGroupAlreadyExists", f"Replication group {name} already exists.")
            token = p.get("AuthToken")
            arn = self.service.arn(self.region, "replicationgroup", name)
            group = Group(name, arn, state, settings, [token], token_date=now() if token else None, data=data)
            state.tags[arn] = tags
            self.service.create(group, zones)
            return ActionResult({"ReplicationGroup": _group_shape(group)})

    def describe_replication_groups(self) -> ActionResult:
        wanted = self.params.get("ReplicationGroupId")
        with self.service.lock:
            groups = [self._group(wanted)] if wanted else by_name(self.state.groups)
            groups, marker = self._page(groups, lambda group: group.id)
            return ActionResult({"ReplicationGroups": [_group_shape(group) for group in groups], **marker})

    def describe_cache_clusters(self) -> ActionResult:
        wanted = (self.params.get("CacheClusterId") or "").lower()
        info = self.params.get("ShowCacheNodeInfo", False)
        with self.service.lock:
            members = [(group, member) for group in by_name(self.state.groups) for member in group.members]
            if wanted:
                members = [(group, member) for group, member in members if member.id == wanted]
                if not members:
                    raise Fault("CacheClusterNotFound", f"CacheCluster not found: {wanted}")
            elif self.params.get("ShowCacheClustersNotInReplicationGroups"):
                members = []
            members, marker = self._page(members, lambda pair: pair[1].id)
            shapes = [self._cluster_shape(group, member, info) for group, member in members]
        return ActionResult({"CacheClusters": shapes, **marker})

    def modify_replication_group(self) -> ActionResult:
        group = self._group(self.params["ReplicationGroupId"])
        with self.service.lock:
            self._require_available(group)
        changes = self._changes(group)
        self._check({**group.settings, **group.pending, **changes}, len(group.members))
        with self.service.lock:
            self._require_available(group)
            immediate = self.params.get("ApplyImmediately", False)
            unchanged = [name for name, value in changes.items() if self._current(group, name) == value]
            for name in unchanged:  # asked for what is there: that also calls off a pending change
                del changes[name]
                group.pending.pop(name, None)
            later = {name: value for name, value in changes.items() if name in DEFERRED}
            if later and "CacheParameterGroupName" in changes:  # goes with the engine version it belongs to
                later["CacheParameterGroupName"] = changes["CacheParameterGroupName"]
            at_once = {name: value for name, value in changes.items() if name not in later}
            group.pending.update(later)
            group.settings.update(at_once)
            if "CacheParameterGroupName" in at_once and not immediate:
                for member in group.members:
                    member.parameter_status = "pending-reboot"
            if immediate and (changes or group.pending):
                self.service.modify(group)
            elif at_once:
                self.service.job(group, "modifying", lambda: None)
            return ActionResult({"ReplicationGroup": _group_shape(group)})

    def delete_replication_group(self) -> ActionResult:
        p = self.params
        group = self._group(p["ReplicationGroupId"])
        if p.get("RetainPrimaryCluster"):
            raise combination("The sandbox does not offer RetainPrimaryCluster yet.")
        with self.service.lock:
            if group.status != "create-failed":
                self._require_available(group)
            snapshot = None
            if p.get("FinalSnapshotIdentifier"):
                snapshot = self._new_snapshot(group, p["FinalSnapshotIdentifier"])
            self.service.delete(group, snapshot)
            return ActionResult({"ReplicationGroup": _group_shape(group)})

    def increase_replica_count(self) -> ActionResult:
        group, target, zones = self._replica_count()
        current = len(group.members) - 1
        if target is None:
            raise combination("NewReplicaCount or ReplicaConfiguration is required.")
        if target == current:
            raise Fault("NoOperationFault", f"The replication group has {current} replicas already.")
        if not current < target <= 5:
            raise invalid(f"The new replica count must be above {current} and at most 5.")
        zones = self._zones(self._subnet_group(group.settings["CacheSubnetGroupName"]), zones, target + 1)
        with self.service.lock:
            self._require_available(group)
            self.service.add_replicas(group, [self.service.add_member(group, zone) for zone in zones[current + 1 :]])
            return ActionResult({"ReplicationGroup": _group_shape(group)})

    def decrease_replica_count(self) -> ActionResult:
        group, target, _ = self._replica_count()
        names = [name.lower() for name in self.params.get("ReplicasToRemove") or []]
        replicas = sorted(group.replicas, key=lambda member: member.id)
        if names:
            if not set(names) <= {member.id for member in replicas}:
                raise invalid(f"Only replicas of {group.id} can be removed.")
            leaving = [member for member in replicas if member.id in names]
        elif target is None:
            raise combination("NewReplicaCount, ReplicaConfiguration or ReplicasToRemove is required.")
        elif not 0 <= target <= len(replicas):
            raise invalid(f"The new replica count must be below {len(replicas)}.")
        else:
            leaving = replicas[target:]
        if not leaving:
            raise Fault("NoOperationFault", f"The replication group has {len(replicas)} replicas already.")
        if len(leaving) == len(replicas) and group.settings["AutomaticFailover"]:
            raise invalid(
                "Must have at least 1 replica when cluster mode is disabled with auto failover enabled.",
            )
        with self.service.lock:
            self._require_available(group)
            self.service.remove_replicas(group, leaving)
            return ActionResult({"ReplicationGroup": _group_shape(group)})

    def test_failover(self) -> ActionResult:
        group = self._group(self.params["ReplicationGroupId"])
        if self.params["NodeGroupId"] != NODE_GROUP_ID:
            raise Fault("NodeGroupNotFoundFault", f"Node group {self.params['NodeGroupId']} not found.")
        with self.service.lock:
            self._require_available(group)
            if not group.settings["AutomaticFailover"]:
                raise Fault("InvalidReplicationGroupState", f"Automatic failover is not enabled for {group.id}.")
            if not group.ready_replicas:  # nobody has the data: the primary would come back empty
                raise Fault("InvalidReplicationGroupState", f"No replica of {group.id} is available.")
            self.service.test_failover(group)
            return ActionResult({"ReplicationGroup": _group_shape(group)})

    def list_allowed_node_type_modifications(self) -> ActionResult:
        name = self.params.get("ReplicationGroupId") or self.params.get("CacheClusterId", "").rpartition("-")[0]
        current = self._group(name).settings["CacheNodeType"]
        size = catalog.NODE_TYPES[current]
        types = sorted(t for t in catalog.NODE_TYPES if t != current and ("r6gd" in t) == ("r6gd" in current))
        return ActionResult(
            {
                "ScaleUpModifications": [t for t in types if catalog.NODE_TYPES[t] >= size],
                "ScaleDownModifications": [t for t in types if catalog.NODE_TYPES[t] < size],
            }
        )

    def _group(self, name: str) -> Group:
        group = self.state.groups.get(name.lower())
        if group is None:
            raise Fault("ReplicationGroupNotFoundFault", f"ReplicationGroup {name} not found.")
        return group

    def _require_available(self, group: Group) -> None:
        if group.status != "available":
            raise Fault(
                "InvalidReplicationGroupState",
                f"Replication group {group.id} must be in available state; it is {group.status}.",
            )

    def _replica_count(self) -> tuple[Group, int | None, list[str] | None]:
        p = self.params
        group = self._group(p["ReplicationGroupId"])
        with self.service.lock:
            self._require_available(group)
        if not p.get("ApplyImmediately"):
            raise invalid("ApplyImmediately must be true to change the number of replicas.")
        for shard in p.get("ReplicaConfiguration") or []:
            return group, shard.get("NewReplicaCount"), shard.get("PreferredAvailabilityZones")
        return group, p.get("NewReplicaCount"), None

    def _changes(self, group: Group) -> dict:
        """What a ModifyReplicationGroup asks for, checked, in the names of `Group.settings` and `Group.pending`."""
        p, settings = self.params, group.settings
        wanted = settings | group.pending
        if p.get("ClusterMode", "disabled") != "disabled":
            raise combination("The sandbox offers cluster mode disabled only.")
        renamed = {
            "Description": "ReplicationGroupDescription",
            "AutomaticFailover": "AutomaticFailoverEnabled",
            "MultiAZ": "MultiAZEnabled",
        }
        changes = {name: p[key] for name in settings if (key := renamed.get(name, name)) in p}
        for name in ("CacheParameterGroupName", "PreferredMaintenanceWindow"):
            if name in changes:
                changes[name] = changes[name].lower()
        if "LogDeliveryConfigurations" in p:
            if not p.get("ApplyImmediately"):
                raise combination("ApplyImmediately must be true to change log delivery.")
            changes["LogDeliveryConfigurations"] = _log_delivery(
                settings["LogDeliveryConfigurations"], p["LogDeliveryConfigurations"]
            )
            self._check_log_delivery(
                changes["LogDeliveryConfigurations"], settings["Engine"], settings["EngineVersion"]
            )
        if "IpDiscovery" in p:
            self._check_network({**settings, **changes}, self._subnet_group(settings["CacheSubnetGroupName"]))
        if "NetworkType" in p:
            del changes["NetworkType"]  # not a parameter of this operation
        if "Durability" in changes:
            changes["Durability"] = self._durability(settings["Durability"], changes["Durability"])
        if "SecurityGroupIds" in changes:
            subnet_group = self._subnet_group(settings["CacheSubnetGroupName"])
            self._check_security_groups(changes["SecurityGroupIds"], subnet_group)
        if "PrimaryClusterId" in p:
            changes["PrimaryClusterId"] = self._new_primary(group, p["PrimaryClusterId"].lower())
        if "EngineVersion" in p or "Engine" in p:
            changes |= self._upgrade(wanted, changes)
        if "TransitEncryptionEnabled" in p or "TransitEncryptionMode" in p:
            changes |= self._transit(group, wanted)
        encrypted = changes.get("TransitEncryptionEnabled", wanted["TransitEncryptionEnabled"])
        if {"UserGroupIdsToAdd", "UserGroupIdsToRemove", "RemoveUserGroups"} & p.keys():
            changes["UserGroupIds"] = self._user_groups(group, wanted, encrypted)
        if "AuthToken" in p or "AuthTokenUpdateStrategy" in p:
            changes["AuthTokens"] = self._new_tokens(group, encrypted, changes.get("UserGroupIds", []))
        return changes

    def _user_groups(self, group: Group, wanted: dict, encrypted: bool) -> list[str]:
        """The user groups after a request. A token and a user group exclude each other: one call replaces the one by
        the other (AuthTokenUpdateStrategy DELETE with UserGroupIdsToAdd; RemoveUserGroups with AuthToken and SET).

        https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/Clusters.RBAC.html ("Migrating from AUTH to RBAC")
        https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/auth.html ("Migrating from RBAC to AUTH")
        """
        p = self.params
        there = wanted["UserGroupIds"]
        remove = there if p.get("RemoveUserGroups") else [name.lower() for name in p.get("UserGroupIdsToRemove", [])]
        if not set(remove) <= set(there):
            raise invalid(f"{', '.join(remove)} is not associated with {group.id}.")
        if {"TransitEncryptionEnabled", "TransitEncryptionMode"} & p.keys():
            raise combination(
                "Modification of transit encryption is not supported for access control enabled clusters."
            )
        left = [name for name in there if name not in remove]
        left += [self._check_user_group(n, wanted["Engine"], encrypted) for n in p.get("UserGroupIdsToAdd", [])]
        if len(left) > 1:
            raise combination("A replication group has at most one user group.")
        if left and group.token_date and p.get("AuthTokenUpdateStrategy") != "DELETE":
            raise combination(
                "AuthTokenUpdateStrategy DELETE is needed to add a user group where there is an AUTH token."
            )
        return left

    def _current(self, group: Group, name: str):
        if name == "PrimaryClusterId":
            return group.primary.id
        return group.tokens if name == "AuthTokens" else group.settings[name]

    def _new_primary(self, group: Group, name: str) -> str:
        if name not in {member.id for member in group.members}:
            raise Fault("CacheClusterNotFound", f"CacheCluster not found: {name}")
        if group.settings["AutomaticFailover"]:
            raise combination("A replica cannot be promoted by hand while automatic failover is enabled.")
        return name

    def _upgrade(self, wanted: dict, changes: dict) -> dict:
        engine = self.params.get("Engine", wanted["Engine"])
        if engine == wanted["Engine"] and "EngineVersion" not in self.params:
            return {}
        version, family = self._engine_version(engine, self.params.get("EngineVersion"))
        if (wanted["Engine"], engine) == ("valkey", "redis") or _number(version) < _number(wanted["EngineVersion"]):
            raise combination(
                f"Cannot downgrade from {wanted['Engine']} {wanted['EngineVersion']} to {engine} {version}.",
            )
        upgrade = {"Engine": engine, "EngineVersion": version}
        current = wanted["CacheParameterGroupName"]
        if "CacheParameterGroupName" not in changes and current.startswith("default."):
            upgrade["CacheParameterGroupName"] = f"default.{family}"
        return upgrade

    def _transit(self, group: Group, wanted: dict) -> dict:
        """In-transit encryption migrates in steps, so that clients can follow: off <-> preferred <-> required.

        https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/in-transit-encryption-enable.html
        """
        enabled = self.params.get("TransitEncryptionEnabled", wanted["TransitEncryptionEnabled"])
        old = wanted["TransitEncryptionMode"] if wanted["TransitEncryptionEnabled"] else None
        if not enabled and "TransitEncryptionMode" in self.params:
            raise combination("To modify transit encryption mode, set encryption-in-transit as enabled.")
        new = self.params.get("TransitEncryptionMode", old or "required") if enabled else None
        if new == old:
            return {}
        if new not in (None, "preferred", "required"):
            raise invalid("TransitEncryptionMode must be preferred or required.")
        if wanted["Engine"] == "redis" and _number(wanted["EngineVersion"]) < (7,):
            raise combination("Changing in-transit encryption needs Redis 7.0.5 or later.")
        if {old, new} == {None, "required"}:
            raise combination(
                "In-transit encryption is enabled or disabled in two steps: "
                "set TransitEncryptionMode to preferred first.",
            )
        if new is None and (group.token_date or group.settings["UserGroupIds"]):
            raise combination(
                "Modification of transit encryption is not supported for access control enabled clusters.",
            )
        return {"TransitEncryptionEnabled": enabled, "TransitEncryptionMode": new}

    def _new_tokens(self, group: Group, encrypted: bool, user_groups: list[str]) -> list[str | None]:
        """Tokens that are valid after the change: ROTATE adds one to the last, SET leaves only the new one.

        Rotating in the first token of a group leaves "no token" valid, as on AWS:
        https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/auth.html
        """
        token, strategy = self.params.get("AuthToken"), self.params.get("AuthTokenUpdateStrategy", "ROTATE")
        if strategy not in ("SET", "ROTATE", "DELETE"):
            raise invalid("AuthTokenUpdateStrategy must be SET, ROTATE or DELETE.")
        if strategy == "DELETE":
            if token or not user_groups:
                raise combination(
                    "AuthTokenUpdateStrategy DELETE takes no AuthToken."
                    if token
                    else "AuthTokenUpdateStrategy DELETE is allowed only when user groups replace the token.",
                )
            return [None]
        if not token:
            raise combination("AuthTokenUpdateStrategy must be used together with AuthToken.")
        self._check_auth_token(token, encrypted)
        if group.settings["UserGroupIds"] and (strategy != "SET" or not self.params.get("RemoveUserGroups")):
            raise combination("An AUTH token takes the place of a user group with RemoveUserGroups and SET only.")
        return [group.tokens[-1], token] if strategy == "ROTATE" and group.tokens[-1] != token else [token]

    # ---- checks ----

    def _check(self, s: dict, count: int) -> None:
        """Rules that hold for the settings of a group as a whole, new or modified."""
        node_type = s["CacheNodeType"]
        if not node_type:
            raise combination("CacheNodeType is required.")
        if catalog.PREVIOUS_GENERATION.fullmatch(node_type):
            raise combination(
                f"{node_type} is of a previous generation that {s['Engine']} {s['EngineVersion']} does not support.",
            )
        if node_type not in catalog.NODE_TYPES:
            raise invalid(f"Invalid Cache Node Type: {node_type}.")
        if s["AutomaticFailover"] and count < 2:
            raise combination(
                "When using automatic failover, there must be at least 2 cache clusters in the replication group.",
            )
        if s["MultiAZ"] and not s["AutomaticFailover"]:
            raise combination("Multi-AZ requires automatic failover to be enabled.")
        group = self._parameter_group(s["CacheParameterGroupName"])
        _, family = self._engine_version(s["Engine"], s["EngineVersion"])
        if group.family != family:
            raise combination(
                f"Expected a parameter group of family {family} but found one of family {group.family}",
            )
        if group.values.get("cluster-enabled") == "yes":
            raise combination("The sandbox offers cluster mode disabled only.")
        if not 0 <= s["SnapshotRetentionLimit"] <= 35:
            raise invalid("SnapshotRetentionLimit must be between 0 and 35.")
        if not re.fullmatch(f"{TIME}-{TIME}", s["SnapshotWindow"]):
            raise invalid(f"Invalid snapshot window: {s['SnapshotWindow']}.")
        if not re.fullmatch(f"{DAY}:{TIME}-{DAY}:{TIME}", s["PreferredMaintenanceWindow"]):
            raise invalid(f"Invalid maintenance window: {s['PreferredMaintenanceWindow']}.")
        if s["TransitEncryptionMode"] not in (None, "preferred", "required"):
            raise invalid("TransitEncryptionMode must be preferred or required.")
        if s["Durability"] not in ("default", "sync", "async", "disabled"):
            raise invalid("Durability must be default, sync, async or disabled.")
        if _effective(s["Durability"]) != "disabled" and (
            s["Engine"] != "valkey" or _number(s["EngineVersion"]) < (9,)
        ):
            raise combination("Durability needs Valkey 9.0 or later.")
        if s["NotificationTopicStatus"] not in ("active", "inactive"):
            raise invalid("NotificationTopicStatus must be active or inactive.")
        if s["KmsKeyId"] and not s["AtRestEncryptionEnabled"]:
            raise combination("KmsKeyId requires AtRestEncryptionEnabled.")

    def _check_restorable(self, snapshot: dict, engine: str, version: str) -> None:
        """An RDB file of a later version is not read by an earlier one, and one of Valkey not by Redis."""
        older = snapshot and (
            (snapshot["Engine"], engine) == ("valkey", "redis") or _number(version) < _number(snapshot["EngineVersion"])
        )
        if older:
            raise combination(
                f"Snapshot {snapshot['SnapshotName']} of {snapshot['Engine']} {snapshot['EngineVersion']} cannot be "
                f"restored to {engine} {version}."
            )

    def _check_log_delivery(self, wanted: list[dict], engine: str, version: str) -> None:
        logs = self.service.sandbox.client("logs", self.region)
        for entry in wanted:
            if entry["LogType"] not in ("slow-log", "engine-log") or entry["LogFormat"] not in ("json", "text"):
                raise invalid("LogType must be slow-log or engine-log, LogFormat json or text.")
            if entry["LogType"] == "engine-log" and engine == "redis" and _number(version) < (6, 2):
                raise combination("engine-log needs Redis 6.2 or later.")
            details = entry["DestinationDetails"]
            if entry["DestinationType"] == "cloudwatch-logs" and details.get("CloudWatchLogsDetails"):
                name = details["CloudWatchLogsDetails"]["LogGroup"]
                found = logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]
                if name not in {group["logGroupName"] for group in found}:
                    raise invalid(f"The log group {name} does not exist.")
            elif entry["DestinationType"] != "kinesis-firehose" or not details.get("KinesisFirehoseDetails"):
                raise combination("DestinationType and DestinationDetails do not fit.")

    def _check_network(self, s: dict, subnet_group: SubnetGroup) -> None:
        if s["NetworkType"] not in ("ipv4", "ipv6", "dual_stack") or s["IpDiscovery"] not in ("ipv4", "ipv6"):
            raise invalid("NetworkType or IpDiscovery is invalid.")
        if s["NetworkType"] not in ("dual_stack", s["IpDiscovery"]):
            raise combination(f"IpDiscovery {s['IpDiscovery']} does not fit NetworkType {s['NetworkType']}.")
        if s["NetworkType"] == "ipv4":
            return
        if s["Engine"] == "redis" and _number(s["EngineVersion"]) < (6, 2):
            raise combination("IPv6 needs Redis 6.2 or later.")
        subnets = self._ec2().describe_subnets(SubnetIds=list(subnet_group.zones))["Subnets"]
        if not all(subnet.get("Ipv6CidrBlockAssociationSet") for subnet in subnets):
            raise combination(f"The subnets of {subnet_group.name} do not support {s['NetworkType']}.")

    def _durability(self, old: str, new: str) -> str:
        if (_effective(old) == "disabled") != (_effective(new) == "disabled"):
            raise combination("Durability cannot be turned on or off after creation.")
        return new

    def _check_auth_token(self, token: str | None, encrypted: bool) -> None:
        if token is None:
            return
        if not encrypted:
            raise combination(
                "The AUTH token is only supported when encryption-in-transit is enabled.",
            )
        if not re.fullmatch(r"[A-Za-z0-9!&#$^<>-]{16,128}", token):
            raise invalid(
                "Invalid AuthToken provided: it must be 16 to 128 letters, digits or characters of !&#$^<>-.",
            )

    def _check_security_groups(self, ids: list[str], subnet_group: SubnetGroup) -> None:
        try:
            found = self._ec2().describe_security_groups(GroupIds=ids)["SecurityGroups"] if ids else []
        except ClientError:
            raise invalid(f"Some security group does not exist: {', '.join(ids)}.") from None
        elsewhere = [group["GroupId"] for group in found if group["VpcId"] != subnet_group.vpc_id]
        if elsewhere:
            raise combination(f"{', '.join(elsewhere)} is not in {subnet_group.vpc_id}, the VPC of the subnet group.")

    def _check_kms_key(self, settings: dict) -> None:
        try:
            key = self.service.sandbox.client("kms", self.region).describe_key(KeyId=settings["KmsKeyId"])
            settings["KmsKeyId"] = key["KeyMetadata"]["Arn"]
        except ClientError:
            raise Fault("InvalidKMSKeyFault", f"The KMS key {settings['KmsKeyId']} does not exist.") from None

    def _engine_version(self, engine: str, asked: str | None) -> tuple[str, str]:
        if engine not in catalog.DEFAULT_VERSION:
            raise invalid(f"Invalid engine: {engine}; use redis or valkey.")
        found = catalog.engine_version(engine, asked)
        if found is None:
            raise combination(f"Cannot find version {asked} for {engine}")
        return found

    def _zones(self, subnet_group: SubnetGroup, preferred: list[str] | None, count: int) -> list[str]:
        available = sorted(set(subnet_group.zones.values()))
        if not preferred:
            return [available[n % len(available)] for n in range(count)]
        if len(preferred) != count:
            raise combination(f"{count} preferred availability zones are needed, one per node.")
        if not set(preferred) <= set(available):
            raise invalid(
                f"Subnet group {subnet_group.name} has subnets in {', '.join(available)} only.",
            )
        return preferred

    def _default_security_group(self, vpc_id: str) -> list[str]:
        filters = [{"Name": "vpc-id", "Values": [vpc_id]}, {"Name": "group-name", "Values": ["default"]}]
        return [g["GroupId"] for g in self._ec2().describe_security_groups(Filters=filters)["SecurityGroups"]]

    # ---- shapes ----

    def _cluster_shape(self, group: Group, member: Member, info: bool) -> dict:
        s, status = group.settings, member.status or group.status
        node = {
            "CacheNodeId": NODE_ID,
            "CacheNodeStatus": status,
            "CacheNodeCreateTime": member.created,
            "Endpoint": {"Address": ADDRESS, "Port": member.endpoint.port} if status != "creating" else None,
            "ParameterGroupStatus": member.parameter_status,
            "CustomerAvailabilityZone": member.zone,
        }
        topic = {"TopicArn": s["NotificationTopicArn"], "TopicStatus": s["NotificationTopicStatus"]}
        parameter_group = {
            "CacheParameterGroupName": s["CacheParameterGroupName"],
            "ParameterApplyStatus": member.parameter_status,
            "CacheNodeIdsToReboot": [NODE_ID] if member.parameter_status == "pending-reboot" else [],
        }
        kept = (
            "CacheNodeType Engine EngineVersion PreferredMaintenanceWindow CacheSubnetGroupName AutoMinorVersionUpgrade"
            " SnapshotWindow TransitEncryptionEnabled TransitEncryptionMode AtRestEncryptionEnabled NetworkType"
            " IpDiscovery"
        )
        return given(
            CacheClusterId=member.id,
            CacheClusterStatus=status,
            NumCacheNodes=1,
            PreferredAvailabilityZone=member.zone,
            CacheClusterCreateTime=member.created,
            PendingModifiedValues=_pending(group, "EngineVersion", "CacheNodeType"),
            NotificationConfiguration=topic if s["NotificationTopicArn"] else None,
            CacheSecurityGroups=[],
            CacheParameterGroup=parameter_group,
            CacheNodes=[given(**node)] if info else None,
            SecurityGroups=[{"SecurityGroupId": name, "Status": "active"} for name in s["SecurityGroupIds"]],
            ReplicationGroupId=group.id,
            SnapshotRetentionLimit=s["SnapshotRetentionLimit"] if member.id == group.snapshotting else 0,
            AuthTokenEnabled=group.token_date is not None,
            AuthTokenLastModifiedDate=group.token_date,
            ARN=self.service.arn(group.region.name, "cluster", member.id),
            ReplicationGroupLogDeliveryEnabled=bool(s["LogDeliveryConfigurations"]),
            LogDeliveryConfigurations=s["LogDeliveryConfigurations"],
            **{key: s[key] for key in kept.split()},
        )


def _group_shape(group: Group) -> dict:
    s = group.settings
    failover = switch(s["AutomaticFailover"])
    if group.status == "modifying" and "AutomaticFailover" in group.pending:
        failover = "enabling" if group.pending["AutomaticFailover"] else "disabling"
    members = [
        given(
            CacheClusterId=member.id,
            CacheNodeId=NODE_ID,
            ReadEndpoint={"Address": ADDRESS, "Port": member.endpoint.port} if member.status != "creating" else None,
            PreferredAvailabilityZone=member.zone,
            CurrentRole="primary" if member is group.primary else "replica",
        )
        for member in group.members
    ]
    node_group = {
        "NodeGroupId": NODE_GROUP_ID,
        "Status": group.status,
        "PrimaryEndpoint": {"Address": ADDRESS, "Port": group.primary_endpoint.port},
        "ReaderEndpoint": {"Address": ADDRESS, "Port": group.reader_endpoint.port},
        "NodeGroupMembers": members,
    }
    kept = (
        "Description SnapshotRetentionLimit SnapshotWindow CacheNodeType TransitEncryptionEnabled TransitEncryptionMode"
        " AtRestEncryptionEnabled KmsKeyId LogDeliveryConfigurations AutoMinorVersionUpgrade NetworkType IpDiscovery"
        " Engine UserGroupIds Durability"
    )
    return given(
        ReplicationGroupId=group.id,
        Status=group.status,
        PendingModifiedValues=_pending(group, "PrimaryClusterId"),
        MemberClusters=[member.id for member in group.members],
        NodeGroups=None if group.status in ("creating", "create-failed") else [node_group],
        AutomaticFailover=failover,
        MultiAZ=switch(s["MultiAZ"]),
        ClusterEnabled=False,
        ClusterMode="disabled",
        AuthTokenEnabled=group.token_date is not None,
        AuthTokenLastModifiedDate=group.token_date,
        ARN=group.arn,
        EffectiveDurability=_effective(s["Durability"]),
        SnapshottingClusterId=group.snapshotting,
        ReplicationGroupCreateTime=group.created,
        DataTiering=switch(s["DataTieringEnabled"]),
        **{key: s[key] for key in kept.split()},
    )


def _pending(group: Group, *names: str) -> dict:
    """PendingModifiedValues: what a group and its clusters both show, and `names`."""
    pending = group.pending
    shape = {
        name: pending[name] for name in (*names, "TransitEncryptionEnabled", "TransitEncryptionMode") if name in pending
    }
    if "AuthTokens" in pending:
        shape["AuthTokenStatus"] = "ROTATING" if len(pending["AuthTokens"]) > 1 else "SETTING"
    if "UserGroupIds" in pending and "PrimaryClusterId" in names:
        there = group.settings["UserGroupIds"]
        shape["UserGroups"] = {
            "UserGroupIdsToAdd": [name for name in pending["UserGroupIds"] if name not in there],
            "UserGroupIdsToRemove": [name for name in there if name not in pending["UserGroupIds"]],
        }
    if "AutomaticFailover" in pending and "PrimaryClusterId" in names:
        shape["AutomaticFailoverStatus"] = switch(pending["AutomaticFailover"])
    return given(**shape)


def _log_delivery(current: list[dict], wanted: list[dict]) -> list[dict]:
    """Log deliveries after a request: at most one per log type; Enabled=false takes one away."""
    merged = {entry["LogType"]: entry for entry in current}
    for entry in wanted:
        merged.pop(entry["LogType"], None)
        if entry.get("Enabled", True):
            merged[entry["LogType"]] = {k: v for k, v in entry.items() if k != "Enabled"} | {"Status": "active"}
    return list(merged.values())


def _effective(durability: str) -> str:
    return "disabled" if durability == "default" else durability


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
