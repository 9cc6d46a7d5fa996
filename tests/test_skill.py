"""skills/trl-srl: its form, and that every command, option and YAML key in it is one that exists."""

import re
from pathlib import Path

import pytest
import yaml

from trl_srl import ADAPTERS
from trl_srl.cli import COMMANDS
from trl_srl.trajectories import STYLES


ROOT = Path(__file__).parents[1]
SKILL = ROOT / "skills" / "trl-srl" / "SKILL.md"
TEXT = SKILL.read_text()
BLOCKS = "\n".join(re.findall(r"^```bash\n(.*?)^```", TEXT, re.S | re.M)).replace("\\\n", " ")
YAML = re.search(r"^```yaml\n(.*?)^```", TEXT, re.S | re.M)[1]
LINES = [line for line in BLOCKS.splitlines() if line.startswith("trl-srl ")]


def test_it_has_the_form_of_a_skill():
    _, front, body = TEXT.split("---\n", 2)
    front = yaml.safe_load(front)
    assert front.keys() == {"name", "description", "license"}
    assert front["name"] == SKILL.parent.name and re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", front["name"])
    assert "Use when" in front["description"] and len(front["description"]) <= 1024
    assert len(body.splitlines()) < 500


def test_it_uses_every_command_of_a_run():
    assert {line.split()[1] for line in LINES} >= {*COMMANDS} - {"demo", "plot"}


@pytest.mark.parametrize("line", LINES)
def test_commands_parse(line, parse_command):
    parse_command(line)


def test_every_option_and_name_exists(command_parsers):
    # hf upload's own is the last.
    known = {option for parser in command_parsers.values() for option in parser._option_string_actions} | {
        "--version",
        "--exclude",
    }
    assert {*re.findall(r"(?<![\w-])--[a-z0-9_]+", TEXT)} - known == set()
    assert {f"--{name}" for name in yaml.safe_load(YAML)} <= {*command_parsers["srl"]._option_string_actions}
    for name in ADAPTERS:
        assert re.search(rf"\b{name}\b", TEXT), f"the adapter {name} is missing"
    for style in STYLES:
        assert style in TEXT


def test_the_messages_it_quotes_are_printed_by_the_package():
    source = "\n".join(path.read_text() for path in (ROOT / "trl_srl").rglob("*.py"))
    source = re.sub(r'"\s*\n\s*f?"', "", source)
    for message in (
        "Almost no completion follows the format",
        "More than half of the completions are cut off",
        "The rewards hardly differ inside the groups",
        "The chat template writes an empty think block",
        "No informative group in",
        "groups are informative",
        "The second stage starts",
        "from where the first ended",
        "This can be chance",
        "Attention: ",
        "What the adapter has learned is lost in the rounding",
    ):
        assert message in source, f"the package no longer prints {message!r}"
        assert message in TEXT.replace("\n", " "), f"the skill no longer explains {message!r}"
