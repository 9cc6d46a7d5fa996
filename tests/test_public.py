"""What the package promises: its names, its examples, its version."""

import doctest
import importlib
import re
import tomllib
from pathlib import Path

import pytest

import trl_srl


ROOT = Path(__file__).parents[1]
WITH_EXAMPLES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted((ROOT / "trl_srl").rglob("*.py"))
    if ">>> " in path.read_text()
]


def test_every_public_name_resolves_and_is_documented():
    for name in trl_srl.__all__:
        assert getattr(trl_srl, name) is not None
        if name != "__version__":
            assert getattr(trl_srl, name).__doc__, name
    assert set(trl_srl.__all__) <= set(dir(trl_srl))
    with pytest.raises(AttributeError, match="no_such_name"):
        trl_srl.no_such_name  # noqa: B018


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_examples_in_docstrings_run(module):
    results = doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS)
    assert results.failed == 0


def test_the_changelog_begins_with_the_version():
    versions = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    released, _, development = trl_srl.__version__.partition(".dev")
    assert versions[0] == ("Unreleased" if development else released)
    assert released not in versions[1:]


def test_the_tested_range_of_trl_is_said_once():
    requirement = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"][0]
    lowest, below = re.fullmatch(r"trl>=([\d.]+),<([\d.]+)", requirement).groups()
    from trl_srl.seams import TESTED_TRL

    assert f"trl>={lowest},<{below}" == TESTED_TRL
    assert f"`{TESTED_TRL}`" in (ROOT / "README.md").read_text()
