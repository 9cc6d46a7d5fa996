"""The rules of the layout: modules import strictly downward, and only a few touch TRL's underscore names."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest


PACKAGE = Path(__file__).parents[1] / "trl_srl"
LAYERS = {
    "actions": 0,
    "citations": 0,
    "config": 0,
    "doctor": 0,
    "matching": 0,
    "memory": 0,
    "notebook_table": 0,
    "prompt_stream": 0,
    "seams": 0,
    "selection": 0,
    "shards": 0,
    "training_log": 0,
    "trajectories": 0,
    "weights": 0,
    "adapter_training": 1,
    "interruptions": 1,
    "plots": 1,
    "prompts": 1,
    "similarity": 1,
    "terminal": 1,
    "agent_prompts": 2,
    "agents": 2,
    "answers": 2,
    "metrics": 2,
    "resuming": 2,
    "rewards": 2,
    "rollouts": 2,
    "splitting": 3,
    "step_rows": 2,
    "adapters": 3,
    "evaluation": 3,
    "expansion": 3,
    "loading": 3,
    "problem_rows": 3,
    "run_folder": 3,
    "formatting": 4,
    "model_card": 4,
    "report": 4,
    "preparing": 5,
    "publishing": 5,
    "recording": 6,
    "dynamic_sampling": 7,
    "trainer": 8,
    "demo": 9,
    "cli": 10,
    "__init__": 11,
}
TOUCH_TRL_PRIVATES = {"resuming", "recording", "dynamic_sampling", "trainer"}
OUR_OWN = {"_asdict", "_SubParsersAction", "_checkpoint_state", "_restore_checkpoint_state"}
MODULES = sorted(PACKAGE.rglob("*.py"))


def room(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path):
    """Rooms of the package that a file imports at run time (what stands under TYPE_CHECKING is for types only)."""
    tree = ast.parse(path.read_text())
    depth = len(path.relative_to(PACKAGE).parts)
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == depth:
            names = [node.module] if node.module else [alias.name for alias in node.names]
            yield from (name.partition(".")[0] for name in names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("trl_srl."):
            yield node.module.split(".")[1]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_downward(path):
    for imported in imported_rooms(path):
        if imported not in ("__version__", room(path)):
            assert LAYERS[imported] < LAYERS[room(path)], f"{room(path)} imports {imported}"


def test_every_module_has_a_layer():
    assert {room(path) for path in MODULES} == set(LAYERS)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_trl_s_underscore_names_stay_in_few_files(path):
    """Elsewhere an underscore name is one of `self`, of the module, of a class of ours, or a documented one."""
    if room(path) in TOUCH_TRL_PRIVATES:
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            owner = ast.unparse(node.value)
            assert owner in ("self", "cls") or node.attr in OUR_OWN, (owner, node.attr)


@pytest.mark.parametrize(
    "module", ["trl_srl", "trl_srl.rewards", "trl_srl.formatting", "trl_srl.cli", "trl_srl.evaluation"]
)
def test_light_modules_import_no_torch(module):
    heavy = {"torch", "trl", "transformers", "datasets", "numpy", "pyarrow"}
    code = f"import sys, {module}; print({heavy} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


def test_the_command_line_s_help_imports_little():
    """What keeps `trl-srl --help` quick (benchmarks/overhead.py times it): the commands bring the heavy packages."""
    code = (
        "import sys\n"
        "from trl_srl.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print('\\n', len(sys.modules), *sorted({m.partition('.')[0] for m in sys.modules}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    count, *packages = done.stdout.splitlines()[-1].split()
    assert "usage: trl-srl" in done.stdout
    assert not {"torch", "trl", "transformers", "datasets", "numpy", "accelerate", "pandas"} & set(packages)
    assert int(count) < 250  # 124 with Python 3.11; PyTorch alone brings more than a thousand
