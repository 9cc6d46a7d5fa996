"""The SRL section of a model card, from values made by hand."""

from types import SimpleNamespace

from trl_srl import FormattingSummary
from trl_srl.model_card import append_section, srl_section


ARGS = SimpleNamespace(
    per_device_train_batch_size=8,
    world_size=2,
    gradient_accumulation_steps=4,
    num_generations=8,
    min_reward_std=0.01,
    refill_fallback="mask",
    dynamic_sampling=True,
    format_penalty=-1.0,
    learning_rate=5e-7,
    temperature=1.0,
    beta=0.0,
)


def section(log_history=(), **args):
    data = FormattingSummary()
    data.count("", "a")
    data.count("empty_step", "b")
    state = SimpleNamespace(global_step=7, log_history=list(log_history))
    return srl_section(SimpleNamespace(**(vars(ARGS) | args)), state, data, "me/model")


def test_data_settings_and_drops_are_said():
    text = section()
    assert (
        "| Training data | 1 step rows from 1 problems; dropped 1 trajectories with an empty step [empty_step] |"
        in text
    )
    assert "| Prompts × rollouts for each step | 8 × 8 |" in text
    assert "| Learning rate, temperature, KL coefficient | 5e-07, 1.0, 0.0 |" in text
    assert "| Optimizer steps | 7 |" in text
    assert 'model="me/model"' in text
    assert "No training metrics were logged." in text


def test_dynamic_sampling_can_be_off():
    assert "| Dynamic sampling | off |" in section(dynamic_sampling=False)


def test_first_and_last_metrics_stand_side_by_side():
    log = [
        {"step": 1, "srl/similarity": 0.25, "reward": 0.5},
        {"step": 5, "eval_loss": 0.0},
        {"step": 9, "srl/similarity": 0.75, "reward": None},  # TRL logs None when no value is valid
        {"step": 9, "train_runtime": 3.0},
    ]
    text = section(log)
    assert "| On training prompts | step 1 | step 9 |" in text
    assert "| Step similarity | 0.250 | 0.750 |" in text
    assert "Reward of the trained groups" not in text


def test_the_section_is_appended_to_trl_s_card(tmp_path):
    card = tmp_path / "README.md"
    card.write_text("# Card\n\n")
    append_section(card, "\n## Section\n")
    assert card.read_text() == "# Card\n\n## Section\n"
