// A list that makes only the rows one can see.

const ITEM_HEIGHT = 62;
const MARGIN_ITEMS = 6;

function excerpt(text, length = 160) {
  const line = (text ?? "").slice(0, 4 * length).replace(/\s+/g, " ").trim();
  return line.length > length ? `${line.slice(0, length)}…` : line;
}

class RolloutList {
  constructor(rollouts, selected) {
    this.rollouts = rollouts;
    this.selected = selected;
    this.rows = [];
    this.place = -1;
    this.space = h("div", { class: "space" });
    this.element = h("div", { class: "list panel", id: "list", role: "listbox", tabindex: "0", "aria-label": "Rollouts" }, this.space);
    this.element.addEventListener("scroll", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(this.element);
  }

  show(rows, row) {
    this.rows = rows;
    this.space.style.height = `${rows.length * ITEM_HEIGHT}px`;
    const place = rows.indexOf(row);
    this.element.scrollTop = 0;
    this.select(place < 0 ? 0 : place);
  }

  /** Select the item at a place, and bring it into sight. */
  select(place) {
    if (!this.rows.length) {
      this.place = -1;
      this.draw();
      this.selected(null);
      return;
    }
    this.place = Math.min(Math.max(place, 0), this.rows.length - 1);
    const top = this.place * ITEM_HEIGHT;
    const { scrollTop, clientHeight } = this.element;
    if (top < scrollTop) this.element.scrollTop = top;
    else if (top + ITEM_HEIGHT > scrollTop + clientHeight) this.element.scrollTop = top + ITEM_HEIGHT - clientHeight;
    this.draw();
    this.selected(this.rows[this.place]);
  }

  /** Select a rollout, if it is in the list; otherwise only show it. */
  go(row) {
    const place = this.rows.indexOf(row);
    if (place >= 0) this.select(place);
    else this.selected(row);
  }

  draw() {
    const { scrollTop, clientHeight } = this.element;
    const from = Math.max(Math.floor(scrollTop / ITEM_HEIGHT) - MARGIN_ITEMS, 0);
    const to = Math.min(Math.ceil((scrollTop + clientHeight) / ITEM_HEIGHT) + MARGIN_ITEMS, this.rows.length);
    const items = [];
    for (let place = from; place < to; place++) items.push(this.item(place));
    this.space.replaceChildren(...items);
    if (this.place >= 0) this.element.setAttribute("aria-activedescendant", `item-${this.place}`);
    else this.element.removeAttribute("aria-activedescendant");
  }

  item(place) {
    const r = this.rollouts;
    const row = this.rows[place];
    const similarity = r.get("similarity", row);
    const verdict = r.get("verdict", row) ?? "none";
    const sampling = r.get("sampling", row);
    const [index, steps] = [r.get("step_index", row), r.get("num_steps", row)];
    return h(
      "div",
      {
        class: "item",
        id: `item-${place}`,
        role: "option",
        "aria-selected": String(place === this.place),
        "aria-posinset": place + 1,
        "aria-setsize": this.rows.length,
        style: { top: `${place * ITEM_HEIGHT}px` },
        on: { click: () => this.select(place) },
      },
      h(
        "span",
        {},
        h("span", { class: "what" }, excerpt(r.text("action", row) ?? r.text("completion", row)) || "(empty)"),
        similarity == null
          ? h("span", { class: verdict === "none" ? "value" : "value none" }, fixed(r.get("reward", row)))
          : h("span", { class: "value" }, fixed(similarity)),
      ),
      h(
        "span",
        {},
        h("span", { class: "where" }, `step ${r.get("step", row)} · ${index == null ? "" : `${index + 1}/${steps} · `}${excerpt(r.prompt(row).problem, 90)}`),
        h(
          "span",
          { class: "badges" },
          verdict !== "well_formed" && h("span", { class: `badge ${verdict}` }, VERDICTS[verdict]),
          sampling && sampling !== "trained" && h("span", { class: `badge ${sampling}` }, SAMPLING[sampling]),
        ),
      ),
    );
  }
}
