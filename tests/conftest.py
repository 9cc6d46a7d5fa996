"""Everything runs offline on one core, on a tokenizer and a model that are made here."""

import os


os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest


CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)


@pytest.fixture(scope="session")
def make_tokenizer():
    """A byte-level tokenizer without merges: every text survives a round trip, 261 tokens."""

    def make(chat_template=CHAT_TEMPLATE):
        from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
        from transformers import PreTrainedTokenizerFast

        vocab = {symbol: i for i, symbol in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
        tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[]))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
        tokenizer.add_tokens([AddedToken("<think>", special=False), AddedToken("</think>", special=False)])
        fast = PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>", padding_side="left"
        )
        fast.chat_template = chat_template
        return fast

    return make


@pytest.fixture
def tokenizer(make_tokenizer):
    return make_tokenizer()


@pytest.fixture(scope="session")
def make_model(make_tokenizer):
    """A Qwen2 of 30 thousand parameters with random weights, always the same ones."""

    def make(seed=0, **settings):
        import torch
        from transformers import Qwen2Config, Qwen2ForCausalLM

        tokenizer = make_tokenizer()
        torch.manual_seed(seed)
        config = dict(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=2048,
            tie_word_embeddings=True,
            initializer_range=0.1,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        return Qwen2ForCausalLM(Qwen2Config(**(config | settings)))

    return make


@pytest.fixture
def model(make_model):
    return make_model()


@pytest.fixture(scope="session")
def expert_trajectories():
    """Forty additions with three steps each, as trajectory rows."""
    from datasets import Dataset

    return Dataset.from_list(
        [
            {
                "problem": f"{a}+{b}",
                "steps": [f"add {a} and {b}", f"sum is {a + b}", f"done {a + b}"],
                "answer": f"{a + b}",
            }
            for a in range(1, 9)
            for b in range(1, 6)
        ]
    )


def train_on(model, optimizer, batch, pad_token_id):
    """One supervised step on (token ids of a prompt, token ids of its completion)."""
    import torch

    length = max(len(prompt) + len(completion) for prompt, completion in batch)
    input_ids = torch.full((len(batch), length), pad_token_id)
    labels = torch.full((len(batch), length), -100)
    for i, (prompt, completion) in enumerate(batch):
        input_ids[i, : len(prompt) + len(completion)] = torch.tensor(prompt + completion)
        labels[i, len(prompt) : len(prompt) + len(completion)] = torch.tensor(completion)
    loss = model(input_ids=input_ids, labels=labels).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()


def warm_start(model, tokenizer, examples, rng):
    """Supervised training, a few seconds, on pairs of token ids: prompt and completion."""
    import torch

    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(120):
        train_on(model, optimizer, rng.sample(examples, 16), tokenizer.pad_token_id)


SUMS = ["2+6", "5+3", "7+4", "9+9", "8+1"]


@pytest.fixture(scope="session")
def sums():
    """Five problems that `solver_model` knows by heart, as trajectory rows; its answer to 8+1 is wrong."""
    from datasets import Dataset

    return Dataset.from_list(
        [
            {
                "problem": problem,
                "steps": [f"take {problem}", f"the answer is {sum(map(int, problem.split('+')))}"],
                "answer": str(sum(map(int, problem.split("+")))),
            }
            for problem in SUMS
        ]
    )


@pytest.fixture(scope="session")
def solver_model(tmp_path_factory, make_model, make_tokenizer, sums):
    """Folder of a tiny model that was trained to finish: two steps, of which the second gives the answer."""
    import random

    import torch

    from trl_srl import format_trajectories, gold_completion
    from trl_srl.prompts import render_prompt

    torch.manual_seed(0)
    rng = random.Random(0)
    tokenizer, model = make_tokenizer(), make_model()
    rows, _ = format_trajectories(sums, system_prompt="S", include_last_step=True)
    examples = []
    for row in rows:
        step = row["expert_action"].replace("the answer is 9", "the answer is 1")
        completion = gold_completion(step, monologue="m") + tokenizer.eos_token
        prompt_ids = render_prompt(row["prompt"], tokenizer, tokenize=True)
        examples.append((prompt_ids, tokenizer(completion, add_special_tokens=False)["input_ids"]))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = [
        train_on(model, optimizer, rng.sample(examples, len(examples)), tokenizer.pad_token_id) for _ in range(250)
    ]
    assert losses[-1] < 0.02
    folder = tmp_path_factory.mktemp("solver-model")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def format_model(tmp_path_factory, make_model, make_tokenizer, expert_trajectories):
    """
    Folder of a model that mostly follows the format and seldom writes the right step, made in seconds: the tiny model
    after a supervised warm start on the additions with wrong numbers.
    """
    import random

    import torch

    from trl_srl import format_trajectories, gold_completion
    from trl_srl.prompts import render_prompt

    torch.manual_seed(0)
    rng = random.Random(0)
    tokenizer, model = make_tokenizer(), make_model()
    rows, _ = format_trajectories(expert_trajectories, system_prompt="S")
    examples = []
    for row in rows:
        words = ["add 3 and 5", "sum is 7", "sum 4", "add 1", "done 6"]
        completion = gold_completion(rng.choice(words), monologue="m") + tokenizer.eos_token
        prompt_ids = render_prompt(row["prompt"], tokenizer, tokenize=True)
        examples.append((prompt_ids, tokenizer(completion, add_special_tokens=False)["input_ids"]))
    warm_start(model, tokenizer, examples, rng)
    folder = tmp_path_factory.mktemp("format-model")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def qlora_base(tmp_path_factory, make_model, make_tokenizer, expert_trajectories):
    """
    Folder of a model whose layers bitsandbytes can quantise, after a warm start on two tasks: steps with the system
    prompt "S", whole problems with "A". It follows the format of both and is seldom right.
    """
    import random

    import torch

    from trl_srl import format_trajectories, gold_completion, make_problem_rows
    from trl_srl.prompts import render_prompt

    torch.manual_seed(0)
    rng = random.Random(0)
    tokenizer, model = make_tokenizer(), make_model(hidden_size=64, intermediate_size=128)
    tasks = [(row["prompt"], "sum") for row in format_trajectories(expert_trajectories, system_prompt="S")[0]]
    tasks += [(row["prompt"], "answer") for row in make_problem_rows(expert_trajectories, system_prompt="A")[0]] * 2
    examples = []
    for prompt, task in tasks:
        words = [f"\\boxed{{{rng.randint(2, 9)}}}"] if task == "answer" else ["add 3 and 5", "sum is 7", "sum 4"]
        completion = gold_completion(rng.choice(words), monologue="m") + tokenizer.eos_token
        prompt_ids = render_prompt(prompt, tokenizer, tokenize=True)
        examples.append((prompt_ids, tokenizer(completion, add_special_tokens=False)["input_ids"]))
    warm_start(model, tokenizer, examples, rng)
    folder = tmp_path_factory.mktemp("qlora-base")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def nf4():
    """NF4 with double quantisation, as `--load_in_4bit --use_bnb_nested_quant`."""
    import torch
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
    )


@pytest.fixture
def srl_args(tmp_path):
    """Arguments for a short run on a CPU: 4 prompts x 4 rollouts for each step."""

    def make(cls=None, **kwargs):
        from trl_srl import SRLConfig

        defaults = dict(
            output_dir=str(tmp_path / "out"),
            per_device_train_batch_size=16,
            num_generations=4,
            max_completion_length=24,
            max_steps=2,
            learning_rate=1e-3,
            logging_steps=1,
            bf16=False,
            use_cpu=True,
            gradient_checkpointing=False,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
        )
        if cls is None:
            cls, defaults["system_prompt"] = SRLConfig, "S"
        return cls(**(defaults | kwargs))

    return make


@pytest.fixture(scope="session")
def command_parsers():
    """The commands' own parsers by name; those of `train` by stage."""
    import argparse

    from trl_srl.cli import COMMANDS
    from trl_srl.cli.stage_options import make_parser

    subparsers = argparse.ArgumentParser().add_subparsers()
    for name, module in COMMANDS.items():
        module.add_parser(subparsers, name)
    return dict(subparsers.choices) | {stage: make_parser(stage) for stage in ("srl", "rlvr")}


@pytest.fixture(scope="session")
def parse_command(command_parsers):
    """Parses a line `trl-srl …` as the command itself would; an option that does not exist ends the test."""
    import shlex

    def parse(line):
        command, *arguments = shlex.split(line, comments=True)[1:]
        if command in ("train", "memory"):
            # The command reads these by itself and leaves the rest to TRL's parser.
            own, rest = command_parsers[command].parse_known_args(arguments)
            command_parsers[getattr(own, "stage", None) or "srl"].parse_args(rest)
        elif command != "--version":
            command_parsers[command].parse_args(arguments)

    return parse
