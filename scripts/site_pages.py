"""Hooks of mkdocs: pages that exist elsewhere (README, changes) or are made from code (the commands)."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
OUTSIDE = {
    "index.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changes.md": "CHANGELOG.md",
    "security.md": "SECURITY.md",
}
"""Pages of the site that lie beside ``docs``."""
COMMANDS = "reference/commands"


def on_config(config: Any) -> Any:
    """Adds the commands to the navigation, by subject."""
    from delg.commands import GROUPS

    pages = [{title: [f"{COMMANDS}/{name}.md" for name in group]} for title, group in GROUPS.items()]
    for section in config["nav"]:
        for title, entries in section.items():
            if title == "Reference":
                entries.insert(0, {"Commands": [f"{COMMANDS}/index.md", *pages]})
    return config


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages that do not lie in ``docs``."""
    from mkdocs.structure.files import File

    for name, source in OUTSIDE.items():
        text = (ROOT / source).read_text(encoding="utf-8").replace("](docs/", "](")
        files.append(File.generated(config, name, content=text))
    for name, text in command_pages().items():
        files.append(File.generated(config, f"{COMMANDS}/{name}.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Turns links to files beside ``docs`` into links to their pages."""
    up = "../" * page.file.src_uri.count("/")
    for name, source in OUTSIDE.items():
        markdown = re.sub(rf"\]\((?:\.\./)*{re.escape(source)}", f"]({up}{name}", markdown)
    markdown = markdown.replace("](LICENSE)", "](https://www.apache.org/licenses/LICENSE-2.0)")
    return markdown.replace("[CITATION.cff](CITATION.cff)", "`CITATION.cff`")


def on_page_content(html: str, page: Any, config: Any, files: Any) -> str:
    """Turns the marks of docstrings that are no Markdown into plain code: roles, and the colons before a block."""
    html = re.sub(r":(?:class|func|meth|mod|data):<code>~?([^<]*)</code>", r"<code>\1</code>", html)
    return re.sub(r"::(\s*</p>)", r":\1", html)


def command_pages() -> dict[str, str]:
    """A page for each command, from its docstring and its flags; ``index`` lists the commands."""
    from delg.commands import GROUPS

    commands = commands_with_flags()
    index = ["# Commands\n\nFor everyone who looks up a command. `delg COMMAND -h` prints the same.\n"]
    pages = {}
    for title, group in GROUPS.items():
        index += [f"\n## {title}\n", "| command | what it does |", "|---|---|"]
        for name, (_, summary) in group.items():
            index.append(f"| [`delg {name}`]({name}.md) | {summary} |")
            pages[name] = _page(name, summary, commands[name])
    index.append("\nNext: [the Python API](../python.md).\n")
    return {"index": "\n".join(index), **pages}


def _page(name: str, summary: str, command: dict[str, Any]) -> str:
    lines = [f"# delg {name}", "", f"For those who look up `delg {name}`: it {summary}.", ""]
    lines += ["```text", f"delg {name} {command['positional']}".rstrip() + " [--flag=value ...]", "```", ""]
    lines += ["```text", command["about"], "```", "", "## Flags", ""]
    for flag in command["flags"]:
        values = f" One of {', '.join(f'`{value}`' for value in flag['choices'])}." if flag["choices"] else ""
        default = f" Default: `{flag['default']}`." if flag["default"] not in (None, "") else ""
        text = re.sub(r"([\\`*_<>\[\]{}#|~])", r"\\\1", flag["help"])
        lines += [f"`--{flag['name']}` ({flag['type']})", f":   {text}{values}{default}", ""]
    return "\n".join([*lines, "Next: [all commands](index.md).", ""])


def commands_with_flags() -> dict[str, Any]:
    """Docstring, positional arguments and flags of each command; read in a process of its own."""
    done = subprocess.run([sys.executable, __file__], cwd=ROOT, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def print_commands() -> None:
    """Prints what :func:`commands_with_flags` returns. Commands share names of flags, so each forgets its own."""
    import importlib

    from absl import flags

    from delg.commands import MODULES

    commands = {}
    for name, place in MODULES.items():
        module = importlib.import_module(place)
        own = flags.FLAGS.get_flags_for_module(place)
        entries = [
            {
                "name": flag.name,
                "type": flag.flag_type(),
                "default": json.loads(json.dumps(flag.default)),
                "choices": list(getattr(flag.parser, "enum_values", None) or ()),
                "help": " ".join(flag.help.split()),
            }
            for flag in own
        ]
        if {"model", "init_model", "input"} & {flag.name for flag in own}:  # as :func:`delg.commands.run` adds it
            text = "Fetch no published weights, as with DELG_OFFLINE=1."
            entries.append({"name": "offline", "type": "bool", "default": False, "choices": [], "help": text})
        about = (module.__doc__ or "").strip()
        commands[name] = {"about": about, "positional": getattr(module, "POSITIONAL", ""), "flags": entries}
        for flag in own:
            delattr(flags.FLAGS, flag.name)
    print(json.dumps(commands))


if __name__ == "__main__":
    sys.path[0] = str(ROOT)  # the folder of this file holds no package
    print_commands()
