"""The model card from facts written by hand: what it says, what it escapes, what it leaves alone."""

import json
import re
import sys
from types import SimpleNamespace

import pytest
from huggingface_hub import ModelCard, metadata_load
from huggingface_hub.repocard_data import model_index_to_eval_results
from markdown_it import MarkdownIt

from trl_srl.cli import main
from trl_srl.model_card import TrainingClock, copy_card, read_evaluations, write_card
from trl_srl.model_card.card import BEGIN, END
from trl_srl.model_card.curves import write_curves
from trl_srl.model_card.facts import base_license, hub_id, public_name, read_facts, started_from, write_facts
from trl_srl.model_card.markdown import code, escape, literal


FACTS = {
    "method": "SRL",
    "name": "run",
    "hub_model_id": None,
    "base_model": "Qwen/Qwen2.5-0.5B-Instruct",
    "base_on_hub": "Qwen/Qwen2.5-0.5B-Instruct",
    "license": {"license": "apache-2.0"},
    "started_from": None,
    "adapter": None,
    "merged": False,
    "parameters": 500_000,
    "trainable_parameters": 500_000,
    "dataset": "me/solutions",
    "dataset_on_hub": "me/solutions",
    "data": {
        "lines": ["80 step rows from 40 problems", "dropped 2 trajectories with an empty step [empty_step]"],
        "prepared": None,
    },
    "reward_functions": ["step_similarity_reward"],
    "settings": {"Learning rate": 5e-7, "Last step is a target": False, "Dynamic sampling": "off"},
    "system_prompt": None,
    "think_prefilled": False,
    "prompt_is_text": False,
    "max_completion_length": 256,
    "step": 4,
    "max_steps": 4,
    "parts": [{"first_step": 1, "last_step": 4, "seconds": 3700.0, "hardware": "1 x NVIDIA H100"}],
    "best_checkpoint": None,
    "best_metric": None,
    "versions": {"trl-srl": "0.1.0"},
}
LOG = [
    {"step": step, "reward": step / 10, "srl/similarity": step / 20, "dynamic_sampling/acceptance": 1.0}
    for step in (1, 2, 3, 4)
]
TRL_CARD = """\
---
library_name: transformers
licence: license
model_name: run
tags:
- generated_from_trainer
- trl
- srl
---

# Model Card for run

This model is a fine-tuned version of [None](https://huggingface.co/None).

## Quick start

a question

## Training procedure

This model was trained with SRL.

## Citations

Cite TRL as: …
"""
RESULTS = {
    "kind": "solutions",
    "model": "runs/run",
    "dataset": "me/problems",
    "split": "test",
    "num_problems": 30,
    "settings": {"temperature": 0.0, "seed": None},
    "metrics": {"accuracy": {"value": 0.5, "low": 0.25, "high": 0.75}, "mean_length": {"value": 81.25}},
    "machine": {},
    "trl_srl": "0.1.0",
}


@pytest.fixture
def run_dir(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "README.md").write_text(TRL_CARD)
    write_facts(FACTS, folder)
    return folder


@pytest.fixture
def logged(run_dir):
    """A run with a log, of which a picture is drawn."""
    (run_dir / "trainer_state.json").write_text(json.dumps({"log_history": LOG}))
    return run_dir


def evaluated(run_dir, name="test", **changes):
    file = run_dir / "evaluation" / name / "results.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(RESULTS | changes))


def card(run_dir, **facts):
    write_facts(FACTS | facts, run_dir)
    return write_card(run_dir, read_evaluations(run_dir)).read_text()


def test_the_card_says_what_was_trained_on_what_and_how_long(logged):
    text = card(logged)
    assert (
        "This model was trained from [Qwen/Qwen2.5-0.5B-Instruct](https://huggingface.co/Qwen/Qwen2.5-0.5B-Instruct) "
        "by Supervised Reinforcement Learning (SRL) on [me/solutions](https://huggingface.co/datasets/me/solutions)"
        in text
    )
    assert r"- dropped 2 trajectories with an empty step \[empty\_step\]" in text
    assert "| Learning rate | 5e-07 |" in text
    assert "| Last step is a target | no |" in text
    assert "| steps 1–4 | 1 x NVIDIA H100 | 62 min |" in text
    assert "| On training prompts | step 1 | step 4 |\n| --- | ---: | ---: |\n| Reward | 0.100 | 0.400 |" in text
    assert "not finished" not in text and "interrupted" not in text
    assert "Not evaluated on held-out problems." in text


def test_of_trl_s_card_the_procedure_and_the_citations_stay(run_dir):
    text = card(run_dir)
    assert "Quick start" not in text and "[None]" not in text
    assert text.index(END) < text.index("## Training procedure") < text.index("Cite TRL as: …")
    assert "Cite trl-srl as:" in text and "@software{trl_srl," in text


def test_a_card_of_another_trl_is_kept_whole(run_dir):
    (run_dir / "README.md").write_text(TRL_CARD.replace("## Training procedure", "## How it was trained"))
    text = card(run_dir)
    assert "## Quick start" in text and "## How to prompt it" in text


def test_writing_again_changes_only_our_part(run_dir):
    card(run_dir)
    file = run_dir / "README.md"
    file.write_text(file.read_text().replace(BEGIN, f"My own words.\n\n{BEGIN}") + "\nMy notes.\n")
    evaluated(run_dir)
    text = card(run_dir, step=3)
    assert text.count("My own words.") == text.count("My notes.") == text.count("Cite trl-srl as:") == 1
    assert text.count(BEGIN) == text.count("## How to prompt it") == 1
    assert "This is step 3 of 4" in text and "Not evaluated" not in text


def test_metadata(run_dir):
    card(run_dir)
    data = metadata_load(run_dir / "README.md")
    assert data == {
        "library_name": "transformers",
        "model_name": "run",
        "tags": ["generated_from_trainer", "srl", "trl", "trl-srl"],
        "license": "apache-2.0",
        "base_model": "Qwen/Qwen2.5-0.5B-Instruct",
        "base_model_relation": "finetune",
        "datasets": ["me/solutions"],
        "pipeline_tag": "text-generation",
    }
    adapter = {"type": "LORA", "rank": 4, "alpha": 8, "modules": "k_proj, q_proj", "quantization": "load_in_4bit=True"}
    text = card(run_dir, adapter=adapter, trainable_parameters=4096)
    data = metadata_load(run_dir / "README.md")
    assert (data["library_name"], data["base_model_relation"]) == ("peft", "adapter")
    assert r"| Adapter | LORA, rank 4, alpha 8, on k\_proj, q\_proj |" in text
    assert r"| Quantisation in training | load\_in\_4bit=True |" in text
    assert "| Trained parameters | 4,096 of 500,000 |" in text


def test_a_merged_model_gets_the_card_of_its_adapter(logged, tmp_path):
    card(logged, adapter={"type": "LORA", "rank": 4, "alpha": 8, "modules": "q_proj"}, hub_model_id="me/adapter")
    merged = tmp_path / "merged"
    merged.mkdir()
    text = copy_card(logged, merged).read_text()
    assert "# merged\n" in text and "Its LORA adapter is merged into its weights." in text
    assert 'model="merged"' in text and "It is a LORA adapter" not in text
    assert "| Reward | 0.100 | 0.400 |" in text
    data = metadata_load(merged / "README.md")
    assert (data["library_name"], data["base_model_relation"]) == ("transformers", "finetune")
    assert copy_card(tmp_path, merged) is None


def test_the_license_is_read_from_the_starting_model_s_card(tmp_path):
    (tmp_path / "README.md").write_text(
        "---\nlicense: other\nlicense_name: qwen\nlicense_link: LICENSE\n---\n# Card\n"
    )
    assert base_license(str(tmp_path)) == {"license": "other", "license_name": "qwen", "license_link": "LICENSE"}
    (tmp_path / "none").mkdir()
    assert base_license(str(tmp_path / "none")) == base_license("no/such-model") == base_license("") == {}


def test_the_repository_is_remembered(run_dir):
    assert 'model="run"' in card(run_dir)
    assert 'model="me/model"' in write_card(run_dir, [], "me/model").read_text()
    assert 'model="me/model"' in write_card(run_dir, []).read_text()


def test_a_local_model_and_data_set_are_named_without_links(run_dir):
    text = card(run_dir, base_model="warm", base_on_hub=None, dataset="rows", dataset_on_hub=None, license={})
    assert "trained from `warm` (a local folder) by" in text and "on `rows` (local data)" in text
    assert not {"base_model", "base_model_relation", "datasets", "license"} & set(metadata_load(run_dir / "README.md"))
    assert "No license could be read" in text


def test_evaluations_stand_in_tables_and_in_the_model_index(run_dir):
    evaluated(run_dir)
    evaluated(run_dir, "base", model="Qwen/Qwen2.5-0.5B-Instruct", metrics={"accuracy": {"value": 0.125}})
    evaluated(run_dir, "early", model="runs/run/checkpoint-2", metrics={"accuracy": {"value": float("nan")}})
    evaluated(run_dir, "steps", kind="steps", num_rows=80, split="", metrics={"format_rate": {"value": 1.0}})
    text = card(run_dir)
    assert "**Whole solutions: me/problems, test** (30 problems)" in text
    assert (
        "|  | Qwen/Qwen2.5-0.5B-Instruct | checkpoint-2 | this model |\n| --- | ---: | ---: | ---: |\n"
        "| accuracy | 0.125 | – | 0.5 (0.25 to 0.75) |\n| mean\\_length | – | – | 81.25 |" in text
    )
    assert "Settings: temperature = 0.0." in text
    assert "**The next step: me/problems** (80 step rows)\n\n|  | this model |" in text
    name, results = model_index_to_eval_results(metadata_load(run_dir / "README.md")["model-index"])
    assert name == "run"
    found = {(result.dataset_type, result.dataset_split, result.metric_type): result for result in results}
    assert {key: result.metric_value for key, result in found.items()} == {
        ("me/problems", None, "format_rate"): 1.0,
        ("me/problems", "test", "accuracy"): 0.5,
        ("me/problems", "test", "mean_length"): 81.25,
    }
    accuracy = found["me/problems", "test", "accuracy"]
    assert accuracy.metric_args == {"low": 0.25, "high": 0.75, "confidence": 0.95}
    assert accuracy.metric_name == "accuracy (whole solutions)"


def test_other_settings_and_other_folders_of_that_name_are_not_mixed_up(run_dir):
    start, namesake = run_dir / "_start", run_dir / "elsewhere" / "run"
    for folder in (start, namesake):
        folder.mkdir(parents=True)
    evaluated(run_dir, "1", model=str(run_dir))
    evaluated(run_dir, "2", model=str(run_dir), settings={"step_by_step": True}, metrics={"accuracy": {"value": 0.75}})
    evaluated(run_dir, "3", model=str(start), metrics={"accuracy": {"value": 0.25}})
    evaluated(run_dir, "4", model=str(namesake), metrics={"accuracy": {"value": 0.125}})
    text = card(run_dir)
    assert "| accuracy | 0.5 (0.25 to 0.75) | 0.25 | 0.125 |" in text
    assert "**Whole solutions, step by step: me/problems, test** (30 problems)\n\n|  | this model |" in text
    assert "|  | this model | \\_start | run |" in text
    _, results = model_index_to_eval_results(metadata_load(run_dir / "README.md")["model-index"])
    assert {result.metric_name: result.metric_value for result in results} == {
        "accuracy (whole solutions)": 0.5,
        "accuracy (whole solutions, step by step)": 0.75,
        "mean_length (whole solutions)": 81.25,
    }
    assert len(results) == 3


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"kind": "solutions"}',
        json.dumps(RESULTS | {"kind": "riddles"}),
        json.dumps(RESULTS | {"metrics": {"accuracy": {"low": 0.1}}}),
    ],
)
def test_a_broken_result_is_named(run_dir, content, capsys):
    evaluated(run_dir)
    (run_dir / "evaluation" / "test" / "results.json").write_text(content)
    with pytest.raises(SystemExit) as exit_info:
        main(["card", str(run_dir)])
    assert exit_info.value.code == 2
    assert "results.json is no result of `trl-srl evaluate`" in capsys.readouterr().err


def test_a_folder_without_facts_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(["card", str(tmp_path)])
    assert exit_info.value.code == 2
    assert "has no training_facts.json. Name the output folder" in capsys.readouterr().err
    (tmp_path / "training_facts.json").write_text("{}")
    with pytest.raises(ValueError, match=r"training_facts\.json is broken"):
        read_facts(tmp_path)


def test_curves_are_a_picture_beside_the_card(logged):
    pytest.importorskip("matplotlib")
    assert "![Reward and the other metrics over the training steps](figures/training.png)" in card(logged)
    assert (logged / "figures" / "training.png").read_bytes().startswith(b"\x89PNG\r\n")


def test_evaluations_alone_have_curves_too(run_dir):
    pytest.importorskip("matplotlib")
    assert write_curves([{"step": 1, "reward": None}, {"step": 2, "eval_loss": 0.0}], run_dir) is None
    assert write_curves([{"step": 2, "eval_hard_srl/similarity": 0.5}], run_dir) == "figures/training.png"


def test_without_matplotlib_they_are_a_table(logged, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # as if it were not installed
    text = card(logged)
    assert "figures/" not in text and not (logged / "figures").exists()
    table = "| Step | Reward | Step similarity | Informative groups |\n| --- | ---: | ---: | ---: |\n"
    assert table + "| 1 | 0.1 | 0.05 | 1 |\n| 2 | 0.2 | 0.1 | 1 |" in text


def test_the_log_of_the_newest_whole_checkpoint_stands_in(run_dir):
    assert "## Curves" not in card(run_dir) and "On training prompts" not in card(run_dir)
    for step in (2, 10):
        checkpoint = run_dir / f"checkpoint-{step}"
        checkpoint.mkdir()
        (checkpoint / "trainer_state.json").write_text(json.dumps({"log_history": LOG[:step]}))
    (run_dir / "checkpoint-10" / "trainer_state.json").write_text('{"log_history": [{"st')  # cut short
    assert "| On training prompts | step 1 | step 2 |" in card(run_dir)


def test_what_was_logged_once_has_one_column(run_dir):
    (run_dir / "trainer_state.json").write_text(json.dumps({"log_history": LOG[:1]}))
    assert "| On training prompts | step 1 |\n| --- | ---: |\n| Reward | 0.100 |" in card(run_dir)


def test_parts_of_an_interrupted_run_are_added_up(run_dir):
    parts = [
        {"first_step": 2, "last_step": 3, "seconds": 60.0, "hardware": "1 x T4"},
        {"first_step": 4, "last_step": 4, "seconds": 30.0, "hardware": "1 x L4"},
    ]
    text = card(run_dir, parts=parts)
    assert "| steps 2–3 | 1 x T4 | 60 s |\n| step 4 | 1 x L4 | 30 s |" in text
    assert "The run was interrupted and continued: 90 s in all" in text
    assert "Of 1 steps the time was not recorded." in text


def test_the_clock_knows_earlier_parts():
    clock = TrainingClock("CPU")
    assert clock.parts(0) == []
    clock.earlier = [{"first_step": 1, "last_step": 2, "seconds": 5.0, "hardware": "1 x T4"}]
    clock.on_train_begin(None, SimpleNamespace(global_step=2), None)
    assert clock.parts(2) == clock.earlier
    (_, here) = clock.parts(6)
    assert (here["first_step"], here["last_step"], here["hardware"]) == (3, 6, "CPU")
    assert 0 <= here["seconds"] < 10 and not clock.ended
    clock.on_train_end(None, None, None)
    assert clock.ended
    clock.on_train_begin(None, SimpleNamespace(global_step=0), None)  # trained anew
    assert len(clock.parts(1)) == 1


def test_the_second_stage_tells_of_the_first(run_dir):
    first = FACTS | {"name": "srl", "hub_model_id": "me/srl", "system_prompt": "One step.", "think_prefilled": True}
    text = card(run_dir, method="GRPO", started_from=first, base_model="srl", base_on_hub=None, dataset=None)
    assert "(srl, from [Qwen/Qwen2.5-0.5B-Instruct](https://huggingface.co/Qwen/Qwen2.5-0.5B-Instruct))" in text
    assert '["2 · 3 = 6"], system_prompt="One step.")' in text
    assert 'parse_completion(output[0]["generated_text"], think_prefilled=True)' in text
    assert "**A whole solution in one go**, which is what the second stage rewarded:" in text
    assert "- the first stage, srl: 80 step rows from 40 problems" in text
    assert "The first stage took 62 min." in text
    assert "@article{deng2025supervised," in text
    data = metadata_load(run_dir / "README.md")
    assert data["base_model"] == "me/srl" and {"srl", "two-stage"} <= set(data["tags"])
    assert started_from(str(run_dir))["started_from"]["name"] == "srl"
    assert started_from(str(run_dir / "checkpoint-3"))["method"] == "GRPO"
    assert started_from("Qwen/Qwen2.5-0.5B-Instruct") is None


def test_a_first_stage_with_broken_facts_does_not_end_the_second(tmp_path, caplog):
    (tmp_path / "training_facts.json").write_text("{")
    assert started_from(str(tmp_path)) is None
    assert "The model card is written without the first stage" in caplog.text and str(tmp_path) in caplog.text


def test_rlvr_alone_says_nothing_of_steps(run_dir):
    text = card(run_dir, method="GRPO")
    assert "build_prompt" not in text and "similarity rewards" not in text
    assert 'prompt = [{"role": "user", "content": "What is 2 · 3 + 1?"}]' in text
    text = card(run_dir, method="GRPO", system_prompt="Box it.")
    assert '{"role": "system", "content": "Box it."}, {"role": "user", "content": "What is 2 · 3 + 1?"}]' in text
    assert 'prompt = "What is 2 · 3 + 1?"\n' in card(run_dir, method="GRPO", prompt_is_text=True)
    assert "@article{deng2025supervised," not in text


TABLE_TAGS = ("table", "tbody", "td", "th", "thead", "tr")
HOSTILE = [
    "<script>alert(1)</script>",
    '<img src=x onerror="alert(1)">',
    "[click](javascript:alert(1))",
    "![x](https://example.org/pixel.png)",
    "https://example.org/spam",
    "`code` *bold* $math$ ~~gone~~",
    "a | b\n\n# heading\n\n---\n```\nfence",
    f"{END}\n\n<b>out</b>",
    "{{ 7 * 7 }} {% raw %}",
    "\ud800 lone \x00 \u202e override",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_hostile_gets_out_of_its_place(run_dir, text):
    metrics = {text: {"value": 1.0, "low": 0.5, "high": 1.0}}
    evaluated(run_dir, "other", dataset=text, split=text, model=text, settings={text: text}, metrics=metrics)
    evaluated(run_dir, "own", dataset=text, split=text, settings={text: text}, metrics=metrics)
    facts = dict.fromkeys(("name", "base_model", "dataset", "system_prompt", "hub_model_id"), text)
    facts |= {"base_on_hub": None, "dataset_on_hub": None, "reward_functions": [text], "versions": {text: text}}
    facts["data"] = {"lines": [text], "prepared": {"source": text, "dropped": {text: 1}}}
    facts["data"]["prepared"] |= {"source_rows": text}
    facts["settings"] = {text: text, "Last step is a target": text}
    facts["parts"] = [{"first_step": 1, "last_step": 4, "seconds": 1.0, "hardware": text}]
    facts |= {"best_checkpoint": text, "best_metric": text}
    plain = card(run_dir, **facts)
    assert card(run_dir, **facts) == plain  # its end is found again
    assert plain.splitlines().count(BEGIN) == plain.splitlines().count(END) == 1
    html = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(ModelCard(plain).text)
    tags = set(re.findall(r"<([a-z]+[0-9]?)", html))
    assert tags <= {"a", "code", "h1", "h2", "li", "p", "pre", "strong", "ul", *TABLE_TAGS}
    assert set(re.findall(r'href="([^"]*)"', html)) == {"https://github.com/huggingface/trl"}
    assert html.count("<h1>") == 1 and "<em>" not in html and "<hr" not in html
    assert "onerror" not in re.sub(r"&lt;.*?&gt;", "", html)


def test_escaped_text_shows_as_it_was():
    text = r"a_b*c*[d](e)|f`g`\h <i>&amp; $k$ ~l~"
    html = MarkdownIt("commonmark").render(escape(text))
    assert html == r"<p>a_b*c*[d](e)|f`g`\h &lt;i&gt;&amp;amp; $k$ ~l~</p>" + "\n"
    assert code("a`b\nc") == "`a'b c`"
    for value in ("plain", 'quo"te\\', "line\nbreak", "\u202e", "é·😀"):
        assert eval(literal(value)) == value and "\n" not in literal(value)


def test_names_on_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows").mkdir()
    assert hub_id("Qwen/Qwen2.5-0.5B") == "Qwen/Qwen2.5-0.5B"
    assert hub_id("gsm8k") == "gsm8k"
    for name in ("rows", "/data/rows", "a/b/c", "../up", ".", "", None, "a b/c", "x/<b>"):
        assert hub_id(name) is None
    assert public_name("/home/somebody/runs/srl") == "srl"
    assert public_name(None) == ""
