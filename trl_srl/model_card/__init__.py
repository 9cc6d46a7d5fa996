"""The model card of a run: what was trained on what, how it did, how to prompt it.

`trainer.create_model_card` writes it with each checkpoint; `trl-srl card` writes it again from the run's folder.
"""

from .card import write_card
from .evaluations import read_evaluations
from .facts import TrainingClock, collect_facts, count_parameters, describe_hardware, write_facts


__all__ = [
    "TrainingClock",
    "collect_facts",
    "count_parameters",
    "describe_hardware",
    "read_evaluations",
    "write_card",
    "write_facts",
]
