// Which rollouts are listed, and in which order.

const ORDERS = {
  step: ["training step, early first", (r, row) => r.get("step", row), 1],
  late: ["training step, late first", (r, row) => r.get("step", row), -1],
  lowest: ["reward, lowest first", (r, row) => r.get("reward", row), 1],
  highest: ["reward, highest first", (r, row) => r.get("reward", row), -1],
  unlike: ["similarity, lowest first", (r, row) => r.get("similarity", row), 1],
  like: ["similarity, highest first", (r, row) => r.get("similarity", row), -1],
};

function distinct(rollouts, name) {
  return new Set(rollouts.columns[name]);
}

function field(label, control, extra = "") {
  return h("label", { class: `field ${extra}` }, label, control);
}

/** Buttons of which any number may be pressed; none pressed means all. */
function chips(legend, names, pressed, changed) {
  return h(
    "fieldset",
    { class: "chips" },
    h("legend", {}, legend),
    Object.entries(names).map(([name, label]) => {
      const button = h("button", { type: "button", "aria-pressed": "false", "data-name": name }, label);
      button.addEventListener("click", () => {
        if (!pressed.delete(name)) pressed.add(name);
        button.setAttribute("aria-pressed", String(pressed.has(name)));
        changed();
      });
      return button;
    }),
  );
}

class Filters {
  constructor(rollouts, changed, reordered) {
    this.rollouts = rollouts;
    this.verdicts = new Set();
    this.sampling = new Set();
    const steps = rollouts.columns.step;
    this.firstStep = steps.reduce((a, b) => Math.min(a, b), Infinity);
    this.lastStep = steps.reduce((a, b) => Math.max(a, b), -Infinity);
    const number = (value) => h("input", { type: "number", min: this.firstStep, max: this.lastStep, value, on: { input: changed } });
    const select = (options, change = changed) => h("select", { on: { change } }, Object.entries(options).map(([name, label]) => h("option", { value: name }, label)));
    let waiting = 0;
    const later = () => {
      clearTimeout(waiting);
      waiting = setTimeout(changed, 120);
    };
    this.query = h("input", { type: "search", id: "search", autocomplete: "off", spellcheck: "false", placeholder: "problem, step or id", on: { input: later } });
    this.from = number(this.firstStep);
    this.to = number(this.lastStep);
    this.split = select({ "": "all data", ...Object.fromEntries([...distinct(rollouts, "split")].map((name) => [name, name])) });
    this.order = select(Object.fromEntries(Object.entries(ORDERS).map(([name, [label]]) => [name, label])), reordered);
    this.again = h("button", { type: "button", "aria-pressed": "false", title: "Rows that were sampled at more than one step" }, "seen again");
    this.again.addEventListener("click", () => {
      this.again.setAttribute("aria-pressed", String(this.again.getAttribute("aria-pressed") !== "true"));
      changed();
    });
    const present = (names, column) => {
      const there = distinct(rollouts, column);
      return Object.fromEntries(Object.entries(names).filter(([name]) => there.has(name)));
    };
    this.element = h(
      "div",
      { class: "filters panel", role: "search", "aria-label": "Rollouts" },
      field("Search", this.query, "search"),
      field("From step", this.from),
      field("to", this.to),
      distinct(rollouts, "split").size > 1 && field("Data", this.split),
      field("Order", this.order),
      chips("Verdict", present(VERDICTS, "verdict"), this.verdicts, changed),
      chips("Sampling", present(SAMPLING, "sampling"), this.sampling, changed),
      h("fieldset", { class: "chips" }, h("legend", {}, "Row"), this.again),
    );
  }

  clear() {
    this.query.value = "";
    this.from.value = this.firstStep;
    this.to.value = this.lastStep;
    this.split.value = "";
    this.verdicts.clear();
    this.sampling.clear();
    for (const button of this.element.querySelectorAll("[aria-pressed]")) button.setAttribute("aria-pressed", "false");
  }

  /** Rows that pass, in order. */
  apply() {
    const r = this.rollouts;
    const query = this.query.value.trim();
    const found = query ? r.search(query) : null;
    const [from, to] = [this.from, this.to].map((input) => (input.value === "" ? null : Number(input.value)));
    const again = this.again.getAttribute("aria-pressed") === "true";
    const passes = (row) => {
      const step = r.get("step", row);
      if ((from != null && step < from) || (to != null && step > to)) return false;
      if (this.split.value && r.get("split", row) !== this.split.value) return false;
      if (this.verdicts.size && !this.verdicts.has(r.get("verdict", row))) return false;
      if (this.sampling.size && !this.sampling.has(r.get("sampling", row))) return false;
      if (again && !seenAgain(r, row)) return false;
      if (!found) return true;
      const names = ["problem_id", "action", "expert_action", "monologue", "completion"];
      return names.some((name) => found.has(r.get(name, row))) || r.prompt(row).messages.some(({ role, place }) => role !== "system" && found.has(place));
    };
    const rows = [];
    for (let row = 0; row < r.length; row++) if (passes(row)) rows.push(row);
    const [, value, way] = ORDERS[this.order.value];
    // What has no value comes first among the lowest and last among the highest.
    const key = (row) => value(r, row) ?? -Infinity;
    return rows.sort((a, b) => way * (key(a) === key(b) ? 0 : key(a) - key(b)) || a - b);
  }
}

/** Whether a row was sampled at more than one step of its data. */
function seenAgain(rollouts, row) {
  const [split, step] = [rollouts.get("split", row), rollouts.get("step", row)];
  return rollouts.sameRow(row).some((other) => rollouts.get("step", other) !== step && rollouts.get("split", other) === split);
}
