// The same row of the data early and late in training.

let compareOpen = false;

/** What is plotted of a rollout: its similarity, or its reward where there is none to count. */
function height(r, row) {
  return r.get("expert_action", row) == null ? r.get("reward", row) : r.get("similarity", row) ?? 0;
}

function historyPlot(r, row, rows, go) {
  const steps = rows.map((other) => r.get("step", other));
  const [first, last] = [Math.min(...steps), Math.max(...steps)];
  const heights = rows.map((other) => height(r, other) ?? 0);
  const [low, high] = [Math.min(0, ...heights), Math.max(1, ...heights)];
  const x = (step) => `${6 + (88 * (step - first)) / (last - first || 1)}%`;
  const y = (value) => 8 + (1 - (value - low) / (high - low)) * 56;
  const svg = s("svg", { role: "img", "aria-label": `${rows.length} rollouts of this row, from training step ${first} to ${last}` });
  append(svg, [
    s("text", { x: "6%", y: 82, "text-anchor": "middle" }, `step ${first}`),
    last !== first && s("text", { x: "94%", y: 82, "text-anchor": "middle" }, `step ${last}`),
    s("text", { x: 0, y: 12 }, general(high)),
    s("text", { x: 0, y: 68 }, general(low)),
  ]);
  const beside = new Map(); // those of one step stand beside each other
  for (const other of rows) {
    const step = r.get("step", other);
    beside.set(step, [...(beside.get(step) ?? []), other]);
  }
  const shift = (other) => {
    const those = beside.get(r.get("step", other));
    return (those.indexOf(other) - (those.length - 1) / 2) * Math.min(9, 280 / beside.size / those.length);
  };
  const ordered = [...rows].sort((a, b) => (a === row) - (b === row));
  for (const other of ordered) {
    const malformed = r.get("expert_action", other) != null && r.get("action", other) == null;
    const circle = s("circle", { cx: x(r.get("step", other)), cy: y(height(r, other) ?? 0), r: other === row ? 5 : 4, class: other === row ? "here" : malformed ? "bad" : "", transform: `translate(${shift(other).toFixed(1)} 0)` });
    circle.append(s("title", {}, `step ${r.get("step", other)}: ${fixed(height(r, other))}`));
    circle.addEventListener("click", () => go(other));
    svg.append(circle);
  }
  return svg;
}

/** The rollout in the middle of those of one step, so that neither end is shown at its best. */
function middle(r, rows) {
  const sorted = [...rows].sort((a, b) => (height(r, a) ?? 0) - (height(r, b) ?? 0));
  return sorted[Math.floor((sorted.length - 1) / 2)];
}

function side(r, title, rows) {
  const body = h("div");
  function show(row) {
    const parts = r.get("action", row) == null ? [plain(r, "completion", row)] : [actionText(r, row, blocksOf(r, row))];
    body.replaceChildren(...parts, h("p", { class: "legend" }, `similarity ${fixed(r.get("similarity", row))}, reward ${fixed(r.get("reward", row))}`));
  }
  const chosen = middle(r, rows);
  const select = h(
    "select",
    { "aria-label": `Rollout, ${title}`, on: { change: () => show(Number(select.value)) } },
    rows.map((row, place) => h("option", { value: row }, `${place + 1} of ${rows.length}: ${fixed(height(r, row))}`)),
  );
  select.value = chosen;
  show(chosen);
  const mean = rows.reduce((sum, row) => sum + (height(r, row) ?? 0), 0) / rows.length;
  return h("div", {}, h("div", { class: "label" }, `${title}, step ${r.get("step", rows[0])}`, h("span", {}, `mean ${fixed(mean)}`)), select, body);
}

function earlyAndLate(r, rows) {
  const steps = rows.map((row) => r.get("step", row));
  const at = (step) => rows.filter((row) => r.get("step", row) === step);
  return h(
    "div",
    {},
    h("div", { class: "compare" }, side(r, "Early", at(Math.min(...steps))), side(r, "Late", at(Math.max(...steps)))),
    r.get("expert_action", rows[0]) != null && h("div", {}, h("div", { class: "label" }, "The expert's step"), plain(r, "expert_action", rows[0])),
  );
}

function history(r, row, go) {
  const split = r.get("split", row);
  const rows = r.sameRow(row).filter((other) => r.get("split", other) === split);
  const steps = new Set(rows.map((other) => r.get("step", other)));
  if (steps.size < 2)
    return h("p", { class: "muted", id: "history" }, `This row was sampled at one step only (${[...steps][0]}). Runs of more than one epoch, and evaluations during training, see rows again; “seen again” above lists those.`);
  const compared = h("div");
  const button = h("button", { type: "button", id: "compare", "aria-expanded": "false" });
  function show(open) {
    compareOpen = open;
    button.textContent = open ? "Hide the comparison" : "Compare early and late";
    button.setAttribute("aria-expanded", String(open));
    compared.replaceChildren(...(open ? [earlyAndLate(r, rows)] : []));
  }
  button.addEventListener("click", () => show(!compareOpen));
  show(compareOpen);
  return h(
    "div",
    { class: "history", id: "history" },
    h("div", { class: "label" }, `This row over the training: ${rows.length} rollouts at ${steps.size} steps`, h("span", {}, button)),
    historyPlot(r, row, rows, go),
    compared,
  );
}
