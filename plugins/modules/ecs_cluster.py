#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

DOCUMENTATION = r"""
module: ecs_cluster
short_description: Manage an ECS cluster
version_added: 1.0.0
description:
  - Creates an ECS cluster and keeps its capacity providers, default strategy, Container Insights, execute command
    configuration, storage keys, Service Connect namespace and tags as given.
  - See U(https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Cluster.html).
author: Nexus Learn platform team
options:
  name:
    description: Name of the cluster.
    type: str
    required: true
  capacity_providers:
    description:
      - Capacity providers of the cluster, such as V(FARGATE) and V(FARGATE_SPOT), in any order. Enforced whole.
      - See U(https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_PutClusterCapacityProviders.html).
    type: list
    elements: str
  default_capacity_provider_strategy:
    description:
      - What a service gets that names neither launch type nor strategy. Enforced whole; an empty list is no strategy.
      - See U(https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_CapacityProviderStrategyItem.html).
    type: list
    elements: dict
    suboptions:
      capacity_provider:
        description: Name of the capacity provider.
        type: str
        required: true
      weight:
        description: Its share of the tasks, 0 to 1000, relative to the other weights. AWS's default is 0.
        type: int
      base:
        description: Number of tasks that run on it at least, in one entry only. AWS's default is 0.
        type: int
  container_insights:
    description:
      - Metrics of tasks and containers in CloudWatch, which are billed. Left out at creation, the account's setting
        applies.
      - See U(https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ClusterSetting.html).
    type: str
    choices: [enabled, enhanced, disabled]
  execute_command_configuration:
    description:
      - How sessions of C(aws ecs execute-command) are encrypted and logged. Enforced whole.
      - See U(https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ExecuteCommandConfiguration.html).
    type: dict
    suboptions:
      kms_key_id:
        description: KMS key that encrypts the data between the client and the container.
        type: str
      logging:
        description:
          - V(DEFAULT) uses the container's awslogs configuration, V(OVERRIDE) what
            O(execute_command_configuration.log_configuration) says. AWS's default is V(DEFAULT).
        type: str
        choices: [NONE, DEFAULT, OVERRIDE]
      log_configuration:
        description:
          - Where sessions are logged. Log group and bucket have to be there already. See
            U(https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ExecuteCommandLogConfiguration.html).
        type: dict
        suboptions:
          cloud_watch_log_group_name:
            description: Log group.
            type: str
          cloud_watch_encryption_enabled:
            description: Whether it has to be encrypted. AWS's default is V(false).
            type: bool
          s3_bucket_name:
            description: Bucket.
            type: str
          s3_encryption_enabled:
            description: Whether it has to be encrypted. AWS's default is V(false).
            type: bool
          s3_key_prefix:
            description: Folder in the bucket.
            type: str
  managed_storage_configuration:
    description:
      - KMS keys of the disks that AWS manages for tasks. A running task keeps the key that it started with.
      - See U(https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ManagedStorageConfiguration.html).
    type: dict
    suboptions:
      kms_key_id:
        description: Key of EBS volumes that ECS attaches.
        type: str
      fargate_ephemeral_storage_kms_key_id:
        description: Key of the ephemeral storage of Fargate tasks, in the same region.
        type: str
  service_connect_defaults:
    description:
      - What services get that turn Service Connect on and name no namespace.
      - See U(https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ClusterServiceConnectDefaultsRequest.html).
    type: dict
    suboptions:
      namespace:
        description:
          - Name or ARN of the Cloud Map namespace. ECS makes one of a name that is new.
          - An empty string takes the default away, and leaves the namespace.
        type: str
        required: true
  tags:
    description: Tags of the cluster, enforced whole. Left out, tags are not touched.
    type: dict
  wait_timeout:
    description: Seconds to wait until the cluster is active with its capacity providers.
    type: int
    default: 300
  state:
    description: Whether the cluster shall be there. V(absent) is refused while it has services.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - nexus_learn.aws.plan
"""

EXAMPLES = r"""
- name: A cluster for Fargate and Fargate Spot
  nexus_learn.aws.ecs_cluster:
    name: nexus-learn-cluster
    capacity_providers: [FARGATE, FARGATE_SPOT]
    default_capacity_provider_strategy:
      - capacity_provider: FARGATE
        weight: 1
    container_insights: enabled
    tags: {Project: nexus-learn, Environment: dev, ManagedBy: ansible}
"""

RETURN = r"""
cluster:
  description: The cluster as it is (in check mode, as it would be); only its name when it is absent.
  returned: success
  type: dict
  sample:
    name: nexus-learn-cluster
    arn: arn:aws:ecs:us-east-1:123456789012:cluster/nexus-learn-cluster
    status: ACTIVE
    active_services: 3
    capacity_providers: [FARGATE, FARGATE_SPOT]
    default_capacity_provider_strategy: {FARGATE: {weight: 1, base: 0}}
    container_insights: enabled
    execute_command_configuration: {logging: DEFAULT}
    managed_storage_configuration: {kms_key_id: null, fargate_ephemeral_storage_kms_key_id: null}
    service_connect_defaults: {namespace: null}
    tags: {Project: nexus-learn, Environment: dev, ManagedBy: ansible}
"""

from ansible_collections.nexus_learn.aws.plugins.module_utils import ecs_cluster
from ansible_collections.nexus_learn.aws.plugins.module_utils.doors import module_main

SPEC = {
    "argument_spec": {
        "name": {"type": "str", "required": True},
        "capacity_providers": {"type": "list", "elements": "str"},
        "default_capacity_provider_strategy": {
            "type": "list",
            "elements": "dict",
            "options": {
                "capacity_provider": {"type": "str", "required": True},
                "weight": {"type": "int"},
                "base": {"type": "int"},
            },
        },
        "container_insights": {"type": "str", "choices": ["enabled", "enhanced", "disabled"]},
        "execute_command_configuration": {
            "type": "dict",
            "options": {
                "kms_key_id": {"type": "str"},
                "logging": {"type": "str", "choices": ["NONE", "DEFAULT", "OVERRIDE"]},
                "log_configuration": {
                    "type": "dict",
                    "options": {
                        "cloud_watch_log_group_name": {"type": "str"},
                        "cloud_watch_encryption_enabled": {"type": "bool"},
                        "s3_bucket_name": {"type": "str"},
                        "s3_encryption_enabled": {"type": "bool"},
                        "s3_key_prefix": {"type": "str"},
                    },
                },
            },
        },
        "managed_storage_configuration": {
            "type": "dict",
            "options": {
                "kms_key_id": {"type": "str"},
                "fargate_ephemeral_storage_kms_key_id": {"type": "str"},
            },
        },
        "service_connect_defaults": {
            "type": "dict",
            "options": {"namespace": {"type": "str", "required": True}},
        },
        "tags": {"type": "dict"},
        "wait_timeout": {"type": "int", "default": 300},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    }
}


def main():
    module_main(ecs_cluster, SPEC)


if __name__ == "__main__":
    main()
