"""How far a command is, without a terminal: nothing if it is quick, and no bars of `datasets`."""

import datasets

from trl_srl.preparing.progress import progress, without_dataset_bars


def test_a_quick_job_says_nothing(capsys):
    with progress("Formatting", 3) as advance:
        advance(3)
    assert capsys.readouterr() == ("", "")


def test_a_long_job_says_how_far_it_is(capsys, monkeypatch):
    now = 1000.0
    monkeypatch.setattr("tqdm.std.time", lambda: now)
    with progress("Formatting", 30) as advance:
        now += 9
        advance(10)
        now += 2
        advance(10)
    out, err = capsys.readouterr()
    assert out == ""
    assert {line.partition(" [")[0] for line in err.split("\r") if line} == {"Formatting:  67%|██████▋   | 20/30"}


def test_bars_of_datasets_are_put_back():
    for before, put in ((False, datasets.disable_progress_bars), (True, datasets.enable_progress_bars)):
        put()
        with without_dataset_bars():
            assert not datasets.is_progress_bar_enabled()
        assert datasets.is_progress_bar_enabled() == before
