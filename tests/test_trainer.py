"""`SRLTrainer` on tiny models: what it accepts, refuses, prints, logs and saves."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from datasets import Dataset, IterableDataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig

from trl_srl import SRLTrainer, format_trajectories
from trl_srl.evaluation import summarize_steps


STEP_ROW = {"prompt": [{"role": "user", "content": "1+1"}], "expert_action": "2"}


def logged(trainer, name):
    return [entry[name] for entry in trainer.state.log_history if name in entry]


def test_trains_a_model_by_name_on_trajectories(format_model, expert_trajectories, srl_args, capsys):
    trainer = SRLTrainer(
        format_model, srl_args(max_steps=3), expert_trajectories, eval_dataset=expert_trajectories.select(range(4))
    )
    before = [parameter.detach().clone() for parameter in trainer.model.parameters()]
    trainer.train()
    assert all(
        not torch.equal(old, new) for old, new in zip(before, trainer.model.parameters(), strict=True) if old.dim() > 1
    )
    assert all(parameter.isfinite().all() for parameter in trainer.model.parameters())
    assert all(0 < similarity < 1 for similarity in logged(trainer, "srl/similarity"))
    metrics = trainer.evaluate()
    assert 0 < metrics["eval_srl/similarity"] < 1
    assert 0.5 < metrics["eval_srl/format_rate"] <= 1
    assert metrics["eval_srl/exact_step_rate"] <= metrics["eval_srl/format_rate"]
    out = capsys.readouterr().out
    assert "SRL training data: 80 step rows from 40 problems" in out
    assert (
        "SRL: 4 prompts x 4 rollouts = 16 completions per optimizer step; 80 step rows = 20 steps per epoch; "
        "3 steps in all." in out
    )
    assert out.count("First batch: ") == 1
    assert "The expert's step: '" in out


def test_the_data_of_a_model_that_never_follows_the_format_are_diagnosed(
    model, tokenizer, expert_trajectories, srl_args, capsys
):
    trainer = SRLTrainer(
        model, srl_args(max_steps=1, max_completion_length=2048), expert_trajectories, processing_class=tokenizer
    )
    trainer.max_completion_length = 100
    trainer.generation_kwargs["max_new_tokens"] = trainer.generation_config.max_new_tokens = 100
    trainer.train()
    assert "100% of the completions badly formed" in capsys.readouterr().out
    assert logged(trainer, "srl/format_rate") == [0.0]
    assert logged(trainer, "dynamic_sampling/filled") == [4.0]


def test_ready_step_rows_are_used_as_they_are(format_model, expert_trajectories, srl_args):
    rows, _ = format_trajectories(expert_trajectories, system_prompt="S", include_last_step=True)
    trainer = SRLTrainer(format_model, srl_args(max_steps=1), rows)
    assert trainer.train_dataset[:] == rows[:]
    trainer.train()


def test_streams_are_trained_on(format_model, expert_trajectories, srl_args):
    def generate():
        yield from expert_trajectories

    trainer = SRLTrainer(format_model, srl_args(max_steps=3), IterableDataset.from_generator(generate))
    trainer.train()
    assert trainer.state.global_step == 3
    assert trainer.formatting_summary.rows > 0


def test_evaluation_data_by_name(format_model, expert_trajectories, srl_args):
    trainer = SRLTrainer(
        format_model,
        srl_args(max_steps=1, eval_strategy="steps", eval_steps=1),
        expert_trajectories,
        eval_dataset={"small": expert_trajectories.select([0]), "other": expert_trajectories.select([5, 6])},
    )
    trainer.train()
    for name in ("loss", "reward", "srl/similarity"):  # the last two are TRL's additions, which it calls eval_…
        assert len(logged(trainer, f"eval_small_{name}")) == len(logged(trainer, f"eval_other_{name}")) == 1
    assert not logged(trainer, "eval_srl/similarity")
    assert "eval_srl/similarity" in trainer.evaluate(trainer.eval_dataset["small"])


@pytest.mark.parametrize("metric", [None, "eval_srl/exact_step_rate", "eval_reward"])
def test_the_best_checkpoint_is_loaded_at_the_end(metric, format_model, expert_trajectories, srl_args):
    trainer = SRLTrainer(
        format_model,
        srl_args(
            max_steps=3,
            learning_rate=3e-2,  # too much: the first checkpoint is the best one
            eval_strategy="steps",
            eval_steps=1,
            save_strategy="steps",
            save_steps=1,
            load_best_model_at_end=True,
            metric_for_best_model=metric,
        ),
        expert_trajectories,
        eval_dataset=expert_trajectories.select(range(4)),
    )
    trainer.train()
    values = logged(trainer, metric or "eval_srl/similarity")
    assert len(values) == 3
    assert trainer.state.best_metric == max(values)
    best = values.index(max(values)) + 1
    assert trainer.state.best_model_checkpoint.endswith(f"checkpoint-{best}")
    saved = AutoModelForCausalLM.from_pretrained(trainer.state.best_model_checkpoint)
    for loaded, parameter in zip(trainer.model.parameters(), saved.parameters(), strict=True):
        assert torch.equal(loaded, parameter)


@pytest.mark.parametrize("batch_size", [16, 4])
def test_evaluation_counts_rows_and_not_batches(format_model, expert_trajectories, srl_args, batch_size):
    """Ten rows in batches of four leave a short one; the trainer's numbers are those of the results."""
    trainer = SRLTrainer(
        format_model,
        srl_args(per_device_eval_batch_size=batch_size),
        expert_trajectories,
        eval_dataset=expert_trajectories.select(range(5)),
    )
    metrics = trainer.evaluate()
    results = trainer._evaluated
    assert len(results) == 10
    summary = summarize_steps(results)
    for name in ("similarity", "format_rate", "exact_step_rate", "right_number_rate", "truncated_rate"):
        assert metrics[f"eval_srl/{name}"] == getattr(summary, name)
    assert metrics["eval_srl/monologue_length"] == sum(len(result.monologue or "") for result in results) / 10
    for step in (0, 1):
        similarities = [result.similarity for result in results if result.step_index == step]
        assert metrics[f"eval_srl/similarity_by_step/{step + 1}"] == sum(similarities) / 5
    by_problem = [(one.similarity + other.similarity) / 2 for one, other in pairs_by_problem(results)]
    assert metrics["eval_srl/similarity_by_problem"] == pytest.approx(sum(by_problem) / 5)
    assert logged(trainer, "eval_srl/similarity_by_step/2")


def pairs_by_problem(results):
    problems = {result.problem_id for result in results}
    return [[result for result in results if result.problem_id == problem] for problem in problems]


def test_a_model_that_writes_only_invalid_output_is_worst_on_every_selectable_metric(
    format_model, model, tokenizer, expert_trajectories, srl_args
):
    def evaluate(policy):
        args = srl_args(max_completion_length=32)
        rows = expert_trajectories.select(range(8))
        return SRLTrainer(policy, args, expert_trajectories, eval_dataset=rows, processing_class=tokenizer).evaluate()

    invalid, good = evaluate(model), evaluate(format_model)
    assert invalid["eval_srl/format_rate"] == 0.0
    selectable = []
    for name in [name for name in good if name.startswith("eval_")]:
        try:
            srl_args(metric_for_best_model=name)
        except ValueError:
            continue
        selectable.append(name)
        worst = -1.0 if "reward" in name else 0.0
        assert invalid[name] == worst <= good[name], name
    assert {"eval_srl/similarity", "eval_srl/exact_step_rate", "eval_reward"} <= set(selectable)
    assert not {"eval_loss", "eval_srl/truncated_rate", "eval_completions/mean_length"} & set(selectable)


def test_a_resumed_run_is_the_uninterrupted_one(format_model, expert_trajectories, srl_args, tmp_path):
    def run(folder, checkpoint=None):
        args = srl_args(
            output_dir=str(tmp_path / folder), max_steps=4, save_strategy="steps", save_steps=2, min_reward_std=0.05
        )
        trainer = SRLTrainer(format_model, args, expert_trajectories)
        trainer.train(resume_from_checkpoint=checkpoint)
        return trainer

    whole = run("whole")
    resumed = run("resumed", str(tmp_path / "whole" / "checkpoint-2"))
    for name in ("reward", "loss", "learning_rate", "srl/similarity", "dynamic_sampling/groups_generated"):
        assert logged(resumed, name)[-2:] == logged(whole, name)[-2:], name
    for one, other in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_other_rewards_are_added(format_model, expert_trajectories, srl_args):
    def brevity(completions, **kwargs):
        return [-len(completion[0]["content"]) for completion in completions]

    trainer = SRLTrainer(
        format_model, srl_args(max_steps=1, reward_weights=[1.0, 0.01]), expert_trajectories, reward_funcs=brevity
    )
    trainer.train()
    expected = logged(trainer, "rewards/step_similarity_reward/mean")[0]
    expected += 0.01 * logged(trainer, "rewards/brevity/mean")[0]
    assert logged(trainer, "reward") == [pytest.approx(expected, abs=1e-5)]


def test_completions_are_logged_with_what_was_read_from_them(format_model, expert_trajectories, srl_args):
    trainer = SRLTrainer(format_model, srl_args(max_steps=1, log_completions=True), expert_trajectories)
    trainer.train()
    (file,) = Path(trainer.args.output_dir, "completions").glob("*.parquet")
    table = pd.read_parquet(file)
    assert len(table) == 16
    for completion, action, similarity, reward in zip(
        table["completion"], table["action"], table["similarity"], table["step_similarity_reward"], strict=True
    ):
        if reward == -1:
            assert (action, pd.isna(similarity)) == ("", True)
        else:
            assert completion[0]["content"].partition("</think>")[2].strip() == action
            assert similarity == pytest.approx(reward, abs=1e-6)


PREFILLED = "{%- for m in messages -%}{{ m['role'] + ': ' + m['content'] + '\\n' }}{%- endfor -%}assistant: <think>\n"


def test_a_template_that_prefills_the_tag_is_found_out(format_model, expert_trajectories, srl_args, capsys):
    tokenizer = AutoTokenizer.from_pretrained(format_model)
    tokenizer.chat_template = PREFILLED
    trainer = SRLTrainer(
        format_model, srl_args(max_steps=1), expert_trajectories, processing_class=tokenizer, eval_dataset=None
    )
    reward = trainer.reward_funcs[0]
    ids = tokenizer("thinking</think>\n2" + tokenizer.eos_token, add_special_tokens=False)["input_ids"]
    assert reward(completions=["ignored"], expert_action=["2"], completion_ids=[ids]) == [1.0]
    ids = tokenizer("<think>thinking</think>\n2", add_special_tokens=False)["input_ids"]
    assert reward(completions=["ignored"], expert_action=["2"], completion_ids=[ids]) == [-1.0]


def test_the_card_of_a_stream_says_how_the_model_was_prompted(format_model, expert_trajectories, srl_args):
    tokenizer = AutoTokenizer.from_pretrained(format_model)
    tokenizer.chat_template = PREFILLED
    stream = expert_trajectories.to_iterable_dataset()
    trainer = SRLTrainer(format_model, srl_args(max_steps=1, system_prompt="S"), stream, processing_class=tokenizer)
    trainer.create_model_card()
    card = Path(trainer.args.output_dir, "README.md").read_text()
    assert 'prompt = build_prompt("What is 2 · 3 + 1?", ["2 · 3 = 6"], system_prompt="S")' in card
    assert 'step = parse_completion(output[0]["generated_text"], think_prefilled=True)' in card


def test_a_template_that_closes_the_think_block_is_refused(format_model, expert_trajectories, srl_args):
    tokenizer = AutoTokenizer.from_pretrained(format_model)
    tokenizer.chat_template = PREFILLED.replace("<think>", "<think>\n\n</think>\n")
    with pytest.raises(ValueError, match=r"enable_thinking"):
        SRLTrainer(format_model, srl_args(), expert_trajectories, processing_class=tokenizer)


def test_think_tags_that_are_special_tokens_are_read(format_model, expert_trajectories, srl_args):
    tokenizer = AutoTokenizer.from_pretrained(format_model)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<think>", "</think>"]})
    trainer = SRLTrainer(format_model, srl_args(max_steps=1), expert_trajectories, processing_class=tokenizer)
    ids = tokenizer("<think>m</think>\n2" + tokenizer.eos_token, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "m\n2"  # what TRL hands to a reward function
    assert trainer.reward_funcs[0](completions=["m\n2"], expert_action=["2"], completion_ids=[ids]) == [1.0]


def test_prompts_are_trimmed_to_the_limit(format_model, srl_args):
    long_step = "this step is long enough to be worth leaving out of the prompt"
    data = Dataset.from_list([{"problem": f"{i}", "steps": [long_step, "second", "third"]} for i in range(4)])

    def longest(trainer):
        tokenizer = trainer.processing_class
        return max(len(tokenizer.apply_chat_template(p)["input_ids"]) for p in trainer.train_dataset["prompt"])

    full = longest(SRLTrainer(format_model, srl_args(), data))
    trainer = SRLTrainer(format_model, srl_args(max_prompt_length=full), data)  # a rendered prompt is a bit longer
    assert longest(trainer) < full
    assert (trainer.formatting_summary.rows, trainer.formatting_summary.trimmed) == (8, 4)
    assert str(trainer.train_dataset["prompt"][:]).count("(earlier steps left out: 1)") == 4
    with pytest.raises(ValueError, match=r"dropped 8 step rows that `max_prompt_length` does not fit"):
        SRLTrainer(format_model, srl_args(max_prompt_length=20), data)


def test_lora_trains_the_adapter_only(format_model, expert_trajectories, srl_args):
    peft = pytest.importorskip("peft")
    trainer = SRLTrainer(
        format_model,
        srl_args(max_steps=2, learning_rate=1e-2),
        expert_trajectories,
        peft_config=peft.LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"),
    )
    before = {name: parameter.detach().clone() for name, parameter in trainer.model.named_parameters()}
    trainer.train()
    for name, parameter in trainer.model.named_parameters():
        assert torch.equal(before[name], parameter) == ("lora_B" not in name and "lora_A" not in name), name


def test_the_model_card_tells_of_srl(format_model, expert_trajectories, srl_args):
    trainer = SRLTrainer(format_model, srl_args(max_steps=1), expert_trajectories)
    trainer.train()
    trainer.save_model()
    trainer.create_model_card("my-model", tags=["mine"])
    card = Path(trainer.args.output_dir, "README.md").read_text()
    assert "- srl" in card and "- trl" in card
    assert "2510.25992" in card
    assert "80 step rows from 40 problems" in card
    assert "# my-model" in card and "- mine" in card
    assert card.count("Supervised Reinforcement Learning (SRL)") == 1
    assert "| Prompts x rollouts for each step | 4 x 4 |" in card
    assert "| Step similarity | 0." in card
    trained = AutoModelForCausalLM.from_pretrained(trainer.args.output_dir)
    assert trained.num_parameters() == trainer.model.num_parameters()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"question": "1+1", "solution": "2"}], r"columns \['question', 'solution'\]"),
        ([{"problem": "1+1", "steps": ["2"]}], "No usable step row in 1 rows"),
        ([STEP_ROW | {"expert_action": " "}], "No usable step row in 1 rows"),
        ([STEP_ROW] * 3, "The training data have 3 rows, but one batch takes 4 prompts"),
    ],
)
def test_data_that_cannot_be_trained_on(model, tokenizer, srl_args, rows, message):
    with pytest.raises(ValueError, match=message):
        SRLTrainer(model, srl_args(), Dataset.from_list(rows), processing_class=tokenizer)


def test_a_tokenizer_without_chat_template_is_refused(model, make_tokenizer, expert_trajectories, srl_args):
    with pytest.raises(ValueError, match=r"no chat template.*Use an instruct model"):
        SRLTrainer(model, srl_args(), expert_trajectories, processing_class=make_tokenizer(chat_template=None))


def test_arguments_of_another_class_are_refused(model, tokenizer, expert_trajectories, srl_args):
    with pytest.raises(TypeError, match=r"is a GRPOConfig\. Pass SRLConfig\("):
        SRLTrainer(model, srl_args(cls=GRPOConfig), expert_trajectories, processing_class=tokenizer)
