"""State of ElastiCache and the work behind its statuses: start, modify, fail over, recover, delete.

Every change of a replication group is a job in a thread of its own, while the group's status says so (`creating`,
`modifying`, `deleting`); AWS refuses changes meanwhile, which is why there is never more than one job per group.
"""

import contextlib
import datetime
import itertools
import logging
import secrets
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

from ..core import SandboxError
from . import catalog
from .forwarder import Endpoint, Forwarder
from .log_delivery import LogDelivery
from .nodes import Node, rules

log = logging.getLogger("sandbox.elasticache")

NODE_ID = "0001"
NODE_GROUP_ID = "0001"
LEAST_SECONDS = {"creating": 0.5, "modifying": 0.4, "deleting": 0.3, "snapshotting": 0.2}
"""How long a status shows at least: on AWS it is minutes, here just long enough that nobody can miss to wait for it."""


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


class Closed(Exception):
    """The group was taken away (reset, stop) while a job was at work on it."""


@dataclass
class SubnetGroup:
    name: str
    description: str
    arn: str
    vpc_id: str
    zones: dict[str, str]
    """Subnet id -> availability zone."""


@dataclass
class ParameterGroup:
    name: str
    family: str
    description: str
    arn: str
    values: dict[str, str] = field(default_factory=dict)
    """What the user set; everything else is the family's default."""


@dataclass
class User:
    """A user of RBAC; `kind` is password, no-password-required or iam."""

    id: str
    name: str
    engine: str
    access: str
    kind: str
    passwords: list[str]
    arn: str
    status: str = "active"

    @property
    def rules(self) -> str:
        """Of IAM the sandbox knows nothing: such a user exists and cannot log in."""
        return rules([None] if self.kind == "no-password-required" else self.passwords, self.access)


@dataclass
class UserGroup:
    id: str
    engine: str
    users: list[str]
    """Ids."""
    arn: str
    status: str = "active"


@dataclass
class Member:
    """A cache cluster of a replication group: one node and the endpoint that leads to it."""

    id: str
    zone: str
    node: Node
    endpoint: Endpoint
    created: datetime.datetime = field(default_factory=now)
    status: str | None = "creating"
    """None: as the group."""
    ready: bool = False
    """Has its data and may serve clients through the primary or reader endpoint."""
    parameter_status: str = "in-sync"


@dataclass
class Group:
    """A replication group (cluster mode disabled). `settings` and `pending` use the names of the AWS API."""

    id: str
    arn: str
    region: "Region"
    settings: dict
    tokens: list[str | None]
    created: datetime.datetime = field(default_factory=now)
    status: str = "creating"
    pending: dict = field(default_factory=dict)
    token_date: datetime.datetime | None = None
    data: Path | None = None
    """The RDB file that it is filled from when it is created."""
    members: list[Member] = field(default_factory=list)
    closed: threading.Event = field(default_factory=threading.Event)
    job: threading.Thread | None = None
    primary: Member = field(init=False)
    primary_endpoint: Endpoint = field(init=False)
    reader_endpoint: Endpoint = field(init=False)
    admin_password: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    _turn: itertools.count = field(default_factory=itertools.count)

    @property
    def mode(self) -> str:
        """How its endpoints take connections: `plain`, `preferred` or `required`."""
        return self.settings["TransitEncryptionMode"] if self.settings["TransitEncryptionEnabled"] else "plain"

    @property
    def endpoints(self) -> list[Endpoint]:
        return [self.primary_endpoint, self.reader_endpoint, *(member.endpoint for member in self.members)]

    @property
    def snapshotting(self) -> str | None:
        """The cluster that daily snapshots are taken of; AWS picks a replica where there is one."""
        if not self.settings["SnapshotRetentionLimit"]:
            return None
        return self.settings["SnapshottingClusterId"] or (self.replicas or self.members)[-1].id

    @property
    def replicas(self) -> list[Member]:
        return [member for member in self.members if member is not self.primary]

    @property
    def ready_replicas(self) -> list[Member]:
        return [member for member in self.replicas if member.ready and member.node.alive]

    def reader(self) -> int | None:
        """Port behind the reader endpoint: the replicas in turn, the primary when there are none."""
        ready = self.ready_replicas
        return ready[next(self._turn) % len(ready)].node.port if ready else self.writer()

    def writer(self) -> int | None:
        """Port behind the primary endpoint."""
        return self.primary.node.port if self.primary.ready and self.primary.node.alive else None

    def pause(self, seconds: float) -> None:
        if self.closed.wait(max(0.0, seconds)):
            raise Closed


@dataclass
class Region:
    name: str
    groups: dict[str, Group] = field(default_factory=dict)
    subnet_groups: dict[str, SubnetGroup] = field(default_factory=dict)
    parameter_groups: dict[str, ParameterGroup] = field(default_factory=dict)
    snapshots: dict[str, dict] = field(default_factory=dict)
    """Name -> snapshot as DescribeSnapshots returns it. Its data is `Service.snapshot_path(region, name)`."""
    users: dict[str, User] = field(default_factory=dict)
    user_groups: dict[str, UserGroup] = field(default_factory=dict)
    events: list[dict] = field(default_factory=list)
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    """ARN -> tags."""


class Service:
    """All of ElastiCache. `lock` guards the state; work on processes is done without it."""

    def __init__(self, sandbox):
        self.sandbox = sandbox
        self.home: Path = sandbox.home / "elasticache"
        self.lock = threading.RLock()
        self.regions: dict[str, Region] = {}
        self.logs = LogDelivery(self)
        shutil.rmtree(self.home, ignore_errors=True)  # of a daemon before: state lives as long as the daemon

    @cached_property
    def forwarder(self) -> Forwarder:
        return Forwarder(self.sandbox.authority.certificate())

    def arn(self, region: str, kind: str, name: str) -> str:
        return f"arn:aws:elasticache:{region}:{self.sandbox.account_id}:{kind}:{name}"

    def region(self, name: str) -> Region:
        with self.lock:
            if name not in self.regions:
                region = self.regions[name] = Region(name)
                for family, cluster in itertools.product(catalog.FAMILIES, ("", ".cluster.on")):
                    group = f"default.{family}{cluster}"
                    note = f"Default parameter group for {family}" + (" with cluster mode on" if cluster else "")
                    values = {"cluster-enabled": "yes"} if cluster else {}
                    region.parameter_groups[group] = ParameterGroup(
                        group, family, note, self.arn(name, "parametergroup", group), values
                    )
                arn = self.arn(name, "user", "default")
                region.users["default"] = User(
                    "default", "default", "redis", "on ~* +@all", "no-password-required", [], arn
                )
            return self.regions[name]

    def event(self, region: Region, kind: str, source: str, message: str) -> None:
        """`kind`: replication-group, cache-cluster, cache-subnet-group or cache-parameter-group."""
        with self.lock:
            region.events.append({"SourceIdentifier": source, "SourceType": kind, "Message": message, "Date": now()})
            del region.events[:-1000]

    def job(self, group: Group, status: str, work: Callable[[], None], failed: str = "available") -> None:
        """Do `work` in the background while the group's status is `status`; afterwards it is available, or `failed`."""
        group.status = status
        began = time.monotonic()

        def run() -> None:
            after = "available"
            try:
                work()
                group.pause(began + LEAST_SECONDS[status] - time.monotonic())
            except Closed:
                return
            except Exception:
                log.exception("replication group %s was left half %s", group.id, status)
                after = failed
            with self.lock:
                if group.status == status:
                    group.status = after

        group.job = threading.Thread(target=run, name=f"elasticache-{group.id}", daemon=True)
        group.job.start()

    # ---- replication groups ----

    def create(self, group: Group, zones: list[str]) -> None:
        """Begin to create `group` with one member per zone, the first of them primary."""
        for zone in zones:
            self.add_member(group, zone)
        group.primary = group.members[0]
        group.primary_endpoint = self.forwarder.open(group.writer, group.mode)
        group.reader_endpoint = self.forwarder.open(group.reader, group.mode)
        group.region.groups[group.id] = group

        def work() -> None:
            try:
                self._start(group, group.primary, data=group.data)
                group.primary.ready = True
            except (SandboxError, RuntimeError) as error:  # the only place where a client can read why
                self.event(group.region, "replication-group", group.id, str(error))
                raise
            self._add_replicas(group, group.replicas)
            self.event(group.region, "replication-group", group.id, f"Replication group {group.id} created")

        self.job(group, "creating", work, failed="create-failed")

    def add_member(self, group: Group, zone: str) -> Member:
        taken = {member.id for member in group.members}
        name = next(name for n in itertools.count(1) if (name := f"{group.id}-{n:03}") not in taken)
        node = Node(self.sandbox.processes, self.home / group.region.name / name, group.admin_password)
        endpoint = self.forwarder.open(lambda: node.port if node.alive else None, group.mode)
        member = Member(name, zone, node, endpoint)
        group.members.append(member)
        return member

    def add_replicas(self, group: Group, members: list[Member]) -> None:
        self.job(group, "modifying", lambda: self._add_replicas(group, members))

    def remove_replicas(self, group: Group, members: list[Member]) -> None:
        def work() -> None:
            for member in members:
                member.endpoint.close()
                member.node.stop()
                with self.lock:
                    group.members.remove(member)
                self.event(group.region, "cache-cluster", member.id, "Cache cluster deleted")

        for member in members:
            member.status, member.ready = "deleting", False
        self.job(group, "modifying", work)

    def modify(self, group: Group) -> None:
        """Begin to apply `group.pending`."""
        self.job(group, "modifying", lambda: self._apply(group))

    def test_failover(self, group: Group) -> None:
        message = f"Test Failover API called for node group {NODE_GROUP_ID}"
        self.event(group.region, "replication-group", group.id, message)

        def work() -> None:
            group.primary.node.stop()
            self._recover(group)

        self.job(group, "modifying", work)

    def snapshot(self, group: Group, snapshot: dict) -> None:
        """Begin to make a snapshot, already listed as `creating`."""
        self.job(group, "snapshotting", lambda: self._take(group.region, group, snapshot))

    def spread(
        self, region: Region, thing: User | UserGroup, user_groups: list[UserGroup], status: str = "modifying"
    ) -> None:
        """Tell the nodes of all groups with one of `user_groups` what their users may do; `status` meanwhile.

        A user's groups are `modifying` with it.
        """
        things = [thing, *(group for group in user_groups if group is not thing)]
        for one in things:
            if one.status == "active":
                one.status = status
        names = {group.id for group in user_groups}
        users = [group for group in region.groups.values() if names & set(group.settings["UserGroupIds"])]

        def work() -> None:
            time.sleep(LEAST_SECONDS["modifying"] / 2)
            for group in users:
                for member in group.members:
                    with contextlib.suppress(OSError):  # it is not running, and learns it when it starts
                        member.node.set_acl(self._acl(group))
            with self.lock:
                for one in things:
                    if one.status == status:
                        one.status = "active"

        threading.Thread(target=work, name=f"elasticache-{thing.id}", daemon=True).start()

    def delete(self, group: Group, snapshot: dict | None) -> None:
        """Begin to delete; `snapshot` is the record of the final snapshot, already listed as `creating`."""
        region = group.region

        def work() -> None:
            if snapshot:
                self._take(region, group, snapshot)
            group.pause(LEAST_SECONDS["deleting"])
            self._close(group)
            with self.lock:
                region.groups.pop(group.id, None)
                region.tags.pop(group.arn, None)
            self.event(region, "replication-group", group.id, f"Replication group {group.id} deleted")

        self.job(group, "deleting", work)

    def parameters_changed(self, region: Region, group_name: str) -> None:
        """Apply a parameter group to the running nodes that use it."""
        for group in list(region.groups.values()):
            if group.settings["CacheParameterGroupName"] == group_name:
                for member in group.members:
                    if member.node.alive:
                        member.node.configure(self._config(group))

    def snapshot_path(self, region: str, name: str) -> Path:
        return self.home / region / "snapshots" / f"{name}.rdb"

    def monitor(self) -> None:
        """Recover groups with nodes that died or are not ready. Called a few times a second; asks no node anything."""
        with self.lock:
            groups = [group for region in self.regions.values() for group in region.groups.values()]
            for group in groups:
                sound = all(member.ready and member.node.alive for member in group.members)
                if group.status == "available" and not sound:
                    self.job(group, "modifying", partial(self._recover, group))
            if any(group.settings["LogDeliveryConfigurations"] for group in groups):
                self.logs.wake()

    def forget(self) -> None:
        """Stop every node, forget everything."""
        with self.lock:
            groups = [group for region in self.regions.values() for group in region.groups.values()]
            self.regions.clear()
        for group in groups:
            group.closed.set()
        for group in groups:
            if group.job:
                group.job.join(10)
            self._close(group)
        shutil.rmtree(self.home, ignore_errors=True)

    # ---- inside jobs ----

    def _config(self, group: Group) -> dict[str, str]:
        parameters = group.region.parameter_groups[group.settings["CacheParameterGroupName"]]
        return catalog.config(parameters.family, parameters.values, group.settings["CacheNodeType"])

    def _acl(self, group: Group) -> dict[str, str]:
        """User name -> ACL rules: those of its user group, or the default user with the group's tokens.

        A user group without a user called default (Valkey) shuts that one out.
        """
        region = group.region
        if not group.settings["UserGroupIds"]:
            return {"default": rules(group.tokens)}
        members = [region.users[name] for name in region.user_groups[group.settings["UserGroupIds"][0]].users]
        return {"default": rules([], "off -@all")} | {user.name: user.rules for user in members}

    def _start(self, group: Group, member: Member, source: int | None = None, data: Path | None = None) -> None:
        group.pause(0)
        parameters = group.region.parameter_groups[group.settings["CacheParameterGroupName"]]
        member.ready = False
        member.node.start(self._acl(group), parameters.values.get("databases", "16"), source, data)
        group.pause(0)  # a reset closes the group, waits for this job and then stops whatever was started
        member.node.configure(self._config(group))
        member.parameter_status = "in-sync"

    def _add_replicas(self, group: Group, members: list[Member]) -> None:
        for member in members:
            self._start(group, member, group.primary.node.port)
        for member in members:
            member.ready = member.node.wait_synced(group.primary.node)
        if all(member.ready for member in members):
            self._created(group)
        else:
            self._recover(group)

    def _created(self, group: Group) -> None:
        """Members that have their data are not `creating` any more; one that died on the way is after its recovery."""
        for member in group.members:
            if member.status == "creating" and member.ready:
                member.status = None
                message = f"Added cache node {NODE_ID} in availability zone {member.zone}"
                self.event(group.region, "cache-cluster", member.id, message)
                self.event(group.region, "cache-cluster", member.id, "Cache cluster created")

    def _apply(self, group: Group) -> None:
        changes = dict(group.pending)
        group.pause(LEAST_SECONDS["modifying"] / 2)  # the old setting holds for a while, as on AWS
        with self.lock:
            group.settings.update({name: value for name, value in changes.items() if name in group.settings})
        if "AuthTokens" in changes:
            group.tokens = changes["AuthTokens"]
            group.token_date = now() if any(group.tokens) else None
        if {"AuthTokens", "UserGroupIds"} & changes.keys():
            for member in group.members:
                member.node.set_acl(self._acl(group))
        if {"TransitEncryptionEnabled", "TransitEncryptionMode"} & changes.keys():
            for endpoint in group.endpoints:
                endpoint.mode = group.mode
                if group.mode != "preferred":
                    endpoint.cut()
        for member in group.members:
            member.node.configure(self._config(group))
            member.parameter_status = "in-sync"
        if {"CacheNodeType", "EngineVersion"} & changes.keys():  # on AWS new nodes take over: clients must reconnect
            for endpoint in group.endpoints:
                endpoint.cut()
        if "PrimaryClusterId" in changes:
            member = next(m for m in group.members if m.id == changes["PrimaryClusterId"])
            member.node.catch_up(group.primary.node)
            self._promote(group, member)
        with self.lock:
            group.pending.clear()
        self.event(group.region, "replication-group", group.id, f"Replication group {group.id} modified")

    def _promote(self, group: Group, member: Member) -> None:
        member.node.follow(None)
        left = group.primary.node.port
        group.primary = member
        group.primary_endpoint.cut(left)  # and nobody who is connected to the new one already
        group.reader_endpoint.cut(member.node.port)
        for replica in group.replicas:
            if replica.node.alive:
                replica.node.follow(member.node.port)

    def _recover(self, group: Group) -> None:
        """Replace dead nodes; with automatic failover a replica takes the place of a dead primary first."""
        region = group.region
        dead = [m for m in group.members if not m.node.alive or (m is group.primary and not m.ready)]
        for member in dead:
            member.ready = False
            member.node.stop()
        old = group.primary
        best = max(group.ready_replicas, key=lambda member: member.node.offset, default=None)
        if old in dead and best and group.settings["AutomaticFailover"]:
            self._promote(group, best)
            message = f"Failover from primary node {old.id} to replica node {best.id} completed"
            self.event(region, "cache-cluster", old.id, message)
            self.event(region, "replication-group", group.id, message)
        for member in dead:
            self.event(region, "cache-cluster", member.id, f"Recovering cache nodes {NODE_ID}")
        if group.primary in dead:  # no failover: the same node comes back, with the data of a replica if there is one
            if best:
                best.node.follow(None)  # a replica whose primary is gone lets nobody sync from it
                self._start(group, old, best.node.port)
                old.node.wait_synced(best.node)
                self._promote(group, old)
            else:
                self._start(group, old)
            old.ready = True
        replicas = [member for member in dead if member is not group.primary]
        for member in replicas:
            self._start(group, member, group.primary.node.port)
        for member in group.replicas:
            if not member.ready and member not in dead:  # whatever it followed: it did not get its data there
                with contextlib.suppress(OSError):  # it has just died
                    member.node.follow(group.primary.node.port)
            member.ready = member.node.wait_synced(group.primary.node)
        self._created(group)
        for member in dead:
            self.event(region, "cache-cluster", member.id, f"Finished recovery for cache nodes {NODE_ID}")

    def _take(self, region: Region, group: Group, snapshot: dict) -> None:
        try:
            size = group.primary.node.save(self.snapshot_path(region.name, snapshot["SnapshotName"]))
            snapshot["NodeSnapshots"][0] |= {"CacheSize": f"{-(-size // 2**20)} MB", "SnapshotCreateTime": now()}
            snapshot["SnapshotStatus"] = "available"
            message = f"Snapshot succeeded for snapshot with ID '{snapshot['SnapshotName']}'"
        except OSError:
            log.exception("snapshot %s failed", snapshot["SnapshotName"])
            snapshot["SnapshotStatus"] = "failed"
            message = f"Snapshot failed for snapshot with ID '{snapshot['SnapshotName']}'"
        self.event(region, "replication-group", group.id, message)

    def _close(self, group: Group) -> None:
        for endpoint in group.endpoints:
            endpoint.close()
        for member in group.members:
            member.node.stop()
            shutil.rmtree(member.node.folder, ignore_errors=True)
