#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

DOCUMENTATION = r"""
module: application_autoscaling
short_description: Manage the scaling of ECS services
version_added: 1.0.0
description:
  - Registers scalable targets and keeps their limits, policies, scheduled actions and tags as given. All targets are
    read at once.
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
          - The policies, enforced whole. Others of this target are deleted. Left out, none is touched.
          - See U(https://docs.aws.amazon.com/autoscaling/application/APIReference/API_PutScalingPolicy.html).
        type: list
        elements: dict
        suboptions:
          name:
            description: Name of the policy, once a target.
            type: str
            required: true
          policy_type:
            description:
              - What kind of policy it is. A policy of another type, or that follows another metric, gives way to a new
                one, which has another ARN.
              - V(StepScaling) acts when an alarm of yours rings whose action is the policy's ARN.
              - V(PredictiveScaling) forecasts from at least 24 hours of metrics.
            type: str
            choices: [TargetTrackingScaling, StepScaling, PredictiveScaling]
            default: TargetTrackingScaling
          target_value:
            description: What the metric shall be, for example V(70) percent. Required for V(TargetTrackingScaling).
            type: float
          predefined_metric_type:
            description: The metric. AWS takes one policy a metric.
            type: str
            choices:
              - ECSServiceAverageCPUUtilization
              - ECSServiceAverageMemoryUtilization
              - ALBRequestCountPerTarget
          resource_label:
            description:
              - Load balancer and target group of V(ALBRequestCountPerTarget), for example
                V(app/my-alb/778d41231b141a0f/targetgroup/my-group/943f017f100becff).
            type: str
          customized_metric_specification:
            description:
              - A metric of your own, or metric math, in the place of a predefined one. Enforced whole.
              - It should fall when capacity is added, as a backlog of each task does, and not the whole backlog.
              - See
                U(https://docs.aws.amazon.com/autoscaling/application/APIReference/API_CustomizedMetricSpecification.html).
            type: dict
            suboptions:
              metric_name:
                description: Name of the metric.
                type: str
              namespace:
                description: Namespace of the metric.
                type: str
              dimensions:
                description: All of its dimensions, by name.
                type: dict
              statistic:
                description: Statistic of the metric.
                type: str
                choices: [Average, Maximum, Minimum, SampleCount, Sum]
              unit:
                description: Unit of the metric.
                type: str
              metrics:
                description: Metrics and expressions that compute one of them, in the place of all options above.
                type: list
                elements: dict
                suboptions: &queries
                  id:
                    description: Its name in expressions.
                    type: str
                    required: true
                  expression:
                    description: Metric math, for example V(visible / running).
                    type: str
                  label:
                    description: What a person reads.
                    type: str
                  metric_stat:
                    description: One statistic of one metric, in the place of an expression.
                    type: dict
                    suboptions:
                      metric:
                        description: The metric.
                        type: dict
                        required: true
                        suboptions:
                          metric_name:
                            description: Name of the metric.
                            type: str
                            required: true
                          namespace:
                            description: Namespace of the metric.
                            type: str
                            required: true
                          dimensions:
                            description: All of its dimensions, by name.
                            type: dict
                      stat:
                        description: Its statistic, for example V(Sum) or V(p99).
                        type: str
                        required: true
                      unit:
                        description: Its unit.
                        type: str
                  return_data:
                    description: Whether these are the values that count. True for exactly one of them.
                    type: bool
                    default: true
          scale_in_cooldown:
            description: Seconds after a scale-in before the next one. AWS takes 300 when it never was given.
            type: int
          scale_out_cooldown:
            description: Seconds after a scale-out before the next one. AWS takes 300 when it never was given.
            type: int
          disable_scale_in:
            description: Whether this policy only adds capacity.
            type: bool
          step_scaling_policy_configuration:
            description:
              - The steps of V(StepScaling).
              - See
                U(https://docs.aws.amazon.com/autoscaling/application/APIReference/API_StepScalingPolicyConfiguration.html).
            type: dict
            suboptions:
              adjustment_type:
                description: What the adjustments are.
                type: str
                choices: [ChangeInCapacity, PercentChangeInCapacity, ExactCapacity]
                required: true
              step_adjustments:
                description: What to do for each range of the metric, whose ranges neither overlap nor leave a gap.
                type: list
                elements: dict
                required: true
                suboptions:
                  metric_interval_lower_bound:
                    description: Where the range begins, from the alarm's threshold. Left out, -infinity.
                    type: float
                  metric_interval_upper_bound:
                    description: Where it ends. Left out, infinity.
                    type: float
                  scaling_adjustment:
                    description: Tasks, or percent, more; negative for fewer; or how many.
                    type: int
                    required: true
              min_adjustment_magnitude:
                description: The least change in tasks of a V(PercentChangeInCapacity).
                type: int
              cooldown:
                description: Seconds after a change before the next one. AWS takes 300 when it never was given.
                type: int
              metric_aggregation_type:
                description: How the metric's values are aggregated. AWS takes V(Average) when it never was given.
                type: str
                choices: [Average, Maximum, Minimum]
          predictive_scaling_policy_configuration:
            description:
              - The forecast of V(PredictiveScaling).
              - See
                U(https://docs.aws.amazon.com/autoscaling/application/APIReference/API_PredictiveScalingPolicyConfiguration.html).
            type: dict
            suboptions:
              metric_specification:
                description: The metrics, a pair or one of scaling and one of load. Enforced whole.
                type: dict
                required: true
                suboptions:
                  target_value:
                    description: What the metric of scaling shall be.
                    type: float
                    required: true
                  predefined_metric_pair_specification:
                    description: A pair of predefined metrics.
                    type: dict
                    suboptions: &predefined
                      predefined_metric_type:
                        description: The metric, for example V(ECSServiceCPUUtilization).
                        type: str
                        required: true
                      resource_label:
                        description: Load balancer and target group, for a metric of the load balancer.
                        type: str
                  predefined_scaling_metric_specification:
                    description: A predefined metric of scaling.
                    type: dict
                    suboptions: *predefined
                  predefined_load_metric_specification:
                    description: A predefined metric of load.
                    type: dict
                    suboptions: *predefined
                  customized_scaling_metric_specification:
                    description: A metric of scaling of your own.
                    type: dict
                    suboptions: &customized
                      metric_data_queries:
                        description: Metrics and expressions that compute one of them.
                        type: list
                        elements: dict
                        required: true
                        suboptions: *queries
                  customized_load_metric_specification:
                    description: A metric of load of your own.
                    type: dict
                    suboptions: *customized
                  customized_capacity_metric_specification:
                    description: A metric of capacity of your own.
                    type: dict
                    suboptions: *customized
              mode:
                description: Whether to scale by the forecast. AWS takes V(ForecastOnly) when it never was given.
                type: str
                choices: [ForecastOnly, ForecastAndScale]
              scheduling_buffer_time:
                description: Seconds to be early. AWS takes 300 when it never was given.
                type: int
              max_capacity_breach_behavior:
                description:
                  - What to do when the forecast exceeds the most capacity. AWS takes V(HonorMaxCapacity) when it
                    never was given.
                type: str
                choices: [HonorMaxCapacity, IncreaseMaxCapacity]
              max_capacity_buffer:
                description: Percent above the forecast, with V(IncreaseMaxCapacity).
                type: int
      scheduled_actions:
        description:
          - The scheduled actions, enforced whole. Others of this target are deleted. Left out, none is touched.
          - Limits that one of them has set are no drift, though O(targets[].min_capacity) and
            O(targets[].max_capacity) say otherwise.
          - See U(https://docs.aws.amazon.com/autoscaling/application/APIReference/API_PutScheduledAction.html).
        type: list
        elements: dict
        suboptions:
          name:
            description: Name of the action, once a target.
            type: str
            required: true
          schedule:
            description:
              - When, as V(at(2026-12-24T18:00:00\)), V(rate(1 day\)) or V(cron(0 20 ? * MON-FRI *\)).
            type: str
            required: true
          timezone:
            description: Time zone of C(at) and C(cron), for example V(Europe/Berlin). Left out, UTC.
            type: str
          start_time:
            description: When a recurring schedule begins, for example V(2026-12-24T18:00:00Z).
            type: str
          end_time:
            description: When a recurring schedule ends.
            type: str
          min_capacity:
            description: The least capacity from then on.
            type: int
          max_capacity:
            description: The most capacity from then on.
            type: int
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

- name: Scale by the backlog of each worker, and to nothing at night
  nexus_learn.aws.application_autoscaling:
    targets:
      - resource_id: service/nexus-learn-cluster/nexus-learn-celery-worker-service
        min_capacity: 1
        max_capacity: 5
        policies:
          - name: nexus-learn-celery-worker-backlog
            target_value: 10
            customized_metric_specification:
              metrics:
                - id: waiting
                  metric_stat:
                    metric: {namespace: Celery, metric_name: QueueLength, dimensions: {QueueName: embeddings}}
                    stat: Average
                  return_data: false
                - id: running
                  metric_stat:
                    metric:
                      namespace: ECS/ContainerInsights
                      metric_name: RunningTaskCount
                      dimensions:
                        ClusterName: nexus-learn-cluster
                        ServiceName: nexus-learn-celery-worker-service
                    stat: Average
                  return_data: false
                - id: backlog
                  expression: FILL(waiting, 0) / FILL(running, 1)
        scheduled_actions:
          - {name: evening, schedule: "cron(0 20 ? * * *)", timezone: Europe/Berlin, min_capacity: 0, max_capacity: 0}
          - {name: morning, schedule: "cron(0 7 ? * * *)", timezone: Europe/Berlin, min_capacity: 1, max_capacity: 5}
    tags: {Project: nexus-learn, Environment: dev, ManagedBy: ansible}

- name: Scale nothing of this stack any more
  nexus_learn.aws.application_autoscaling:
    targets: [{resource_id: service/nexus-learn-cluster/*}]
    tags: {Project: nexus-learn, Environment: dev, ManagedBy: ansible}
    state: absent
"""

RETURN = r"""
targets:
  description:
    - The targets by resource id, as they are (in check mode, as they would be); empty when they are absent.
    - The C(arn) of a step scaling policy is what an alarm of yours takes as an action.
  returned: success
  type: dict
  sample:
    service/nexus-learn-cluster/nexus-learn-celery-worker-service:
      arn: arn:aws:application-autoscaling:us-east-1:123456789012:scalable-target/0a1b
      min_capacity: 1
      max_capacity: 5
      policies: {nexus-learn-celery-worker-cpu: {arn: "arn:aws:autoscaling:...", target_value: 70.0}}
      scheduled_actions: {evening: {arn: "arn:aws:autoscaling:...", schedule: "cron(0 20 ? * * *)"}}
"""

from ansible_collections.nexus_learn.aws.plugins.module_utils import application_autoscaling
from ansible_collections.nexus_learn.aws.plugins.module_utils.cloudwatch_metrics import STATISTICS, query_spec
from ansible_collections.nexus_learn.aws.plugins.module_utils.doors import module_main

_QUERIES = {"type": "list", "elements": "dict", "options": query_spec({}, {})}
_PREDEFINED = {
    "type": "dict",
    "options": {"predefined_metric_type": {"type": "str", "required": True}, "resource_label": {"type": "str"}},
}
_CUSTOMIZED = {"type": "dict", "options": {"metric_data_queries": {**_QUERIES, "required": True}}}

_POLICY = {
    "name": {"type": "str", "required": True},
    "policy_type": {
        "type": "str",
        "choices": application_autoscaling.POLICY_TYPES,
        "default": "TargetTrackingScaling",
    },
    "target_value": {"type": "float"},
    "predefined_metric_type": {
        "type": "str",
        "choices": [
            "ECSServiceAverageCPUUtilization",
            "ECSServiceAverageMemoryUtilization",
            "ALBRequestCountPerTarget",
        ],
    },
    "resource_label": {"type": "str"},
    "customized_metric_specification": {
        "type": "dict",
        "options": {
            "metric_name": {"type": "str"},
            "namespace": {"type": "str"},
            "dimensions": {"type": "dict"},
            "statistic": {"type": "str", "choices": STATISTICS},
            "unit": {"type": "str"},
            "metrics": _QUERIES,
        },
    },
    "scale_in_cooldown": {"type": "int"},
    "scale_out_cooldown": {"type": "int"},
    "disable_scale_in": {"type": "bool"},
    "step_scaling_policy_configuration": {
        "type": "dict",
        "options": {
            "adjustment_type": {
                "type": "str",
                "choices": ["ChangeInCapacity", "PercentChangeInCapacity", "ExactCapacity"],
                "required": True,
            },
            "step_adjustments": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "metric_interval_lower_bound": {"type": "float"},
                    "metric_interval_upper_bound": {"type": "float"},
                    "scaling_adjustment": {"type": "int", "required": True},
                },
            },
            "min_adjustment_magnitude": {"type": "int"},
            "cooldown": {"type": "int"},
            "metric_aggregation_type": {"type": "str", "choices": ["Average", "Maximum", "Minimum"]},
        },
    },
    "predictive_scaling_policy_configuration": {
        "type": "dict",
        "options": {
            "metric_specification": {
                "type": "dict",
                "required": True,
                "options": {
                    "target_value": {"type": "float", "required": True},
                    "predefined_metric_pair_specification": _PREDEFINED,
                    "predefined_scaling_metric_specification": _PREDEFINED,
                    "predefined_load_metric_specification": _PREDEFINED,
                    "customized_scaling_metric_specification": _CUSTOMIZED,
                    "customized_load_metric_specification": _CUSTOMIZED,
                    "customized_capacity_metric_specification": _CUSTOMIZED,
                },
            },
            "mode": {"type": "str", "choices": ["ForecastOnly", "ForecastAndScale"]},
            "scheduling_buffer_time": {"type": "int"},
            "max_capacity_breach_behavior": {"type": "str", "choices": ["HonorMaxCapacity", "IncreaseMaxCapacity"]},
            "max_capacity_buffer": {"type": "int"},
        },
    },
}

_SCHEDULED_ACTION = {
    "name": {"type": "str", "required": True},
    "schedule": {"type": "str", "required": True},
    "timezone": {"type": "str"},
    "start_time": {"type": "str"},
    "end_time": {"type": "str"},
    "min_capacity": {"type": "int"},
    "max_capacity": {"type": "int"},
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
                "scheduled_actions": {"type": "list", "elements": "dict", "options": _SCHEDULED_ACTION},
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
