"""Means and bands over seeds by hand, and pictures that say what is left out."""

import pytest


pytest.importorskip("matplotlib")

from PIL import Image

from trl_srl.cli import main
from trl_srl.cli.plot import name_and_folder
from trl_srl.plots import plot_runs, series, spread

from .made_up_runs import write_run


def log_of(*rewards, first=1, **more):
    return [{"step": step, "reward": reward} | more for step, reward in enumerate(rewards, start=first)]


def test_series():
    log = [
        {"step": 1, "reward": 1},
        {"step": 2, "eval_loss": 1.0},
        {"step": 3, "reward": 2.0},
        {"step": 4, "reward": 6},
    ]
    assert series(log, "reward") == {1: 1, 3: 2, 4: 6}
    assert series(log, "reward", smooth=2) == {1: 1, 3: 1.5, 4: 4}


def test_spread():
    runs = [{1: 1.0, 2: 2.0}, {1: 3.0, 2: 2.0, 3: 9.0}]
    assert spread(runs) == ([1, 2], [2.0, 2.0], [1.0, 2.0], [3.0, 2.0])
    assert spread(runs, "std") == ([1, 2], [2.0, 2.0], [1.0, 2.0], [3.0, 2.0])
    assert spread([{1: 0.0}, {1: 0.0}, {1: 3.0}], "std")[2] == [pytest.approx(1 - 2**0.5)]
    assert spread([{5: 1.0}]) == ([5], [1.0], [1.0], [1.0])


def test_a_picture_and_what_is_not_in_it(tmp_path):
    groups = {"srl": [log_of(0.1, 0.2, 0.3), log_of(0.2, 0.4)], "$x$ & <y>": [[{"step": 1, "srl/similarity": 0.5}]]}
    left_out = plot_runs(groups, tmp_path / "new" / "plot.svg")
    assert left_out == [
        "srl: 1 steps of reward that not every run has",
        "$x$ & <y>: reward was not logged",
        "srl: srl/similarity was not logged",
    ]
    text = (tmp_path / "new" / "plot.svg").read_text()
    for part in ("srl (2 runs)", "$x$ &amp; &lt;y>", "lowest to highest run", "Step similarity"):
        assert part in text.replace("&gt;", ">"), part
    again = tmp_path / "again.svg"
    plot_runs(groups, again, band="std", title="two seeds")
    assert "standard deviation" in again.read_text()
    plot_runs(groups, again)
    assert again.read_text() == text  # the same runs, the same file


def test_a_group_keeps_its_colour_where_another_logged_nothing(tmp_path):
    groups = {"a": [[{"step": 1, "reward": 0.5}]], "b": [[{"step": 1, "srl/similarity": 0.5}]]}
    plot_runs(groups, tmp_path / "plot.svg")
    text = (tmp_path / "plot.svg").read_text()
    assert "#1f77b4" in text and "#ff7f0e" in text  # the first two of matplotlib's colours


def test_one_run_needs_no_legend(tmp_path):
    plot_runs({"srl": [log_of(0.1, 0.2)]}, tmp_path / "plot.png", metrics=["reward"])
    assert Image.open(tmp_path / "plot.png").size[0] >= 800
    plot_runs({"srl": [log_of(0.1, 0.2)]}, tmp_path / "plot.svg", metrics=["reward"])
    assert "band" not in (tmp_path / "plot.svg").read_text()


@pytest.mark.parametrize(
    ("groups", "options", "message"),
    [
        ({"a": [log_of(1.0)]}, {"metrics": ["lss"]}, "No run logged lss. They logged: reward, step"),
        ({"a": [[]]}, {}, "No run logged any of the usual metrics. They logged: nothing"),
        ({"a": [log_of(1.0), log_of(1.0, first=2)]}, {}, "have no step in common"),
        ({"a": [log_of(1.0)]}, {"band": "iqr"}, "band is one of min-max, std"),
        ({"a": [log_of(1.0)]}, {"path": "plot.jpg"}, "plot.jpg is no picture"),
    ],
)
def test_what_cannot_be_drawn(tmp_path, groups, options, message):
    with pytest.raises(ValueError, match=message):
        plot_runs(groups, tmp_path / options.pop("path", "plot.png"), **options)


def test_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lr=1").mkdir()
    assert name_and_folder("lr=1") == ("lr=1", "lr=1")  # a folder of this name
    assert name_and_folder("A=runs/x") == ("A", "runs/x")
    assert [
        name_and_folder(run)[0] for run in ("runs/srl-seed0", "runs/srl_seed12/", "runs/seed1", "runs/qwen-7")
    ] == [
        "srl",
        "srl",
        "seed1",
        "qwen-7",
    ]


def test_the_command(tmp_path, capsys):
    folders = [write_run(tmp_path / f"srl-seed{i}", [], log_of(0.1, 0.2 + i / 10)) for i in range(2)]
    write_run(tmp_path / "other", [], log_of(0.3))
    main(["plot", *map(str, folders), f"RLVR={tmp_path / 'other'}", "-o", str(tmp_path / "plot.png")])
    assert capsys.readouterr().out.endswith("plot.png: srl (2 runs), RLVR (1 run)\n")
    assert (tmp_path / "plot.png").stat().st_size > 5000
    with pytest.raises(SystemExit) as ended:
        main(["plot", str(tmp_path / "nowhere")])
    assert ended.value.code == 2
