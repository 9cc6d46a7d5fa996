"""Refills through the ways TRL has to generate: its vLLM server mode, its colocated mode, continuous batching.

vLLM itself needs a GPU. What runs here is TRL's code: its client over HTTP on loopback, its gathering and slicing, its
weight updates and importance sampling. What answers is `vllm_stand_in.py`, which says what it replaces.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from datasets import Dataset

from tests.integration.test_several_processes import LAUNCH
from trl_srl import DynamicSamplingConfig, DynamicSamplingTrainer


SCRIPT = Path(__file__).with_name("generation_backends.py")
STEPS, GENERATIONS = 3, 4
RUNS = {1: ["server", "colocate", "colocate-sleep"], 2: ["server", "colocate"]}
# Rollouts for each device: 16 are 4 groups; with 2 x 10 the third of 5 groups straddles the processes.
BATCH = {1: 16, 2: 10}


@pytest.fixture(scope="module")
def results(tmp_path_factory, make_model, make_tokenizer):
    """Run the script once for each number of processes; results by run, one for each rank."""
    model = tmp_path_factory.mktemp("model")
    make_model().save_pretrained(model)
    make_tokenizer().save_pretrained(model)
    done = {}

    def launch(processes):
        if processes not in done:
            output = tmp_path_factory.mktemp("runs")
            launcher = ["-m", "accelerate.commands.launch", *LAUNCH[processes]] if processes > 1 else []
            command = [sys.executable, *launcher, str(SCRIPT), str(model), str(output), str(BATCH[processes])]
            environment = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
            finished = subprocess.run(
                command + RUNS[processes], env=environment, capture_output=True, text=True, timeout=200
            )
            assert finished.returncode == 0, finished.stderr[-3000:]
            done[processes] = {
                run: [json.loads((output / f"{run}-rank{rank}.json").read_text()) for rank in range(processes)]
                for run in RUNS[processes]
            }
        return done[processes]

    return launch


def of_every_step(result, name):
    values = [entry[name] for entry in result["log"]]
    assert len(values) == STEPS
    return values


@pytest.mark.timeout(230)
@pytest.mark.parametrize("processes", [1, 2])
def test_refills_through_vllm(results, processes):
    for run, ranks in results(processes).items():
        first = ranks[0]
        # Refills happened, of other sizes than the batch, and every rank took part in each with an equal share.
        assert len(first["rounds"]) > STEPS, run
        assert set(first["rounds"]) - {BATCH[processes]}, run
        assert all(rank["rounds"] == first["rounds"] for rank in ranks)
        generated = sum(first["rounds"]) * processes / GENERATIONS
        assert sum(of_every_step(first, "dynamic_sampling/groups_generated")) == generated
        assert of_every_step(first, "dynamic_sampling/filled") == [0.0] * STEPS
        assert of_every_step(first, "frac_reward_zero_std") == [0.0] * STEPS  # informative groups only
        # The log-probabilities of sampling are with the completions they belong to, and are those of the weights of
        # this step: what TRL computes again with its own model hardly differs.
        assert max(of_every_step(first, "sampling/sampling_logp_difference/max")) < 1e-4, run
        for bound in ("min", "max"):
            ratios = of_every_step(first, f"sampling/importance_sampling_ratio/{bound}")
            assert ratios == pytest.approx([1.0] * STEPS, abs=1e-4), run
        assert len({rank["checksum"] for rank in ranks}) == 1


@pytest.mark.timeout(230)
@pytest.mark.parametrize("processes", [1, 2])
def test_the_server_is_asked_for_each_prompt_once(results, processes):
    first = results(processes)["server"][0]
    assert [prompts * GENERATIONS for prompts in first["requests"]] == [n * processes for n in first["rounds"]]
    # Weights travel once for each step, before its first round, and not again for refills.
    assert first["pushes"] == STEPS
    update = ["/start_weight_update", "/update_weights", "/finish_weight_update", "/reset_prefix_cache"]
    rounds = iter(of_every_step(first, "dynamic_sampling/refill_rounds"))
    expected = [call for _ in range(STEPS) for call in update + ["/v1/completions"] * int(1 + next(rounds))]
    assert first["calls"] == expected


@pytest.mark.timeout(230)
@pytest.mark.parametrize("processes", [1, 2])
def test_colocated_engines_never_get_more_than_they_were_sized_for(results, processes):
    """With two processes the engines share one tensor-parallel group, each of which sees all its prompts."""
    for rank in results(processes)["colocate"]:
        assert rank["requests"] == [rollouts * processes for rollouts in rank["rounds"]]
        assert max(rank["requests"]) <= rank["max_num_seqs"] == BATCH[processes] * processes
        assert rank["pushes"] == STEPS


def test_a_sleeping_engine_gets_its_weights_for_every_round(results):
    """At sleep level 2 vLLM forgets them; TRL sends them again before each generation, refills included."""
    (sleepy,) = results(1)["colocate-sleep"]
    assert sleepy["pushes"] == len(sleepy["rounds"])
    # The three runs sample with the same seed, so they are the same run.
    assert {ranks[0]["checksum"] for ranks in results(1).values()} == {sleepy["checksum"]}


def test_continuous_batching_generates_what_generate_does(make_model, tokenizer, srl_args, tmp_path):
    """Transformers' own engine, on the CPU: greedily, so that the two can be compared rollout by rollout."""
    kinds = ["good", "good", "flat"] * 8
    data = Dataset.from_list(
        [{"prompt": [{"role": "user", "content": f"{i}"}], "kind": kind} for i, kind in enumerate(kinds)]
    )
    sizes: dict[bool, list[int]] = {True: [], False: []}

    def train(continuous):
        def scripted_reward(completions, kind, **kwargs):
            sizes[continuous].append(len(kind))
            return [i % 4 / 4 if k == "good" else 0.5 for i, k in enumerate(kind)]

        args = srl_args(
            cls=DynamicSamplingConfig,
            output_dir=str(tmp_path / str(continuous)),
            max_completion_length=6,
            top_k=1,
            log_completions=True,
            use_transformers_continuous_batching=continuous,
            # Without it the cache takes half of the free memory, which on a CPU takes seconds in every round.
            transformers_continuous_batching_config={"num_blocks": 32, "max_batch_tokens": 128}
            if continuous
            else None,
        )
        trainer = DynamicSamplingTrainer(
            make_model(), scripted_reward, args, train_dataset=data, processing_class=tokenizer
        )
        trainer.train()
        files = sorted(Path(args.output_dir, "completions").glob("*.parquet"))
        return pd.concat([pd.read_parquet(file) for file in files])

    continuous, regular = train(True), train(False)
    assert len(sizes[True]) > 2
    assert set(sizes[True]) - {16}
    assert sizes[True] == sizes[False]
    for column in ("prompt", "completion"):
        assert continuous[column].astype(str).tolist() == regular[column].astype(str).tolist()
    assert continuous["trained"].all()
    assert continuous["completion"].astype(str).nunique() > 2  # so that a wrong order would show
