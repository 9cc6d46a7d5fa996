"""The rollouts files: what stands in them, and that each rollout stands there once."""

import json
from collections import Counter

import pyarrow.parquet as pq
import pytest
from datasets import Dataset

from trl_srl import DynamicSamplingConfig, DynamicSamplingTrainer, SRLTrainer, read_rollouts
from trl_srl.rollouts import SCHEMA, RolloutLog, rollout_files, rollout_row


ROW = {
    "prompt": [{"role": "user", "content": "1+1"}],
    "expert_action": " sum is 2 ",
    "problem_id": "p",
    "step_index": 1,
    "num_steps": 3,
}


def make_row(text="<think>m</think>sum is 3", row=ROW, **given):
    settings = dict(step=4, split="train", row=row, text=text, truncated=False, group=2)
    settings |= dict(think_prefilled=False, refill_round=1, reward=0.875, similarity=0.875, advantage=0.5)
    return rollout_row(**(settings | {"sampling": "trained"} | given))


def test_a_row():
    assert make_row() == {
        "step": 4,
        "split": "train",
        "group": 2,
        "refill_round": 1,
        "problem_id": "p",
        "step_index": 1,
        "num_steps": 3,
        "prompt": [{"role": "user", "content": "1+1"}],
        "completion": "<think>m</think>sum is 3",
        "monologue": "m",
        "action": "sum is 3",
        "expert_action": "sum is 2",
        "similarity": 0.875,
        "verdict": "well_formed",
        "reward": 0.875,
        "advantage": 0.5,
        "sampling": "trained",
    }
    assert list(make_row()) == SCHEMA.names


@pytest.mark.parametrize(
    ("text", "truncated", "prefilled", "verdict", "action"),
    [
        ("<think>m</think>sum is 2\n", False, False, "exact", "sum is 2"),
        ("<think>m</think>sum", True, False, "well_formed", "sum"),  # cut off, but the reward reads it
        ("sum is 2", False, False, "bad_format", None),
        ("<think>m", True, False, "truncated", None),
        ("m</think>sum is 2", False, True, "exact", "sum is 2"),
    ],
)
def test_verdicts(text, truncated, prefilled, verdict, action):
    row = make_row(text, truncated=truncated, think_prefilled=prefilled, similarity=float("nan"))
    assert (row["verdict"], row["action"], row["similarity"]) == (verdict, action, None)
    assert row["monologue"] == (None if action is None else "m")


def test_an_agents_action_stands_there_as_the_reward_compares_it():
    expert = '<tool_call>\n{"arguments":{"all":true,"path":"/"},"name":"ls"}\n</tool_call>'
    text = '<think>m</think>I look.\n<tool_call>{"name": "ls", "arguments": {"path": "/", "all": true}}</tool_call>'
    row = make_row(text, ROW | {"expert_action": expert, "action_format": "tool_call"}, similarity=1.0)
    assert (row["action"], row["expert_action"], row["verdict"]) == (expert, expert, "exact")
    unread = make_row("<think>m</think>I look.", ROW | {"expert_action": expert, "action_format": "tool_call"})
    assert (unread["action"], unread["verdict"]) == ("I look.", "well_formed")


def test_a_row_without_an_expert_has_nulls():
    row = make_row(row={"prompt": "2+2", "solution": "4"}, similarity=None, reward=float("nan"))
    assert row["prompt"] == [{"role": "user", "content": "2+2"}]
    empty = ["problem_id", "step_index", "num_steps", "monologue", "action", "expert_action", "similarity", "verdict"]
    assert [row[name] for name in [*empty, "reward"]] == [None] * 9
    assert make_row(row={"prompt": "2+2"}, truncated=True)["verdict"] == "truncated"


def test_what_no_file_can_hold_is_replaced(tmp_path):
    log = RolloutLog(tmp_path, 0)
    parts = [{"type": "text", "text": "hi"}]
    prompt = [{"role": "user", "content": parts}, {"role": "assistant", "content": None}]
    log.add("train", [make_row("<think>\ud800</think>\udfff 😀 \0", row=ROW | {"prompt": prompt})])
    log.save("train")
    (row,) = pq.read_table(rollout_files(tmp_path)[0]).to_pylist()
    assert (row["monologue"], row["action"]) == ("\ufffd", "\ufffd 😀 \0")
    assert [message["content"] for message in row["prompt"]] == [json.dumps(parts), ""]


def test_files_appear_whole(tmp_path):
    log, other = RolloutLog(tmp_path, 0), RolloutLog(tmp_path, 1)
    log.add("train", [make_row(step=1)])
    log.add("train", [make_row(step=2)])
    log.save("train", finished_step=1)
    assert rollout_files(tmp_path) == []  # step 2 is still going on
    log.save("train", finished_step=2)
    other.add("train", [make_row(step=2)])
    other.save("train")
    log.add("eval_a/b", [make_row(step=2, split="eval_a/b")])
    log.save("eval_a/b")
    log.save("train")  # nothing new
    names = ["step-00000002-1.parquet", "step-00000002-eval_a%2Fb.parquet", "step-00000002.parquet"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert [pq.read_table(tmp_path / name)["step"].to_pylist() for name in names] == [[2], [2], [1, 2]]
    log.add("eval_a/b", [make_row(step=2, split="eval_a/b", reward=0.25)])
    log.save("eval_a/b")  # an evaluation made again
    assert pq.read_table(tmp_path / names[1])["reward"].to_pylist() == [0.25]


def test_memory_between_two_files_is_bounded(tmp_path):
    log = RolloutLog(tmp_path, 0)
    for step in range(1, 41):
        log.add("train", [make_row(f"<think>{step}</think>{'x' * 2**20}", step=step)])
        assert sum(table.nbytes for table in log._waiting.get("train", [])) <= 2 * 2**20 + 16 * 2**20
    assert [path.name for path in tmp_path.iterdir()] == ["unfinished.tmp"]
    assert rollout_files(tmp_path) == []
    log.save("train")
    assert pq.read_table(tmp_path / "step-00000040.parquet")["monologue"].to_pylist() == [
        str(step) for step in range(1, 41)
    ]


def test_groups_are_numbered_within_a_step(tmp_path):
    log = RolloutLog(tmp_path, 0)
    assert [log.count_groups("train", step, 4) for step in (1, 1, 2)] == [0, 4, 0]
    assert [log.count_groups("eval", 2, 1) for _ in range(2)] == [0, 1]
    log.discard("eval")
    assert log.count_groups("eval", 2, 1) == 0


def test_reading_says_what_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="has no rollouts"):
        read_rollouts(tmp_path)


def scripted_reward(completions, kind, **kwargs):
    return [i % 4 / 4 if k == "good" else 0.5 for i, k in enumerate(kind)]


@pytest.fixture
def make_trainer(model, tokenizer, srl_args):
    """A trainer on rows whose groups are informative ("good") or not ("flat"), four prompts x four rollouts a step."""

    def make(kinds, **kwargs):
        args = srl_args(cls=DynamicSamplingConfig, **({"max_completion_length": 6} | kwargs))
        prompts = [[{"role": "user", "content": f"{i}"}] for i in range(len(kinds))]
        data = Dataset.from_dict({"prompt": prompts, "kind": kinds})
        return DynamicSamplingTrainer(model, scripted_reward, args, train_dataset=data, processing_class=tokenizer)

    return make


def logged(trainer, name):
    return [entry[name] for entry in trainer.state.log_history if name in entry]


def test_every_rollout_is_there_with_what_became_of_it(make_trainer):
    trainer = make_trainer(["good", "flat", "flat"] * 8, max_refill_rounds=1, max_steps=3)
    trainer.train()
    rows = read_rollouts(trainer.args.output_dir).to_list()
    for step, groups in enumerate(logged(trainer, "dynamic_sampling/groups_generated"), start=1):
        here = [row for row in rows if row["step"] == step]
        assert Counter(row["group"] for row in here) == dict.fromkeys(range(int(groups)), 4)
        assert {row["refill_round"] for row in here if row["group"] < 4} == {0}
        assert {row["refill_round"] for row in here if row["group"] >= 4} <= {1}
        filled, surplus = (logged(trainer, f"dynamic_sampling/{name}")[step - 1] for name in ("filled", "surplus"))
        count = Counter(row["sampling"] for row in here)
        assert count["trained"] + count["masked"] == 16
        assert (count["masked"], count["surplus"]) == (4 * filled, 4 * surplus)
        for row in here:
            if row["sampling"] in ("trained", "surplus"):
                assert row["reward"] in (0, 0.25, 0.5, 0.75)
            else:
                assert row["reward"] == 0.5
            # (r - mean) / std of 0, 0.25, 0.5, 0.75 with the unbiased deviation: TRL's advantage
            expected = (row["reward"] - 0.375) / 0.32275
            assert row["advantage"] == (pytest.approx(expected, abs=1e-3) if row["sampling"] == "trained" else None)
    assert {row["verdict"] for row in rows} <= {None, "truncated"}


def test_repeated_groups_stand_there_once(make_trainer):
    trainer = make_trainer(["good"] + ["flat"] * 3, max_refill_rounds=0, refill_fallback="replace", max_steps=1)
    trainer.train()
    rows = read_rollouts(trainer.args.output_dir)
    assert Counter(rows["sampling"]) == {"trained": 4, "dropped": 12}
    assert None not in [row["advantage"] for row in rows if row["sampling"] == "trained"]


def test_without_dynamic_sampling_all_are_trained(make_trainer):
    trainer = make_trainer(["flat"] * 8, dynamic_sampling=False, steps_per_generation=2)
    trainer.train()
    rows = read_rollouts(trainer.args.output_dir)
    assert set(rows["sampling"]) == {"trained"}
    assert set(rows["advantage"]) == {0.0}
    assert (set(rows["step"]), len(rows)) == ({1}, 32)  # sampled once, used for two steps


def test_saving_can_be_switched_off(make_trainer, tmp_path):
    make_trainer(["good"] * 8, max_steps=1).train()
    assert rollout_files(tmp_path / "out" / "_rollouts")
    make_trainer(["good"] * 8, save_rollouts=False, max_steps=1).train()
    assert not rollout_files(tmp_path / "out" / "_rollouts")  # those of the run before are not this one's


def test_a_failing_run_leaves_what_it_sampled(make_trainer, tmp_path):
    trainer = make_trainer(["flat"] * 8, max_refill_rounds=0, refill_patience=3, max_steps=10, logging_steps=10)
    with pytest.raises(RuntimeError, match="No informative group"):
        trainer.train()
    assert set(read_rollouts(tmp_path / "out")["step"]) == {1, 2}
    assert [path.name for path in (tmp_path / "out" / "_rollouts").iterdir()] == ["step-00000002.parquet"]


def test_a_resumed_run_neither_loses_nor_doubles_rows(make_trainer, tmp_path, caplog):
    settings = dict(max_steps=5, save_strategy="steps", save_steps=2, logging_steps=3, max_refill_rounds=2)
    kinds = ["good", "flat"] * 20
    whole = make_trainer(kinds, output_dir=str(tmp_path / "whole"), **settings)
    whole.train()
    expected = read_rollouts(tmp_path / "whole").to_list()
    files = ["step-00000002.parquet", "step-00000003.parquet", "step-00000004.parquet", "step-00000005.parquet"]
    assert [path.name for path in rollout_files(tmp_path / "whole" / "_rollouts")] == files
    resumed = make_trainer(kinds, output_dir=str(tmp_path / "whole"), **settings)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-2"))
    assert "Removed 3 rollouts files of later steps" in caplog.text
    assert read_rollouts(tmp_path / "whole").to_list() == expected
    assert [path.name for path in rollout_files(tmp_path / "whole" / "_rollouts")] == files
    state = json.loads((tmp_path / "whole" / "trainer_state.json").read_text())
    assert state["global_step"] == 5


def test_srl_with_an_evaluation(format_model, srl_args, expert_trajectories, tmp_path):
    args = srl_args(eval_strategy="steps", eval_steps=1, per_device_eval_batch_size=2, max_steps=1)
    held_out = {"sums": expert_trajectories.select(range(2))}
    trainer = SRLTrainer(format_model, args, expert_trajectories, held_out)
    trainer.train()
    rows = read_rollouts(tmp_path / "out").to_list()
    train = [row for row in rows if row["split"] == "train"]
    evaluated = [row for row in rows if row["split"] == "eval_sums"]
    assert [row["group"] for row in evaluated] == [0, 1, 2, 3]  # two problems with two targets
    assert {row["step"] for row in rows} == {1}
    assert {row["sampling"] for row in evaluated} == {None}
    well_formed = [row for row in rows if row["similarity"] is not None]
    assert well_formed
    for row in well_formed:
        assert row["reward"] == pytest.approx(row["similarity"])
        assert row["completion"].endswith(row["action"])
        assert (row["verdict"] == "exact") == (row["similarity"] == 1.0) == (row["action"] == row["expert_action"])
    for row in rows:
        assert (row["similarity"] is None) == (row["verdict"] in ("bad_format", "truncated")) == (row["reward"] == -1)
    (log,) = [entry for entry in trainer.state.log_history if "srl/format_rate" in entry]
    assert log["srl/format_rate"] == pytest.approx(sum(row["similarity"] is not None for row in train) / len(train))
    assert log["reward_all_groups"] == pytest.approx(sum(row["reward"] for row in train) / len(train))
