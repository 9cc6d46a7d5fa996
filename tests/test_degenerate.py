"""Models, rewards and data with which there is little or nothing to learn: no NaN weight, no hang, no invented reward,
and the cause is named. Models are made degenerate by a bias on tokens, through `generation_kwargs`.
"""

import math
from pathlib import Path

import pandas as pd
import pytest
import torch
from datasets import Dataset, IterableDataset

from trl_srl import DynamicSamplingConfig, DynamicSamplingTrainer, SRLTrainer


LOSSES = ["grpo", "sapo", "dr_grpo", "luspo", "bnpo", "dapo", "cispo", "vespo"]


def reward_of_ids(completion_ids, kind, **kwargs):
    return [sum(ids) % 8 / 8 if k == "good" else 0.5 for ids, k in zip(completion_ids, kind, strict=True)]


def rows(kinds):
    return Dataset.from_list(
        [{"prompt": [{"role": "user", "content": f"{i:04}"}], "kind": kind} for i, kind in enumerate(kinds)]
    )


@pytest.fixture
def make_trainer(make_model, tokenizer, srl_args):
    def make(kinds, reward=reward_of_ids, **kwargs):
        args = srl_args(cls=DynamicSamplingConfig, **({"max_completion_length": 6} | kwargs))
        data = rows(kinds) if isinstance(kinds, list) else kinds
        return DynamicSamplingTrainer(make_model(), reward, args, train_dataset=data, processing_class=tokenizer)

    return make


def logged(trainer, name):
    return [entry[name] for entry in trainer.state.log_history if name in entry]


def weights(trainer):
    return torch.cat([parameter.detach().flatten() for parameter in trainer.model.parameters()])


def always(*ids):
    """Only these tokens are ever generated."""
    return {"generation_kwargs": {"sequence_bias": [[[i], 1e4] for i in ids]}}


def dropped(trainer):
    names = ("truncated", "bad_format", "unscored", "low_std")
    return {name: sum(logged(trainer, f"dynamic_sampling/dropped/{name}")) for name in names}


# Models --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("completion", "length", "reason", "advice"),
    [
        ("<|im_end|>", 6, "bad_format", "Start from a model that already writes <think>"),  # empty
        ("a", 300, "truncated", "Raise max_completion_length"),  # the same character without end
        ("ab", 6, "truncated", "all cut off at max_completion_length"),
        ("<|im_end|>a", 40, "bad_format", "all badly formed"),
    ],
    ids=["empty", "endless repetition", "all truncated", "all badly formed"],
)
def test_a_degenerate_model_stops_with_the_cause(
    make_model, tokenizer, srl_args, expert_trajectories, completion, length, reason, advice
):
    ids = tokenizer(completion, add_special_tokens=False)["input_ids"]
    args = srl_args(max_steps=5, refill_patience=2, max_completion_length=length, max_refill_rounds=1, **always(*ids))
    trainer = SRLTrainer(make_model(), args, expert_trajectories, processing_class=tokenizer)
    before = weights(trainer)
    with pytest.raises(RuntimeError, match=f"No informative group in 2 batches in a row.*{advice}"):
        trainer.train()
    assert torch.equal(weights(trainer), before)
    assert logged(trainer, "reward") == [None]  # nothing was trained on, and nothing is invented for it
    assert logged(trainer, "reward_all_groups") == [-1.0]
    assert dropped(trainer) == {"truncated": 0, "bad_format": 0, "unscored": 0, "low_std": 0} | {reason: 8}


def test_equal_well_formed_completions_stop_with_the_cause(format_model, srl_args, expert_trajectories):
    args = srl_args(max_steps=5, refill_patience=1, max_refill_rounds=1, top_k=1)
    trainer = SRLTrainer(format_model, args, expert_trajectories)
    with pytest.raises(RuntimeError, match=r"8 with \(almost\) equal rewards.*raise temperature"):
        trainer.train()


# Reward functions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nothing", [None, math.nan, math.inf, -math.inf], ids=str)
def test_a_reward_that_is_no_number_is_left_out(make_trainer, nothing, caplog):
    def reward(completions, **kwargs):
        return [nothing if i % 4 == 0 else i % 4 / 4 for i in range(len(completions))]

    # Without scaling TRL would turn an infinite advantage into the largest number there is.
    trainer = make_trainer(["good"] * 8, reward, scale_rewards="none")
    before = weights(trainer)
    trainer.train()
    assert logged(trainer, "reward") == [0.5, 0.5]  # the mean of 0.25, 0.5, 0.75
    assert weights(trainer).isfinite().all()
    assert not torch.equal(weights(trainer), before)
    told = "Infinite rewards from reward at step 0: those completions are left out"
    assert caplog.text.count(told) == (nothing in (math.inf, -math.inf))


@pytest.mark.parametrize("nothing", [None, math.nan, math.inf], ids=str)
def test_a_reward_that_is_never_a_number_stops_with_the_cause(make_trainer, nothing):
    trainer = make_trainer(["good"] * 8, lambda completions, **kwargs: [nothing] * len(completions), refill_patience=2)
    before = weights(trainer)
    with pytest.raises(RuntimeError, match=r"with fewer than two scored completions.*Look at the reward functions"):
        trainer.train()
    assert torch.equal(weights(trainer), before)
    assert dropped(trainer) == {"truncated": 0, "bad_format": 0, "unscored": 0, "low_std": 0} | {"unscored": 16}


def test_an_infinite_reward_among_others_takes_the_whole_completion_out(make_model, tokenizer, srl_args):
    def one(completions, **kwargs):
        return [i % 4 / 4 for i in range(len(completions))]

    def other(completions, **kwargs):
        return [math.inf if i % 4 == 3 else 0.0 for i in range(len(completions))]

    args = srl_args(cls=DynamicSamplingConfig, max_completion_length=6, max_steps=1)
    data = rows(["good"] * 4)
    trainer = DynamicSamplingTrainer(make_model(), [one, other], args, train_dataset=data, processing_class=tokenizer)
    trainer.train()
    assert logged(trainer, "reward") == [0.25]  # the mean of 0, 0.25, 0.5: 0.75 + infinity is no 0.75
    assert weights(trainer).isfinite().all()


def forgetful(completions, **kwargs):
    """Returns None instead of a list."""


def broken(completions, **kwargs):
    raise KeyError("answer")


@pytest.mark.parametrize(("reward", "error"), [(forgetful, TypeError), (broken, KeyError)])
def test_a_reward_function_that_fails_is_named(make_trainer, reward, error):
    trainer = make_trainer(["good"] * 4, reward)
    with pytest.raises(error) as info:
        trainer.train()
    (note,) = info.value.__notes__
    assert note.startswith(f"This happened while {reward.__name__} scored 16 completions at step 0.")
    assert "a list with one number, or None, for each" in note


# Data ----------------------------------------------------------------------------------------------------------------


def test_data_smaller_than_a_batch_are_refused(make_trainer):
    told = "one batch .*4 prompts .16 completions / 4 for each."
    with pytest.raises(ValueError, match="The training data have 3 rows, but " + told):
        make_trainer(["good"] * 3).train()
    stream = IterableDataset.from_generator(lambda: iter(rows(["good"] * 3)))
    with pytest.raises(ValueError, match="The training stream ended before it filled " + told):
        make_trainer(stream).train()


def test_a_stream_that_is_refilled_and_starts_again(make_trainer):
    stream = IterableDataset.from_generator(lambda: iter(rows(["good", "flat"] * 4)))
    trainer = make_trainer(stream, max_steps=4)
    trainer.train()
    assert trainer.state.global_step == 4
    assert sum(logged(trainer, "dynamic_sampling/refill_rounds")) > 0
    assert weights(trainer).isfinite().all()


def test_one_informative_problem_among_a_thousand_is_found_and_alone_trains(make_trainer):
    kinds = ["flat"] * 1000
    kinds[0] = "good"
    trainer = make_trainer(
        kinds, max_steps=12, refill_patience=100, per_device_train_batch_size=256, max_completion_length=1
    )
    before = weights(trainer)
    trainer.train()
    kept = [256 * share for share in logged(trainer, "dynamic_sampling/acceptance")]  # of 64 groups and 3 x 64 refills
    # TRL's batches take 768 of the 1000 rows, the refills 2304 of a stream of their own, which is two passes and more.
    assert 2 <= sum(kept) <= 4
    assert [64 - filled for filled in logged(trainer, "dynamic_sampling/filled")] == kept
    moved = [norm > 0 for norm in logged(trainer, "grad_norm")]
    assert moved == [k > 0 for k in kept]
    assert not torch.equal(weights(trainer), before)
    assert weights(trainer).isfinite().all()


def test_groups_of_two(make_trainer, tmp_path):
    trainer = make_trainer(["good", "flat"] * 16, num_generations=2, max_steps=3, log_completions=True)
    trainer.train()
    assert sum(logged(trainer, "dynamic_sampling/refill_rounds")) > 0
    for file in Path(trainer.args.output_dir, "completions").glob("*.parquet"):
        table = pd.read_parquet(file)
        advantages = table["advantage"].values.reshape(8, 2)
        assert abs(advantages.sum(1)).max() < 1e-5  # what one is above the mean, the other is below
        assert (abs(advantages).sum(1) > 0).tolist() == table["trained"].values.reshape(8, 2).all(1).tolist()


@pytest.mark.parametrize(
    "settings",
    [
        dict(num_iterations=2),
        dict(per_device_train_batch_size=8, steps_per_generation=4),
        dict(per_device_train_batch_size=8, steps_per_generation=2, gradient_accumulation_steps=4),
    ],
    ids=["num_iterations", "more generations than accumulation", "more accumulation than generations"],
)
@pytest.mark.parametrize("loss", ["grpo", "dapo"])
def test_how_often_rollouts_are_used_does_not_matter(make_trainer, settings, loss):
    # Refills never suffice, so that each batch has masked groups.
    trainer = make_trainer(["good"] + ["flat"] * 15, loss_type=loss, max_steps=4, max_refill_rounds=1, **settings)
    trainer.train()
    assert trainer.state.global_step == 4
    assert max(logged(trainer, "dynamic_sampling/filled")) > 0
    assert weights(trainer).isfinite().all()
    assert all(math.isfinite(value) for value in logged(trainer, "loss") + logged(trainer, "grad_norm"))


# Fallbacks -----------------------------------------------------------------------------------------------------------


def gradients(trainer, batch):
    trainer.model.train()
    trainer.model.zero_grad()
    trainer.compute_loss(trainer.model, batch).backward()
    return torch.cat([parameter.grad.flatten() for parameter in trainer.model.parameters()])


@pytest.mark.parametrize("beta", [0.0, 0.1])
@pytest.mark.parametrize("loss", LOSSES)
def test_masked_groups_have_no_effect_on_the_gradients(make_trainer, loss, beta):
    """The gradients of a batch with masked groups are those of the batch without them."""
    data = rows(["good", "flat", "good", "flat"])
    settings = dict(loss_type=loss, max_refill_rounds=0, max_steps=1, learning_rate=0.0)
    if loss == "luspo":
        settings["importance_sampling_level"] = "sequence"

    trainer = make_trainer(data, **settings)
    trainer.train()  # sets the trainer up
    trainer.model.train()
    full = trainer._generate_and_score_completions([dict(data[i // 4]) for i in range(16)])
    masked = full["completion_mask"].sum(1) == 0
    assert masked.tolist() == [False] * 8 + [True] * 8
    assert full["advantages"][masked].abs().sum() == 0
    # Ratios and divergences that differ from token to token, as after a few steps.
    ids = torch.cat([full["prompt_ids"], full["completion_ids"]], 1)
    with torch.no_grad():
        logits = trainer.model(ids).logits[:, -full["completion_ids"].size(1) - 1 : -1]
    logps = logits.log_softmax(-1).gather(2, full["completion_ids"].unsqueeze(2)).squeeze(2)
    drift = (torch.arange(logps.numel()).view_as(logps) % 7 - 3) / 20
    trainer.beta = beta  # given by hand, as is what a reference model would say
    full |= {"old_per_token_logps": logps + drift, "ref_per_token_logps": logps - drift / 2}
    # The same rollouts without the masked groups: what TRL makes of a batch of two groups.
    alone = {name: value[~masked] for name, value in full.items() if value.dim()}
    alone["num_items_in_batch"] = alone["completion_mask"].sum()
    reference = gradients(trainer, alone)
    assert reference.abs().max() > 1e-3
    torch.testing.assert_close(gradients(trainer, full), reference, rtol=1e-4, atol=1e-6)
    # Whatever the masked groups say: not a bit of the gradients changes.
    other = dict(full, completion_ids=full["completion_ids"].clone())
    other["completion_ids"][masked] = 7
    assert torch.equal(gradients(trainer, other), gradients(trainer, full))


@pytest.mark.parametrize(
    "loss", [loss for loss in LOSSES if loss != "bnpo"]
)  # it normalises micro-batch by micro-batch
def test_masked_groups_have_no_effect_however_the_batch_is_split(make_trainer, loss):
    def step(**kwargs):
        trainer = make_trainer(
            ["good", "flat", "flat", "good"], loss_type=loss, max_refill_rounds=0, max_steps=1, optim="sgd", **kwargs
        )
        before = weights(trainer)
        trainer.train()
        assert logged(trainer, "dynamic_sampling/filled") == [2]
        return weights(trainer) - before

    whole = step(per_device_train_batch_size=16)
    assert whole.abs().max() > 1e-5
    split = step(per_device_train_batch_size=2, gradient_accumulation_steps=8)
    torch.testing.assert_close(split, whole, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("fallback", ["mask", "replace"])
def test_a_short_batch_trains_with_every_loss(make_trainer, loss, fallback):
    trainer = make_trainer(["good", *["flat"] * 7], loss_type=loss, refill_fallback=fallback, max_refill_rounds=1)
    before = weights(trainer)
    trainer.train()
    assert max(logged(trainer, "dynamic_sampling/filled")) > 0
    assert weights(trainer).isfinite().all()
    assert not torch.equal(weights(trainer), before)
