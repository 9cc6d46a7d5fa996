"""benchmarks/gpu.py works from end to end on a CPU, and its tables say what was and what was not measured."""

import json
from dataclasses import asdict
from functools import wraps

import pytest
import torch
from transformers import AutoModelForCausalLM

from benchmarks.decoding_operations import count_operations
from benchmarks.gpu import PLAN, Configuration, measure, run
from benchmarks.gpu_tables import tables
from benchmarks.graphed_decoding import graphed_decoding, record_cuda_graph
from benchmarks.random_models import make_model, make_rows, make_tokenizer


peft = pytest.importorskip("peft")
TINY = Configuration(
    "tiny", "lora", rows=4, generated=8, prompt_length=64, completion_length=8, device="cpu", generation="chunked"
)


def test_the_tokenizer_has_the_model_s_vocabulary_and_prompts_their_length():
    tokenizer = make_tokenizer(1000)
    assert len(tokenizer) == 1000
    assert tokenizer.decode(range(300, 302)) == "filler44filler45"  # 256 bytes before the fillers
    rows = make_rows(20, 96, tokenizer)
    lengths = [
        len(tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True)["input_ids"]) for row in rows
    ]
    assert lengths[::2] == [96] * 10
    assert lengths[1::2] == [95, 93, 91, 89, 96, 94, 92, 90, 88, 95]  # 96 - i % 9


def test_phases_of_a_run(tmp_path):
    make_model("tiny", tmp_path, "cpu")
    result = measure(TINY, tmp_path, steps=2)
    assert len(result["steps"]) == 2
    for step in result["steps"]:
        assert 0 < step["tokens"] <= 8 * 8
        assert all(step[phase]["seconds"] > 0 for phase in ("generate", "reward", "train"))
    assert result["gap"] < 0.01
    # Weights in bfloat16, and 5 % for the allocator: 2 layers of q, k, v, o and the MLP, with norms; 512 x 64 twice.
    layer = 2 * 64 * 64 + 2 * 64 * 32 + 64 + 2 * 32 + 3 * 64 * 128 + 2 * 64
    assert result["estimate"]["load"] == round(1.05 * 2 * (2 * layer + 64 + 2 * 512 * 64))


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_replayed_step_writes_the_same_tokens(device, tmp_path):
    """Without a GPU a recording is the call itself, on the memory that a graph would read and write."""
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU here")
    make_model("tiny", tmp_path, "cpu")
    model = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    torch.manual_seed(0)
    for name, weight in model.named_parameters():
        if "proj" in name:
            weight.data.normal_(std=0.3)  # so that greedy decoding wanders
    model.to(device)
    ids = torch.randint(0, 400, (3, 9)).to(device)
    mask = torch.ones_like(ids)
    mask[1, :4] = 0
    settings = dict(do_sample=False, max_new_tokens=20, cache_implementation="static", disable_compile=True)
    expected = model.generate(ids, attention_mask=mask, **settings)
    replays = []

    def record(call):
        replays.append(0)
        replay = record_cuda_graph(call) if device == "cuda" else call

        def count_and_replay():
            replays[-1] += 1
            return replay()

        return count_and_replay

    with graphed_decoding(peft.get_peft_model(model, peft.LoraConfig(target_modules="all-linear")), record):
        for prompt_length in (9, 9, 5):
            generated = model.generate(ids[:, :prompt_length], attention_mask=mask[:, :prompt_length], **settings)
            if prompt_length == 9:
                assert torch.equal(generated, expected)
        assert torch.equal(model.generate(ids, attention_mask=mask, do_sample=False, max_new_tokens=20), expected)
    # Of 20 tokens the first is the prompt's, the second computed as usual for a new cache. Transformers 5.8 keeps the
    # cache, and one recording serves all; 5.17 does not.
    assert replays in ([18, 18, 18], [18 + 19 + 19])
    assert "forward" not in model.__dict__
    assert len({*expected[:, 9:].flatten().tolist()}) > 20


def test_prompts_of_graphed_decoding_are_read_as_ever(tmp_path):
    """`generate` looks at what it calls: whether it takes positions, and can give the last token's logits only."""
    make_model("tiny", tmp_path, "cpu")
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    seen = []
    own = model.forward

    @wraps(own)
    def forward(**inputs):
        output = own(**inputs)
        seen.append((inputs["position_ids"].shape, output.logits.shape[1]))
        return output

    model.forward = forward
    with graphed_decoding(model, lambda call: call):
        model.generate(torch.arange(20)[None], do_sample=False, max_new_tokens=3, cache_implementation="static")
    assert seen == [((1, 20), 1), ((1, 1), 1), ((1, 1), 1)]


@pytest.mark.parametrize(("quantised", "of_an_adapter"), [(False, 4), (True, 5)])
def test_operations_of_a_layer_by_hand(quantised, of_an_adapter):
    """LoRA on 7 linear layers: two products, a scaling, a sum; in 4 bit a copy; in float32 two casts."""
    without, with_adapters, in_float32 = (
        count_operations(quantised, dtype, layers=3) - count_operations(quantised, dtype, layers=2)
        for dtype in (None, torch.bfloat16, torch.float32)
    )
    assert with_adapters - without == 7 * of_an_adapter
    assert in_float32 - with_adapters == 7 * 2


def test_the_gap_tells_wrong_generation_from_right(tmp_path, monkeypatch):
    make_model("tiny", tmp_path, "cpu")
    graphed = Configuration(**asdict(TINY) | {"generation": "graphed"})
    right = measure(graphed, tmp_path, steps=1)["gap"]
    monkeypatch.setattr("benchmarks.graphed_decoding._copy_into", lambda there, value: None)  # ever the same token
    assert right < 0.01 < 0.03 < measure(graphed, tmp_path, steps=1)["gap"]


def test_each_configuration_in_its_own_process(tmp_path):
    """One that works, one that fails, one that no time is left for; what was measured is not run again."""
    broken = Configuration(**asdict(TINY) | {"generation": "compiled", "adapters": "qlora"})
    lines = run([TINY, broken], tmp_path, time_limit=400, steps=1)
    assert [line["status"] for line in lines] == ["ok", "failed"]
    assert "Transformers compiles no model quantised by bitsandbytes" in lines[1]["error"]
    assert [json.loads(line)["status"] for line in (tmp_path / "results.jsonl").read_text().splitlines()] == [
        "ok",
        "failed",
    ]
    again = run([TINY, Configuration("tiny", device="cpu")], tmp_path, time_limit=0, steps=1)
    assert [line["status"] for line in again] == ["ok", "failed", "out of time"]


def test_tables_by_hand():
    gib = 2**30
    line = {
        "configuration": asdict(Configuration("7b", generated=32, rows=4)),
        "status": "ok",
        "card": "Card X",
        "machine": "torch 1",
        "load": {"reserved": 5 * gib},
        "steps": [
            {"tokens": 1, "generate": {"reserved": 6 * gib}, "train": {"reserved": 8 * gib}, "reward": {}},
            {
                "tokens": 8192,
                "generate": {"seconds": 16.0, "reserved": 8 * gib},
                "reward": {"seconds": 0.01},
                "train": {"seconds": 3.99, "reserved": 10 * gib},
            },
        ],
        "gap": 0.0123,
        "estimate": {"load": 5.5 * gib, "generate": 6 * gib, "train": 9 * gib},
    }
    out_of_time = {"configuration": asdict(Configuration("3b")), "status": "out of time"}
    text = tables([line | {"status": "out of time"}, line, out_of_time])
    assert "| 7b, NF4, bf16 | dynamic | 32 / 4 | 512 + 256 | 5.00 / 5.50 (+10%) | 6.00 / 6.00 (+0%) |" in text
    assert "| 10.00 / 9.00 (-10%) |" in text
    assert "| 7b, NF4, bf16 | dynamic | 32 | 512 | 0.012 | 20.00 s | 80.00% | 0.05% | 19.95% |" in text
    assert "Measured on: Card X; torch 1." in text
    assert text.count("Not measured") == 1 and "Not measured (out of time): {'shape': '3b'" in text


def test_the_plan_covers_all_shapes():
    assert {(one.shape, one.adapters) for one in PLAN} == {
        (shape, adapters) for shape in ("0.5b", "1.5b", "3b", "7b") for adapters in ("qlora", "lora")
    }
    assert "fp16" in {one.precision for one in PLAN}
    assert len(set(PLAN)) == len(PLAN)
