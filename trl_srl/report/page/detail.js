// One rollout in full.

let monologueOpen = false;

function plain(r, name, row) {
  const cut = more(r, name, row);
  return h("div", { class: "text code", dir: "auto" }, r.text(name, row) || h("span", { class: "more" }, "(empty)"), cut > 0 && h("span", { class: "more" }, ` … ${count(cut)} more characters`));
}

function promptParts(prompt) {
  return [
    prompt.earlier.length > 0 &&
      h(
        "details",
        { class: "fold" },
        h("summary", {}, `Before it: ${prompt.earlier.map(({ role }) => role).join(", ")}`),
        prompt.earlier.map(({ content }) => h("div", { class: "text" }, content)),
      ),
    h("div", {}, h("div", { class: "label" }, "Problem"), h("div", { class: "text problem", dir: "auto" }, prompt.problem)),
    prompt.soFar != null &&
      h("div", {}, h("div", { class: "label" }, "Steps before"), h("div", { class: "text problem", dir: "auto" }, prompt.soFar)),
    prompt.title != null && h("div", {}, h("div", { class: "label" }, "Title given"), h("div", { class: "text" }, prompt.title)),
  ];
}

/** What can be said of a completion that does not follow the format. */
function whyMalformed(text, verdict) {
  const facts = [];
  if (verdict === "truncated") facts.push("it was cut off at max_completion_length");
  if (!text.includes("</think>")) facts.push("it has no </think>");
  else if (!text.split("</think>").pop().trim()) facts.push("nothing follows </think>");
  if (text.split("<think>").length > 2 || text.split("</think>").length > 2) facts.push("it has more than one think tag of a kind");
  return facts.length ? facts.join("; ") : "the think block is not where it must be";
}

function stepsSide(r, row) {
  const expert = r.text("expert_action", row);
  const verdict = r.get("verdict", row);
  if (r.get("action", row) == null) {
    const completion = h("div", {}, h("div", { class: "label" }, "The whole completion"), plain(r, "completion", row));
    if (expert == null) return [completion];
    return [
      h("div", { class: "beside" }, completion, h("div", {}, h("div", { class: "label" }, "The expert's step"), plain(r, "expert_action", row))),
      h("div", { class: "sum" }, h("p", {}, `No similarity: the format is not followed (${whyMalformed(r.text("completion", row), verdict)}).`)),
    ];
  }
  const blocks = blocksOf(r, row);
  const monologue = h("details", { class: "fold", id: "monologue" }, h("summary", {}, `Monologue (${count(trueLength(r, "monologue", row))} characters)`), plain(r, "monologue", row));
  monologue.open = monologueOpen;
  monologue.addEventListener("toggle", () => (monologueOpen = monologue.open));
  return [
    monologue,
    lightUp(
      h(
        "div",
        { class: "beside" },
        h("div", {}, h("div", { class: "label" }, "The model's step", h("span", {}, `${count(trueLength(r, "action", row))} characters`)), actionText(r, row, blocks)),
        h("div", {}, h("div", { class: "label" }, "The expert's step", h("span", {}, `${count(trueLength(r, "expert_action", row))} characters`)), expertText(r, row, blocks)),
      ),
    ),
    h("p", { class: "legend" }, h("mark", { class: "m" }, "matching block"), "  ", h("span", { class: "o" }, "on one side only"), "  Point at a block to see its other half."),
    workedOut(r, row, blocks),
  ];
}

function deviation(values) {
  const known = values.filter((value) => value != null);
  if (!known.length) return null;
  const mean = known.reduce((sum, value) => sum + value, 0) / known.length;
  return Math.sqrt(known.reduce((sum, value) => sum + (value - mean) ** 2, 0) / known.length);
}

/** Why dynamic sampling did with a group what it did. */
function samplingReason(r, row, group) {
  const rewards = group.map((other) => r.get("reward", other));
  const spread = `standard deviation of the rewards ${fixed(deviation(rewards), 4)}`;
  const verdicts = group.map((other) => r.get("verdict", other));
  let why = `(almost) equal rewards: ${spread}`;
  if (rewards.filter((value) => value != null).length < 2) why = "fewer than two completions have a reward";
  else if (verdicts.every((verdict) => verdict === "truncated")) why = "all cut off at max_completion_length";
  else if (verdicts.every((verdict) => verdict === "bad_format" || verdict === "truncated")) why = "all badly formed";
  return {
    trained: `Kept and trained on: ${spread}.`,
    surplus: `Informative (${spread}), but the batch was full: not trained on.`,
    masked: `Rejected (${why}), and fills the batch without weight in the loss.`,
    dropped: `Dropped: ${why}. Another group was sampled in its place.`,
  }[r.get("sampling", row)];
}

function groupButtons(r, row, group, go) {
  return h(
    "div",
    { class: "group", role: "group", "aria-label": "Rollouts of this group" },
    group.map((other) =>
      h(
        "button",
        { type: "button", class: r.get("action", other) == null && r.get("verdict", other) ? "malformed" : null, "aria-pressed": String(other === row), on: { click: () => go(other) } },
        fixed(r.get("reward", other)),
      ),
    ),
  );
}

function facts(r, row, go) {
  const group = r.group(row);
  const sampling = r.get("sampling", row);
  const round = r.get("refill_round", row);
  const pairs = [
    ["Reward", fixed(r.get("reward", row), 4)],
    sampling != null && ["Advantage", sampling === "trained" ? fixed(r.get("advantage", row), 4) : "none, it is not trained on"],
    sampling != null && ["Sampling", samplingReason(r, row, group)],
    round > 0 && ["Refill round", round],
    ["Problem id", r.text("problem_id", row) ?? NONE],
    group.length > 1 && [`Group of ${group.length}`, groupButtons(r, row, group, go)],
  ];
  return h("dl", { class: "facts" }, pairs.filter(Boolean).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

function detail(r, row, go) {
  const verdict = r.get("verdict", row) ?? "none";
  const sampling = r.get("sampling", row);
  const index = r.get("step_index", row);
  const where = index == null ? "" : ` · step ${index + 1} of ${r.get("num_steps", row)} in its solution`;
  const when = r.get("split", row) === "train" ? "Training step" : "After training step";
  return [
    h(
      "div",
      { class: "detail-head" },
      h("h3", {}, `${when} ${r.get("step", row)}${where}`),
      h("span", { class: "badge" }, r.get("split", row)),
      h("span", { class: `badge ${verdict}` }, VERDICTS[verdict]),
      sampling && h("span", { class: `badge ${sampling}` }, SAMPLING[sampling]),
    ),
    promptParts(r.prompt(row)),
    stepsSide(r, row),
    facts(r, row, go),
    history(r, row, go),
  ];
}
