"""The code blocks of the README and the docs run as they stand."""

import re
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[1]
PAGES = ["README.md", *sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs").glob("*.md"))]
BLOCKS = [
    pytest.param(block, id=f"{page}-{number}")
    for page in PAGES
    for number, block in enumerate(re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), re.S | re.M))
    if not block.startswith("# not run")
]
# The Hub cannot be reached here, and this is a CPU: the model is a local one, and the run is short.
HERE = "SRLConfig(use_cpu=True, bf16=False, gradient_checkpointing=False, max_steps=1, max_completion_length=16, "


@pytest.mark.parametrize("block", BLOCKS)
def test_code_blocks_run(block, format_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    block = block.replace("Qwen/Qwen2.5-0.5B-Instruct", format_model).replace("SRLConfig(", HERE)
    names: dict = {}
    exec(compile(block, "block", "exec"), names)
    if "trainer" in names:
        assert names["trainer"].state.global_step == 1


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", (ROOT / page).read_text()):
            assert (ROOT / page).parent.joinpath(target).exists(), f"{page}: {target}"
