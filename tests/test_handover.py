"""The second stage starts from what the first one learned, or it is stopped."""

import pytest
import torch
from peft import LoraConfig

from trl_srl import SRLTrainer
from trl_srl.weights.handover import (
    MARKER,
    Handover,
    check_handover,
    describe_arithmetic,
    read_handover,
    trainer_logits,
    write_handover,
)


@pytest.fixture
def make_trainer(qlora_base, expert_trajectories, srl_args):
    def make(model=qlora_base, lora=True, **settings):
        peft_config = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM") if lora else None
        return SRLTrainer(model, srl_args(**settings), expert_trajectories, peft_config=peft_config)

    return make


@pytest.mark.parametrize("lora", [True, False])
def test_a_second_stage_with_the_first_one_s_weights_and_one_without(make_trainer, qlora_base, lora):
    first = make_trainer(lora=lora, learning_rate=1e-2)
    before = trainer_logits(first)
    first.train()
    first.save_model()
    folder = first.args.output_dir
    assert read_handover(folder) is None  # not complete yet
    write_handover(first, folder, before, {"learning_rate": 1e-2})
    handover = read_handover(folder)
    assert handover.options == {"learning_rate": 0.01}
    assert torch.equal(handover.before, before) and not torch.equal(handover.after, before)

    report = check_handover(make_trainer(folder, lora=False), handover)
    assert report.from_after < 1e-6 and report.change > 0.01
    assert report.from_before == pytest.approx(report.change, rel=1e-3)
    assert "starts 0.0e+00 from where the first ended" in str(report)
    with pytest.raises(ValueError, match=r"does not start from the first one's weights.*Load the model as the first"):
        check_handover(make_trainer(qlora_base), handover)  # the base model again: the adapter was lost


def logits(*values):
    return torch.tensor([[*values]])


@pytest.mark.parametrize("share", [0.05, 0.4, 0.6])
def test_how_near_is_near(make_trainer, share):
    """A start that lacks 5 % of what was learned passes; 40 % only after a merge, 60 % never."""
    trainer = make_trainer(lora=False)
    here, start = describe_arithmetic(trainer), trainer_logits(trainer)
    change = torch.randn_like(start) * 0.1
    handover = Handover(before=start - (1 - share) * change, after=start + share * change, options={}, machine=here)
    assert check_handover(trainer, Handover(start, start, {}, here)).change == 0  # nothing learned, nothing lost
    for merged, limit in ((False, 0.1), (True, 0.5)):
        if share < limit:
            assert (
                check_handover(trainer, handover, merged).from_after
                < check_handover(trainer, handover, merged).from_before
            )
        else:
            with pytest.raises(ValueError, match="Merging has lost" if merged else "does not start from"):
                check_handover(trainer, handover, merged)


def test_another_machine_may_round_otherwise(make_trainer):
    """By 0.0001 in float32, but the start must not be as near to where the first stage began."""
    trainer = make_trainer(lora=False)
    start = trainer_logits(trainer)
    change = torch.randn_like(start)
    change *= 1e-4 * start.norm() / change.norm()
    handover = Handover(before=start - 0.6 * change, after=start + 0.4 * change, options={}, machine="another")
    assert check_handover(trainer, handover).from_after == pytest.approx(4e-5, rel=0.1)
    for changes in ({"machine": describe_arithmetic(trainer)}, {"before": start}, {"after": start + 2 * change}):
        with pytest.raises(ValueError, match="does not start from"):
            check_handover(trainer, handover._replace(**changes))


def test_nothing_to_compare(make_trainer, tmp_path):
    trainer = make_trainer(lora=False)
    assert check_handover(trainer, Handover(None, None, {}, "")) is None
    write_handover(trainer, tmp_path, None, {})
    assert read_handover(tmp_path) == Handover(None, None, {}, describe_arithmetic(trainer))
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [MARKER]
