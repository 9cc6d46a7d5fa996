"""The model card of a run: what was trained on what, how it did, how to prompt it.

`trainer.create_model_card` writes it with each checkpoint; `trl-srl card` writes it again from the run's folder.
"""

from .card import copy_card, write_card
from .evaluations import read_evaluations
from .facts import collect_facts, write_facts
from .measures import TrainingClock, count_parameters, describe_hardware


__all__ = [
    "TrainingClock",
    "collect_facts",
    "copy_card",
    "count_parameters",
    "describe_hardware",
    "read_evaluations",
    "write_card",
    "write_facts",
]
