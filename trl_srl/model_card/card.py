"""The card of a run: TRL's card, with what it cannot know in the place of its example.

Of TRL's text the procedure, the versions and the citations stay; its opening sentence and its example, which asks the
model in a way it was not trained for, give way to ours. Ours stands between two comments, so that writing the card
again touches nothing else.
"""

import json
import shutil
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard
from jinja2 import Environment, StrictUndefined
from transformers.trainer import TRAINER_STATE_NAME

from ..citations import PACKAGE_CITATION, SRL_CITATION
from ..prompts import SYSTEM_PROMPT
from ..run_folder import read_log
from ..training_log import Change, Log, by_split, duration, steps_in_words, summarize_log
from .curves import curve_table, write_curves
from .evaluations import Evaluation, eval_results, evaluation_tables, read_evaluations
from .facts import FACTS, read_facts, write_facts
from .markdown import Markdown, code, escape, link, literal, one_line, table


BEGIN = "<!-- trl-srl: begin. `trl-srl card` writes this part again; what stands outside of it is yours. -->"
END = "<!-- trl-srl: end -->"
TRL_PROCEDURE = "\n## Training procedure\n"


def write_card(run_dir: str | Path, evaluations: list[Evaluation], hub_model_id: str | None = None) -> Path:
    """
    Write (again) our part of the model card in a run's output folder, its pictures and its metadata.

    Args:
        run_dir (`str` or `Path`):
            Output folder with `training_facts.json`, the trainer's state and a `README.md` (TRL's or one of ours).
        evaluations (`list[Evaluation]`):
            What [`read_evaluations`] found.
        hub_model_id (`str`, *optional*):
            Where the model is on the Hub, if the run did not push it; remembered among the facts.

    Returns:
        `Path`: the card.
    """
    run_dir = Path(run_dir)
    facts, log_history = read_facts(run_dir), read_log(run_dir)
    if hub_model_id is not None:
        facts["hub_model_id"] = hub_model_id
        write_facts(facts, run_dir)
    file = run_dir / "README.md"
    if not file.is_file():
        raise ValueError(f"{run_dir} has no README.md. trainer.create_model_card() writes it.")
    card = ModelCard(file.read_text(encoding="utf-8"), ignore_metadata_errors=True)
    picture = write_curves(log_history, run_dir)
    card.text = _place(card.text, _render(facts, log_history, evaluations, run_dir, picture), facts)
    _set_metadata(card, facts, eval_results(evaluations, run_dir, facts["hub_model_id"]))
    file.write_text(str(card), encoding="utf-8")
    return file


def copy_card(run_dir: str | Path, merged_dir: str | Path) -> Path | None:
    """
    Write the card of a run into the folder of the model that its adapter was merged into.

    Args:
        run_dir (`str` or `Path`):
            Output folder of the run.
        merged_dir (`str` or `Path`):
            Folder of the merged model. It gets the facts as well, so that a second stage that starts from it knows
            of the first.

    Returns:
        `Path` or `None`: the card; `None` if the folder is not that of a run of ours.
    """
    run_dir, merged_dir = Path(run_dir), Path(merged_dir)
    if not (run_dir / FACTS).is_file() or not (run_dir / "README.md").is_file():
        return None
    facts = read_facts(run_dir) | {"merged": True, "name": merged_dir.absolute().name, "hub_model_id": None}
    write_facts(facts, merged_dir)
    shutil.copyfile(run_dir / "README.md", merged_dir / "README.md")
    state = {"log_history": read_log(run_dir)}
    (merged_dir / TRAINER_STATE_NAME).write_text(json.dumps(state), encoding="utf-8")
    return write_card(merged_dir, read_evaluations(merged_dir))


def _place(text: str, ours: str, facts: Mapping[str, Any]) -> str:
    """Our part in the place of the earlier one, or of TRL's opening and example."""
    part = f"{BEGIN}\n\n{ours.strip()}\n\n{END}"
    before, begun, earlier = text.partition(BEGIN)
    _, ended, after = earlier.partition(f"\n{END}\n")  # in a line of its own, which no value can begin
    if begun and ended:
        return f"{before}{part}\n{after}"
    _, found, procedure = text.partition(TRL_PROCEDURE)
    citations = {"trl-srl": PACKAGE_CITATION}
    if facts["method"] != "SRL" and facts["started_from"]:
        citations = {"SRL": SRL_CITATION} | citations
    cited = "".join(f"\n\nCite {name} as:\n\n```bibtex\n{citation}\n```" for name, citation in citations.items())
    return f"\n{part}\n{found}{procedure if found else text}".rstrip() + cited + "\n"


def _render(
    facts: dict[str, Any], log_history: Log, evaluations: list[Evaluation], run_dir: Path, picture: str | None
) -> str:
    """Our part. Every value that the template writes is escaped, unless it is [`Markdown`] already."""
    # `autoescape` knows HTML only; the values here stand in Markdown.
    environment = Environment(finalize=escape, undefined=StrictUndefined, keep_trailing_newline=True)
    template = files("trl_srl.model_card").joinpath("model_card.md").read_text(encoding="utf-8")
    parent = facts["started_from"]
    srl = facts if facts["method"] == "SRL" else parent if parent and parent["method"] == "SRL" else None
    return environment.from_string(template).render(
        facts=facts,
        srl=srl,
        base=_base(facts),
        first_base=_base(parent) if parent else "",
        link=link,
        code=code,
        literal=literal,
        model_id=facts["hub_model_id"] or facts["name"],
        system_argument=_system_argument(srl),
        prefilled_argument=Markdown(", think_prefilled=True" if srl and srl["think_prefilled"] else ""),
        prompt=_prompt(facts),
        evaluations=evaluation_tables(evaluations, run_dir, facts["hub_model_id"]),
        changes=_changes(summarize_log(log_history)),
        data=_data(facts, parent),
        settings=table(["Setting", "Value"], _settings(facts), numbers=False),
        hardware=_hardware(facts, parent),
        curves=_curves(log_history, picture),
        license_note=_license_note(facts),
    )


def _system_argument(srl: dict[str, Any] | None) -> Markdown:
    """The argument of `build_prompt` for a system prompt that is not ours (which a data set's own may follow)."""
    system = srl["system_prompt"] if srl else None
    if system is None or system.startswith(SYSTEM_PROMPT):
        return Markdown("")
    return Markdown(f", system_prompt={literal(system)}")


def _prompt(facts: dict[str, Any]) -> Markdown:
    """The prompt for a whole solution, in the form of the training's prompts."""
    question = literal("What is 2 · 3 + 1?")
    if facts["prompt_is_text"]:
        return question
    system = facts["system_prompt"]
    first = f'{{"role": "system", "content": {literal(system)}}}, ' if system else ""
    return Markdown(f'[{first}{{"role": "user", "content": {question}}}]')


def _base(facts: dict[str, Any]) -> Markdown:
    """The starting model, with its address if it has one."""
    if facts["base_on_hub"]:
        return link(facts["base_model"], f"https://huggingface.co/{facts['base_on_hub']}")
    return Markdown(f"{code(facts['base_model'])} (a local folder)" if facts["base_model"] else "a new model")


def _changes(changes: list[Change]) -> Markdown:
    """A table for the training and for each evaluation set."""
    tables = []
    for (split, first, last), group in by_split(changes).items():
        title = "On training prompts" if split == "training" else f"On evaluation data: {split}"
        if first == last:  # logged once
            tables.append(table([title, last], [[c.title, f"{c.last:.3f}"] for c in group]))
        else:
            rows = [[c.title, f"{c.first:.3f}", f"{c.last:.3f}"] for c in group]
            tables.append(table([title, first, last], rows))
    return Markdown("\n\n".join(tables))


def _data(facts: dict[str, Any], parent: dict[str, Any] | None) -> Markdown:
    lines = [f"- {escape(line)}" for line in facts["data"]["lines"]]
    prepared = facts["data"]["prepared"]
    if prepared:
        dropped = ", ".join(f"{count} [{reason}]" for reason, count in prepared["dropped"].items())
        rows = prepared["source_rows"]
        read = f"{rows:,} rows" if isinstance(rows, int) else "rows"
        lines.append(
            escape(f"- prepared by trl-srl prepare from {read} of {prepared['source']}; dropped: {dropped or 'none'}")
        )
    if parent:
        lines.append(f"- the first stage, {escape(parent['name'])}: {escape('; '.join(parent['data']['lines']))}")
    return Markdown("\n".join(lines))


def _settings(facts: dict[str, Any]) -> list[tuple[str, Any]]:
    words = {True: "yes", False: "no"}
    settings = {name: words[value] if isinstance(value, bool) else value for name, value in facts["settings"].items()}
    rows = [("Optimizer steps", facts["step"]), *settings.items()]
    rows.insert(1, ("Reward functions", ", ".join(facts["reward_functions"])))
    trainable, parameters = facts["trainable_parameters"], facts["parameters"]
    share = "" if trainable == parameters else f" of {parameters:,}"
    rows.insert(1, ("Trained parameters", f"{trainable:,}{share}"))
    if adapter := facts["adapter"]:
        described = f"{adapter['type']}, rank {adapter['rank']}, alpha {adapter['alpha']}, on {adapter['modules']}"
        rows.insert(1, ("Adapter", described))
        if adapter.get("quantization"):
            rows.insert(2, ("Quantisation in training", adapter["quantization"]))
    return rows


def _hardware(facts: dict[str, Any], parent: dict[str, Any] | None) -> Markdown:
    parts = facts["parts"]
    steps = [steps_in_words((part["first_step"], part["last_step"])) for part in parts]
    rows = [[words, part["hardware"], duration(part["seconds"])] for words, part in zip(steps, parts, strict=True)]
    total = sum(part["seconds"] for part in parts)
    recorded = sum(part["last_step"] - part["first_step"] + 1 for part in parts)
    text = table(["Part", "Hardware", "Time"], rows, numbers=False) if rows else "No step was made."
    notes = ["Wall time of the training loop, with its evaluations and checkpoints."]
    if len(parts) > 1:
        notes.append(
            f"The run was interrupted and continued: {duration(total)} in all, without the steps that were lost with "
            "an interruption."
        )
    if recorded < facts["step"]:
        notes.append(f"Of {facts['step'] - recorded} steps the time was not recorded.")
    if parent:
        first_stage = sum(part["seconds"] for part in parent["parts"])
        notes.append(f"The first stage took {duration(first_stage)}.")
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    return Markdown(f"{text}\n\n{escape(' '.join(notes))}\n\n{escape(versions)}; the others are below.")


def _curves(log_history: Log, picture: str | None) -> Markdown | str:
    if picture:
        return Markdown(f"![Reward and the other metrics over the training steps]({picture})")
    return curve_table(log_history) or ""


def _license_note(facts: dict[str, Any]) -> str:
    if facts["license"]:
        return "The license is that of the model it was trained from; the training data may add conditions."
    return "No license could be read from the model it was trained from: that one's applies, and so may the data's."


def _set_metadata(card: ModelCard, facts: dict[str, Any], results: list[Any]) -> None:
    data, parent = card.data, facts["started_from"] or {}
    data.pop("licence")  # TRL's placeholder
    for name, value in facts["license"].items():
        data[name] = value
    base = facts["base_on_hub"] or parent.get("hub_model_id") or parent.get("base_on_hub")
    data["base_model"] = base
    is_adapter = bool(facts["adapter"]) and not facts["merged"]
    data["base_model_relation"] = ("adapter" if is_adapter else "finetune") if base else None
    data["datasets"] = [facts["dataset_on_hub"]] if facts["dataset_on_hub"] else None
    data["library_name"] = "peft" if is_adapter else "transformers"
    data["pipeline_tag"] = "text-generation"
    tags = ["trl-srl", *(["srl", "two-stage"] if parent.get("method") == "SRL" else [])]
    data["tags"] = sorted({*(data.get("tags") or []), *tags})
    data["model_name"] = one_line(facts["name"])
    data["eval_results"] = results or None
