#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

DOCUMENTATION = r"""
module: verify
short_description: Check that the next deployment will find what it needs, before anything is touched
version_added: 1.0.0
description:
  - Goes through the tasks of a playbook as M(nexus_learn.aws.plan) does, to know what it is going to deploy, and checks
    what that needs and neither makes itself nor is told of in advance by AWS, all checks at once.
  - The image is in ECR, for the architecture of the tasks; ECS may assume the tasks' roles; secrets and their JSON keys
    are there, and the execution role may read them; log groups are there; subnets lead to ECR, CloudWatch Logs and
    Secrets Manager; security groups let HTTPS out and the way to Redis open; quotas of Fargate and addresses suffice;
    Redis is available, without cluster mode, and evicts nothing; deployment alarms are there and do not ring; a worker
    is given the time that it takes to stop.
  - Prints a line for each. What the playbook will create or put right is no failure. What AWS, or a policy of the
    deployer's, does not tell is unknown, and no failure either.
  - Only reads, also outside of check mode. No value of a secret is shown.
author: Nexus Learn platform team
options:
  playbook:
    description: Path of the playbook, whose first play has a task of M(nexus_learn.aws.plan). That play is verified.
    type: path
    required: true
  roles:
    description: Roles of this collection whose inputs are checked too, against their argument specs.
    type: list
    elements: str
    default: []
notes:
  - Takes the connection and other common options of the collection's modules, so that C(module_defaults) of the play
    reach it. Implemented as an action plugin.
  - What it cannot see is named in the findings, or here. IAM's simulation knows no policies of secrets and keys.
    Network ACLs, DNS and what is behind a default route are not looked at, nor are images of other registries than ECR.
seealso:
  - name: SimulatePrincipalPolicy
    description: How is asked what an execution role may read.
    link: https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html
attributes:
  check_mode:
    description: Never changes anything.
    support: full
"""

EXAMPLES = r"""
- name: Verify what the next deployment needs
  nexus_learn.aws.verify:
    playbook: "{{ playbook_dir }}/../site.yml"
  register: verified

- name: Stop here if something is missing
  ansible.builtin.assert:
    that: verified.failures | length == 0
    fail_msg: "{{ verified.failures | join('\n') }}"
"""

RETURN = r"""
checks:
  description: The findings, in the order in which they are printed.
  returned: success
  type: list
  elements: dict
  sample:
    - check: image
      subject: 123456789012.dkr.ecr.us-east-1.amazonaws.com/nexus-learn-worker:1
      status: ok
      evidence: it is sha256:0a1b2c3d4e5f, which ECS keeps to until the next deployment; built for amd64, arm64.
      mend: ""
  contains:
    check:
      description: What is checked.
      type: str
    subject:
      description: Of what.
      type: str
    status:
      description: V(ok), V(failed), V(to be created), V(to be changed), V(not applicable) or V(unknown).
      type: str
    evidence:
      description: What was found.
      type: str
    mend:
      description: The variable to change, or the command that mends a failure.
      type: str
failures:
  description: Those that failed, a sentence each.
  returned: success
  type: list
  elements: str
"""
