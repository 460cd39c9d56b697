"""Write roles/*/README.md from argument_specs.yml and defaults/main.yml; with --check only say which are out of date.

A generator of our own: those on PyPI leave out the defaults, which here stand in defaults/main.yml alone.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import yaml

ROLES = Path(__file__).resolve().parent.parent / "roles"


def markdown(text: str | list[str]) -> str:
    """Ansible's markup (C(), V(), O(), U()) as Markdown, in one line."""
    joined = text if isinstance(text, str) else " ".join(text)
    return re.sub(r"\b[CVO]\(([^)]*)\)", r"`\1`", re.sub(r"\bU\(([^)]*)\)", r"<\1>", joined)).replace("|", "\\|")


def readme(role: Path) -> str:
    spec = yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]
    defaults = yaml.safe_load((role / "defaults/main.yml").read_text())
    lines = [f"# {role.name}", "", spec["short_description"] + ".", ""]
    lines += [f"{markdown(paragraph)}\n" for paragraph in spec.get("description", [])]
    lines += ["| variable | type | default | what it is |", "| --- | --- | --- | --- |"]
    for name, option in spec["options"].items():
        default = "required" if option.get("required") else f"`{json.dumps(defaults[name])}`".replace("|", "\\|")
        what = markdown(option["description"])
        if "choices" in option:
            what += f" One of {', '.join(f'`{choice}`' for choice in option['choices'])}."
        lines.append(f"| `{name}` | {option['type']} | {default} | {what} |")
        for key, sub in option.get("options", {}).items():
            needed = "required" if sub.get("required") else ""
            lines.append(f"| &nbsp;&nbsp;`{key}` | {sub['type']} | {needed} | {markdown(sub['description'])} |")
    lines += ["", "Why the defaults are what they are stands in [defaults/main.yml](defaults/main.yml).", ""]
    return "\n".join(lines)


def main() -> int:
    outdated = []
    for role in sorted(path for path in ROLES.iterdir() if (path / "meta/argument_specs.yml").exists()):
        target, text = role / "README.md", readme(role)
        if not target.exists() or target.read_text() != text:
            outdated.append(str(target.relative_to(ROLES.parent)))
            if "--check" not in sys.argv:
                target.write_text(text)
    if outdated:
        print(("Out of date, run `make docs`: " if "--check" in sys.argv else "Written: ") + ", ".join(outdated))
    return int("--check" in sys.argv and bool(outdated))


if __name__ == "__main__":
    sys.exit(main())
