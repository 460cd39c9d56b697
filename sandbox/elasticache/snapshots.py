"""Snapshots: made of a group (at its end, too), and what a new group is filled from."""

from pathlib import Path

from botocore.exceptions import ClientError
from moto.core.responses import ActionResult

from .base import Fault, by_name, checked_tags, combination, given, identifier, invalid, switch
from .service import NODE_GROUP_ID, NODE_ID, Group
from .subnet_groups import SubnetGroups


class Snapshots(SubnetGroups):
    def create_snapshot(self) -> ActionResult:
        p = self.params
        if not p.get("ReplicationGroupId"):
            raise combination("The sandbox makes snapshots of replication groups: ReplicationGroupId is required.")
        group = self._group(p["ReplicationGroupId"])  # type: ignore[attr-defined]
        with self.service.lock:
            self._require_available(group)  # type: ignore[attr-defined]
            snapshot = self._new_snapshot(group, p["SnapshotName"])
            self.state.tags[snapshot["ARN"]] = checked_tags(p.get("Tags", []))
            self.service.snapshot(group, snapshot)
        return ActionResult({"Snapshot": snapshot})

    def _restored_from(self, p: dict) -> tuple[dict, Path | None]:
        """(the snapshot that a CreateReplicationGroup names, or nothing; the RDB file that the group is filled from).

        Its settings are those of the new group as far as the request has none.
        """
        if p.get("SnapshotName") and p.get("SnapshotArns"):
            raise combination("SnapshotName and SnapshotArns must not be used together.")
        if p.get("SnapshotName"):
            snapshot = self.state.snapshots.get(p["SnapshotName"].lower())
            if snapshot is None:
                raise Fault("SnapshotNotFoundFault", f"Snapshot {p['SnapshotName']} not found.")
            if snapshot["SnapshotStatus"] != "available":
                raise invalid(f"Snapshot {snapshot['SnapshotName']} is {snapshot['SnapshotStatus']}, not available.")
            return snapshot, self.service.snapshot_path(self.region, snapshot["SnapshotName"])
        if not p.get("SnapshotArns"):
            return {}, None
        if len(p["SnapshotArns"]) != 1:
            raise combination("Without cluster mode there is one RDB file, of one node group.")
        bucket, _, key = p["SnapshotArns"][0].removeprefix("arn:aws:s3:::").partition("/")
        try:
            data = self.service.sandbox.client("s3", self.region).get_object(Bucket=bucket, Key=key)["Body"].read()
        except ClientError as error:
            raise invalid(f"{p['SnapshotArns'][0]} cannot be read: {error.response['Error']['Message']}") from None
        path = self.service.home / self.region / "imported" / f"{p['ReplicationGroupId'].lower()}.rdb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return {}, path

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
