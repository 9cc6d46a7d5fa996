"""The paper's benchmarks as tasks of lighteval, with the data sets of trl_srl.evaluation.benchmarks.

docs/evaluation.md has the commands. Each task is counted as avg@n and pass@1 of n samples (`srl:aime24@n=32|0`); n = 1
with a temperature of 0 is greedy decoding.
"""

from functools import partial
from typing import Any

from lighteval.metrics.metrics import Metrics
from lighteval.tasks.lighteval_task import LightevalTaskConfig
from lighteval.tasks.requests import Doc

from trl_srl.evaluation import BENCHMARKS, Benchmark
from trl_srl.prompts import SOLUTION_SYSTEM_PROMPT


def make_doc(line: dict[str, Any], task_name: str, benchmark: Benchmark) -> Doc:
    return Doc(
        task_name=task_name,
        query=line[benchmark.problem_column],
        choices=[str(line[benchmark.answer_column])],
        gold_index=0,
        instruction=f"{SOLUTION_SYSTEM_PROMPT}\n\n",
    )


def make_task(name: str, benchmark: Benchmark) -> LightevalTaskConfig:
    return LightevalTaskConfig(
        name=f"srl:{name}",
        prompt_function=partial(make_doc, benchmark=benchmark),
        hf_repo=benchmark.dataset,
        hf_subset="default",
        hf_avail_splits=[benchmark.split],
        evaluation_splits=[benchmark.split],
        few_shots_split=None,
        few_shots_select=None,
        generation_size=2048,
        metrics=[
            Metrics.avg_at_n_math(sample_params={"n": 1}),
            Metrics.pass_at_k_math(sample_params={"k": 1, "n": 1}),
        ],
        stop_sequence=[],
    )


TASKS_TABLE = [make_task(name, benchmark) for name, benchmark in BENCHMARKS.items()]
