"""Dynamic sampling on a random tiny model. Rewards are scripted by the data: a "good" row's rollouts differ, a "flat"
row's are equal, so that what must be kept, refilled and masked is known beforehand.
"""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from trl_srl import DynamicSamplingConfig, DynamicSamplingTrainer


def scripted_reward(completions, kind, log_extra, log_metric, **kwargs):
    log_extra("kind", kind)
    log_metric("flat_share", sum(k == "flat" for k in kind) / len(kind))
    return [i % 4 / 4 if k == "good" else 0.5 for i, k in enumerate(kind)]


def rows(kinds):
    return Dataset.from_list(
        [{"prompt": [{"role": "user", "content": f"{i}"}], "kind": kind} for i, kind in enumerate(kinds)]
    )


@pytest.fixture
def make_trainer(model, tokenizer, srl_args):
    def make(kinds, cls=DynamicSamplingTrainer, config=DynamicSamplingConfig, reward=scripted_reward, **kwargs):
        args = srl_args(cls=config, **({"max_completion_length": 6, "log_completions": True} | kwargs))
        return cls(model, reward, args, train_dataset=rows(kinds), processing_class=tokenizer)

    return make


def logged(trainer, name):
    return [entry[name] for entry in trainer.state.log_history if name in entry]


def trained_rows(trainer):
    """What TRL's completions table says of each step, as data frames."""
    files = sorted(Path(trainer.args.output_dir, "completions").glob("*.parquet"))
    return [pd.read_parquet(file) for file in files]


def weights(trainer):
    return torch.cat([parameter.detach().flatten() for parameter in trainer.model.parameters()])


def test_informative_batches_train_exactly_as_in_trl(make_trainer, make_model, tokenizer, srl_args):
    ours = make_trainer(["good"] * 16, log_completions=False)
    ours.train()
    args = srl_args(cls=GRPOConfig, max_completion_length=6)
    theirs = GRPOTrainer(
        make_model(), scripted_reward, args, train_dataset=rows(["good"] * 16), processing_class=tokenizer
    )
    theirs.train()
    assert torch.equal(weights(ours), weights(theirs))
    assert logged(ours, "reward") == logged(theirs, "reward")
    assert logged(ours, "dynamic_sampling/groups_generated") == [4.0, 4.0]


def test_switched_off_it_is_grpo(make_trainer):
    trainer = make_trainer(["flat"] * 8, dynamic_sampling=False)
    trainer.train()
    assert logged(trainer, "frac_reward_zero_std") == [1.0, 1.0]
    assert not logged(trainer, "dynamic_sampling/acceptance")


def test_uninformative_groups_are_replaced(make_trainer):
    trainer = make_trainer(["good", "flat"] * 16, max_steps=3, max_refill_rounds=20)
    trainer.train()
    for table in trained_rows(trainer):
        assert len(table) == 16
        assert set(table["kind"]) == {"good"}
        assert table["trained"].all()
        assert sorted(table["prompt"].astype(str).value_counts()) == [4, 4, 4, 4]  # four different prompts
    assert logged(trainer, "frac_reward_zero_std") == [0.0, 0.0, 0.0]
    assert logged(trainer, "reward") == [0.375] * 3  # the mean of 0, 0.25, 0.5, 0.75
    assert logged(trainer, "dynamic_sampling/filled") == [0.0, 0.0, 0.0]
    generated = logged(trainer, "dynamic_sampling/groups_generated")
    acceptance = logged(trainer, "dynamic_sampling/acceptance")
    assert all(groups > 4 for groups in generated)
    surplus = logged(trainer, "dynamic_sampling/surplus")
    assert [a * g for a, g in zip(acceptance, generated, strict=True)] == pytest.approx([4 + s for s in surplus])
    # A reward's own metric describes every rollout sampled, whatever the sizes of the rounds.
    assert logged(trainer, "flat_share") == pytest.approx([1 - a for a in acceptance])
    assert logged(trainer, "reward_all_groups") == pytest.approx([0.375 * a + 0.5 * (1 - a) for a in acceptance])


def test_refill_asks_only_for_what_is_missing(make_trainer):
    trainer = make_trainer(["good"] * 30 + ["flat"] * 2, max_steps=8)
    trainer.train()
    # At most two groups of a batch are flat, so that a refill asks for at most four.
    assert max(logged(trainer, "dynamic_sampling/groups_generated")) <= 8
    assert min(logged(trainer, "dynamic_sampling/groups_generated")) == 4


def test_mask_fills_without_weight_and_says_why(make_trainer, caplog):
    trainer = make_trainer(["flat"] * 8, max_refill_rounds=1)
    before = weights(trainer)
    trainer.train()
    assert torch.equal(weights(trainer), before)
    assert logged(trainer, "dynamic_sampling/filled") == [4.0, 4.0]
    reasons = ["truncated", "bad_format", "low_std"]
    assert [
        sum(counts)
        for counts in zip(*(logged(trainer, f"dynamic_sampling/dropped/{r}") for r in reasons), strict=True)
    ] == [8.0, 8.0]
    assert not any(table["trained"].any() for table in trained_rows(trainer))
    assert "only 0 of 4 groups are informative after sampling 8" in caplog.text


def test_masked_groups_have_no_effect_on_the_gradients(make_trainer):
    trainer = make_trainer(["good"] + ["flat"] * 3, max_refill_rounds=0, min_reward_std=0.01, loss_type="grpo")
    trainer.train()  # sets the trainer up; the batch below is made by hand
    batch = [dict(trainer.train_dataset[i // 4]) for i in range(16)]
    trainer.model.train()
    output = trainer._generate_and_score_completions(batch)
    masked = output["completion_mask"].sum(1) == 0
    assert masked.tolist() == [False] * 4 + [True] * 12
    assert output["advantages"][masked].abs().sum() == 0
    assert output["num_items_in_batch"] == output["completion_mask"].sum()

    def gradients(inputs):
        trainer.model.zero_grad()
        trainer.compute_loss(trainer.model, inputs).backward()
        return torch.cat([p.grad.flatten() for p in trainer.model.parameters()])

    reference = gradients(output)
    assert reference.abs().sum() > 0
    other = dict(output, completion_ids=output["completion_ids"].clone())
    other["completion_ids"][masked] = 7
    assert torch.equal(gradients(other), reference)


def test_replace_repeats_informative_groups(make_trainer):
    trainer = make_trainer(["good"] + ["flat"] * 3, max_refill_rounds=0, refill_fallback="replace", max_steps=1)
    trainer.train()
    (table,) = trained_rows(trainer)
    assert set(table["kind"]) == {"good"}
    assert table["trained"].all()
    assert len(set(table["prompt"].astype(str))) == 1


def test_error_stops(make_trainer):
    trainer = make_trainer(["flat"] * 4, max_refill_rounds=0, refill_fallback="error")
    with pytest.raises(RuntimeError, match="Only 0 of 4 groups are informative after sampling 4"):
        trainer.train()


def test_patience_stops_with_advice(make_trainer):
    trainer = make_trainer(["flat"] * 8, max_refill_rounds=0, refill_patience=3, max_steps=10)
    with pytest.raises(RuntimeError, match=r"No informative group in 3 batches in a row.*There is nothing to learn"):
        trainer.train()
    assert trainer.state.global_step == 2


def test_rewards_of_none_are_left_out(make_trainer):
    def sometimes_none(completions, **kwargs):
        return [None if i % 4 == 0 else i % 4 / 4 for i in range(len(completions))]

    trainer = make_trainer(["good"] * 8, reward=sometimes_none, max_steps=1)
    trainer.train()
    assert logged(trainer, "reward") == [0.5]  # the mean of 0.25, 0.5, 0.75
    assert weights(trainer).isfinite().all()


def test_evaluation_is_untouched(make_trainer):
    trainer = make_trainer(["flat"] * 8, num_generations_eval=4, per_device_eval_batch_size=8)
    trainer.eval_dataset = rows(["flat"] * 2)
    metrics = trainer.evaluate()
    assert metrics["eval_reward"] == 0.5
    assert not [name for name in metrics if "dynamic_sampling" in name]


def test_a_resumed_run_draws_the_same_prompts(make_trainer, tmp_path):
    settings = dict(max_steps=4, max_refill_rounds=5, save_strategy="steps", save_steps=2)
    kinds = ["good", "flat"] * 20
    whole = make_trainer(kinds, output_dir=str(tmp_path / "whole"), **settings)
    whole.train()
    checkpoint = tmp_path / "whole" / "checkpoint-2"
    state = json.loads((checkpoint / "dynamic_sampling.json").read_text())
    assert state["position"] > 0
    resumed = make_trainer(kinds, output_dir=str(tmp_path / "resumed"), **settings)
    resumed.train(resume_from_checkpoint=str(checkpoint))
    expected = [table["prompt"].astype(str).tolist() for table in trained_rows(whole)[2:]]
    assert [table["prompt"].astype(str).tolist() for table in trained_rows(resumed)] == expected
    assert len(expected) == 2
    final, states = "checkpoint-4/dynamic_sampling.json", {}
    for run in ("whole", "resumed"):
        states[run] = json.loads((tmp_path / run / final).read_text())
    parts = {run: [(part["first_step"], part["last_step"]) for part in states[run].pop("parts")] for run in states}
    assert states["resumed"] == states["whole"]
    assert parts == {"whole": [(1, 4)], "resumed": [(1, 2), (3, 4)]}


def test_what_cannot_be_replayed_is_refused(model, tokenizer, srl_args):
    args = srl_args(cls=DynamicSamplingConfig)
    with pytest.raises(ValueError, match="Dynamic sampling cannot replay what `tools` does"):
        DynamicSamplingTrainer(model, scripted_reward, args, train_dataset=rows(["good"]), tools=[print])
    with pytest.raises(TypeError, match=r"is a GRPOConfig\. Pass DynamicSamplingConfig\("):
        DynamicSamplingTrainer(model, scripted_reward, srl_args(cls=GRPOConfig), train_dataset=rows(["good"]))
