"""The notebooks of examples/ run as they stand; only their parameters are those of a tiny model and a small file."""

import json
import sys
from pathlib import Path

import nbformat
import pytest


papermill = pytest.importorskip("papermill")

NOTEBOOKS = Path(__file__).parents[2] / "examples" / "notebooks"
NAMES = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
QUICK = {
    "INSTALL": False,
    "DATASET": "solutions.jsonl",
    "DATASET_CONFIG": None,
    "NUM_HELD_OUT": 5,
    "NUM_PROMPTS": 2,
    "LEARNING_RATE": 1e-2,
    "MAX_COMPLETION_LENGTH": 24,
    "SYSTEM_PROMPT": "S",
}


@pytest.fixture
def run(tmp_path, monkeypatch, expert_trajectories, qlora_base):
    """Runs a notebook in a folder with additions in GSM8K's form, in this interpreter; returns what it showed."""
    kernel = tmp_path / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(json.dumps({"argv": command, "display_name": "P", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    rows = [
        {"question": row["problem"], "answer": "\n".join([*row["steps"][:2], f"#### {row['answer']}"])}
        for row in expert_trajectories
    ]
    (tmp_path / "solutions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def execute(name, **parameters):
        notebook = papermill.execute_notebook(
            NOTEBOOKS / f"{name}.ipynb",
            tmp_path / "executed.ipynb",
            QUICK | {"MODEL": qlora_base} | parameters,
            cwd=tmp_path,
            progress_bar=False,
        )
        return "\n".join(
            output.get("text", "")
            + "".join(output.get("data", {}).get(kind, "") for kind in ("text/plain", "text/html"))
            for cell in notebook.cells
            if cell.cell_type == "code"
            for output in cell.outputs
        )

    return execute


def test_quickstart(tmp_path, run):
    shown = run("quickstart", NUM_PROBLEMS=40, MAX_STEPS=2, OUTPUT_DIR="run", MAX_ROLLOUTS=50)
    assert "80 step rows from 40 problems" in shown
    assert "<|im_start|>user\nProblem:\n1+1" in shown and "--- and the expert's step ---\nsum is 2" in shown
    assert "SRL: 2 prompts x 8 rollouts = 16 completions per optimizer step" in shown
    assert "<th>Similarity</th>" in shown and "<th>Training Loss</th>" not in shown  # notebook_table.py
    assert "step similarity: 0." in shown and "well-formed completions" in shown
    assert "Verified by the logits on 8 texts" in shown and ", expected " in shown
    assert json.loads((tmp_path / "run/adapter_config.json").read_text())["r"] == 16
    assert len(json.loads((tmp_path / "run/evaluation/after/results.json").read_text())["metrics"]) > 5
    assert (tmp_path / "run/report.html").exists() and (tmp_path / "run-merged/model.safetensors").exists()


def test_srl_then_rlvr(tmp_path, run):
    shown = run(
        "srl_then_rlvr",
        SRL_STEPS=1,
        RLVR_STEPS=2,
        RLVR_LEARNING_RATE=1e-2,
        SOLUTION_LENGTH=24,
        SOLVING_PROMPT="A",
        NUM_SAMPLES=2,
        OUTPUT_DIR="run",
    )
    assert "RLVR train data: 35 problems from 70 rows" in shown
    assert "The second stage starts 0.0e+00 from where the first ended" in shown
    assert shown.count("greedy accuracy: ") == 3  # three comparisons
    assert "Verified by the logits on 8 texts" in shown
    results = json.loads((tmp_path / "run/evaluation/after-rlvr/results.json").read_text())
    assert results["num_problems"] == 5 and results["settings"]["num_samples"] == 2


@pytest.mark.parametrize("name", NAMES)
def test_the_file_holds_a_run_and_the_values_for_a_gpu(name):
    path = NOTEBOOKS / f"{name}.ipynb"
    text = path.read_text()
    assert len(text) < 1_000_000
    assert not any(place in text for place in ("/home/", "/root/", "/tmp/", "/work/", "site-packages"))
    notebook = nbformat.read(path, as_version=4)
    tags = {tag: cell for cell in notebook.cells for tag in cell.metadata.get("tags", [])}
    assert "INSTALL = True" in tags["parameters"].source and "LOAD_IN_4BIT = True" in tags["parameters"].source
    # What the outputs were made with is shown, and not run: somebody else's run takes the values above it.
    assert tags["injected-parameters"].cell_type == "markdown"
    assert 'MODEL = "tiny-model"' in tags["injected-parameters"].source
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == sorted(cell.execution_count for cell in code)
    assert not any(output.output_type == "error" for cell in code for output in cell.outputs)
    assert sum(bool(cell.outputs) for cell in code) > len(code) / 2
    assert any("<iframe" in output.get("data", {}).get("text/html", "") for cell in code for output in cell.outputs)
