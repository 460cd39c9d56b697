# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

from collections.abc import Mapping, Sequence

DOCUMENTATION = """
name: pick
short_description: Keep some keys of a dictionary
version_added: 1.0.0
description: Returns a dictionary with the named keys of another one. Keys that it lacks are left out.
author: Nexus Learn platform team
positional: keys
options:
  _input:
    description: The dictionary.
    type: dict
    required: true
  keys:
    description: The keys to keep.
    type: list
    elements: str
    required: true
"""

EXAMPLES = """
- ansible.builtin.debug:
    msg: "{{ services | map('nexus_learn.aws.pick', ['name', 'min_count']) }}"
"""

RETURN = """
_value:
  description: The smaller dictionary.
  type: dict
"""


def pick(value: Mapping, keys: Sequence[str]) -> dict:
    return {key: value[key] for key in keys if key in value}


class FilterModule:
    def filters(self):
        return {"pick": pick}
