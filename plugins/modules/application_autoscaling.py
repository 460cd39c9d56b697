#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

DOCUMENTATION = r"""
module: application_autoscaling
short_description: Manage the scaling of ECS services
version_added: 1.0.0
description:
  - Registers scalable targets and keeps their limits, target tracking policies and tags as given. All targets are read
    at once.
  - The number of tasks is never given. Registering moves it between the limits; the plan says so when it will.
  - See U(https://docs.aws.amazon.com/autoscaling/application/userguide/what-is-application-auto-scaling.html).
author: Nexus Learn platform team
options:
  targets:
    description: The scalable targets.
    type: list
    elements: dict
    required: true
    suboptions:
      resource_id:
        description:
          - What is scaled, for example V(service/my-cluster/my-service). Once in the list.
          - With O(state=absent), one that ends in V(*) stands for every target whose resource id begins so and that
            is this stack's, which it is with V(Project), V(Environment) and V(Region) of O(tags).
        type: str
        required: true
      scalable_dimension:
        description:
          - What of it is scaled.
          - See U(https://docs.aws.amazon.com/autoscaling/application/APIReference/API_RegisterScalableTarget.html).
        type: str
        default: ecs:service:DesiredCount
      min_capacity:
        description: The least capacity. Required for a new target.
        type: int
      max_capacity:
        description: The most capacity. Required for a new target.
        type: int
      role_arn:
        description: ARN of the role that scales. Left out, the service-linked role of Application Auto Scaling.
        type: str
      suspended:
        description: What is suspended.
        type: dict
        suboptions:
          dynamic_scaling_in_suspended:
            description: Whether policies remove capacity no more.
            type: bool
          dynamic_scaling_out_suspended:
            description: Whether policies add capacity no more.
            type: bool
          scheduled_scaling_suspended:
            description: Whether scheduled actions do nothing.
            type: bool
      policies:
        description:
          - The target tracking policies, enforced whole. Others of this target are deleted. Left out, none is touched.
          - See
            U(https://docs.aws.amazon.com/autoscaling/application/APIReference/API_TargetTrackingScalingPolicyConfiguration.html).
        type: list
        elements: dict
        suboptions:
          name:
            description: Name of the policy, once a target.
            type: str
            required: true
          target_value:
            description: What the metric shall be, for example V(70) percent.
            type: float
            required: true
          predefined_metric_type:
            description: The metric. AWS takes one policy a metric.
            type: str
            choices:
              - ECSServiceAverageCPUUtilization
              - ECSServiceAverageMemoryUtilization
              - ALBRequestCountPerTarget
            required: true
          resource_label:
            description:
              - Load balancer and target group of V(ALBRequestCountPerTarget), for example
                V(app/my-alb/778d41231b141a0f/targetgroup/my-group/943f017f100becff).
            type: str
          scale_in_cooldown:
            description: Seconds after a scale-in before the next one. AWS takes 300 when it never was given.
            type: int
          scale_out_cooldown:
            description: Seconds after a scale-out before the next one. AWS takes 300 when it never was given.
            type: int
          disable_scale_in:
            description: Whether this policy only adds capacity.
            type: bool
  service_namespace:
    description: Namespace of the service that owns the targets.
    type: str
    default: ecs
  tags:
    description: Tags of every target of the list, enforced whole. Left out, tags are not touched.
    type: dict
  state:
    description: Whether the targets shall be registered. V(absent) takes policies and scheduled actions along.
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
- name: Scale the workers by CPU and memory
  nexus_learn.aws.application_autoscaling:
    targets:
      - resource_id: service/nexus-learn-cluster/nexus-learn-celery-worker-service
        min_capacity: 1
        max_capacity: 5
        policies:
          - name: nexus-learn-celery-worker-cpu
            predefined_metric_type: ECSServiceAverageCPUUtilization
            target_value: 70
            scale_out_cooldown: 60
            scale_in_cooldown: 300
    tags: {Project: nexus-learn, Environment: dev, ManagedBy: ansible}

- name: Scale nothing of this stack any more
  nexus_learn.aws.application_autoscaling:
    targets: [{resource_id: service/nexus-learn-cluster/*}]
    tags: {Project: nexus-learn, Environment: dev, ManagedBy: ansible}
    state: absent
"""

RETURN = r"""
targets:
  description: The targets by resource id, as they are (in check mode, as they would be); empty when they are absent.
  returned: success
  type: dict
  sample:
    service/nexus-learn-cluster/nexus-learn-celery-worker-service:
      arn: arn:aws:application-autoscaling:us-east-1:123456789012:scalable-target/0a1b
      min_capacity: 1
      max_capacity: 5
      policies: {nexus-learn-celery-worker-cpu: {target_value: 70.0}}
"""

from ansible_collections.nexus_learn.aws.plugins.module_utils import application_autoscaling
from ansible_collections.nexus_learn.aws.plugins.module_utils.doors import module_main

_POLICY = {
    "name": {"type": "str", "required": True},
    "target_value": {"type": "float", "required": True},
    "predefined_metric_type": {
        "type": "str",
        "choices": [
            "ECSServiceAverageCPUUtilization",
            "ECSServiceAverageMemoryUtilization",
            "ALBRequestCountPerTarget",
        ],
        "required": True,
    },
    "resource_label": {"type": "str"},
    "scale_in_cooldown": {"type": "int"},
    "scale_out_cooldown": {"type": "int"},
    "disable_scale_in": {"type": "bool"},
}

SPEC = {
    "argument_spec": {
        "targets": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": {
                "resource_id": {"type": "str", "required": True},
                "scalable_dimension": {"type": "str", "default": "ecs:service:DesiredCount"},
                "min_capacity": {"type": "int"},
                "max_capacity": {"type": "int"},
                "role_arn": {"type": "str"},
                "suspended": {
                    "type": "dict",
                    "options": {
                        "dynamic_scaling_in_suspended": {"type": "bool"},
                        "dynamic_scaling_out_suspended": {"type": "bool"},
                        "scheduled_scaling_suspended": {"type": "bool"},
                    },
                },
                "policies": {"type": "list", "elements": "dict", "options": _POLICY},
            },
        },
        "service_namespace": {"type": "str", "default": "ecs"},
        "tags": {"type": "dict"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    }
}


def main():
    module_main(application_autoscaling, SPEC)


if __name__ == "__main__":
    main()
