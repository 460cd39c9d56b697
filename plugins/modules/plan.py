#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

DOCUMENTATION = r"""
module: plan
short_description: Check the inventory and plan what the rest of the play changes, before anything is touched
version_added: 1.0.0
description:
  - Checks the inventory as M(nexus_learn.aws.validate) does.
  - Goes through the tasks of the play that follow, as far as they are selected by tags and conditions and call modules
    of this collection, and runs each as check mode would, all in one process that shares its clients. The result of
    one is what the next ones see as registered.
  - What one of them would refuse is refused here, with nothing changed yet.
  - When all of them are foreseen, with nothing to change and nothing to wait for, RV(unchanged) says so, and the
    play may end. A run that has nothing to do takes a third of the time then.
  - A task of another kind, dynamic includes and loops among them, ends the plan; the play then goes on as without it.
author: Nexus Learn platform team
options:
  roles:
    description: Roles of this collection whose inputs are checked too, against their argument specs.
    type: list
    elements: str
    default: []
  outputs:
    description: Name of a variable that is evaluated with the results, and returned, when nothing changes.
    type: str
notes:
  - Takes the connection and other common options of the collection's modules, so that C(module_defaults) of the play
    reach it. Implemented as an action plugin.
attributes:
  check_mode:
    description: Never changes anything.
    support: full
"""

EXAMPLES = r"""
- name: Plan the whole run
  nexus_learn.aws.plan:
    roles: [network, elasticache]
    outputs: stack_outputs
  register: stack_plan

- name: Leave it alone
  ansible.builtin.meta: end_play
  when: stack_plan.unchanged
"""

RETURN = r"""
errors:
  description: What is wrong with the inventory, a sentence each.
  returned: failure
  type: list
  elements: str
unchanged:
  description: Whether all that follows is foreseen and has nothing to change and nothing to wait for.
  returned: always
  type: bool
steps:
  description: The result of each task that was foreseen, as in check mode, with its name as C(task).
  returned: always
  type: list
  elements: dict
outputs:
  description: What O(outputs) names, when nothing changes.
  returned: always
  type: raw
"""
