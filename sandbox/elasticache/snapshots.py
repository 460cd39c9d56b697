"""Snapshots. So far only the final one of a deletion is made; creating, copying and restoring belong here."""

from moto.core.responses import ActionResult

from .base import Fault, by_name, given, identifier, switch
from .service import NODE_GROUP_ID, NODE_ID, Group
from .subnet_groups import SubnetGroups


class Snapshots(SubnetGroups):
    def _new_snapshot(self, group: Group, name: str) -> dict:
        name = identifier(name, "SnapshotName", 255)
        if name in self.state.snapshots:
            raise Fault("SnapshotAlreadyExistsFault", f"Snapshot {name} already exists.")
        s, primary = group.settings, group.primary
        kept = (
            "Engine EngineVersion CacheNodeType PreferredMaintenanceWindow CacheParameterGroupName CacheSubnetGroupName"
            " AutoMinorVersionUpgrade SnapshotRetentionLimit SnapshotWindow KmsKeyId"
        )
        snapshot = {
            "SnapshotName": name,
            "ReplicationGroupId": group.id,
            "ReplicationGroupDescription": s["Description"],
            "CacheClusterId": primary.id,
            "SnapshotStatus": "creating",
            "SnapshotSource": "manual",
            "NumCacheNodes": 1,
            "PreferredAvailabilityZone": primary.zone,
            "CacheClusterCreateTime": primary.created,
            "Port": group.primary_endpoint.port,
            "VpcId": self._subnet_group(s["CacheSubnetGroupName"]).vpc_id,
            "NumNodeGroups": 1,
            "AutomaticFailover": switch(s["AutomaticFailover"]),
            "DataTiering": switch(s["DataTieringEnabled"]),
            "ARN": self.service.arn(self.region, "snapshot", name),
            "NodeSnapshots": [
                {
                    "CacheClusterId": primary.id,
                    "NodeGroupId": NODE_GROUP_ID,
                    "CacheNodeId": NODE_ID,
                    "CacheNodeCreateTime": primary.created,
                }
            ],
            **given(TopicArn=s["NotificationTopicArn"], **{key: s[key] for key in kept.split()}),
        }
        self.state.snapshots[name] = snapshot
        return snapshot

    def describe_snapshots(self) -> ActionResult:
        p = self.params
        snapshots = by_name(self.state.snapshots)
        if p.get("SnapshotName"):
            snapshots = [s for s in snapshots if s["SnapshotName"] == p["SnapshotName"].lower()]
            if not snapshots:
                raise Fault("SnapshotNotFoundFault", f"Snapshot {p['SnapshotName']} not found.")
        wanted = {
            "ReplicationGroupId": p.get("ReplicationGroupId"),
            "CacheClusterId": p.get("CacheClusterId"),
            "SnapshotSource": {"user": "manual", "system": "automated"}.get(p.get("SnapshotSource") or ""),
        }
        snapshots = [s for s in snapshots if all(value is None or s[key] == value for key, value in wanted.items())]
        snapshots, marker = self._page(snapshots, lambda snapshot: snapshot["SnapshotName"], limit=50)
        return ActionResult({"Snapshots": snapshots, **marker})

    def delete_snapshot(self) -> ActionResult:
        name = self.params["SnapshotName"].lower()
        with self.service.lock:
            snapshot = self.state.snapshots.get(name)
            if snapshot is None:
                raise Fault("SnapshotNotFoundFault", f"Snapshot {name} not found.")
            if snapshot["SnapshotStatus"] == "creating":
                raise Fault("InvalidSnapshotState", f"Snapshot {name} is still being created.")
            del self.state.snapshots[name]
            self.state.tags.pop(snapshot["ARN"], None)
        self.service.snapshot_path(self.region, name).unlink(missing_ok=True)
        return ActionResult({"Snapshot": {**snapshot, "SnapshotStatus": "deleting"}})
