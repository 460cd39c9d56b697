# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""YAML files with Jinja in them, as data."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.module_utils.common.yaml import yaml_load
from ansible.plugins.lookup import LookupBase
from ansible.template import trust_as_template

DOCUMENTATION = """
name: yaml_template
author: Nexus Learn platform team
version_added: 1.0.0
short_description: Data of a template of YAML
description:
  - "Gives what C(lookup('ansible.builtin.template', ...) | from_yaml) gives. But that copies all variables there are,
    to add some of its own, and notes of each value where in the text it stands, which takes longer than all the rest."
options:
  _terms:
    description: Files in the folder C(templates) of the role or playbook.
    type: list
    elements: str
    required: true
"""

EXAMPLES = """
- name: Deploy what a template describes
  nexus_learn.aws.ecs_service:
    services: "{{ lookup('nexus_learn.aws.yaml_template', 'services.yml.j2') }}"
"""

RETURN = """
_raw:
  description: The data of each file.
  type: list
"""


class LookupModule(LookupBase):
    def run(self, terms: list[str], variables: Any = None, **kwargs: Any) -> list[Any]:
        return [self._data(term, variables) for term in terms]

    def _data(self, term: str, variables: Any) -> Any:
        file = self.find_file_in_search_path(variables, "templates", term)
        if file is None:
            raise AnsibleLookupError(f"There is no template {term}.")
        text = trust_as_template(self._loader.get_text_file_contents(file))
        rendered = self._templar.template(text, escape_backslashes=False)
        # one expression and nothing beside it is data already
        return yaml_load(str(rendered)) if isinstance(rendered, str) else rendered
