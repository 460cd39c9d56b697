"""The ElastiCache API: checks what AWS checks, in its error codes, and describes what there is in its shapes."""

import datetime

from moto.core.responses import ActionResult
from moto.elasticache.models import elasticache_backends

from . import catalog
from .base import Fault, by_name, checked_tags, combination, tag_list
from .replication_groups import ReplicationGroups
from .service import now


class ElastiCacheResponse(ReplicationGroups):
    """All operations; those common to all kinds of resources are here."""

    def __init__(self):
        super().__init__(service_name="elasticache")
        self.automated_parameter_parsing = True

    def call_action(self):
        _ = elasticache_backends[self.current_account][self.region]  # exists now, so that the tagging API asks it
        return super().call_action()

    def add_tags_to_resource(self) -> ActionResult:
        with self.service.lock:
            tags = self._tags_of(self.params["ResourceName"], write=True)
            merged = {**tags, **checked_tags(self.params["Tags"])}
            if len(merged) > 50:
                raise Fault("TagQuotaPerResourceExceeded", "A resource can have at most 50 tags.")
            tags.update(merged)
        return ActionResult({"TagList": tag_list(tags)})

    def remove_tags_from_resource(self) -> ActionResult:
        with self.service.lock:
            tags = self._tags_of(self.params["ResourceName"], write=True)
            missing = [key for key in self.params["TagKeys"] if key not in tags]
            if missing:
                raise Fault("TagNotFound", f"The tag {missing[0]} is not on the resource.")
            for key in self.params["TagKeys"]:
                del tags[key]
        return ActionResult({"TagList": tag_list(tags)})

    def list_tags_for_resource(self) -> ActionResult:
        return ActionResult({"TagList": tag_list(self._tags_of(self.params["ResourceName"]))})

    def _tags_of(self, arn: str, write: bool = False) -> dict[str, str]:
        parts = arn.split(":", 6)
        if len(parts) != 7 or parts[:4] != ["arn", "aws", "elasticache", self.region]:
            raise Fault("InvalidARN", f"The resource name {arn} is not an ElastiCache ARN of {self.region}.")
        kind, name = parts[5:]
        group = None
        if kind == "cluster":  # a member's tags are its group's
            group = next((g for g in by_name(self.state.groups) if name in [m.id for m in g.members]), None)
            if group is None:
                raise Fault("CacheClusterNotFound", f"CacheCluster not found: {name}")
        elif kind == "replicationgroup":
            group = self._group(name)
        elif kind == "subnetgroup":
            arn = self._subnet_group(name).arn
        elif kind == "parametergroup":
            arn = self._parameter_group(name).arn
        elif kind == "user":
            arn = self._user(name).arn
        elif kind == "usergroup":
            arn = self._user_group(name).arn
        elif kind != "snapshot":
            raise Fault("InvalidARN", f"The sandbox has no resources of the kind {kind} yet.")
        elif name not in self.state.snapshots:
            raise Fault("SnapshotNotFoundFault", f"Snapshot {name} not found.")
        if group:
            arn = group.arn
            # reading, too: https://docs.aws.amazon.com/AmazonElastiCache/latest/APIReference/API_ListTagsForResource.html
            if group.status != "available":
                raise Fault(
                    "InvalidReplicationGroupState", "Cluster not in available state to perform tagging operations."
                )
        return self.state.tags.setdefault(arn, {})

    def describe_events(self) -> ActionResult:
        p = self.params
        kind, source = p.get("SourceType"), p.get("SourceIdentifier")
        if source and not kind:
            raise combination("SourceIdentifier requires SourceType.")
        end = _utc(p.get("EndTime")) or now()
        start = _utc(p.get("StartTime")) or end - datetime.timedelta(minutes=p.get("Duration") or 60)
        with self.service.lock:
            events = [
                event
                for event in self.state.events
                if start <= event["Date"] <= end
                and kind in (None, event["SourceType"])
                and source in (None, event["SourceIdentifier"])
            ]
        keyed = [(f"{number:06}", event) for number, event in enumerate(reversed(events))]
        keyed, marker = self._page(keyed, lambda pair: pair[0])
        return ActionResult({"Events": [event for _, event in keyed], **marker})

    def describe_service_updates(self) -> ActionResult:
        return ActionResult({"ServiceUpdates": []})  # AWS has nothing to patch in a local Redis

    def describe_cache_engine_versions(self) -> ActionResult:
        p = self.params
        versions = [
            {
                "Engine": engine,
                "EngineVersion": asked,
                "CacheParameterGroupFamily": family,
                "CacheEngineDescription": engine.capitalize(),
                "CacheEngineVersionDescription": f"{engine} version {version}",
            }
            for (engine, asked), (version, family) in catalog.ENGINES.items()
            if p.get("Engine") in (None, engine)
            and p.get("EngineVersion") in (None, asked, version)
            and p.get("CacheParameterGroupFamily") in (None, family)
            and (not p.get("DefaultOnly") or asked == catalog.DEFAULT_VERSION[engine])
        ]
        versions, marker = self._page(versions, lambda v: f"{v['Engine']} {v['EngineVersion']}")
        return ActionResult({"CacheEngineVersions": versions, **marker})


def _utc(moment: datetime.datetime | None) -> datetime.datetime | None:
    return moment.replace(tzinfo=datetime.UTC) if moment and moment.tzinfo is None else moment
