// The page, put together.

class Browser {
  constructor(rollouts) {
    this.rollouts = rollouts;
    this.empty = rollouts.length === 0;
    this.row = null;
    if (this.empty) return;
    this.counted = h("p", { class: "count", role: "status" });
    this.detail = h("article", { class: "detail panel", id: "detail", tabindex: "-1", "aria-label": "The rollout" });
    this.list = new RolloutList(rollouts, (row) => this.show(row));
    this.filters = new Filters(rollouts, () => this.filter(), () => this.filter(null));
    this.filter();
  }

  /** List what passes the filters, with the selected rollout in sight, or from the top for null. */
  filter(row = this.row) {
    const rows = this.filters.apply();
    this.counted.textContent = `${count(rows.length)} of ${count(this.rollouts.length)} rollouts`;
    this.list.show(rows, row);
  }

  show(row) {
    this.row = row ?? this.row;
    if (row == null) {
      const clear = h("button", { type: "button", on: { click: () => (this.filters.clear(), this.filter()) } }, "Show all");
      this.detail.replaceChildren(h("div", { class: "empty" }, h("p", {}, "No rollout is like that."), clear));
      return;
    }
    this.detail.replaceChildren();
    append(this.detail, detail(this.rollouts, row, (other) => this.list.go(other)));
    this.detail.dataset.row = row;
  }

  /** Show a rollout, whatever is filtered, and go there. */
  open(row) {
    this.filters.clear();
    this.filter(row);
    find("rollouts").scrollIntoView();
  }

  /** The next or previous rollout of the same group. */
  sibling(way) {
    const group = this.rollouts.group(this.row);
    this.list.go(group[(group.indexOf(this.row) + way + group.length) % group.length]);
  }

  section(counts) {
    const left = counts.total - counts.shown;
    const lead = left
      ? `${count(counts.shown)} of ${count(counts.total)} rollouts are in this page: whole groups at equal distances. The other ${count(left)} are counted in all curves and tables above.`
      : "Every rollout of the run, also those that dynamic sampling dropped.";
    const content = this.empty
      ? [h("p", { class: "panel empty" }, "The run has no rollouts files. It was trained with save_rollouts=False, or by another trainer.")]
      : [this.filters.element, this.counted, h("div", { class: "browser" }, this.list.element, this.detail)];
    return h("section", { id: "rollouts", class: "wrap" }, h("h2", {}, "Rollouts"), h("p", { class: "lead" }, this.empty ? "" : lead), content);
  }
}

function heading(data) {
  const steps = data.curves.train?.step ?? [];
  const parts = [
    steps.length > 0 && `${count(steps.length)} training steps`,
    data.counts.total > 0 && `${count(data.counts.total)} rollouts`,
    ...data.splits.filter(({ name }) => name !== "train").map(({ name, verdicts }) => `${count(Object.values(verdicts).reduce((a, b) => a + b, 0))} of them in ${name}`),
  ];
  return h("div", { class: "title wrap" }, h("h1", {}, data.title), h("p", {}, parts.filter(Boolean).join(" · ")));
}

async function start() {
  startTheme();
  const notice = find("notice");
  try {
    const data = await readData();
    document.title = `${data.title} – trl-srl report`;
    const browser = new Browser(new Rollouts(data.rollouts));
    append(find("main"), [heading(data), overview(data, browser), browser.section(data.counts), trainerLog(data.log)]);
    startKeyboard(browser);
    if (!browser.empty) browser.list.draw();
    notice.remove();
    document.body.dataset.ready = "true";
  } catch (error) {
    notice.classList.add("failed");
    notice.textContent = `The page could not be made: ${error.message}`;
    throw error;
  }
}

start();
