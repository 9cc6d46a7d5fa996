// What the run learned, where it fails, whether the reward is honest.

const KINDS = { good: "Good", warning: "Look", neutral: "Note" };
const VERDICTS = {
  exact: "exact",
  well_formed: "well formed",
  bad_format: "bad format",
  truncated: "cut off",
  none: "not judged",
};
const SAMPLING = { trained: "trained", surplus: "surplus", masked: "masked", dropped: "dropped" };
const TILES = [
  ["similarity", "Step similarity", fixed],
  ["exact_rate", "Exact steps", percent],
  ["right_number_rate", "Right numbers", percent],
  ["format_rate", "Well formed", percent],
  ["reward", "Reward, all rollouts", fixed],
];

function tiles(ends) {
  const shown = TILES.filter(([name]) => ends.last[name] != null);
  return h(
    "dl",
    { class: "tiles" },
    shown.map(([name, label, unit]) =>
      h(
        "div",
        { class: "tile panel" },
        h("dt", {}, label),
        h("dd", {}, unit(ends.last[name]), h("span", { class: "from" }, `from ${unit(ends.first[name])}`)),
      ),
    ),
  );
}

function curveCharts(curve) {
  const take = (names) =>
    names
      .filter(([name]) => curve[name]?.some((value) => value != null))
      .map(([name, label]) => ({ name: label, xs: curve.step, ys: curve[name] }));
  const wanted = [
    { title: "Reward", series: take([["reward_trained", "trained groups"], ["reward", "all rollouts"]]) },
    {
      title: "Similarity to the expert's step",
      series: take([["similarity_well_formed", "well formed only"], ["similarity", "all rollouts"]]),
    },
    {
      title: "Format",
      unit: percent,
      domain: [0, 1],
      series: take([["format_rate", "well formed"], ["truncated_rate", "cut off"]]),
    },
    {
      title: "Right steps",
      unit: percent,
      series: take([["exact_rate", "exact"], ["right_number_rate", "right last number"]]),
    },
    {
      title: "Acceptance",
      unit: percent,
      domain: [0, 1],
      series: take([["acceptance", "informative groups"]]),
    },
    { title: "Length of the action / the expert's", series: take([["length_ratio", "well formed only"]]) },
  ];
  return h("div", { class: "charts" }, wanted.filter(({ series }) => series.length).map(lineChart));
}

function findingsList(findings) {
  if (!findings.length) return h("p", { class: "panel empty" }, "Too little was logged to say anything.");
  return h(
    "ul",
    { class: "findings" },
    findings.map(({ kind, text }) => h("li", { class: kind }, h("b", {}, KINDS[kind]), text)),
  );
}

function range(first, last) {
  if (first == null || last == null) return NONE;
  const [from, to] = [first, last].map((value) => `${Math.min(Math.max(value, 0), 1) * 100}%`);
  const [left, right] = first < last ? [first, last] : [last, first];
  return h(
    "span",
    { class: "range", "aria-hidden": "true" },
    h("u", { style: { left: `${left * 100}%`, width: `${(right - left) * 100}%` } }),
    h("i", { style: { left: from } }),
    h("i", { class: "last", style: { left: to } }),
  );
}

function stepIndexTable(rows) {
  if (!rows.length) return h("p", { class: "panel empty" }, "These rollouts have no step index.");
  const change = (row, name, unit) => [h("td", {}, unit(row.first[name])), h("td", {}, unit(row.last[name]))];
  return h(
    "div",
    { class: "scroll panel" },
    h(
      "table",
      {},
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          ["Step of the solution", "Rollouts", "Similarity, early", "late", "", "Well formed, early", "late", "Exact, late", "Right number, late"].map(
            (name) => h("th", { scope: "col" }, name),
          ),
        ),
      ),
      h(
        "tbody",
        {},
        rows.map((row) =>
          h(
            "tr",
            {},
            h("th", { scope: "row" }, row.index + 1),
            h("td", {}, `${count(row.first.rows)} · ${count(row.last.rows)}`),
            change(row, "similarity", fixed),
            h("td", {}, range(row.first.similarity, row.last.similarity)),
            change(row, "format_rate", percent),
            h("td", {}, percent(row.last.exact_rate)),
            h("td", {}, percent(row.last.right_number_rate)),
          ),
        ),
      ),
    ),
  );
}

function shares(title, counts, names) {
  const total = Object.values(counts).reduce((sum, value) => sum + value, 0);
  return h(
    "div",
    { class: "panel" },
    h("h3", {}, title),
    Object.entries(names)
      .filter(([name]) => counts[name])
      .map(([name, label]) =>
        h(
          "div",
          { class: "share-row" },
          h("span", {}, label),
          h("div", { class: "bar", "aria-hidden": "true" }, h("i", { style: { width: `${(100 * counts[name]) / total}%` } })),
          h("span", {}, count(counts[name])),
          h("span", { class: "muted" }, percent(counts[name] / total)),
        ),
      ),
  );
}

function splitTabs(splits, show) {
  if (splits.length < 2) return null;
  const buttons = splits.map(({ name }) => h("button", { type: "button", on: { click: () => choose(name) } }, name));
  function choose(name) {
    buttons.forEach((button, place) => button.setAttribute("aria-pressed", String(splits[place].name === name)));
    show(name);
  }
  choose(splits[0].name);
  return h("div", { class: "tabs", role: "group", "aria-label": "Data" }, buttons);
}

function overview(data, browser) {
  const learned = h("div");
  const failures = h("div");
  const honest = h("div");
  const lead = h("p", { class: "lead" });
  const steps = ({ from, to }) => (from === to ? `step ${from}` : `steps ${from}–${to}`);
  function show(name) {
    const split = data.splits.find((other) => other.name === name);
    const { first, last } = split.ends;
    lead.textContent = `Large numbers are means over the end (${steps(last)}), small ones over the beginning (${steps(first)}). Malformed completions count as 0.`;
    learned.replaceChildren(tiles(split.ends), curveCharts(data.curves[name]));
    honest.replaceChildren(findingsList(split.findings));
    const sampled = name === "train" && Object.keys(data.counts.sampling).length > 0;
    failures.replaceChildren(
      h(
        "div",
        { class: "shares" },
        shares("Completions", split.verdicts, VERDICTS),
        sampled && shares("What became of them", data.counts.sampling, SAMPLING),
      ),
      stepIndexTable(split.by_step_index),
      hardestTable(browser.rollouts, name, (row) => browser.open(row)) ?? "",
    );
  }
  if (!data.splits.length) return [];
  return [
    h(
      "section",
      { id: "learned", class: "wrap" },
      h("h2", {}, "What it learned"),
      lead,
      splitTabs(data.splits, show) ?? show(data.splits[0].name),
      learned,
    ),
    h(
      "section",
      { id: "honest", class: "wrap" },
      h("h2", {}, "Is the reward honest?"),
      h("p", { class: "lead" }, "The reward is similarity in characters. It can rise while the steps stay wrong."),
      honest,
    ),
    h(
      "section",
      { id: "fails", class: "wrap" },
      h("h2", {}, "Where it fails"),
      h("p", { class: "lead" }, "By the place of the step in its solution; early and late are the first and the last quarter of the steps."),
      failures,
    ),
  ];
}

function trainerLog(log) {
  const names = Object.keys(log);
  if (!names.length) return null;
  const moving = names.filter((name) => new Set(log[name][1]).size > 1);
  const still = names.filter((name) => !moving.includes(name)).map((name) => `${name} ${general(log[name][1][0])}`);
  const charts = h("div", { class: "charts" });
  const fill = () => {
    if (charts.childElementCount) return;
    append(charts, moving.map((name) => lineChart({ title: name, small: true, unit: general, series: [{ name: "", xs: log[name][0], ys: log[name][1] }] })));
  };
  return h(
    "section",
    { id: "log", class: "wrap" },
    h(
      "details",
      { class: "log", on: { toggle: fill } },
      h("summary", {}, `Trainer log: ${names.length} series`),
      charts,
      still.length > 0 && h("p", { class: "muted" }, `The same throughout: ${still.join(", ")}.`),
    ),
  );
}
