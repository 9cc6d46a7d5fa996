"""Which of TRL's settings for generation change nothing but speed and memory, and what is wrong with the others.

docs/hardware.md draws on this. A test of something wrong that fails is good news: TRL or Transformers has mended it.
"""

import pytest
import torch
from datasets import Dataset

from trl_srl import SRLTrainer


peft = pytest.importorskip("peft")


@pytest.fixture(scope="module")
def varied_model(make_tokenizer, tmp_path_factory):
    """Random weights so large that greedy decoding wanders through the vocabulary."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    tokenizer = make_tokenizer()
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            initializer_range=0.3,
            tie_word_embeddings=False,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    folder = tmp_path_factory.mktemp("varied-model")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def first_completions(varied_model, srl_args):
    """What the first batch of a run generates, greedily, and the trainer after one step."""

    def run(quantised=False, generation_kwargs=None, **settings):
        seen = []

        def record(completion_ids, **kwargs):
            seen.extend(list(ids) for ids in completion_ids)
            return [float(i % 2) for i in range(len(completion_ids))]

        rows = [
            {"prompt": [{"role": "user", "content": "What is " + "1 + " * (5 * i) + "1?"}], "expert_action": "It is."}
            for i in range(4)
        ]
        quantization = None
        if quantised:
            pytest.importorskip("bitsandbytes")
            from transformers import BitsAndBytesConfig

            quantization = BitsAndBytesConfig(
                load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype="float32"
            )
        args = srl_args(
            per_device_train_batch_size=4,
            gradient_accumulation_steps=2,
            num_generations=2,
            max_completion_length=24,
            max_steps=1,
            gradient_checkpointing=True,
            dynamic_sampling=False,
            shuffle_dataset=False,
            generation_kwargs={"do_sample": False} | (generation_kwargs or {}),
            model_init_kwargs={"dtype": "float32"},
            **settings,
        )
        trainer = SRLTrainer(
            varied_model,
            args,
            train_dataset=Dataset.from_list(rows),
            reward_funcs=record,
            quantization_config=quantization,
            peft_config=peft.LoraConfig(
                r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM"
            ),
        )
        trainer.train()
        return seen, trainer

    return run


CONTINUOUS = {
    "use_transformers_continuous_batching": True,
    "transformers_continuous_batching_config": {"num_blocks": 64},
}


@pytest.mark.parametrize("quantised", [False, True], ids=["lora", "qlora"])
def test_the_same_tokens_in_chunks_and_with_a_static_cache(first_completions, quantised):
    plain, _ = first_completions(quantised)
    assert len({token for ids in plain for token in ids}) > 30  # not one token again and again
    assert first_completions(quantised, generation_kwargs={"prefill_chunk_size": 16})[0] == plain
    assert first_completions(quantised, cache_implementation="static")[0] == plain


def test_continuous_batching_gives_the_same_tokens_in_float32(first_completions):
    assert first_completions(**CONTINUOUS)[0] == first_completions()[0]


def test_continuous_batching_rounds_the_model_to_16_bit_for_good(first_completions):
    """TRL 1.16 casts the whole model, adapters and RoPE's frequencies too, and does not cast back."""
    _, trainer = first_completions(bf16=True)
    _, continuous = first_completions(bf16=True, **CONTINUOUS)
    for run, dtype in ((trainer, torch.float32), (continuous, torch.bfloat16)):
        assert {p.dtype for p in run.model.parameters() if p.requires_grad} == {dtype}
        assert run.model.get_base_model().model.rotary_emb.inv_freq.dtype is dtype


def test_trl_forbids_compiled_generation(first_completions):
    with pytest.raises(TypeError, match="multiple values for keyword argument 'disable_compile'"):
        first_completions(cache_implementation="static", generation_kwargs={"disable_compile": False})
