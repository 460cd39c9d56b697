# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the run was given with -e, which no variable tells."""

from __future__ import annotations

from typing import Any

from ansible.plugins.lookup import LookupBase
from ansible.utils.vars import load_extra_vars

DOCUMENTATION = """
name: extra_vars
author: Nexus Learn platform team
version_added: 1.0.0
short_description: The variables that were given with -e
description:
  - Gives one mapping of all variables that C(ansible-playbook) was given with C(-e), as they were given.
options: {}
"""

EXAMPLES = """
- name: Say whether the image is the inventory's
  ansible.builtin.debug:
    msg: "{{ 'app_image' in lookup('nexus_learn.aws.extra_vars') }}"
"""

RETURN = """
_raw:
  description: The variables by name.
  type: list
  elements: dict
"""


class LookupModule(LookupBase):
    def run(self, terms: list[str], variables: Any = None, **kwargs: Any) -> list[dict[str, Any]]:
        return [dict(load_extra_vars(self._loader))]
