"""`trl-srl` itself: what ends in one line, and what is not repeated from other packages."""

import logging
import os
import signal
import subprocess
import sys
import warnings
from contextlib import suppress

import pytest

from trl_srl.cli import main
from trl_srl.cli.quiet import hush


def test_only_what_is_beside_the_point_is_left_out():
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        hush()
        for name in ("gradient_checkpointing", "is_gradient_checkpointing", "gradient_checkpointing_enable"):
            warnings.warn(f"`{name}` is deprecated and will be removed in v6. …", FutureWarning, stacklevel=1)
        warnings.warn("'pin_memory' argument is set as true but no accelerator is found, …", UserWarning, stacklevel=1)
        warnings.warn("`max_prompt_length` is deprecated", FutureWarning, stacklevel=1)
        warnings.warn("Could not pin", UserWarning, stacklevel=1)
    assert [str(warning.message) for warning in heard] == ["`max_prompt_length` is deprecated", "Could not pin"]
    assert not logging.getLogger("bitsandbytes.backends.cpu.ops").isEnabledFor(logging.WARNING)
    assert logging.getLogger("bitsandbytes.cextension").isEnabledFor(logging.WARNING)


def test_ctrl_c_ends_in_one_line(tmp_path):
    """The signal comes while the command waits for its configuration, which stands in a pipe."""
    pipe = tmp_path / "x.yaml"
    os.mkfifo(pipe)
    command = [sys.executable, "-c", "from trl_srl.cli import main; main()", "train", "--config", str(pipe)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    with pipe.open("w"):  # once the command reads
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):  # a signal between opening and reading is seen with the next
                process.wait(5)
    line = "trl-srl train: interrupted. If there is a checkpoint, --resume_from_checkpoint true goes on from it."
    assert (process.returncode, process.stderr.read().strip()) == (130, line)


def test_a_command_is_needed(capsys):
    with pytest.raises(SystemExit) as exit_info:
        main([])
    assert exit_info.value.code == 2
    assert "usage: trl-srl" in capsys.readouterr().err


def test_an_unknown_option_is_refused(capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(["report", "runs/srl", "--no_such", "1"])
    assert exit_info.value.code == 2
    assert "trl-srl: error: unrecognized arguments: --no_such 1" in capsys.readouterr().err
