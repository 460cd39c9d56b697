#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

DOCUMENTATION = r"""
module: validate
short_description: Check the inventory of the stack before anything is touched
version_added: 1.0.0
description:
  - Checks types, allowed values and combinations of the stack's variables (node type, engine version, Fargate CPU and
    memory pairs, counts, failover, region ...) without any call to AWS.
  - Fails with one sentence for each error, naming the variable, its value and what is allowed.
author: Nexus Learn platform team
options:
  roles:
    description: Roles of this collection whose inputs are checked too, against their argument specs.
    type: list
    elements: str
    default: []
notes:
  - It reads the variables themselves. Implemented as an action plugin.
attributes:
  check_mode:
    description: Never changes anything.
    support: full
"""

EXAMPLES = r"""
- name: Validate the inventory before anything is touched
  nexus_learn.aws.validate:
    roles: [network, elasticache]
  tags: always
"""

RETURN = r"""
errors:
  description: What is wrong, a sentence each.
  returned: failure
  type: list
  elements: str
"""
