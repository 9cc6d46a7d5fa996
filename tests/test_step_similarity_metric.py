"""The metric for Hugging Face `evaluate`, as a user loads it, and the Space that is made of its folder."""

import tomllib
from pathlib import Path

import evaluate
import pytest
import yaml

import trl_srl


FOLDER = Path(trl_srl.__file__).parent / "metrics" / "step_similarity"


@pytest.fixture(scope="module")
def metric():
    return evaluate.load(str(FOLDER))


def test_steps(metric):
    # 2 · 4 / 10, and an equal one; outer white space does not count.
    result = metric.compute(predictions=["x = 3", " 2 + 2 = 4\n"], references=["x = 4", "2 + 2 = 4"])
    assert result == {"step_similarity": pytest.approx(0.9), "exact_step_rate": 0.5}


def test_completions_that_do_not_follow_the_format_count_as_0(metric):
    result = metric.compute(
        predictions=["<think>hm</think>x = 4", "x = 4", "<think>x = 4"], references=["x = 4"] * 3, completions=True
    )
    assert result == {"step_similarity": 1 / 3, "exact_step_rate": 1 / 3, "format_rate": 1 / 3}


def test_it_is_difflib_s_number_also_beyond_200_characters(metric):
    text = "ab" * 150
    result = metric.compute(predictions=[text], references=[text + "c" * 100])
    assert result["step_similarity"] == 2 * 300 / 700


def test_batches_and_the_path_of_the_file():
    metric = evaluate.load(str(FOLDER / "step_similarity.py"))
    metric.add_batch(predictions=["x = 3"], references=["x = 4"])
    metric.add(prediction="a", reference="a")
    assert metric.compute() == {"step_similarity": pytest.approx(0.9), "exact_step_rate": 0.5}


LENGTH = """
import datasets
import evaluate


class CharacterCount(evaluate.Metric):
    def _info(self):
        features = datasets.Features({"predictions": datasets.Value("string"), "references": datasets.Value("string")})
        return evaluate.MetricInfo(description="", citation="", inputs_description="", features=features)

    def _compute(self, predictions, references):
        return {"character_count": sum(map(len, predictions))}
"""


def test_it_combines_with_other_metrics(tmp_path):
    other = tmp_path / "character_count" / "character_count.py"
    other.parent.mkdir()
    other.write_text(LENGTH)
    both = evaluate.combine([evaluate.load(str(FOLDER)), evaluate.load(str(other.parent))])
    assert both.compute(predictions=["x = 3"], references=["x = 4"]) == {
        "step_similarity": 0.8,
        "exact_step_rate": 0.0,
        "character_count": 5,
    }


def test_the_space_is_ready_to_push():
    front_matter = yaml.safe_load((FOLDER / "README.md").read_text().split("---")[1])
    assert (front_matter["sdk"], front_matter["app_file"]) == ("gradio", "app.py")
    assert {"evaluate", "metric"} <= set(front_matter["tags"])
    assert (FOLDER / "app.py").exists()
    assert "trl-srl" in (FOLDER / "requirements.txt").read_text().splitlines()


def test_the_wheel_ships_what_is_not_python():
    """setuptools takes modules by itself, and other files that are named in pyproject.toml."""
    package = FOLDER.parents[1]
    settings = tomllib.loads((package.parent / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    shipped = {path for pattern in settings["*"] for path in package.rglob(pattern)}
    shipped |= {path for pattern in settings["trl_srl.report"] for path in (package / "report").glob(pattern)}
    files = {path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert {path for path in files - shipped if path.suffix not in {".py", ".c", ".so", ".pyd"}} == set()
    assert {path.name for path in FOLDER.iterdir()} >= {"README.md", "app.py", "requirements.txt"}
