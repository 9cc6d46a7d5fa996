"""Runs without a training: rollouts and a log written by hand, for the report and the plots."""

import json

from trl_srl.prompts import parse_completion
from trl_srl.rollouts import FOLDER, RolloutLog, rollout_row
from trl_srl.similarity import step_similarity


def prompt_of(problem, so_far="(nothing yet)"):
    content = f"Problem:\n{problem}\n\nSolution so far:\n{so_far}\n\nWrite the next step."
    return [{"role": "system", "content": "S"}, {"role": "user", "content": content}]


def make_row(
    text,
    expert="x = 4",
    *,
    step=1,
    split="train",
    group=0,
    sampling="trained",
    problem="What is x?",
    so_far="(nothing yet)",
    problem_id="p",
    step_index=0,
    num_steps=3,
    prompt=None,
    truncated=False,
    advantage=0.5,
    refill_round=0,
):
    """A row of the rollouts file; reward and similarity are those of the completion `text`."""
    row = {"prompt": prompt or prompt_of(problem, so_far), "problem_id": problem_id}
    row |= {"step_index": step_index, "num_steps": num_steps, "expert_action": expert}
    parsed = parse_completion(text)
    similarity = None if parsed is None else step_similarity(parsed.action, expert.strip())
    return rollout_row(
        step=step,
        split=split,
        row=row,
        text=text,
        truncated=truncated,
        think_prefilled=False,
        group=group,
        refill_round=refill_round,
        reward=-1.0 if similarity is None else similarity,
        similarity=similarity,
        advantage=advantage if sampling == "trained" else None,
        sampling=None if split != "train" else sampling,
    )


def write_run(folder, rows, log=()):
    """A run's folder with these rows in one file for each step and split, and a trainer's log."""
    files = RolloutLog(folder / FOLDER, 0)
    for key in sorted({(row["step"], row["split"]) for row in rows}):
        files.add(key[1], [row for row in rows if (row["step"], row["split"]) == key])
        files.save(key[1])
    folder.mkdir(parents=True, exist_ok=True)
    if log:
        (folder / "trainer_state.json").write_text(json.dumps({"log_history": list(log)}))
    return folder
