"""The lookup yaml_template gives what the stock lookup and from_yaml give."""

from __future__ import annotations

import pytest
import yaml
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import lookup_loader
from ansible.template import Templar
from ansible_collections.nexus_learn.aws.plugins.lookup.yaml_template import LookupModule


@pytest.fixture
def lookup(tmp_path):
    """lookup(plugin, text) -> what it makes of a file with that text."""
    (tmp_path / "templates").mkdir()

    def run(plugin, text: str, file: str = "x.yml.j2"):
        (tmp_path / "templates/x.yml.j2").write_text(text)
        variables = {"names": ["a", "b"], "words": "x: {{ y }} \\1", "ansible_search_path": [str(tmp_path)]}
        loader = DataLoader()
        return plugin(loader=loader, templar=Templar(loader=loader, variables=variables)).run([file], variables)[0]

    return run


def stock(**given):
    return lookup_loader.get("template", **given)


@pytest.mark.parametrize(
    "text",
    [
        "{% for name in names %}\n- name: {{ name }}\n{% if name == 'b' %}\n  on: true\n{% endif %}\n{% endfor %}\n",
        "{% macro one(x) %}\n  a: {{ x }}\n{% endmacro %}\nfirst:\n{{ one(1) }}\nsecond:\n{{ one('no') }}\n",
        "text: {{ words | to_json }}\nlines: |\n  one\n  {% if true %}\n  two\n  {% endif %}\n",
        "a: {{ none | default('', true) }}\nb: {{ names | to_json }}\n",
        "{{ names }}",
        "[]",
    ],
)
def test_it_is_what_the_stock_lookup_gives(lookup, text):
    of_stock = lookup(stock, text)
    assert lookup(LookupModule, text) == (yaml.safe_load(of_stock) if isinstance(of_stock, str) else of_stock)


def test_what_is_not_there_is_named(lookup):
    with pytest.raises(AnsibleError, match=r"There is no template gone\.yml\.j2"):
        lookup(LookupModule, "", "gone.yml.j2")
    with pytest.raises(AnsibleError, match="'nobody' is undefined"):
        lookup(LookupModule, "a: {{ nobody }}")
