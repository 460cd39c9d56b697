#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

DOCUMENTATION = r"""
module: elbv2_load_balancer
short_description: Manage an Application Load Balancer with its target group and listeners
version_added: 1.0.0
description:
  - Creates an Application Load Balancer, its target group and its listeners, keeps them as given, and waits until the
    load balancer is active.
  - Given nothing but O(name), it looks the load balancer up; one that is not there is not created.
author: Nexus Learn platform team
options:
  name:
    description: Name of the load balancer, 32 letters, digits and hyphens at most.
    type: str
    required: true
  scheme:
    description: V(internet-facing), the default of AWS, or V(internal). AWS cannot change it afterwards.
    type: str
    choices: [internet-facing, internal]
  subnets:
    description: Ids of the subnets, in two zones at least. Required for a load balancer that does not exist yet.
    type: list
    elements: str
  security_groups:
    description: Ids of the security groups. Left out, a new load balancer gets the default group of the VPC.
    type: list
    elements: str
  idle_timeout:
    description:
      - Seconds, 1 to 4000, after which an idle connection is closed. AWS takes 60 when left out.
      - See U(https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_LoadBalancerAttribute.html) for
        this and the options down to O(zonal_shift).
    type: int
  client_keep_alive:
    description: Seconds, 60 to 604800, that a client may keep a connection. AWS takes 3600 when left out.
    type: int
  deletion_protection:
    description: Whether AWS refuses to delete the load balancer. It does not when left out.
    type: bool
  http2:
    description: Whether clients may speak HTTP/2. They may when left out.
    type: bool
  desync_mitigation_mode:
    description: What is done with requests that may smuggle others. AWS takes V(defensive) when left out.
    type: str
    choices: [monitor, defensive, strictest]
  drop_invalid_header_fields:
    description: Whether header fields with invalid names are removed from requests. They are not when left out.
    type: bool
  preserve_host_header:
    description: Whether targets get the Host field as the client sent it. AWS may add the port when left out.
    type: bool
  x_amzn_tls_version_and_cipher_suite:
    description: Whether targets are told the client's TLS version and cipher suite. They are not when left out.
    type: bool
  xff_client_port:
    description: Whether X-Forwarded-For names the client's port, too. It does not when left out.
    type: bool
  xff_header_processing_mode:
    description: What becomes of a client's X-Forwarded-For. AWS takes V(append) when left out.
    type: str
    choices: [append, preserve, remove]
  waf_fail_open:
    description: Whether requests are let through when AWS WAF cannot be asked. They are not when left out.
    type: bool
  zonal_shift:
    description: Whether traffic may be shifted away from a zone. It may not when left out.
    type: bool
  access_logs:
    description:
      - Every request that it served, as objects in a bucket.
      - Enforced whole. The policy of the bucket must let the load balancer put objects there.
      - See U(https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_LoadBalancerAttribute.html).
    type: dict
    suboptions: &logs
      bucket:
        description: The bucket, of the same region, that takes them. An empty one turns them off.
        type: str
        required: true
      prefix:
        description: Beginning of their keys.
        type: str
        default: ""
  connection_logs:
    description:
      - Every connection that clients tried, as objects in a bucket.
      - Enforced whole. The policy of the bucket must let the load balancer put objects there.
      - See U(https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_LoadBalancerAttribute.html).
    type: dict
    suboptions: *logs
  health_check_logs:
    description:
      - The results of health checks, as objects in a bucket.
      - Enforced whole. The policy of the bucket must let the load balancer put objects there.
      - See U(https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_LoadBalancerAttribute.html).
    type: dict
    suboptions: *logs
  target_group:
    description: The target group that listeners forward to.
    type: dict
    suboptions:
      name:
        description: Name of the target group, 32 characters at most.
        type: str
        required: true
      port:
        description: Port of the targets. Required for a new group; AWS cannot change it afterwards.
        type: int
      protocol:
        description: Protocol to the targets. AWS cannot change it afterwards.
        type: str
        choices: [HTTP, HTTPS]
        default: HTTP
      vpc_id:
        description: The VPC of the targets. Required for a new group; AWS cannot change it afterwards.
        type: str
      target_type:
        description: What is registered; Fargate tasks are V(ip). AWS cannot change it afterwards.
        type: str
        choices: [ip, instance]
        default: ip
      deregistration_delay:
        description:
          - Seconds, 0 to 3600, that a target which is taken away may finish its requests in. AWS takes 300 when left
            out.
          - See U(https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetGroupAttribute.html).
        type: int
      slow_start:
        description:
          - Seconds, 30 to 900, in which a new target gets more and more requests; 0, as when left out, gives it its
            share at once. Only with V(round_robin).
        type: int
      load_balancing_algorithm:
        description: How a target is chosen. AWS takes V(round_robin) when left out.
        type: str
        choices: [round_robin, least_outstanding_requests, weighted_random]
      health_check:
        description:
          - How a target proves that it is well. What is left out stays as it is.
          - See U(https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateTargetGroup.html).
        type: dict
        suboptions:
          protocol:
            description: Protocol of the question. AWS takes V(HTTP) when left out.
            type: str
            choices: [HTTP, HTTPS]
          port:
            description: Port that is asked; V(traffic-port), as when left out, is that of the target.
            type: str
          path:
            description: Path that is asked for. AWS takes V(/) when left out.
            type: str
          interval:
            description: Seconds between two checks, 5 to 300.
            type: int
          timeout:
            description: Seconds to wait for an answer, 2 to 120, and less than the interval.
            type: int
          healthy_threshold:
            description: Good answers in a row until a target is healthy, 2 to 10.
            type: int
          unhealthy_threshold:
            description: Bad answers in a row until a target is unhealthy, 2 to 10.
            type: int
          matcher:
            description: Status codes of a good answer, for example V(200) or V(200-299).
            type: str
  listeners:
    description:
      - The listeners, one per port, enforced whole; others of this load balancer are deleted.
      - Left out, listeners are not touched.
    type: list
    elements: dict
    suboptions:
      port:
        description: Port that clients connect to.
        type: int
        required: true
      protocol:
        description: Protocol that clients speak.
        type: str
        choices: [HTTP, HTTPS]
        default: HTTP
      certificate_arn:
        description: The certificate. Required for V(HTTPS).
        type: str
      ssl_policy:
        description:
          - TLS versions and ciphers. Left out, a listener that has none takes V(ELBSecurityPolicy-TLS13-1-2-2021-06),
            which AWS recommends, for its default is older; one that has another keeps it.
          - See U(https://docs.aws.amazon.com/elasticloadbalancing/latest/application/describe-ssl-policies.html).
        type: str
      redirect_to_https:
        description: Whether clients are sent to port 443 instead of being served.
        type: bool
        default: false
      fixed_response:
        description:
          - What the load balancer answers itself instead of asking a target, while the service is being repaired for
            example.
          - See U(https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_FixedResponseActionConfig.html).
        type: dict
        suboptions:
          status_code:
            description: Its status, 2XX, 4XX or 5XX.
            type: int
            required: true
          content_type:
            description: What the body is.
            type: str
            choices: [text/plain, text/css, text/html, application/javascript, application/json]
            default: text/plain
          message_body:
            description: The body, 1024 characters at most.
            type: str
            default: ""
  tags:
    description: Tags of load balancer, target group and listeners, enforced whole. Left out, tags are not touched.
    type: dict
  state:
    description:
      - Whether load balancer and target group shall be there.
      - V(gathered) changes nothing and returns what is there; without a load balancer, RV(url) is null.
    type: str
    choices: [present, absent, gathered]
    default: present
  wait_timeout:
    description: Seconds to wait until the load balancer is active, or until the target group can be deleted.
    type: int
    default: 600
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - nexus_learn.aws.plan
"""

EXAMPLES = r"""
- name: Load balancer of the API
  nexus_learn.aws.elbv2_load_balancer:
    name: nexus-learn-alb
    subnets: "{{ network__output.subnets.public | map(attribute='id') }}"
    security_groups: ["{{ network__output.security_groups['nexus-learn-alb'].id }}"]
    target_group:
      name: nexus-learn-backend
      port: 8000
      vpc_id: "{{ network__output.vpc.id }}"
      health_check: {path: /health}
    listeners:
      - {port: 80}
    tags: {Project: nexus-learn, Environment: dev, ManagedBy: ansible}
"""

RETURN = r"""
load_balancer:
  description: The load balancer, as it is (in check mode, as it would be).
  returned: success
  type: dict
  sample:
    arn: arn:aws:elasticloadbalancing:...
    dns_name: nexus-learn-alb-1234567890.us-east-1.elb.amazonaws.com
    canonical_hosted_zone_id: Z35SXDOTRQ7X7K
target_group:
  description: The target group, as it is (in check mode, as it would be).
  returned: success
  type: dict
  sample: {arn: "arn:aws:elasticloadbalancing:...", port: 8000}
url:
  description: Where clients reach it.
  returned: success
  type: str
  sample: http://nexus-learn-alb-1234567890.us-east-1.elb.amazonaws.com
"""

from ansible_collections.nexus_learn.aws.plugins.module_utils import elbv2_load_balancer
from ansible_collections.nexus_learn.aws.plugins.module_utils.doors import module_main

PROTOCOL = {"type": "str", "choices": ["HTTP", "HTTPS"], "default": "HTTP"}
LOGS = {
    "type": "dict",
    "options": {"bucket": {"type": "str", "required": True}, "prefix": {"type": "str", "default": ""}},
}
CONTENT_TYPES = ["text/plain", "text/css", "text/html", "application/javascript", "application/json"]
SPEC = {
    "argument_spec": {
        "name": {"type": "str", "required": True},
        "scheme": {"type": "str", "choices": ["internet-facing", "internal"]},
        "subnets": {"type": "list", "elements": "str"},
        "security_groups": {"type": "list", "elements": "str"},
        "idle_timeout": {"type": "int"},
        "client_keep_alive": {"type": "int"},
        "deletion_protection": {"type": "bool"},
        "http2": {"type": "bool"},
        "desync_mitigation_mode": {"type": "str", "choices": ["monitor", "defensive", "strictest"]},
        "drop_invalid_header_fields": {"type": "bool"},
        "preserve_host_header": {"type": "bool"},
        "x_amzn_tls_version_and_cipher_suite": {"type": "bool"},
        "xff_client_port": {"type": "bool"},
        "xff_header_processing_mode": {"type": "str", "choices": ["append", "preserve", "remove"]},
        "waf_fail_open": {"type": "bool"},
        "zonal_shift": {"type": "bool"},
        **dict.fromkeys(elbv2_load_balancer.LOGS, LOGS),
        "target_group": {
            "type": "dict",
            "options": {
                "name": {"type": "str", "required": True},
                "port": {"type": "int"},
                "protocol": PROTOCOL,
                "vpc_id": {"type": "str"},
                "target_type": {"type": "str", "choices": ["ip", "instance"], "default": "ip"},
                "deregistration_delay": {"type": "int"},
                "slow_start": {"type": "int"},
                "load_balancing_algorithm": {
                    "type": "str",
                    "choices": ["round_robin", "least_outstanding_requests", "weighted_random"],
                },
                "health_check": {
                    "type": "dict",
                    "options": {
                        "protocol": {"type": "str", "choices": ["HTTP", "HTTPS"]},
                        "port": {"type": "str"},
                        "path": {"type": "str"},
                        "interval": {"type": "int"},
                        "timeout": {"type": "int"},
                        "healthy_threshold": {"type": "int"},
                        "unhealthy_threshold": {"type": "int"},
                        "matcher": {"type": "str"},
                    },
                },
            },
        },
        "listeners": {
            "type": "list",
            "elements": "dict",
            "options": {
                "port": {"type": "int", "required": True},
                "protocol": PROTOCOL,
                "certificate_arn": {"type": "str"},
                "ssl_policy": {"type": "str"},
                "redirect_to_https": {"type": "bool", "default": False},
                "fixed_response": {
                    "type": "dict",
                    "options": {
                        "status_code": {"type": "int", "required": True},
                        "content_type": {"type": "str", "choices": CONTENT_TYPES, "default": "text/plain"},
                        "message_body": {"type": "str", "default": ""},
                    },
                },
            },
        },
        "tags": {"type": "dict"},
        "state": {"type": "str", "choices": ["present", "absent", "gathered"], "default": "present"},
        "wait_timeout": {"type": "int", "default": 600},
    }
}


def main():
    module_main(elbv2_load_balancer, SPEC)


if __name__ == "__main__":
    main()
