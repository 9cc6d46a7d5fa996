"""What we rely on in TRL beyond its public names, and the checks that fail loudly when it is gone.

Dynamic sampling hooks methods that TRL may rename or change in any release; without these checks it would silently not
run. `_generate` is checked where it is called as well: it must return eight values.
"""

import inspect

import trl


TESTED_TRL = "trl>=1.16.0,<1.17"

# Methods we override or call, with the parameters we rely on, and attributes we read.
TRL_SEAMS = {
    "_generate": ["self", "prompts"],
    "_calculate_rewards": ["self", "inputs", "prompts", "completions", "completion_ids_list"],
    "_generate_and_score_completions": ["self", "inputs"],
    "_get_output_dir": ["self", "trial"],
    "_get_train_sampler": ["self", "dataset"],
    "_log_completion_extra": ["self", "column", "values"],
    "_push_from_checkpoint": ["self", "checkpoint_folder"],
    "_save_checkpoint": ["self", "model", "trial"],
    "_load_from_checkpoint": ["self", "resume_from_checkpoint", "model"],
    "_load_optimizer_and_scheduler": ["self", "checkpoint"],
}
TRL_ATTRIBUTES = (
    "_buffered_inputs",
    "_metrics",
    "_pending_extra_logs",
    "_pending_metrics",
    "_step",
    "_tokenizer",
    "eos_token_ids",
    "chat_template",
)


def _fail(what: str) -> None:
    raise RuntimeError(
        f"trl {trl.__version__}: {what}, so dynamic sampling would silently not run. Install a version of TRL that "
        f"this trl-srl was tested with: `pip install '{TESTED_TRL}'`."
    )


def check_trl_methods(trainer_class: type) -> None:
    """Raise `RuntimeError` if a trainer class has not the methods that dynamic sampling hooks, as it needs them."""
    for name, expected in TRL_SEAMS.items():
        method = getattr(trainer_class, name, None)
        found = "missing" if method is None else ", ".join(inspect.signature(method).parameters)
        if found != ", ".join(expected):
            _fail(f"{trainer_class.__name__}.{name} is ({found}), but trl-srl needs ({', '.join(expected)})")


def check_trl_attributes(trainer: object) -> None:
    """Raise `RuntimeError` if a constructed trainer has not the attributes that dynamic sampling reads."""
    for name in TRL_ATTRIBUTES:
        if not hasattr(trainer, name):
            _fail(f"{type(trainer).__name__}.{name} is missing")


def check_generated(values: tuple) -> tuple:
    """The values that `_generate` returned, if they are as many as we rely on."""
    if len(values) != 8:
        _fail(f"GRPOTrainer._generate returns {len(values)} values, but trl-srl needs 8")
    return values
