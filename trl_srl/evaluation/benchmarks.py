"""The benchmarks of the SRL paper, where they are on the Hub and how they are counted.

The ids, splits and columns were read in public code that loads them, not on the Hub itself. AMC23, AIME24 and AIME25
are counted as avg@32 and greedy; for Minerva Math the paper gives one number, which we take for greedy.
"""

from typing import NamedTuple


class Benchmark(NamedTuple):
    """A data set of problems with answers."""

    dataset: str
    split: str
    problem_column: str
    answer_column: str
    num_problems: int
    num_samples: int


BENCHMARKS = {
    "amc23": Benchmark("math-ai/amc23", "test", "question", "answer", num_problems=40, num_samples=32),
    "aime24": Benchmark("HuggingFaceH4/aime_2024", "train", "problem", "answer", num_problems=30, num_samples=32),
    "aime25": Benchmark("math-ai/aime25", "test", "problem", "answer", num_problems=30, num_samples=32),
    "minerva_math": Benchmark("math-ai/minervamath", "test", "question", "answer", num_problems=272, num_samples=0),
}
