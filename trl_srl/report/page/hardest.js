// The rows of the data that are still done worst at the end.

const HARDEST = 6;

/** Rows by their mean over the last quarter of the steps, lowest first: [{row, mean, rollouts}]. */
function hardestRows(r, split) {
  const here = [];
  for (let row = 0; row < r.length; row++) if (r.get("split", row) === split) here.push(row);
  const steps = [...new Set(here.map((row) => r.get("step", row)))].sort((a, b) => a - b);
  const from = steps[steps.length - Math.max(Math.floor(steps.length / 4), 1)];
  const found = new Map();
  for (const row of here) {
    if (r.get("step", row) < from) continue;
    const key = r.rowKey(row);
    if (!found.has(key)) found.set(key, { row, sum: 0, rollouts: 0 });
    const entry = found.get(key);
    entry.sum += height(r, row) ?? 0;
    entry.rollouts += 1;
  }
  const means = [...found.values()].map(({ row, sum, rollouts }) => ({ row, rollouts, mean: sum / rollouts }));
  return { from, rows: means.sort((a, b) => a.mean - b.mean || a.row - b.row).slice(0, HARDEST) };
}

function hardestTable(r, split, open) {
  const { from, rows } = hardestRows(r, split);
  if (!rows.length) return null;
  return h(
    "div",
    { class: "scroll panel hardest" },
    h(
      "table",
      {},
      h("caption", {}, `Hardest rows since step ${from}`),
      h("thead", {}, h("tr", {}, ["The expert's step", "Step", "Rollouts", "Mean", ""].map((name) => h("th", { scope: "col" }, name)))),
      h(
        "tbody",
        {},
        rows.map(({ row, rollouts, mean }) => {
          const index = r.get("step_index", row);
          const what = excerpt(r.text("expert_action", row) ?? r.prompt(row).problem, 110);
          return h(
            "tr",
            {},
            h("th", { scope: "row" }, what),
            h("td", {}, index == null ? NONE : `${index + 1}/${r.get("num_steps", row)}`),
            h("td", {}, count(rollouts)),
            h("td", {}, fixed(mean)),
            h("td", {}, h("button", { type: "button", "aria-label": `Show: ${what}`, on: { click: () => open(row) } }, "Show")),
          );
        }),
      ),
    ),
  );
}
