"""What ElastiCache offers: node types, engine versions and parameters, as the ElastiCache user guide lists them.

Sources: "Supported node types", "Engine versions and upgrading" and "Engine specific parameters" of
https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/.
"""

import re
from dataclasses import dataclass

_LARGE = "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge"
_MEMORY = {  # family: (sizes, maxmemory in bytes of each, before reserved-memory-percent)
    "t2": ("micro small medium", "581959680 1665138688 3461349376"),
    "t3": ("micro small medium", "536870912 1471026299 3317862236"),
    "t4g": ("micro small medium", "536870912 1471026299 3317862236"),
    "m4": ("large xlarge 2xlarge 4xlarge 10xlarge", "6892593152 15328501760 31889126359 65257290629 166047614239"),
    "m5": (
        "large xlarge 2xlarge 4xlarge 12xlarge 24xlarge",
        "6854542746 13891921715 27966669210 56116178125 168715971994 337500562842",
    ),
    "m6g m7g": (
        _LARGE,
        "6854542746 13891921715 27966669210 56116178125 111325552312 168715971994 225000375228",
    ),
    "r4": (
        "large xlarge 2xlarge 4xlarge 8xlarge 16xlarge",
        "13201781556 26898228839 54197537997 108858546586 218255432090 437021573120",
    ),
    "r5": (
        "large xlarge 2xlarge 4xlarge 12xlarge 24xlarge",
        "14037181030 28261849702 56711183565 113609865216 341206346547 682485973811",
    ),
    "r6g r7g": (
        _LARGE,
        "14037181030 28261849702 56711183565 113609865216 225000375228 341206346547 450000750456",
    ),
    "r6gd": (
        "xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge",
        "28261849702 56711183565 113609865216 225000375228 341206346547 450000750456",
    ),
    "c7gn": (_LARGE, "3317862236 6854542746 13891921715 27966669210 56116178125 84357985997 113609865216"),
}
NODE_TYPES: dict[str, int] = {
    f"cache.{family}.{size}": int(memory)
    for families, (sizes, memories) in _MEMORY.items()
    for family in families.split()
    for size, memory in zip(sizes.split(), memories.split(), strict=True)
}
"""Node type -> maxmemory in bytes."""

PREVIOUS_GENERATION = re.compile(r"cache\.(t1|m1|m2|m3|c1|r3)\.\w+")
"""Types that AWS keeps running where they are and creates no more."""

ENGINES: dict[tuple[str, str], tuple[str, str]] = {  # (engine, version asked for) -> (version reported, family)
    ("redis", "6.0"): ("6.0.5", "redis6.x"),
    ("redis", "6.2"): ("6.2.6", "redis6.x"),
    ("redis", "7.0"): ("7.0.7", "redis7"),
    ("redis", "7.1"): ("7.1.0", "redis7"),
    ("valkey", "7.2"): ("7.2.6", "valkey7"),
    ("valkey", "8.0"): ("8.0.1", "valkey8"),
    ("valkey", "8.1"): ("8.1.0", "valkey8"),
    ("valkey", "8.2"): ("8.2.0", "valkey8"),
    ("valkey", "9.0"): ("9.0.0", "valkey9"),
    ("valkey", "9.1"): ("9.1.0", "valkey9"),
}
DEFAULT_VERSION = {"redis": "7.1", "valkey": "9.1"}
FAMILIES = {family: engine for (engine, _), (_, family) in ENGINES.items()}


def engine_version(engine: str, asked: str | None) -> tuple[str, str] | None:
    """(version as AWS reports it, parameter group family) for what was asked: `7.0`, `7.0.7`, `6.x` or nothing."""
    asked = {None: DEFAULT_VERSION.get(engine), "6.x": "6.2"}.get(asked, asked)
    for (name, short), reported in ENGINES.items():
        if name == engine and asked in (short, reported[0]):
            return reported
    return None


@dataclass(frozen=True)
class Parameter:
    """One parameter of a family. `allowed` as in AWS's AllowedValues: `1-64`, `20-` (open), `yes,no`, or nothing."""

    name: str
    default: str
    type: str
    allowed: str = ""
    modifiable: bool = True
    change: str = "immediate"

    def accepts(self, value: str) -> bool:
        if self.type == "integer":
            if not re.fullmatch(r"-?\d+", value):
                return False
            return any(
                int(low) <= int(value) <= int(high or 2**63 - 1)
                for low, high in re.findall(r"(?:^|,)(-?\d+)-(\d*)", _closed(self.allowed))
            )
        if self.name == "notify-keyspace-events":
            return re.fullmatch(r"[KEg$lshzxeAtdmn]*", value) is not None
        return not self.allowed or value in self.allowed.split(",")


def _closed(allowed: str) -> str:
    """`0,20-` -> `0-0,20-`: every part a range, so that one expression reads them all."""
    return ",".join(part if re.search(r"\d-", part) else f"{part}-{part}" for part in allowed.split(","))


_YES_NO = "yes,no"
_POLICIES = "volatile-lru,allkeys-lru,volatile-lfu,allkeys-lfu,volatile-random,allkeys-random,volatile-ttl,noeviction"
_COMMON = f"""
acl-pubsub-default allchannels string allchannels,resetchannels
acllog-max-len 128 integer 1-10000
active-defrag-cycle-max 75 integer 1-75
active-defrag-cycle-min 5 integer 1-75
active-defrag-ignore-bytes 104857600 integer 1048576-
active-defrag-max-scan-fields 1000 integer 1-1000000
active-defrag-threshold-lower 10 integer 1-100
active-defrag-threshold-upper 100 integer 1-100
active-expire-effort 1 integer 1-10
activedefrag no string {_YES_NO}
appendfsync everysec string always,everysec,no fixed
appendonly no string {_YES_NO} fixed
client-output-buffer-limit-normal-hard-limit 0 integer 0-
client-output-buffer-limit-normal-soft-limit 0 integer 0-
client-output-buffer-limit-normal-soft-seconds 0 integer 0-
client-output-buffer-limit-pubsub-hard-limit 33554432 integer 0-
client-output-buffer-limit-pubsub-soft-limit 8388608 integer 0-
client-output-buffer-limit-pubsub-soft-seconds 60 integer 0-
client-output-buffer-limit-replica-soft-seconds 60 integer 0- fixed
client-query-buffer-limit 1073741824 integer 1048576-1073741824
close-on-replica-write yes string {_YES_NO}
cluster-allow-reads-when-down no string {_YES_NO}
cluster-enabled no string {_YES_NO} fixed requires-reboot
cluster-require-full-coverage no string {_YES_NO}
databases 16 integer 1-1200000 modifiable requires-reboot
hll-sparse-max-bytes 3000 integer 1-16000
latency-tracking no string {_YES_NO}
lfu-decay-time 1 integer 0-
lfu-log-factor 10 integer 1-
list-compress-depth 0 integer 0-
lua-time-limit 5000 integer 5000 fixed
maxclients 65000 integer 1-65000 fixed requires-reboot
maxmemory-policy volatile-lru string {_POLICIES}
maxmemory-samples 3 integer 1-64
min-replicas-max-lag 10 integer 0-
min-replicas-to-write 0 integer 0-
notify-keyspace-events - string
proto-max-bulk-len 536870912 integer 1048576-536870912
rename-commands - string
repl-backlog-size 1048576 integer 16384-
repl-backlog-ttl 3600 integer 0-
repl-timeout 60 integer 11-60 fixed
replica-allow-chaining no string {_YES_NO} fixed
replica-ignore-maxmemory yes string {_YES_NO} fixed
reserved-memory-percent 25 integer 0-100
set-max-intset-entries 512 integer 0-
slowlog-log-slower-than 10000 integer -1-
slowlog-max-len 128 integer 0-
stream-node-max-bytes 4096 integer 0-
stream-node-max-entries 100 integer 0-
tcp-keepalive 300 integer 0-
timeout 0 integer 0,20-
tracking-table-max-keys 1000000 integer 1-100000000
"""
_LAZY = f"""
lazyfree-lazy-eviction no string {_YES_NO}
lazyfree-lazy-expire no string {_YES_NO}
lazyfree-lazy-server-del no string {_YES_NO}
lazyfree-lazy-user-del no string {_YES_NO}
replica-lazy-flush yes string {_YES_NO} fixed
"""
_ZIPLIST = f"""
activerehashing yes string {_YES_NO} modifiable requires-reboot
hash-max-ziplist-entries 512 integer 0-
hash-max-ziplist-value 64 integer 0-
list-max-ziplist-size -2 integer -5-
zset-max-ziplist-entries 128 integer 0-
zset-max-ziplist-value 64 integer 0-
"""
_LISTPACK = f"""
cluster-allow-pubsubshard-when-down yes string {_YES_NO}
cluster-preferred-endpoint-type tls-dynamic string ip,tls-dynamic
hash-max-listpack-entries 512 integer 0-
hash-max-listpack-value 64 integer 0-
list-max-listpack-size -2 integer -5- fixed
zset-max-listpack-entries 128 integer 0-
zset-max-listpack-value 64 integer 0-
"""
_VALKEY8 = f"""
commandlog-large-reply-max-len 128 integer 0-1024
commandlog-large-request-max-len 128 integer 0-1024
commandlog-reply-larger-than 1048576 integer -1-
commandlog-request-larger-than 1048576 integer -1-
extended-redis-compatibility yes string {_YES_NO}
repl-backlog-size 10485760 integer 16384-
"""


def _table(*texts: str) -> dict[str, Parameter]:
    table = {}
    for line in "".join(texts).split("\n"):
        if line:
            name, default, kind, allowed, fixed, change, *_ = [*line.split(), "", "", ""]
            table[name] = Parameter(
                name, "" if default == "-" else default, kind, allowed, fixed != "fixed", change or "immediate"
            )
    return dict(sorted(table.items()))


PARAMETERS: dict[str, dict[str, Parameter]] = {
    "redis6.x": _table(_COMMON, _LAZY, _ZIPLIST),
    "redis7": _table(_COMMON, _LAZY, _LISTPACK),
    "valkey7": _table(_COMMON, _LAZY, _LISTPACK),
    "valkey8": _table(_COMMON, _LISTPACK, _VALKEY8),
    "valkey9": _table(_COMMON, _LISTPACK, _VALKEY8),
}
"""Family -> name -> parameter."""

# Not settings of a Redis server without cluster mode, fixed at its start, or the business of the service around it.
_NOT_CONFIG = re.compile(
    r"cluster-.*|client-output-.*|reserved-memory-percent|replica-allow-chaining|close-on-replica-write"
    r"|rename-commands|maxclients|appendonly|appendfsync|databases|acl-pubsub-default|repl-timeout"
)


def config(family: str, user_values: dict[str, str], node_type: str) -> dict[str, str]:
    """redis.conf settings for a parameter group on a node type; what a running server takes by CONFIG SET."""
    values = {name: parameter.default for name, parameter in PARAMETERS[family].items()} | user_values
    settings = {name: value for name, value in values.items() if not _NOT_CONFIG.fullmatch(name)}
    settings["maxmemory"] = str(NODE_TYPES[node_type] * (100 - int(values["reserved-memory-percent"])) // 100)
    limits = [
        " ".join([kind, *(values[f"client-output-buffer-limit-{kind}-{part}"] for part in _BUFFER_LIMITS)])
        for kind in ("normal", "pubsub")
    ]
    return {**settings, "client-output-buffer-limit": " ".join(limits)}


_BUFFER_LIMITS = ("hard-limit", "soft-limit", "soft-seconds")
