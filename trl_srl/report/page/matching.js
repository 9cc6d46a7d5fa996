// The model's step beside the expert's, with the blocks that 2M/T counts. They were found in Python, in characters
// (code points), which are not JavaScript's.

/** A text in pieces: `blocks` are [start, length, number]; the rest belongs to one side only. */
function coloured(text, blocks, moreCharacters) {
  const characters = Array.from(text);
  const pieces = [];
  let done = 0;
  const only = (end) => end > done && pieces.push(h("span", { class: "o" }, characters.slice(done, end).join("")));
  for (const [start, length, number] of blocks) {
    only(start);
    pieces.push(h("mark", { class: "m", "data-block": number }, characters.slice(start, start + length).join("")));
    done = start + length;
  }
  only(characters.length);
  if (!pieces.length) pieces.push(h("span", { class: "more" }, "(empty)"));
  if (moreCharacters) pieces.push(h("span", { class: "more" }, ` … ${count(moreCharacters)} more characters`));
  return h("div", { class: "text code", dir: "auto" }, pieces);
}

function lightUp(element) {
  const set = (event, lit) => {
    const number = event.target.dataset?.block;
    if (number == null) return;
    for (const mark of element.querySelectorAll(`mark[data-block="${Number(number)}"]`)) mark.classList.toggle("lit", lit);
  };
  element.addEventListener("pointerover", (event) => set(event, true));
  element.addEventListener("pointerout", (event) => set(event, false));
  return element;
}

/** Length in code points, with what was cut off for the page. */
function trueLength(r, name, row) {
  return r.fullLength(name, row) ?? Array.from(r.text(name, row)).length;
}

function blocksOf(r, row) {
  const flat = r.get("blocks", row) ?? [];
  const blocks = [];
  for (let i = 0; i < flat.length; i += 3) blocks.push({ a: flat[i], b: flat[i + 1], length: flat[i + 2] });
  return blocks;
}

function more(r, name, row) {
  const full = r.fullLength(name, row);
  return full == null ? 0 : full - Array.from(r.text(name, row)).length;
}

function actionText(r, row, blocks) {
  return coloured(r.text("action", row), blocks.map(({ a, length }, number) => [a, length, number]), more(r, "action", row));
}

function expertText(r, row, blocks) {
  return coloured(r.text("expert_action", row), blocks.map(({ b, length }, number) => [b, length, number]), more(r, "expert_action", row));
}

/** 2M/T with its numbers put in. */
function workedOut(r, row, blocks) {
  const matching = blocks.reduce((sum, { length }) => sum + length, 0);
  const [action, expert] = [trueLength(r, "action", row), trueLength(r, "expert_action", row)];
  const total = action + expert;
  const ratio = total ? (2 * matching) / total : 1;
  const lengths = blocks.map(({ length }) => length);
  const sum = lengths.length > 1 && lengths.length <= 12 ? ` = ${lengths.join(" + ")}` : "";
  const similarity = r.get("similarity", row);
  return h(
    "div",
    { class: "sum" },
    h("p", {}, h("code", {}, `M = ${matching}${sum}`), h("span", { class: "muted" }, ` characters in ${count(blocks.length)} matching ${blocks.length === 1 ? "block" : "blocks"}`)),
    h("p", {}, h("code", {}, `T = ${action} + ${expert} = ${total}`), h("span", { class: "muted" }, " characters of both texts")),
    h("p", {}, h("code", {}, `2M/T = ${2 * matching}/${total} = `, h("span", { class: "result" }, ratio.toFixed(4)))),
    similarity != null &&
      Math.abs(similarity - ratio) > 1e-5 &&
      h("p", { class: "muted" }, `The run counted ${similarity.toFixed(4)}: its similarity is not 2M/T in characters.`),
  );
}
