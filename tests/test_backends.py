"""The backends of the evaluation. vLLM needs a GPU: a stand-in takes its place."""

import json
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from trl_srl.evaluation import Problem, TransformersBackend, VLLMBackend, load_backend, solve_step_by_step
from trl_srl.prompts import build_prompt

from .integration.vllm_stand_in import sample


PROMPTS = [build_prompt(problem, system_prompt="S") for problem in ("2+6", "7+4", "8+1")]


class LLM:
    """vLLM's engine as the backend calls it: greedy or seeded sampling with Transformers."""

    def __init__(self, model, *, max_num_seqs, **engine):
        self.model = AutoModelForCausalLM.from_pretrained(model).eval()
        self.max_num_seqs, self.engine, self.lora = max_num_seqs, engine, []

    def generate(self, requests, settings, use_tqdm, lora_request=None):
        assert len(requests) == len(settings)
        self.lora.append(lora_request)
        outputs = []
        for request, setting in zip(requests, settings, strict=True):
            eos = self.model.config.eos_token_id
            generator = torch.Generator().manual_seed(setting.seed)
            temperature = setting.temperature or 1e-4
            ids, _ = sample(self.model, request["prompt_token_ids"], setting.max_tokens, eos, generator, temperature)
            completion = SimpleNamespace(token_ids=ids, finish_reason="stop" if ids[-1] == eos else "length")
            outputs.append(SimpleNamespace(outputs=[completion]))
        return outputs


@pytest.fixture
def vllm(monkeypatch):
    contents = {
        "vllm": {"LLM": LLM, "SamplingParams": SimpleNamespace},
        "vllm.lora": {},
        "vllm.lora.request": {"LoRARequest": lambda name, number, path: (name, number, path)},
    }
    for name, values in contents.items():
        module = ModuleType(name)
        vars(module).update(values)
        monkeypatch.setitem(sys.modules, name, module)


def test_both_backends_write_the_same(vllm, solver_model):
    settings = {"max_completion_length": 32}
    one = load_backend("transformers", solver_model).generate(PROMPTS, **settings)
    other = load_backend("vllm", solver_model).generate(PROMPTS, **settings)
    assert one == other
    assert [generated.text for generated in one] == [
        f"<think>m</think>\ntake {problem}" for problem in ("2+6", "7+4", "8+1")
    ]
    assert one[0].num_tokens == len("m\ntake 2+6") + 3  # bytes, two think tags, the end
    assert not any(generated.truncated for generated in one)


def test_a_checkpoint_s_own_settings_for_sampling_do_not_count(solver_model):
    """Qwen2.5's instruct models bring a penalty for repetitions, which changes greedy decoding too."""
    backend = load_backend("transformers", solver_model)
    before = backend.generate(PROMPTS, max_completion_length=32)
    for name, value in {"repetition_penalty": 1e3, "top_p": 0.1, "no_repeat_ngram_size": 1, "min_p": 0.9}.items():
        setattr(backend.model.generation_config, name, value)
    assert backend.generate(PROMPTS, max_completion_length=32) == before


def test_an_adapter_is_loaded_with_all_that_it_has_learned(solver_model, tmp_path):
    """DoRA's magnitudes too."""
    settings = LoraConfig(target_modules=["q_proj", "up_proj"], use_dora=True, task_type="CAUSAL_LM")
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(solver_model), settings).eval()
    for name, parameter in model.named_parameters():
        if "lora_magnitude_vector" in name:
            parameter.data *= 2
    model.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(solver_model).save_pretrained(tmp_path)
    ids = torch.arange(20, 60)[None]
    with torch.no_grad():
        assert load_backend("transformers", str(tmp_path)).model(ids).logits.equal(model(ids).logits)


def test_an_adapter_on_the_4_bit_weights_that_it_was_trained_on(qlora_base, nf4, tmp_path):
    settings = LoraConfig(target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(qlora_base, quantization_config=nf4), settings).eval()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(qlora_base).save_pretrained(tmp_path)
    ids = torch.arange(20, 60)[None]
    backend = load_backend("transformers", str(tmp_path), quantization_config=nf4)
    with torch.no_grad():
        assert backend.model(ids).logits.equal(model(ids).logits)
        assert not load_backend("transformers", str(tmp_path)).model(ids).logits.allclose(model(ids).logits, rtol=0.01)
    assert backend.dtype == ("float32, load_in_4bit=True, bnb_4bit_quant_type=nf4, bnb_4bit_use_double_quant=True")


def test_vllm_cuts_and_samples(vllm, solver_model):
    backend = VLLMBackend(solver_model, batch_size=3, gpu_memory_utilization=0.5)
    assert (backend._engine.max_num_seqs, backend._engine.engine) == (3, {"gpu_memory_utilization": 0.5})
    cut = backend.generate(PROMPTS, max_completion_length=4)
    assert [(generated.num_tokens, generated.truncated) for generated in cut] == [(4, True)] * 3
    same = [PROMPTS[0]] * 8
    first, second, other = (
        backend.generate(same, max_completion_length=16, temperature=2.0, seed=seed) for seed in (1, 1, 2)
    )
    assert first == second != other
    assert len({generated.text for generated in first}) > 1  # each sample has a seed of its own


def test_vllm_solves_step_by_step(vllm, solver_model):
    problems = [Problem("7+4", "11", "a")]
    settings = dict(system_prompt="S", max_completion_length=32)
    (solution,) = solve_step_by_step(VLLMBackend(solver_model), problems, **settings)
    assert (solution.steps, solution.answer) == (["take 7+4", "the answer is 11"], "11")


def test_vllm_applies_an_adapter_to_its_base_model(vllm, solver_model, tmp_path):
    AutoTokenizer.from_pretrained(solver_model).save_pretrained(tmp_path)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 32, "base_model_name_or_path": solver_model}))
    backend = VLLMBackend(str(tmp_path))
    backend.generate(PROMPTS[:1], max_completion_length=2)
    assert backend._engine.lora == [("adapter", 1, str(tmp_path))]
    assert backend._engine.engine == {"enable_lora": True, "max_lora_rank": 32, "tokenizer": str(tmp_path)}


def test_without_vllm_the_remedy_is_named(solver_model):
    with pytest.raises(ImportError, match=r"pip install 'trl-srl\[vllm\]'"):
        VLLMBackend(solver_model)


def test_an_unknown_backend(solver_model):
    with pytest.raises(ValueError, match="Write one of transformers, vllm"):
        load_backend("sglang", solver_model)


def test_prefilled_think_tags_are_put_back(vllm, solver_model, tmp_path):
    model, tokenizer = AutoModelForCausalLM.from_pretrained(solver_model), AutoTokenizer.from_pretrained(solver_model)
    tokenizer.chat_template = tokenizer.chat_template.replace("assistant\\n", "assistant\\n<think>")
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    expected = TransformersBackend(model, AutoTokenizer.from_pretrained(solver_model)).generate(
        PROMPTS, max_completion_length=32
    )
    for name in ("transformers", "vllm"):
        written = load_backend(name, str(tmp_path)).generate(PROMPTS, max_completion_length=32)
        assert [generated.text for generated in written] == [generated.text for generated in expected]
