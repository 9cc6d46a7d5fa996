"""`trl-srl prepare`: files in, files and a printed summary out."""

import json

import datasets
import pytest
from datasets import load_dataset

from tests.chat_server import ChatServer, reply
from trl_srl import __version__
from trl_srl.cli import main


GOOD = [
    {"problem": "What is 2 + 2?", "steps": ["Hold up 2 fingers.", "Hold up 2 more.", "Count 4."], "answer": "4"},
    {"problem": "What is 1 + 1?", "steps": ["Hold up 1 finger.", "Count 2."], "answer": "2"},
]
SOLUTIONS = [
    {
        "question": "How many clips?",
        "text": "1. **Halve**: 48 / 2 = 24\n2. **Add**: 48 + 24 = 72\n3. **Answer**: 72",
        "final": 72,
    },
    {"question": "No steps?", "text": "None.", "final": 0},
]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def write_rows(tmp_path):
    def write(rows, name="data.jsonl"):
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(path)

    return write


@pytest.fixture
def prepare(tmp_path):
    """Runs the command and loads what it wrote, as `trl-srl train --dataset_name DIR` would."""

    def run(*argv):
        main(["prepare", *argv, "--output_dir", str(tmp_path / "out")])
        return load_dataset(str(tmp_path / "out"))

    return run


@pytest.fixture
def fail(tmp_path, capsys):
    """Runs the command, which must fail with exit code 2, and returns the message."""

    def run(*argv):
        with pytest.raises(SystemExit) as error:
            main(["prepare", *argv, "--output_dir", str(tmp_path / "out")])
        captured = capsys.readouterr()
        assert error.value.code == 2
        assert captured.out == ""
        assert not list(tmp_path.glob("out/*"))
        assert "Traceback" not in captured.err
        (message,) = captured.err.split("trl-srl prepare: ")[1:]
        return message

    return run


def read_summary(tmp_path):
    return json.loads((tmp_path / "out" / "summary.json").read_text())


def test_rows_with_steps(prepare, write_rows, tmp_path, capsys):
    source = write_rows([*GOOD, {"problem": "One step?", "steps": ["Yes."], "answer": None}])
    splits = prepare(source)
    assert set(splits) == {"train"}
    assert splits["train"].column_names == [
        *("prompt", "expert_action", "problem_id", "step_index", "num_steps", "answer")
    ]
    assert splits["train"]["expert_action"][:] == ["Hold up 2 fingers.", "Hold up 2 more.", "Hold up 1 finger."]
    assert splits["train"]["answer"][:] == ["4", "4", "2"]
    assert splits["train"][1]["prompt"][-1] == {
        "role": "user",
        "content": "Problem:\nWhat is 2 + 2?\n\nSolution so far:\nHold up 2 fingers.\n\nWrite the next step.",
    }
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["summary.json", "train.parquet"]
    assert read_summary(tmp_path) == {
        "source": source,
        "source_rows": 3,
        "step_rows": 3,
        "problems": 2,
        "trimmed": 0,
        "dropped": {"too_few_steps": 1},
        "splits": {"train": 3},
    }
    assert capsys.readouterr().out == (
        f"3 rows read from {source}\n"
        "3 step rows from 2 problems\n"
        "dropped 1 trajectories without a step to learn (by default the last step is never a target) [too_few_steps]\n"
        f"wrote 3 step rows to {tmp_path}/out/train.parquet\n"
    )


def test_output_folder_with_its_parents(write_rows, tmp_path):
    main(["prepare", write_rows(GOOD), "-o", str(tmp_path / "a" / "b")])
    assert (tmp_path / "a" / "b" / "train.parquet").is_file()


def test_whole_solutions_are_cut(prepare, write_rows, tmp_path):
    rows = prepare(write_rows(SOLUTIONS), "--solution_column", "text", "--problem_column", "question")["train"]
    assert rows["expert_action"][:] == ["**Halve**: 48 / 2 = 24", "**Add**: 48 + 24 = 72"]
    assert rows[0]["prompt"][-1]["content"].startswith("Problem:\nHow many clips?\n")
    assert "answer" not in rows.column_names
    assert read_summary(tmp_path)["dropped"] == {"too_few_steps": 1}
    assert read_summary(tmp_path)["source_rows"] == 2


def test_answer_column_of_whole_solutions(prepare, write_rows):
    columns = ["--solution_column", "text", "--problem_column", "question", "--answer_column", "final"]
    assert prepare(write_rows(SOLUTIONS), *columns)["train"]["answer"][:] == ["72", "72"]


def test_columns_of_rows_with_steps_are_renamed(prepare, write_rows):
    row = {"question": "P", "steps": ["a", "b"], "final": 7}
    rows = prepare(write_rows([row]), "--problem_column", "question", "--answer_column", "final")["train"]
    assert rows["answer"][:] == ["7"]
    assert rows[0]["prompt"][-1]["content"].startswith("Problem:\nP\n")


def test_trl_stepwise_type(prepare, write_rows):
    rows = [
        {"prompt": "P", "completions": ["a", "b"], "labels": [True, True]},
        {"prompt": "Q", "completions": ["c", "d"], "labels": [True, False]},
    ]
    assert prepare(write_rows(rows))["train"]["expert_action"][:] == ["a"]


@pytest.mark.parametrize(
    ("text", "options", "actions"),
    [
        ("1. a\n2. b\n\nc", ["--style", "numbered"], ["a"]),
        ("1. a\n2. b\n\nc", ["--style", "paragraphs"], ["1. a\n2. b"]),
        ("1. a\n2. b\n\nc", ["--style", "lines"], ["1. a", "2. b"]),
        ("Rule A: a\nRule B: b\nRule C: c", ["--split_regex", "^Rule"], ["Rule A: a", "Rule B: b"]),
        ("(a) Halve. (b) Add. (c) End.", ["--split_regex", r"\([a-z]\)"], ["(a) Halve.", "(b) Add."]),
    ],
)
def test_styles(prepare, write_rows, text, options, actions):
    source = write_rows([{"problem": "P", "solution": text}])
    assert prepare(source, "--solution_column", "solution", *options)["train"]["expert_action"][:] == actions


def test_include_last_step_and_system_prompt(prepare, write_rows):
    rows = prepare(write_rows(GOOD), "--include_last_step", "--system_prompt", "Be brief.")["train"]
    assert len(rows) == 5
    assert rows[0]["prompt"][0] == {"role": "system", "content": "Be brief."}


def test_title_hint(prepare, write_rows):
    columns = ["--solution_column", "text", "--problem_column", "question"]
    rows = prepare(write_rows(SOLUTIONS), *columns, "--title_hint")["train"]
    assert rows["expert_action"][:] == ["48 / 2 = 24", "48 + 24 = 72"]
    assert "Title of the next step: Halve" in rows[0]["prompt"][-1]["content"]


TEN = [{"problem": f"P{i}", "steps": ["a", "b", "c"]} for i in range(10)]


@pytest.mark.parametrize(("size", "problems"), [("3", 3), ("1", 1), ("0.2", 2)])
def test_validation_by_problem(prepare, write_rows, tmp_path, capsys, size, problems):
    splits = prepare(write_rows(TEN), "--validation_size", size)
    assert len(splits["validation"]) == 2 * problems
    assert len(splits["train"]) == 20 - 2 * problems
    assert not set(splits["train"]["problem_id"]) & set(splits["validation"]["problem_id"])
    assert read_summary(tmp_path)["splits"] == {"train": 20 - 2 * problems, "validation": 2 * problems}
    assert capsys.readouterr().out.endswith(f"wrote {2 * problems} step rows to {tmp_path}/out/validation.parquet\n")


def test_seed_of_the_validation_split(write_rows, tmp_path):
    source, sides = write_rows(TEN), {}
    for run, seed in enumerate(["1", "1", "2"]):
        folder = tmp_path / str(run)
        main(["prepare", source, "-o", str(folder), "--validation_size", "5", "--seed", seed])
        sides[run] = set(load_dataset(str(folder), split="validation")["problem_id"])
    assert sides[0] == sides[1] != sides[2]


def test_a_second_run_leaves_no_validation_file_of_the_first(prepare, write_rows):
    source = write_rows(TEN)
    prepare(source, "--validation_size", "3")
    splits = prepare(source)
    assert len(splits["train"]) == 20
    assert set(splits) == {"train"}  # else three problems are trained on and validated on


def test_prompts_are_trimmed_with_the_tokenizer_of_a_model(prepare, write_rows, tokenizer, tmp_path, capsys):
    tokenizer.save_pretrained(tmp_path / "model")
    source = write_rows([{"problem": "P", "steps": ["a" * 100, "b" * 100, "c"]}])
    # Rendered without steps: <|im_start|>system\n, <|im_end|>\n and so on, one token for each byte or special token.
    first = (
        (1 + 7 + 0 + 2)
        + (1 + 5 + len("Problem:\nP\n\nSolution so far:\n(nothing yet)\n\nWrite the next step.") + 2)
        + 11
    )
    limits = ["--model", str(tmp_path / "model"), "--system_prompt", "", "--max_prompt_length"]
    assert len(prepare(source, *limits, str(first + 100 - 13))["train"]) == 2
    assert read_summary(tmp_path)["trimmed"] == 0
    assert len(prepare(source, *limits, str(first + 100 - 14))["train"]) == 2
    assert read_summary(tmp_path)["trimmed"] == 1
    assert "1 of them leave out earlier steps" in capsys.readouterr().out
    assert len(prepare(source, *limits, str(first))["train"]) == 1
    assert read_summary(tmp_path)["dropped"] == {"prompt_too_long": 1}


def test_two_processes(prepare, write_rows):
    rows = prepare(
        write_rows(SOLUTIONS), "--solution_column", "text", "--problem_column", "question", "--num_proc", "2"
    )
    assert rows["train"]["expert_action"][:] == ["**Halve**: 48 / 2 = 24", "**Add**: 48 + 24 = 72"]


def test_limit_without_a_model(fail, write_rows):
    message = fail(write_rows(GOOD), "--max_prompt_length", "100")
    assert message == "--max_prompt_length counts tokens: name the model with --model.\n"
    assert "history_window=-1 is too small" in fail(write_rows(GOOD), "--history_window", "-1")


def test_missing_model(fail, write_rows, tmp_path):
    folder = str(tmp_path / "no_model")
    assert folder in fail(write_rows(GOOD), "--max_prompt_length", "100", "--model", folder)


def test_missing_file(fail, tmp_path):
    message = fail(str(tmp_path / "nothing.jsonl"))
    assert message.startswith(f"There is no file {tmp_path}/nothing.jsonl.")
    assert message.count("\n") == 1


def test_missing_folder(fail, tmp_path):
    assert str(tmp_path / "nowhere") in fail(str(tmp_path / "nowhere"))


def test_wrong_suffix(fail, tmp_path):
    (tmp_path / "data.txt").write_text("P")
    assert "its name must end in one of" in fail(str(tmp_path / "data.txt"))


def test_missing_columns(fail, write_rows):
    message = fail(write_rows([{"problem": "P", "solution": "1. a\n2. b"}]))
    assert message.startswith("Cannot find expert trajectories in the columns ['problem', 'solution'].")
    assert "--solution_column" in message
    assert message.count("\n") == 1


@pytest.mark.parametrize(
    "options",
    [["--solution_column", "text"], ["--solution_column", "solution", "--problem_column", "question"]],
    ids=lambda options: options[-1],
)
def test_wrong_column_of_a_solution(fail, write_rows, options):
    message = fail(write_rows([{"problem": "P", "solution": "1. a\n2. b"}]), *options)
    assert message == (
        f"The dataset has no column ['{options[-1]}']; it has ['problem', 'solution']. Name the right ones.\n"
    )


@pytest.mark.parametrize("option", ["--problem_column", "--answer_column"])
def test_wrong_column_of_rows_with_steps(fail, write_rows, option):
    assert "nonsense" in fail(write_rows(GOOD), option, "nonsense")


def test_unknown_style(fail, write_rows):
    message = fail(write_rows([{"problem": "P", "solution": "a"}]), "--solution_column", "solution", "--style", "x")
    assert "'x' is no style; choose one of auto" in message


def test_bad_regular_expression(fail, write_rows):
    source = write_rows([{"problem": "P", "solution": "a"}])
    message = fail(source, "--solution_column", "solution", "--split_regex", "(")
    assert "--split_regex" in message


@pytest.mark.parametrize("options", [["--style", "lines"], ["--split_regex", "^Rule"]], ids=" ".join)
def test_how_to_cut_without_what_to_cut(fail, write_rows, options):
    assert "--solution_column" in fail(write_rows(GOOD), *options)


def test_step_that_is_no_text(fail, write_rows):
    message = fail(write_rows([{"problem": "What is it?", "steps": [1, 2]}]))
    assert "in the trajectory of the problem 'What is it?'" in message


def test_steps_of_a_csv_file_are_one_text(fail, tmp_path):
    (tmp_path / "data.csv").write_text("problem,steps\nP,\"['a','b']\"\n")
    assert "--solution_column" in fail(str(tmp_path / "data.csv"))


@pytest.mark.parametrize("size", ["0", "10", "-1", "0.001", "2.5", "inf", "nan"])
def test_validation_size_that_leaves_a_side_empty(fail, write_rows, size):
    assert "both sides need at least one" in fail(write_rows(TEN), "--validation_size", size)


def test_no_usable_row(fail, write_rows):
    message = fail(write_rows([{"problem": "P", "steps": ["a"]}]))
    assert message.startswith("No usable step row in 1 rows.\n0 step rows from 0 problems\n")
    assert "[too_few_steps]" in message
    assert message.endswith("\nExample of too_few_steps: 'P': 'a'\n")


@pytest.mark.parametrize("argv", [["--help"], ["prepare", "--help"], ["train", "--help"], ["--version"]], ids=" ".join)
def test_help(argv, capsys):
    with pytest.raises(SystemExit) as error:
        main(argv)
    assert error.value.code == 0
    out = capsys.readouterr().out
    expected = {
        "--help": "prepare",
        "prepare --help": "--validation_size",
        "train --help": "--model_name_or_path",
        "--version": f"trl-srl {__version__}\n",
    }
    assert expected[" ".join(argv)] in out


@pytest.mark.parametrize("argv", [[], ["prepair"], ["prepare"], ["prepare", "data.jsonl"]], ids=" ".join)
def test_wrong_usage(argv, capsys):
    with pytest.raises(SystemExit) as error:
        main(argv)
    assert error.value.code == 2
    assert capsys.readouterr().err.startswith("usage: trl-srl")


def test_help_of_prepare_names_every_style(capsys):
    with pytest.raises(SystemExit):
        main(["prepare", "--help"])
    out = capsys.readouterr().out
    assert all(style in out for style in ("auto", "numbered", "titled", "headings", "paragraphs", "lines"))


def test_streaming(prepare, write_rows, tmp_path):
    source = write_rows([*TEN, *TEN[:2]])
    splits = prepare(source, "--streaming", "--validation_size", "3")
    assert (len(splits["train"]), len(splits["validation"])) == (14, 6)
    assert read_summary(tmp_path)["dropped"] == {"duplicate": 4}


def test_pattern_of_files(prepare, write_rows, tmp_path):
    write_rows(TEN[:5], "a.jsonl")
    write_rows(TEN[5:], "b.jsonl")
    assert len(prepare(str(tmp_path / "*.jsonl"))["train"]) == 20


def test_json_lines(prepare, write_rows, tmp_path):
    rows = prepare(write_rows(GOOD), "--format", "jsonl")["train"]
    assert rows["expert_action"][:] == ["Hold up 2 fingers.", "Hold up 2 more.", "Hold up 1 finger."]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["summary.json", "train.jsonl"]


@pytest.mark.parametrize("source", ["data", "data/train.jsonl", "data/*.jsonl"])
def test_the_source_is_not_overwritten(tmp_path, capsys, source):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.jsonl").write_text(json.dumps(GOOD[0]) + "\n")
    with pytest.raises(SystemExit):
        main(["prepare", str(tmp_path / source), "-o", str(tmp_path / "data" / ".." / "data")])
    assert "would take the place of that file" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["train.jsonl"]
    main(["prepare", str(tmp_path / source), "-o", str(tmp_path / "data" / "rows")])  # beside it is fine


def test_adapter(prepare, write_rows):
    row = {"question": "How many clips?", "answer": "Half is 48/2=<<48/2=24>>24.\nTogether 72.\n#### 72"}
    rows = prepare(write_rows([row]), "--adapter", "gsm8k")["train"]
    assert rows["expert_action"][:] == ["Half is 48/2=24.", "Together 72."]
    assert rows["answer"][:] == ["72", "72"]


CHAT = {
    "messages": [
        {"role": "user", "content": "Fix it."},
        *(
            {"role": role, "content": text}
            for i in range(4)
            for role, text in (("assistant", f"```bash\ncat {i}\n```"), ("user", f"output {i}"))
        ),
    ]
}


@pytest.mark.parametrize(("window", "messages"), [("0", [2, 2, 2, 2]), ("1", [2, 4, 4, 4]), (None, [2, 4, 6, 6])])
def test_history_window(prepare, write_rows, window, messages):
    options = [] if window is None else ["--history_window", window]
    rows = prepare(write_rows([CHAT]), "--adapter", "messages", *options)["train"]
    assert [len(prompt) for prompt in rows["prompt"]] == messages


def test_adapter_options(prepare, write_rows):
    options = ["--adapter", "messages", "--adapter_options", '{"max_observation_length": 4}']
    rows = prepare(write_rows([CHAT]), *options)["train"]
    assert "4 characters left out" in rows[1]["prompt"][-1]["content"]  # "output 0" has 8


def test_style_of_an_adapter(prepare, write_rows):
    row = {"problem": "P", "solution": "1. a\n2. b\n\nc", "answer": "7"}
    rows = prepare(write_rows([row]), "--adapter", "numina_math", "--style", "paragraphs")["train"]
    assert rows["expert_action"][0] == "1. a\n2. b"
    assert prepare(write_rows([row]), "--adapter", "numina_math")["train"]["expert_action"][0] == "a"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--adapter_options", "{}"], "--adapter_options are those of --adapter NAME"),
        (["--adapter", "messages", "--adapter_options", "[1]"], "as a JSON object"),
        (["--adapter", "messages", "--adapter_options", "{"], "as a JSON object"),
        (["--adapter", "messages", "--adapter_options", '{"x": 1}'], "has no option x"),
        (["--adapter", "messages", "--style", "lines"], "has no option style"),
    ],
)
def test_wrong_adapter_options(fail, write_rows, options, message):
    assert message in fail(write_rows([CHAT]), *options)


def test_adapter_that_does_not_fit(fail, write_rows):
    message = fail(write_rows(GOOD), "--adapter", "swe_smith")
    assert "needs the columns ['messages']" in message
    assert "Found: ['answer', 'problem', 'steps']" in message
    assert "There is no adapter 'x'" in fail(write_rows(GOOD), "--adapter", "x")


@pytest.mark.parametrize("option", ["--solution_column", "--problem_column", "--answer_column"])
def test_adapter_with_columns(fail, write_rows, option):
    assert "--adapter knows the columns" in fail(write_rows(GOOD), "--adapter", "gsm8k", option, "x")


def test_inspect_writes_nothing(write_rows, tmp_path, capsys, tokenizer):
    tokenizer.save_pretrained(tmp_path / "model")
    bad = {"problem": "[red]One?\x1b[2J", "steps": ["Yes."], "answer": "1"}
    before = sorted(tmp_path.iterdir())
    main(["prepare", write_rows([*GOOD, bad]), "--inspect", "--model", str(tmp_path / "model")])
    out = capsys.readouterr().out
    assert set(tmp_path.iterdir()) - set(before) <= {tmp_path / "data.jsonl", tmp_path / "cache"}
    for line in (
        "3 step rows from 2 problems\n",
        "Steps of a solution: mean 2.5, median 2, 95 % up to 3, from 2 to 3\n",
        "Tokens of a step: mean 16.7, ",  # (18 + 15 + 17 bytes) / 3
        r"    [red]One?\x1b[2J" + "\n      > Yes.\n",
        "  0 of 2 solutions do not have their answer in the last step\n",
        "Row 1 of 3, problem 38d46ad3618826cf, step 1 of 3\n<|im_start|>system\n",
        "\n<|im_start|>assistant\n\n--- the expert's action ---\nHold up 2 fingers.\n",
    ):
        assert line in out
    assert "\x1b" not in out  # no colours in a pipe, and none from the data
    assert "wrote" not in out


def test_inspect_and_write(prepare, write_rows, capsys):
    assert set(prepare(write_rows(TEN), "--inspect", "--validation_size", "3")) == {"train", "validation"}
    out = capsys.readouterr().out
    assert "  0 problems are in both training and validation\n" in out
    assert "[system]\nYou help to solve" in out
    assert out.count("wrote ") == 2


STEPS = "1. **Halve** 48 / 2 = 24.\n2. **Add** 48 + 24 = 72."
PLAIN = [
    {"problem": "How many clips?", "solution": "Half of 48 is 24, so 72.", "answer": "72"},
    {"problem": "How many pens?", "solution": "7.", "answer": "7"},
]


@pytest.fixture
def rewrite(tmp_path):
    return [
        "--solution_column",
        "solution",
        "--rewrite_with",
        "m",
        "--rewrite_cache",
        str(tmp_path / "c" / "r.sqlite"),
    ]


@pytest.mark.parametrize("options", [[], ["--num_proc", "2"], ["--streaming"]], ids=str)
def test_rewriting(prepare, write_rows, tmp_path, capsys, rewrite, options):
    server = ChatServer(lambda text, asked: reply(STEPS))
    with server.running():
        base_url = ["--rewrite_base_url", server.url]
        rows = prepare(write_rows(PLAIN), *rewrite, *base_url, *options)["train"]
        assert rows["expert_action"][:] == ["**Halve**: 48 / 2 = 24."]
        assert read_summary(tmp_path)["dropped"] == {"rewrite_answer": 1}
        assert "dropped 1 solutions whose rewriting lost the final answer" in capsys.readouterr().out
        prepare(write_rows(PLAIN), *rewrite, *base_url, "--include_last_step")
    assert len(server.requests) == 2  # the second run paid nothing
    assert "Half of 48 is 24, so 72." in str(server.requests)


def test_rejected_replies_are_shown(write_rows, capsys, rewrite):
    replies = {"clips": reply("I'd rather not."), "pens": reply("cut of", finish_reason="length")}
    server = ChatServer(lambda text, asked: next(there for word, there in replies.items() if word in text))
    with server.running(), pytest.raises(SystemExit):
        main(["prepare", write_rows(PLAIN), *rewrite, "--rewrite_base_url", server.url, "--inspect"])
    message = capsys.readouterr().err
    assert "Example of rewrite_format: 'How many clips?': \"I'd rather not.\"\n" in message
    assert "Example of rewrite_failed: 'How many pens?': 'The reply was cut off at 4096 tokens.'\n" in message


def test_a_broken_server_keeps_what_is_done(write_rows, tmp_path, capsys, rewrite):
    source = write_rows(PLAIN)
    server = ChatServer(lambda text, asked: reply(STEPS) if "clips" in text else (401, {}, "who are you?"))
    with server.running(), pytest.raises(SystemExit):
        command = ["prepare", source, *rewrite, "--rewrite_base_url", server.url, "-o", str(tmp_path / "out")]
        main([*command, "--rewrite_in_flight", "1"])
    assert "answers 401: who are you?" in capsys.readouterr().err
    assert len(server.requests) == 2
    mended = ChatServer(lambda text, asked: reply("1. **Say** It is\n2. **End** 7."))
    with mended.running():
        main(["prepare", source, *rewrite, "--rewrite_base_url", mended.url, "-o", str(tmp_path / "out")])
    assert [request[2]["messages"][-1]["content"][:23] for request in mended.requests] == ["Problem:\nHow many pens?"]
    assert len(load_dataset(str(tmp_path / "out"), split="train")) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rewrite_base_url", "http://127.0.0.1:9/v1"], "name the model with --rewrite_with"),
        (["--rewrite_with", "m", "--rewrite_base_url", "127.0.0.1:9"], "must be http://HOST"),
        (["--rewrite_with", "m", "--num_proc", "2"], "A local model rewrites in one process"),
    ],
)
def test_wrong_use_of_rewriting(fail, write_rows, options, message):
    assert message in fail(write_rows(PLAIN), "--solution_column", "solution", *options)
