"""The metric of SRL for Hugging Face `evaluate`: similarity 2M/T of steps to an expert's, as SRL rewards it.

`evaluate.load` copies this file, so it imports the package by its name: `pip install trl-srl`.
"""

from typing import Any

import datasets
import evaluate

from trl_srl.citations import SRL_CITATION
from trl_srl.prompts import parse_completion
from trl_srl.similarity import step_similarities


DESCRIPTION = """\
Similarity of a model's steps to an expert's: 2M/T, where M counts the characters in matching blocks (the longest block
that both texts contain, then the same to the left and to the right of it) and T is the length of both texts together.
The number is that of Python's difflib.SequenceMatcher(None, prediction, reference, autojunk=False).ratio(), with
outer white space stripped from both. It is what Supervised Reinforcement Learning rewards.
"""
INPUTS = """
Args:
    predictions (`list[str]`): the model's steps, or with `completions=True` everything it wrote.
    references (`list[str]`): the expert's steps.
    completions (`bool`, *optional*, defaults to `False`): whether the predictions are whole completions, `<think>`
        monologue `</think>` step. Those that do not follow the format count as 0.
Returns:
    step_similarity: mean similarity, in [0, 1].
    exact_step_rate: share of steps equal to the expert's.
    format_rate: share of well-formed completions (only with `completions=True`).
Examples:
    >>> metric = evaluate.load("step_similarity")
    >>> metric.compute(predictions=["x = 3"], references=["x = 4"])
    {'step_similarity': 0.8, 'exact_step_rate': 0.0}
"""


class StepSimilarity(evaluate.Metric):
    """Mean similarity 2M/T of steps to the expert's; see `DESCRIPTION`."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation=SRL_CITATION,
            inputs_description=INPUTS,
            features=datasets.Features(
                {"predictions": datasets.Value("string"), "references": datasets.Value("string")}
            ),
            reference_urls=["https://arxiv.org/abs/2510.25992", "https://docs.python.org/3/library/difflib.html"],
        )

    def _compute(
        self, predictions: list[str], references: list[str], completions: bool = False, **kwargs: Any
    ) -> dict[str, float]:
        parsed = [parse_completion(text) if completions else text for text in predictions]
        pairs = [
            ((text if isinstance(text, str) else text.action).strip(), expert.strip())
            for text, expert in zip(parsed, references, strict=True)
            if text is not None
        ]
        similarities = step_similarities([action for action, _ in pairs], [expert for _, expert in pairs])
        total = len(predictions)
        rates = {
            "step_similarity": sum(similarities) / total,
            "exact_step_rate": sum(action == expert for action, expert in pairs) / total,
        }
        return rates | ({"format_rate": len(pairs) / total} if completions else {})
