#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

DOCUMENTATION = r"""
module: elasticache_replication_group
short_description: Manage a Redis or Valkey replication group on ElastiCache
version_added: 1.0.0
description:
  - Creates a replication group with cluster mode disabled, as Celery needs it, with its subnet group, its parameter
    group and a secret that holds its auth token and URL, and keeps every option that is given as it is given.
  - The auth token is made by this module. It is in Secrets Manager alone, and in no result, diff or message.
  - Changes that AWS takes only one after another are made in an order that works, each waited for. A run that was
    interrupted is taken up where it was left.
  - What AWS can change only with a new group is refused, with what would be lost, unless O(replace) allows it.
  - See U(https://docs.aws.amazon.com/AmazonElastiCache/latest/APIReference/API_CreateReplicationGroup.html).
author: Nexus Learn platform team
options:
  name:
    description: Id of the replication group, 1 to 40 letters, digits and hyphens. AWS keeps it in lower case.
    type: str
    required: true
  description:
    description: Description. A new group without one gets its name.
    type: str
  engine:
    description: Engine. AWS creates V(redis) when it is left out, and can turn redis into valkey, not back.
    type: str
    choices: [redis, valkey]
  engine_version:
    description:
      - Version. V(7.0) means any patch of it, V(6.x) any minor version. It can be raised, not lowered.
      - See U(https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/engine-versions.html).
    type: str
  node_type:
    description: Node type, for example V(cache.t4g.micro). Required for a new group.
    type: str
  num_nodes:
    description: The primary and its replicas together, 1 to 6. A new group without it has one node.
    type: int
  preferred_cache_cluster_azs:
    description:
      - The zones of the nodes, one for each. A new group's primary is in the first. Left out, AWS chooses.
      - Replicas that are added or taken away follow it. A node that is there cannot be moved.
    type: list
    elements: str
  port:
    description:
      - Port, V(6379) when it is left out. Cannot be changed.
      - Not compared where the endpoint is an address of 127.0.0.0/8, which the groups of an emulator share.
    type: int
  multi_az_enabled:
    description: Keep nodes in more than one zone. Needs O(automatic_failover_enabled).
    type: bool
  automatic_failover_enabled:
    description: Let a replica take over when the primary fails. Needs two nodes or more.
    type: bool
  subnet_group:
    description: The subnet group, made and kept by this module. Another one cannot be given to a group that exists.
    type: dict
    suboptions:
      name:
        description: Name of the subnet group.
        type: str
        required: true
      description:
        description: Description. A new subnet group without one gets its name.
        type: str
      subnet_ids:
        description: Ids of its subnets, in any order, enforced whole.
        type: list
        elements: str
  parameter_group:
    description: The parameter group, made and kept by this module. One of AWS's own (V(default.redis7)) is only used.
    type: dict
    suboptions:
      name:
        description:
          - Name of the parameter group.
          - When it ends in its family (C(x-redis7)), groups of the same beginning that end in theirs (C(x-redis6-x))
            are its predecessors. They are deleted when nothing uses them any more and V(Project), V(Environment) and
            V(Region) of O(tags) are theirs.
          - With O(state=absent), a name that ends in V(*) stands for every parameter group whose name begins so, that
            carries V(Project), V(Environment) and V(Region) of O(tags) and that nothing else uses.
        type: str
        required: true
      family:
        description: Its family, for example V(redis7). Has to fit the engine version. Cannot be changed.
        type: str
      description:
        description: Description. A new parameter group without one gets its name. Cannot be changed.
        type: str
      parameters:
        description:
          - Parameters, enforced whole. One that is set and not given is reset to the family's default.
          - See U(https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/ParameterGroups.Engine.html).
        type: dict
  security_group_ids:
    description: Ids of the security groups, in any order, enforced whole.
    type: list
    elements: str
  at_rest_encryption_enabled:
    description: Encrypt disks and snapshots. Cannot be changed.
    type: bool
  kms_key_id:
    description: Id, alias or ARN of the KMS key for data at rest. Left out, AWS's own. Cannot be changed.
    type: str
  transit_encryption_enabled:
    description:
      - TLS. Can be turned on and off from Redis 7.0.5 on; both go through O(transit_encryption_mode=preferred).
      - See U(https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/in-transit-encryption-enable.html).
    type: bool
  transit_encryption_mode:
    description: V(preferred) takes TLS and plain connections, V(required), AWS's default, TLS alone.
    type: str
    choices: [preferred, required]
  auth_token_enabled:
    description:
      - Demand a token of clients. Left out, one is demanded whenever there are TLS and O(auth_token_secret).
      - Cannot be turned off again.
    type: bool
  user_group:
    description:
      - The user group whose users may log in, in place of a token, made and kept by this module. Needs TLS.
      - An empty name takes it from the replication group, so that its users cannot log in any more, and a token takes
        its place if one is wanted. The user group itself, its users and their passwords in the secret stay, for
        nothing tells any more which they were, until O(state=absent) is given their name.
      - Their passwords are made by this module and are in O(auth_token_secret) alone; that of the user whom C(url) logs
        in as is C(auth_token), each other one C(password_<name>). In place of a token, C(default) keeps it as its own.
      - See U(https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/Clusters.RBAC.html).
    type: dict
    suboptions:
      name:
        description: Id of the user group. AWS keeps it in lower case.
        type: str
        required: true
      engine:
        description:
          - Engine of group and users. New ones without it get that of the replication group. Valkey takes either.
        type: str
        choices: [redis, valkey]
      user_name:
        description: Name of the user whom C(url) logs in as, V(default) when it is left out.
        type: str
      users:
        description:
          - The users, enforced whole. One that is not given leaves the group, and is deleted when it is in no other and
            V(Project), V(Environment) and V(Region) of O(tags) are its own.
          - With engine V(redis) one has to have the name V(default).
        type: list
        elements: dict
        suboptions:
          id:
            description: Id of the user. AWS keeps it in lower case.
            type: str
            required: true
          name:
            description: Name to log in with, the id when it is left out. Cannot be changed.
            type: str
          access_string:
            description:
              - What the user may do, for example V(on ~* &* +@all -@dangerous). Without V(on), nobody logs in as it.
              - See U(https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/Clusters.RBAC.html#Access-string).
            type: str
          authentication_type:
            description: How the user logs in. With V(iam) name and id have to be the same.
            type: str
            choices: [password, no-password-required, iam]
            default: password
  auth_token_update_strategy:
    description:
      - What a new token does to those before it. V(ROTATE) leaves the last one, or connections without one, valid; with
        V(SET) it is the only way in.
      - Left out, it is V(SET) for a group that demands none yet, and V(ROTATE) when the token was lost.
    type: str
    choices: [ROTATE, SET]
  auth_token_secret:
    description:
      - The secret that holds C(auth_token) and C(url). Keys that others have put there stay.
      - C(url) is C(rediss://:<token>@<address>:<port>/0?ssl_cert_reqs=required), without TLS
        C(redis://<address>:<port>/0), and follows the endpoint.
      - A secret that is scheduled for deletion is restored. When the token is lost, a new one is added beside it.
    type: dict
    suboptions:
      name:
        description: Name of the secret.
        type: str
        required: true
      description:
        description: Description.
        type: str
      kms_key_id:
        description: Id, alias or ARN of the KMS key. Left out, C(aws/secretsmanager).
        type: str
      recovery_window_in_days:
        description: Days for which O(state=absent) leaves the secret restorable, 7 to 30. V(0) deletes it at once.
        type: int
        default: 7
  snapshot_retention_limit:
    description: Days that a daily snapshot is kept, 0 (none are made) to 35.
    type: int
  snapshot_window:
    description: When the daily snapshot is made, UTC, for example V(03:00-04:00).
    type: str
  preferred_maintenance_window:
    description: When AWS may patch nodes, UTC, for example V(sun:04:30-sun:05:30).
    type: str
  auto_minor_version_upgrade:
    description: Let AWS raise the patch version in the maintenance window.
    type: bool
  snapshot_name:
    description:
      - Snapshot that a new group is filled from. It has to be of the same engine version or an earlier one.
      - A group that is there is left as it is, whatever it was made from.
    type: str
  snapshot_arns:
    description: ARN of an RDB file in S3 that a new group is filled from, as with O(snapshot_name).
    type: list
    elements: str
  log_delivery_configurations:
    description:
      - Logs that are delivered, enforced whole. One that is delivered and not given is turned off.
      - Log group or stream have to be there. The slow log has names of commands, and no keys or values.
      - See U(https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/Log_Delivery.html).
    type: list
    elements: dict
    suboptions:
      log_type:
        description: V(slow-log), or from Redis 6.2 on V(engine-log).
        type: str
        choices: [slow-log, engine-log]
        required: true
      destination_type:
        description: Where it goes.
        type: str
        choices: [cloudwatch-logs, kinesis-firehose]
        default: cloudwatch-logs
      destination:
        description: Name of the log group or of the delivery stream.
        type: str
        required: true
      log_format:
        description: Format of the entries.
        type: str
        choices: [json, text]
        default: json
  network_type:
    description:
      - V(ipv4) when it is left out. The others need subnets with IPv6. Cannot be changed.
      - See U(https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/network-type.html).
    type: str
    choices: [ipv4, ipv6, dual_stack]
  ip_discovery:
    description: The addresses that the endpoints resolve to, V(ipv4) when it is left out.
    type: str
    choices: [ipv4, ipv6]
  data_tiering_enabled:
    description: Keep what is used least on disk. Needs a node type of the family r6gd. Cannot be changed.
    type: bool
  durability:
    description:
      - V(sync) and V(async) keep every write in a log of several zones, from Valkey 9.0 on. Each can be changed to the
        other; to turn it on or off needs a new group. V(default) leaves it to AWS.
      - See U(https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/Durability.Configuring.html).
    type: str
    choices: [default, sync, async, disabled]
  notification_topic_arn:
    description: ARN of the SNS topic that gets the group's events. Empty turns notifications off.
    type: str
  tags:
    description: Tags of group, subnet group, parameter group and secret, enforced whole. Left out, not touched.
    type: dict
  state:
    description:
      - Whether group, subnet group, parameter group and secret shall be there.
      - V(gathered) changes nothing and returns what is there; without a group, RV(replication_group.status) is null.
    type: str
    choices: [present, absent, gathered]
    default: present
  final_snapshot_identifier:
    description: With O(state=absent), the name of a last snapshot. This or O(skip_final_snapshot) is required.
    type: str
  skip_final_snapshot:
    description: With O(state=absent), lose the data.
    type: bool
    default: false
  replace:
    description:
      - The name of the group, to have it replaced where AWS cannot change it. Without it that is refused.
      - A last snapshot is made, the group is deleted, and a new one of the same name is filled from the snapshot, which
        then goes. Redis is away meanwhile. An engine that is older starts empty, and the snapshot stays.
      - A run that was interrupted is completed by the next one, with or without this.
    type: str
  apply_immediately:
    description:
      - V(false) leaves a new node type and a new engine version to the maintenance window.
      - Everything else is done at once.
    type: bool
    default: true
  wait_timeout:
    description: Seconds to wait for each step.
    type: int
    default: 3600
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - nexus_learn.aws.plan
"""

EXAMPLES = r"""
- name: Redis for Celery
  nexus_learn.aws.elasticache_replication_group:
    name: nexus-learn-redis
    description: Celery broker and results
    engine: redis
    engine_version: "7.0"
    node_type: cache.t3.micro
    num_nodes: 2
    automatic_failover_enabled: true
    multi_az_enabled: true
    subnet_group: {name: nexus-learn-redis, subnet_ids: [subnet-0a, subnet-0b]}
    parameter_group: {name: nexus-learn-redis7, family: redis7, parameters: {maxmemory-policy: noeviction}}
    security_group_ids: [sg-0a]
    at_rest_encryption_enabled: true
    transit_encryption_enabled: true
    auth_token_secret: {name: nexus-learn/redis}
    tags: {Project: nexus-learn, Environment: dev, ManagedBy: ansible}

- name: Delete it, and keep its data
  nexus_learn.aws.elasticache_replication_group:
    name: nexus-learn-redis
    subnet_group: {name: nexus-learn-redis}
    parameter_group: {name: nexus-learn-*}
    auth_token_secret: {name: nexus-learn/redis}
    tags: {Project: nexus-learn, Environment: dev}
    state: absent
    final_snapshot_identifier: nexus-learn-redis-final
"""

RETURN = r"""
replication_group:
  description: The group as it is (in check mode, as it would be); null when it is absent.
  returned: success
  type: dict
  sample:
    id: nexus-learn-redis
    arn: arn:aws:elasticache:us-east-1:123456789012:replicationgroup:nexus-learn-redis
    status: available
    engine: redis
    engine_version: 7.0.7
    node_type: cache.t3.micro
    num_nodes: 2
    member_clusters: [nexus-learn-redis-001, nexus-learn-redis-002]
    primary_endpoint: {address: master.nexus-learn-redis.abc123.use1.cache.amazonaws.com, port: 6379}
    reader_endpoint: {address: replica.nexus-learn-redis.abc123.use1.cache.amazonaws.com, port: 6379}
subnet_group:
  description: The subnet group.
  returned: success
  type: dict
parameter_group:
  description: The parameter group with the parameters that were set.
  returned: success
  type: dict
user_group:
  description: The user group with its users by id; null without one.
  returned: success
  type: dict
auth_token_secret_arn:
  description: ARN of the secret; before it exists, without the six characters that end it.
  returned: success
  type: str
auth_token_secret_kms_key_arn:
  description:
    - ARN of the key given as O(auth_token_secret.kms_key_id), which whoever reads the secret must be allowed to use;
      null without one.
  returned: success
  type: str
auth_token_secret_version_id:
  description:
    - The current version of the secret. Tasks read a secret when they start; a task definition that holds this id
      is deployed anew when the token or the URL has changed.
  returned: success
  type: str
"""

from ansible_collections.nexus_learn.aws.plugins.module_utils import elasticache_replication_group
from ansible_collections.nexus_learn.aws.plugins.module_utils.doors import module_main

SPEC = {
    "argument_spec": {
        "name": {"type": "str", "required": True},
        "description": {"type": "str"},
        "engine": {"type": "str", "choices": ["redis", "valkey"]},
        "engine_version": {"type": "str"},
        "node_type": {"type": "str"},
        "num_nodes": {"type": "int"},
        "preferred_cache_cluster_azs": {"type": "list", "elements": "str"},
        "port": {"type": "int"},
        "multi_az_enabled": {"type": "bool"},
        "automatic_failover_enabled": {"type": "bool"},
        "subnet_group": {
            "type": "dict",
            "options": {
                "name": {"type": "str", "required": True},
                "description": {"type": "str"},
                "subnet_ids": {"type": "list", "elements": "str"},
            },
        },
        "parameter_group": {
            "type": "dict",
            "options": {
                "name": {"type": "str", "required": True},
                "family": {"type": "str"},
                "description": {"type": "str"},
                "parameters": {"type": "dict"},
            },
        },
        "security_group_ids": {"type": "list", "elements": "str"},
        "at_rest_encryption_enabled": {"type": "bool"},
        "kms_key_id": {"type": "str"},
        "transit_encryption_enabled": {"type": "bool"},
        "transit_encryption_mode": {"type": "str", "choices": ["preferred", "required"]},
        "auth_token_enabled": {"type": "bool"},
        "user_group": {
            "type": "dict",
            "options": {
                "name": {"type": "str", "required": True},
                "engine": {"type": "str", "choices": ["redis", "valkey"]},
                "user_name": {"type": "str"},
                "users": {
                    "type": "list",
                    "elements": "dict",
                    "options": {
                        "id": {"type": "str", "required": True},
                        "name": {"type": "str"},
                        "access_string": {"type": "str"},
                        "authentication_type": {
                            "type": "str",
                            "choices": ["password", "no-password-required", "iam"],
                            "default": "password",
                        },
                    },
                },
            },
        },
        "auth_token_update_strategy": {"type": "str", "choices": ["ROTATE", "SET"], "no_log": False},
        "auth_token_secret": {
            "type": "dict",
            "no_log": False,  # where the token is kept; the token itself is no option
            "options": {
                "name": {"type": "str", "required": True},
                "description": {"type": "str"},
                "kms_key_id": {"type": "str"},
                "recovery_window_in_days": {"type": "int", "default": 7},
            },
        },
        "snapshot_retention_limit": {"type": "int"},
        "snapshot_window": {"type": "str"},
        "preferred_maintenance_window": {"type": "str"},
        "auto_minor_version_upgrade": {"type": "bool"},
        "snapshot_name": {"type": "str"},
        "snapshot_arns": {"type": "list", "elements": "str"},
        "log_delivery_configurations": {
            "type": "list",
            "elements": "dict",
            "options": {
                "log_type": {"type": "str", "choices": ["slow-log", "engine-log"], "required": True},
                "destination_type": {
                    "type": "str",
                    "choices": ["cloudwatch-logs", "kinesis-firehose"],
                    "default": "cloudwatch-logs",
                },
                "destination": {"type": "str", "required": True},
                "log_format": {"type": "str", "choices": ["json", "text"], "default": "json"},
            },
        },
        "network_type": {"type": "str", "choices": ["ipv4", "ipv6", "dual_stack"]},
        "ip_discovery": {"type": "str", "choices": ["ipv4", "ipv6"]},
        "data_tiering_enabled": {"type": "bool"},
        "durability": {"type": "str", "choices": ["default", "sync", "async", "disabled"]},
        "notification_topic_arn": {"type": "str"},
        "tags": {"type": "dict"},
        "state": {"type": "str", "choices": ["present", "absent", "gathered"], "default": "present"},
        "final_snapshot_identifier": {"type": "str"},
        "skip_final_snapshot": {"type": "bool", "default": False},
        "replace": {"type": "str"},
        "apply_immediately": {"type": "bool", "default": True},
        "wait_timeout": {"type": "int", "default": 3600},
    }
}


def main():
    module_main(elasticache_replication_group, SPEC)


if __name__ == "__main__":
    main()
