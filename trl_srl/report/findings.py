"""What the numbers of a run say, in sentences, and whether the reward can be trusted. Pure functions."""

import math
from typing import Any, NamedTuple


class Finding(NamedTuple):
    """One sentence of the page: `"good"`, `"neutral"` or `"warning"`."""

    kind: str
    text: str


def _percent(value: float) -> str:
    return f"{value:.1%}"


def _beyond_chance(rate0: float, rate1: float, rows0: int, rows1: int) -> bool:
    """Whether two rates differ by more than two standard errors, as if rollouts were independent (a low bar)."""
    rate = (rate0 * rows0 + rate1 * rows1) / (rows0 + rows1)
    return abs(rate1 - rate0) > 2 * math.sqrt(rate * (1 - rate) * (1 / rows0 + 1 / rows1))


def find(ends: dict[str, dict[str, Any]], acceptance: list[float] | None = None) -> list[Finding]:
    """
    Sentences on the first and the last tenth of a run ([`RunStatistics.ends`]).

    Args:
        ends (`dict`): Means of the `first` and the `last` steps.
        acceptance (`list[float]`, *optional*): Share of informative groups at each step.
    """
    first, last = ends["first"], ends["last"]
    findings = []
    if first["similarity"] is not None and last["similarity"] is not None:
        findings += _similarity(first, last)
    elif first["reward"] is not None and last["reward"] is not None:
        findings.append(Finding("neutral", f"Reward {first['reward']:.3f} → {last['reward']:.3f}."))
    if last["truncated_rate"] and last["truncated_rate"] > 0.1:
        findings.append(
            Finding(
                "warning",
                f"{_percent(last['truncated_rate'])} of the last completions are cut off before their step: raise "
                "max_completion_length, or ask for a shorter monologue.",
            )
        )
    if acceptance:
        late = acceptance[-max(len(acceptance) // 10, 1) :]
        share = sum(late) / len(late)
        if share < 0.3:
            findings.append(
                Finding(
                    "warning",
                    f"Only {_percent(share)} of the last groups are informative: most of what is generated teaches "
                    "nothing. The drop reasons of the groups below say why.",
                )
            )
    return findings


def _similarity(first: dict[str, Any], last: dict[str, Any]) -> list[Finding]:
    change = last["similarity"] - first["similarity"]
    text = f"Similarity of all rollouts {first['similarity']:.3f} → {last['similarity']:.3f} ({change:+.3f})."
    f0, f1 = first["format_rate"], last["format_rate"]
    w0, w1 = first["similarity_well_formed"], last["similarity_well_formed"]
    if w0 is not None and w1 is not None and abs(change) >= 0.0005:
        # similarity = format rate x similarity of the well-formed; the change of a product, split in the middle
        by_format, by_wording = (f1 - f0) * (w0 + w1) / 2, (w1 - w0) * (f0 + f1) / 2
        text += (
            f" The format accounts for {by_format:+.3f} of it ({_percent(f0)} → {_percent(f1)} well formed), what "
            f"the well-formed steps say for {by_wording:+.3f} ({w0:.3f} → {w1:.3f})."
        )
    findings = [Finding("good" if change > 0.01 else "warning" if change < -0.01 else "neutral", text)]

    rose = last["exact_rate"] > first["exact_rate"] and _beyond_chance(
        first["exact_rate"], last["exact_rate"], first["rows"], last["rows"]
    )
    exact_text = f"Exact steps {_percent(first['exact_rate'])} → {_percent(last['exact_rate'])}."
    if change > 0.02 and not rose:
        exact_text += (
            " Similarity rose and exact steps did not, beyond chance: the model writes more like the expert. "
            "Whether its steps are right, this number does not say."
        )
        findings.append(Finding("warning", exact_text))
    else:
        findings.append(Finding("good" if rose else "neutral", exact_text))

    right0, right1 = first["right_number_rate"], last["right_number_rate"]
    if right0 is not None and right1 is not None:
        differ = _beyond_chance(right0, right1, first["rows_with_number"], last["rows_with_number"])
        fell = differ and right1 < right0
        right_text = f"Steps whose last number is the expert's: {_percent(right0)} → {_percent(right1)}."
        if fell and change > 0:
            right_text += " The reward rose while right numbers became rarer: it pays for wording here."
        if not differ:
            right_text += " That is no more than chance would give."
        findings.append(Finding("warning" if fell else "good" if differ else "neutral", right_text))

    ratio = last["length_ratio"]
    if ratio is not None and not 0.67 <= ratio <= 1.5:
        findings.append(
            Finding(
                "warning",
                f"The last actions are {ratio:.2f} times as long as the expert's steps. 2M/T counts both lengths, so "
                "look whether the model copies the prompt, writes several steps at once, or stops early.",
            )
        )
    return findings
