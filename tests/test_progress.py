"""Progress without a terminal: plain lines, and not many."""

import pytest

from trl_srl.preparing import progress as module
from trl_srl.preparing.progress import describe, progress


@pytest.mark.parametrize(
    ("done", "total", "seconds", "line"),
    [
        (1200, 5000, 10.0, "Formatting: 1,200 of 5,000 rows, 120 rows/s, 0:00:32 left"),
        (1200, None, 10.0, "Formatting: 1,200 rows, 120 rows/s"),
        (0, 5000, 10.0, "Formatting: 0 of 5,000 rows, 0 rows/s"),
        (10, 7210, 1.0, "Formatting: 10 of 7,210 rows, 10 rows/s, 0:12:00 left"),
        (163_000, 163_000, 10.0, "Formatting: 163,000 of 163,000 rows, 16,300 rows/s, 0:00:00 left"),
        (1, 5, 8.0, "Formatting: 1 of 5 rows, 0.125 rows/s, 0:00:32 left"),
        (6, 5, 1.0, "Formatting: 6 rows, 6 rows/s"),  # more than was said: then nothing is said of a total
        (5, 5, 0.0, "Formatting: 5 of 5 rows, 0 rows/s"),
    ],
)
def test_describe(done, total, seconds, line):
    assert describe("Formatting", done, total, seconds, "rows") == line


def test_a_quick_job_says_nothing(capsys):
    with progress("Formatting", 3) as advance:
        advance(3)
    assert capsys.readouterr() == ("", "")


def test_a_long_job_says_how_far_it_is(capsys, monkeypatch):
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LINES", 0.0)
    with progress("Formatting", 3) as advance:
        advance(1)
        advance(2)
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.partition(" rows, ")[0] for line in err.splitlines()] == ["Formatting: 1 of 3", "Formatting: 3 of 3"]


def test_in_a_terminal_there_is_a_bar(monkeypatch):
    import io

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with progress("Formatting", 3) as advance:
        advance(3)
    assert "Formatting" in terminal.getvalue()
    assert "3/3" in terminal.getvalue()
    assert "rows/s" in terminal.getvalue()
    assert "e+" not in terminal.getvalue()  # three rows in no time are many a second
