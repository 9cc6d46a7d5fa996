"""Run the notebooks in this folder on a CPU, on tiny models and small data, and write the outputs into them.

    python examples/notebooks/run_on_cpu.py quickstart srl_then_rlvr

The notebooks are those that Colab runs; only their parameters differ, and what they were is shown in the notebook. The
model of `quickstart` is the demo's, its data reasoning-gym's gsm_symbolic, written in the form of GSM8K. It cannot
solve whole problems, so `srl_then_rlvr` gets additions, and that model after a warm start on others of them.
Needs `pip install papermill ipykernel ".[qlora,eval,demo]"`.
"""

import argparse
import json
import random
import re
import shutil
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

import nbformat
import papermill
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from trl_srl import adapt, format_trajectories, gold_completion, load_rows, make_problem_rows
from trl_srl.demo.problems import gsm_symbolic_trajectories
from trl_srl.demo.tiny_model import (
    TINY_SYSTEM_PROMPT,
    TinyModelSettings,
    encode_rows,
    monologue_for,
    tiny_model_folder,
    warm_start,
    warm_start_problems,
)
from trl_srl.prompts import render_prompt


HERE = Path(__file__).parent
# Progress bars, and what libraries say to developers.
NOISE = re.compile(r"\d+%\||examples/s\]|Warning: |warnings\.warn\(|autonotebook|Failed to load CPU gemm")
RUN_NOTE = """**The outputs in this file are of a run on a CPU** with a tiny model of 0.7 million parameters: they show
what the cells do and what the method changes, not what a real model reaches. The parameters of the run:

```python
{parameters}```

`python examples/notebooks/run_on_cpu.py {name}` makes the outputs again. This cell is a text: a run of yours takes the
parameters above."""
WARM_START_STEPS = 160
SOLVING_PROMPT = "Solve it."  # short: every token costs time on a CPU
QUICK: dict[str, Any] = {
    "INSTALL": False,
    "MODEL": "tiny-model",
    "DATASET": "solutions.jsonl",
    "DATASET_CONFIG": None,
    "MAX_COMPLETION_LENGTH": 64,
    "SYSTEM_PROMPT": TINY_SYSTEM_PROMPT,
    "MAX_ROLLOUTS": 1500,
}
PARAMETERS: dict[str, dict[str, Any]] = {
    "quickstart": QUICK
    | {"NUM_PROBLEMS": 400, "NUM_HELD_OUT": 60, "MAX_STEPS": 40, "NUM_PROMPTS": 8, "LEARNING_RATE": 2e-3},
    "srl_then_rlvr": QUICK
    | {
        "NUM_HELD_OUT": 100,
        "SRL_STEPS": 20,
        "RLVR_STEPS": 60,
        "NUM_PROMPTS": 8,
        "LEARNING_RATE": 5e-4,
        "RLVR_LEARNING_RATE": 2e-3,
        "SOLUTION_LENGTH": 64,
        "SOLVING_PROMPT": SOLVING_PROMPT,
        "NUM_SAMPLES": 4,
    },
}


def write_gsm8k(path: Path, problems: list[tuple[str, list[str], str]]) -> None:
    """Problems, steps and answers in the form of GSM8K."""
    rows = [
        {"question": problem, "answer": "\n".join([*(step.replace("\n", " ") for step in steps), f"#### {answer}"])}
        for problem, steps, answer in problems
    ]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def gsm_symbolic(count: int) -> list[tuple[str, list[str], str]]:
    """Problems that the tiny model has not seen; the last step, "The answer is …", is the adapter's to add."""
    settings = TinyModelSettings()
    seen = set(warm_start_problems(settings)["problem"][:])
    rows = gsm_symbolic_trajectories(count, max_characters=settings.max_characters, exclude=seen)
    return [(row["problem"], row["steps"][:-1], row["answer"]) for row in rows]


def additions(count: int, seed: int) -> list[tuple[str, list[str], str]]:
    """Stories of two numbers of one digit. Those of two seeds below 2 have none in common, but the same sums."""
    names, things = ["Anna", "Ben", "Carla", "Dan", "Eve", "Finn"], ["apples", "books", "coins", "pens"]
    stories = [(*story, a, b) for story in product(names, things) for a in range(2, 10) for b in range(2, 10)]
    random.Random(0).shuffle(stories)
    problems = []
    for name, thing, a, b in stories[seed % 2 :: 2][:count]:
        problem = f"{name} has {a} {thing} and gets {b} more. How many {thing} are that?"
        steps = [f"At first there are {a} {thing}, then {b} more.", f"{a} + {b} = {a + b} {thing}"]
        problems.append((problem, steps, str(a + b)))
    return problems


def build_solver(folder: Path, steps: int) -> None:
    """The tiny model after a warm start on additions that the notebook does not use: single steps, whole solutions."""
    write_gsm8k(folder / "warm-start.jsonl", additions(700, seed=1))
    solutions = adapt(load_rows(str(folder / "warm-start.jsonl")), "gsm8k")
    source = tiny_model_folder()
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(source)
    pairs = encode_rows(format_trajectories(solutions, system_prompt=TINY_SYSTEM_PROMPT)[0], tokenizer)
    whole, _ = make_problem_rows(solutions, system_prompt=SOLVING_PROMPT)
    for row, solution in zip(whole, solutions, strict=True):
        text = "\n".join([*(step["body"] for step in solution["steps"][:-1]), row["solution"]])
        completion = gold_completion(text, monologue_for(solution["problem"])) + tokenizer.eos_token
        pairs.append((render_prompt(row["prompt"], tokenizer, tokenize=True), tokenizer.encode(completion)))
    warm_start(model, pairs, TinyModelSettings(warm_start_steps=steps, learning_rate=1e-3))
    model.save_pretrained(folder / "tiny-model")
    tokenizer.save_pretrained(folder / "tiny-model")


def prepare(name: str, folder: Path) -> None:
    """Model and data of a notebook, in the folder that it will run in."""
    if name == "quickstart":
        shutil.copytree(tiny_model_folder(), folder / "tiny-model")
        write_gsm8k(folder / "solutions.jsonl", gsm_symbolic(400))
    else:
        build_solver(folder, steps=WARM_START_STEPS)
        write_gsm8k(folder / "solutions.jsonl", additions(500, seed=0))


def tidy(notebook: Any, name: str) -> None:
    """
    Leave in the file what a reader of it needs: no progress bars, no paths of this machine, no times. The cell with
    the parameters of this run becomes a text, so that it is seen and not run: papermill replaces it by its tag.
    """
    notebook.metadata.pop("papermill", None)
    for cell in notebook.cells:
        cell.metadata = {"tags": cell.metadata.tags} if cell.metadata.get("tags") else {}
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.cell_type = "markdown"
            cell.source = RUN_NOTE.format(name=name, parameters=cell.source.partition("\n")[2])
            for field in ("outputs", "execution_count"):
                cell.pop(field, None)
        if cell.cell_type == "code":
            for output in cell.outputs:
                if output.output_type == "stream":
                    lines = [line.rpartition("\r")[2] for line in output.text.split("\n")]
                    output.text = "\n".join(line for line in lines if not NOISE.search(line))
            cell.outputs = [output for output in cell.outputs if output.get("text", "-").strip()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("notebooks", nargs="+", choices=PARAMETERS)
    for name in parser.parse_args().notebooks:
        path = HERE / f"{name}.ipynb"
        with tempfile.TemporaryDirectory() as folder:
            prepare(name, Path(folder))
            executed = Path(folder, "executed.ipynb")
            papermill.execute_notebook(path, executed, PARAMETERS[name], cwd=folder, progress_bar=False)
            notebook = nbformat.read(executed, as_version=4)
        tidy(notebook, name)
        nbformat.write(notebook, path)


if __name__ == "__main__":
    main()
