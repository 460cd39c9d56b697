#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

DOCUMENTATION = r"""
module: cloudwatch_alarms
short_description: Manage CloudWatch alarms, composite ones too
version_added: 1.0.0
description:
  - Keeps alarms as given. Each is enforced whole, what its options leave out it does not have; its state and history
    stay when it is changed.
  - All are read at once.
author: Nexus Learn platform team
options:
  metric_alarms:
    description:
      - Alarms on a metric, metric math, an anomaly band, or PromQL.
      - See U(https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html).
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description:
          - Name of the alarm, of no other in the account and region.
          - With O(state=absent), a name that ends in V(*) stands for every metric alarm whose name begins so and that
            is this stack's, which it is with V(Project), V(Environment) and V(Region) of O(tags).
        type: str
        required: true
      alarm_description: &alarm_description
        description: What a person who is woken up by it reads.
        type: str
      actions_enabled: &actions_enabled
        description: Whether the actions are carried out.
        type: bool
        default: true
      alarm_actions: &alarm_actions
        description: ARNs of what happens when it enters the state ALARM.
        type: list
        elements: str
      ok_actions: &ok_actions
        description: ARNs of what happens when it enters the state OK.
        type: list
        elements: str
      insufficient_data_actions: &insufficient_data_actions
        description: ARNs of what happens when it enters the state INSUFFICIENT_DATA.
        type: list
        elements: str
      action_configuration: &action_configuration
        description: What notifications hold.
        type: dict
        suboptions:
          alarm_tags_propagation:
            description: Whether they hold the alarm's tags, and which.
            type: dict
            suboptions:
              enabled:
                description: Whether they do.
                type: bool
                required: true
              included_tag_keys:
                description: These tags only.
                type: list
                elements: str
              excluded_tag_keys:
                description: All tags but these.
                type: list
                elements: str
      metric_name:
        description: The metric that it watches, unless that is metrics or evaluation_criteria.
        type: str
      namespace:
        description: Namespace of the metric.
        type: str
      dimensions:
        description: All dimensions of the metric, by name.
        type: dict
      statistic:
        description: Statistic of the metric.
        type: str
        choices: [Average, Maximum, Minimum, SampleCount, Sum]
      extended_statistic:
        description: In its place, another statistic, for example V(p99).
        type: str
      period:
        description: Seconds of one period, V(10), V(20), V(30) or a multiple of 60.
        type: int
      unit:
        description: Unit of the metric. Best left out, since a wrong one finds no data.
        type: str
      metrics:
        description:
          - Metrics and expressions, one of which is watched.
          - See U(https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDataQuery.html).
        type: list
        elements: dict
        suboptions:
          id:
            description: Its name in expressions.
            type: str
            required: true
          expression:
            description: Metric math, for example V(errors / requests * 100), or a query of Metrics Insights.
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
              period:
                description: Seconds of one period.
                type: int
                required: true
              stat:
                description: Its statistic, for example V(Sum) or V(p99).
                type: str
                required: true
              unit:
                description: Its unit.
                type: str
          period:
            description: Seconds of one period of an expression.
            type: int
          account_id:
            description: The account that has the metric, if it is another one.
            type: str
          return_data:
            description: Whether it is watched. True for one of them, and for the anomaly band that it is compared with.
            type: bool
            default: true
      evaluation_periods:
        description: How many periods are looked at.
        type: int
      datapoints_to_alarm:
        description: How many of them must breach. Left out, all.
        type: int
      threshold:
        description: What the metric is compared with.
        type: float
      threshold_metric_id:
        description: Id of the anomaly band of O(metric_alarms[].metrics), in the place of a threshold.
        type: str
      comparison_operator:
        description: How it is compared; the last three are for anomaly bands.
        type: str
        choices:
          - GreaterThanOrEqualToThreshold
          - GreaterThanThreshold
          - LessThanOrEqualToThreshold
          - LessThanThreshold
          - GreaterThanUpperThreshold
          - LessThanLowerOrGreaterThanUpperThreshold
          - LessThanLowerThreshold
      treat_missing_data:
        description: What missing data mean. Left out, V(missing).
        type: str
        choices: [missing, ignore, breaching, notBreaching]
      evaluate_low_sample_count_percentile:
        description: Whether a percentile of few samples counts. Left out, V(evaluate).
        type: str
        choices: [evaluate, ignore]
      evaluation_window:
        description: Which part of time is looked at. Left out, a sliding window.
        type: dict
        suboptions:
          wall_clock_window:
            description: A window that begins with the hour, the day or the week.
            type: dict
            required: true
            suboptions:
              timezone:
                description: Its time zone, for example V(Europe/Berlin).
                type: str
                default: UTC
      warm_up_configuration:
        description: A time after the alarm is made in which it stays in INSUFFICIENT_DATA.
        type: dict
        suboptions:
          warm_up_period_duration_in_minutes:
            description: How long.
            type: int
            required: true
          only_start_evaluating_after_warm_up_period_ends:
            description: Whether also when there are enough data before.
            type: bool
            default: false
      evaluation_criteria:
        description: A PromQL query, in the place of a metric.
        type: dict
        suboptions:
          promql_criteria:
            description: The query.
            type: dict
            required: true
            suboptions:
              query:
                description: It returns the series that breach.
                type: str
                required: true
              pending_period:
                description: Seconds that a series must breach before the alarm rings.
                type: int
              recovery_period:
                description: Seconds that it must not breach before the alarm ends.
                type: int
      evaluation_interval:
        description: Seconds between two evaluations of a PromQL query.
        type: int
  composite_alarms:
    description:
      - Alarms on the states of other alarms, which may be in the lists too.
      - See U(https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutCompositeAlarm.html).
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the alarm, as of a metric alarm.
        type: str
        required: true
      alarm_rule:
        description: When it rings, for example V(ALARM(\"a\"\) AND NOT ALARM(\"b\"\)). Required with O(state=present).
        type: str
      alarm_description: *alarm_description
      actions_enabled: *actions_enabled
      alarm_actions: *alarm_actions
      ok_actions: *ok_actions
      insufficient_data_actions: *insufficient_data_actions
      action_configuration: *action_configuration
      actions_suppressor:
        description: Name or ARN of an alarm that keeps the actions from being carried out while it rings.
        type: str
      actions_suppressor_wait_period:
        description: Seconds to wait for the suppressor to ring. Required with it.
        type: int
      actions_suppressor_extension_period:
        description: Seconds to wait after it has ended. Required with it.
        type: int
  tags:
    description: Tags of every alarm of the lists, enforced whole. Left out, tags are not touched.
    type: dict
  state:
    description: Whether the alarms shall be there.
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
- name: Say when the workers are at their limit
  nexus_learn.aws.cloudwatch_alarms:
    metric_alarms:
      - name: nexus-learn-celery-worker-cpu
        alarm_description: The workers are busy for a quarter of an hour. Raise celery_max_count.
        namespace: AWS/ECS
        metric_name: CPUUtilization
        dimensions: {ClusterName: nexus-learn-cluster, ServiceName: nexus-learn-celery-worker-service}
        statistic: Average
        period: 60
        evaluation_periods: 15
        comparison_operator: GreaterThanThreshold
        threshold: 90
        alarm_actions: ["arn:aws:sns:us-east-1:123456789012:nexus-learn"]
    tags: {Project: nexus-learn, Environment: dev, ManagedBy: ansible}
"""

RETURN = r"""
alarms:
  description: All alarms by name (in check mode, as they would be); empty when they are absent.
  returned: success
  type: dict
  sample: {nexus-learn-celery-worker-cpu: {arn: "arn:aws:cloudwatch:...", threshold: 90.0, tags: {}}}
"""

from ansible_collections.nexus_learn.aws.plugins.module_utils import cloudwatch_alarms
from ansible_collections.nexus_learn.aws.plugins.module_utils.cloudwatch_metrics import STATISTICS, query_spec
from ansible_collections.nexus_learn.aws.plugins.module_utils.doors import module_main

_STRINGS = {"type": "list", "elements": "str"}
_ACTIONS = {
    "actions_enabled": {"type": "bool", "default": True},
    "alarm_actions": _STRINGS,
    "ok_actions": _STRINGS,
    "insufficient_data_actions": _STRINGS,
    "action_configuration": {
        "type": "dict",
        "options": {
            "alarm_tags_propagation": {
                "type": "dict",
                "options": {
                    "enabled": {"type": "bool", "required": True},
                    "included_tag_keys": _STRINGS,
                    "excluded_tag_keys": _STRINGS,
                },
            }
        },
    },
}
_METRIC_ALARM = {
    "name": {"type": "str", "required": True},
    "alarm_description": {"type": "str"},
    **_ACTIONS,
    "metric_name": {"type": "str"},
    "namespace": {"type": "str"},
    "dimensions": {"type": "dict"},
    "statistic": {"type": "str", "choices": STATISTICS},
    "extended_statistic": {"type": "str"},
    "period": {"type": "int"},
    "unit": {"type": "str"},
    "metrics": {
        "type": "list",
        "elements": "dict",
        "options": query_spec(
            {"period": {"type": "int"}, "account_id": {"type": "str"}}, {"period": {"type": "int", "required": True}}
        ),
    },
    "evaluation_periods": {"type": "int"},
    "datapoints_to_alarm": {"type": "int"},
    "threshold": {"type": "float"},
    "threshold_metric_id": {"type": "str"},
    "comparison_operator": {"type": "str", "choices": [*cloudwatch_alarms.STATIC, *cloudwatch_alarms.ANOMALY]},
    "treat_missing_data": {"type": "str", "choices": ["missing", "ignore", "breaching", "notBreaching"]},
    "evaluate_low_sample_count_percentile": {"type": "str", "choices": ["evaluate", "ignore"]},
    "evaluation_window": {
        "type": "dict",
        "options": {
            "wall_clock_window": {
                "type": "dict",
                "required": True,
                "options": {"timezone": {"type": "str", "default": "UTC"}},
            }
        },
    },
    "warm_up_configuration": {
        "type": "dict",
        "options": {
            "warm_up_period_duration_in_minutes": {"type": "int", "required": True},
            "only_start_evaluating_after_warm_up_period_ends": {"type": "bool", "default": False},
        },
    },
    "evaluation_criteria": {
        "type": "dict",
        "options": {
            "promql_criteria": {
                "type": "dict",
                "required": True,
                "options": {
                    "query": {"type": "str", "required": True},
                    "pending_period": {"type": "int"},
                    "recovery_period": {"type": "int"},
                },
            }
        },
    },
    "evaluation_interval": {"type": "int"},
}
_COMPOSITE_ALARM = {
    "name": {"type": "str", "required": True},
    "alarm_rule": {"type": "str"},
    "alarm_description": {"type": "str"},
    **_ACTIONS,
    "actions_suppressor": {"type": "str"},
    "actions_suppressor_wait_period": {"type": "int"},
    "actions_suppressor_extension_period": {"type": "int"},
}

SPEC = {
    "argument_spec": {
        "metric_alarms": {"type": "list", "elements": "dict", "default": [], "options": _METRIC_ALARM},
        "composite_alarms": {"type": "list", "elements": "dict", "default": [], "options": _COMPOSITE_ALARM},
        "tags": {"type": "dict"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    }
}


def main():
    module_main(cloudwatch_alarms, SPEC)


if __name__ == "__main__":
    main()
