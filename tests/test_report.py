"""The report's numbers by hand, what it packs, and that nothing in it can run. test_report_page.py opens it."""

import base64
import gzip
import hashlib
import json
import re

import pytest

from trl_srl.cli import main
from trl_srl.report import write_report
from trl_srl.report.findings import find
from trl_srl.report.rows import PackedRollouts, choose_groups
from trl_srl.report.statistics import RunStatistics
from trl_srl.rollouts import rollout_files
from trl_srl.run_folder import find_run
from trl_srl.similarity import MAX_LENGTH

from .made_up_runs import make_row, write_run


def data_of(page):
    (island,) = re.findall(r'<script type="text/plain" id="data">([A-Za-z0-9+/=]*)</script>', page.read_text())
    return json.loads(gzip.decompress(base64.b64decode(island)))


@pytest.fixture
def rows():
    """Two steps of two groups. 2M/T of "x = 3" and "x = 4" is 8/10."""
    return [
        make_row("<think>hm</think>x = 3", step=1, group=0),
        make_row("x = 4", step=1, group=0),
        make_row("<think>cut", step=1, group=1, sampling="dropped", truncated=True, step_index=1),
        make_row("<think></think>x = 3", step=1, group=1, sampling="dropped", step_index=1),
        make_row("<think></think>x = 4", step=2, group=0),
        make_row("<think></think>x = 3", step=2, group=0),
        make_row("<think></think>no number", "no number", step=2, group=1, sampling="surplus", step_index=1),
        make_row("<think></think>x = 3", step=2, split="eval"),
    ]


def test_statistics_by_hand(rows):
    statistics = RunStatistics()
    statistics.add(rows)
    assert statistics.splits() == ["train", "eval"]
    train = statistics.curves()["train"]
    assert train["step"] == [1, 2]
    assert train["rows"] == [4, 3]
    assert train["reward"] == pytest.approx([(0.8 - 1 - 1 + 0.8) / 4, (1 + 0.8 + 1) / 3])
    assert train["reward_trained"] == pytest.approx([-0.1, 0.9])
    assert train["similarity"] == pytest.approx([1.6 / 4, 2.8 / 3])  # malformed counts as 0
    assert train["similarity_well_formed"] == pytest.approx([0.8, 2.8 / 3])
    assert train["format_rate"] == [0.5, 1.0]
    assert train["exact_rate"] == pytest.approx([0, 2 / 3])
    assert train["truncated_rate"] == [0.25, 0]
    assert train["right_number_rate"] == [0, 0.5]  # the step without a number is not asked
    assert train["length_ratio"] == [1, 1]
    assert train["monologue_length"] == [1, 0]
    assert train["acceptance"] == [0.5, 1.0]  # of groups
    assert "acceptance" not in statistics.curves()["eval"]
    assert dict(statistics.verdicts["train"]) == {"well_formed": 3, "bad_format": 1, "truncated": 1, "exact": 2}
    assert dict(statistics.sampling) == {"trained": 4, "dropped": 2, "surplus": 1}
    (first, second) = statistics.by_step_index("train")
    assert (first["index"], first["first"]["rows"], first["last"]["similarity"]) == (0, 2, pytest.approx(0.9))
    assert (second["index"], second["first"]["similarity"], second["last"]["rows"]) == (1, pytest.approx(0.4), 1)
    ends = statistics.ends("train")
    assert (ends["first"]["from"], ends["first"]["to"], ends["last"]["to"]) == (1, 1, 2)


def test_the_ends_are_tenths():
    statistics = RunStatistics()
    statistics.add(make_row("<think></think>x = 4" if step > 18 else "x", step=step) for step in range(1, 21))
    ends = statistics.ends("train")
    assert [(ends[end]["from"], ends[end]["to"]) for end in ("first", "last")] == [(1, 2), (19, 20)]
    assert (ends["first"]["similarity"], ends["last"]["similarity"]) == (0, 1)


def test_long_curves_are_means_of_neighbours():
    statistics = RunStatistics()
    row = make_row("<think></think>x = 4")
    statistics.add(row | {"step": step, "reward": float(step % 2)} for step in range(1, 2002))
    curve = statistics.curves()["train"]
    assert curve["step"] == [*range(3, 2002, 3)]
    assert curve["rows"] == [3] * 667
    assert curve["reward"][:2] == [pytest.approx(2 / 3), pytest.approx(1 / 3)]  # of steps 1, 2, 3 and 4, 5, 6


BASE = {
    "similarity": 0.4,
    "similarity_well_formed": 0.5,
    "format_rate": 0.8,
    "exact_rate": 0.1,
    "right_number_rate": 0.5,
    "length_ratio": 1.0,
    "truncated_rate": 0.0,
    "reward": 0.2,
    "rows": 1000,
    "rows_with_number": 1000,
}


def said(acceptance=None, **last):
    return {finding.text: finding.kind for finding in find({"first": BASE, "last": BASE | last}, acceptance)}


def test_the_change_of_similarity_is_taken_apart():
    # 0.8 x 0.5 = 0.4 → 1.0 x 0.7 = 0.7: by format 0.2 x 0.6, by wording 0.2 x 0.9
    findings = said(similarity=0.7, similarity_well_formed=0.7, format_rate=1.0)
    (text,) = [text for text in findings if text.startswith("Similarity of all")]
    assert "0.400 → 0.700 (+0.300)" in text
    assert "The format accounts for +0.120" in text
    assert "say for +0.180 (0.500 → 0.700)" in text
    assert findings[text] == "good"


@pytest.mark.parametrize(
    ("last", "kind", "part"),
    [
        ({"similarity": 0.5}, "warning", "exact steps did not, beyond chance"),
        ({"similarity": 0.5, "exact_rate": 0.2}, "good", "Exact steps 10.0% → 20.0%."),
        ({"similarity": 0.5, "right_number_rate": 0.4}, "warning", "it pays for wording here"),
        ({"right_number_rate": 0.51}, "neutral", "no more than chance would give"),
        ({"right_number_rate": 0.6}, "good", "50.0% → 60.0%."),
        ({"length_ratio": 2.5}, "warning", "2.50 times as long"),
        ({"truncated_rate": 0.3}, "warning", "30.0% of the last completions are cut off"),
        ({"similarity": 0.3}, "warning", "(-0.100)"),
        ({"acceptance": [1.0] * 9 + [0.2]}, "warning", "Only 20.0% of the last groups"),
    ],
)
def test_findings(last, kind, part):
    assert [found for text, found in said(**last).items() if part in text] == [kind]


def test_findings_without_an_expert():
    nothing = dict.fromkeys(BASE) | {"truncated_rate": 0.0}
    assert find({"first": nothing | {"reward": 0.25}, "last": nothing | {"reward": 0.5}}) == [
        ("neutral", "Reward 0.250 → 0.500.")
    ]


def test_blocks_and_lengths_are_those_of_the_reward():
    packed = PackedRollouts()
    long = "y" * (MAX_LENGTH + 7)
    packed.add(make_row("<think>m</think>x = 3"))
    packed.add(make_row(f"<think>m</think>{long}"))
    packed.add(make_row("no format", step_index=1))
    packed.add(make_row("<think>m</think>x = 3", step=2))
    data = json.loads(json.dumps(packed.as_json()))
    columns, texts = data["columns"], data["texts"]
    assert columns["blocks"] == [[0, 0, 4], [], None, [0, 0, 4]]
    assert texts[columns["action"][0]] == "x = 3"
    assert columns["action"][0] == columns["action"][3]  # equal texts once
    assert data["cut"] == {str(columns["action"][1]): MAX_LENGTH + 7}
    assert len(texts[columns["action"][1]]) == MAX_LENGTH
    assert [place is None for place in columns["completion"]] == [True, True, False, True]
    assert len(data["prompts"]) == 1


def test_more_rollouts_than_fit_are_counted(tmp_path):
    rows = [
        make_row("<think></think>x", step=step, group=group)
        for step in range(1, 21)
        for group in range(5)
        for _ in range(4)
    ]
    run = write_run(tmp_path / "run", rows)
    chosen, total = choose_groups(rollout_files(run / "_rollouts"), 100)
    assert (len(chosen), total) == (25, 400)
    assert {step for _, step, _ in chosen} == set(range(1, 21))  # all of the training, whole groups
    report = write_report(run, tmp_path / "page.html", max_rollouts=100)
    assert (report.shown, report.total, report.size) == (100, 400, report.path.stat().st_size)
    data = data_of(report.path)
    assert data["counts"] == {"shown": 100, "total": 400, "sampling": {"trained": 400}}
    assert sum(data["curves"]["train"]["rows"]) == 400
    with pytest.raises(ValueError, match="max_rollouts=0 leaves nothing"):
        write_report(run, tmp_path / "page.html", max_rollouts=0)


HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "]]>\u2028\u2029",
    "<img src=x onerror=alert(2)>",
    "javascript:alert(3)",
    "\0\x1b[31m\ufeff",
    "@@STYLE@@ @@DATA@@",
    "a\ud800b",
]


def test_the_page_holds_no_text_of_the_run_as_markup(tmp_path, rows):
    hostile = [make_row(f"<think>{text}</think>{text}", text, problem=text, problem_id=text) for text in HOSTILE]
    run = write_run(tmp_path / "<b>run", [*rows, *hostile], log=[{"step": 1, HOSTILE[0]: 1.0, "loss": float("nan")}])
    plain = write_run(tmp_path / "plain", rows)
    pages = [write_report(folder, tmp_path / f"{i}.html").path for i, folder in enumerate((run, plain))]
    outside = [re.sub(r'(id="data">)[^<]*', r"\1", page.read_text()) for page in pages]
    assert outside[0] == outside[1]  # markup, styles and scripts are the same whatever the run says
    assert outside[0].count("<script") == outside[0].count("</script>") == 2
    data = data_of(pages[0])
    assert data["title"] == "<b>run"
    stored = [text.replace("\ud800", "\ufffd") for text in HOSTILE]
    assert set(stored) <= set(data["rollouts"]["texts"])


def test_the_policy_allows_the_page_s_own_script_only(tmp_path, rows):
    page = write_report(write_run(tmp_path / "run", rows), tmp_path / "page.html").path.read_text()
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert set(rules) == {"default-src", "style-src", "script-src", "base-uri", "form-action"}
    for rule, tag in (("script-src", "script"), ("style-src", "style")):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.S)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    assert "innerHTML" not in re.sub(r"//.*", "", page)
    assert not re.search(r"(src|href)=\"(?!#)", page)
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")


def test_the_same_run_gives_the_same_page(tmp_path, rows):
    run = write_run(tmp_path / "run", rows)
    assert len({write_report(run, tmp_path / f"{i}.html").path.read_bytes() for i in range(2)}) == 1


def test_the_run_is_found(tmp_path, rows):
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        find_run(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="neither rollouts"):
        find_run(tmp_path)
    run = write_run(tmp_path / "demo" / "model", rows)
    assert find_run(tmp_path / "demo").path == run
    assert find_run(tmp_path / "demo").log == []
    for step, value in ((2, 0.25), (10, 0.5)):
        folder = run / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "trainer_state.json").write_text(json.dumps({"log_history": [{"step": step, "loss": value}]}))
    assert find_run(run).log == [{"step": 10, "loss": 0.5}]
    (run / "trainer_state.json").write_text(json.dumps({"log_history": [{"step": 12, "loss": 0.75}]}))
    assert find_run(run).log == [{"step": 12, "loss": 0.75}]
    write_run(tmp_path / "demo" / "other", rows)
    with pytest.raises(FileNotFoundError, match="2 runs are below it"):
        find_run(tmp_path / "demo")
    (run / "trainer_state.json").write_text("{")
    with pytest.raises(ValueError, match="not a trainer's state"):
        find_run(run)


def test_the_command(tmp_path, rows, capsys):
    run = write_run(tmp_path / "run", rows)
    main(["report", str(run), "-o", str(tmp_path / "new" / "page.html"), "--max_rollouts", "3"])
    assert re.search(r"page\.html \(0\.\d MB\): \d rollouts to browse of 8; the others", capsys.readouterr().out)
    with pytest.raises(SystemExit) as ended:
        main(["report", str(tmp_path / "nowhere")])
    assert ended.value.code == 2
    assert "trl-srl report: There is no folder" in capsys.readouterr().err
