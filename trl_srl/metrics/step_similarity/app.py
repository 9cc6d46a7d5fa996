"""The Space of the metric. `evaluate.utils.launch_gradio_widget` is not used: in evaluate 0.4.6 it calls `gr.inputs`,
which Gradio dropped in its version 4."""

from pathlib import Path
from typing import Any

import evaluate
import gradio as gr


HERE = Path(__file__).parent
metric = evaluate.load(str(HERE / "step_similarity.py"))


def compare(prediction: str, reference: str, completions: bool) -> dict[str, Any]:
    return metric.compute(predictions=[prediction], references=[reference], completions=completions)


space = gr.Interface(
    fn=compare,
    inputs=[
        gr.Textbox(label="The model's step", lines=4),
        gr.Textbox(label="The expert's step", lines=4),
        gr.Checkbox(label="The model's text is a whole completion: <think> monologue </think> step"),
    ],
    outputs=gr.JSON(label="Similarity"),
    examples=[["x = 3", "x = 4", False], ["<think>Six, plus one.</think>6 + 1 = 7", "So 6 + 1 = 7.", True]],
    title="Step similarity",
    article=(HERE / "README.md").read_text(encoding="utf-8").split("---", 2)[2],
)

if __name__ == "__main__":
    space.launch()
