// The packed run, and its rollouts as objects.

async function readData() {
  if (typeof DecompressionStream === "undefined")
    throw new Error("This browser cannot unpack the run. Any from 2024 or later can: Chrome, Edge, Firefox, Safari.");
  const binary = atob(find("data").textContent.trim());
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  const unpacked = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(unpacked).json();
}

const PROBLEM = "Problem:\n";
const SO_FAR = "\n\nSolution so far:\n";
const TITLE = "\n\nTitle of the next step: ";
const ASK = "\n\nWrite the next step.";

/** The parts of a prompt: of build_prompt's, of an agent's (its task, then what it did and saw), or one problem. */
function readPrompt(messages) {
  const last = messages.length - 1;
  const content = last >= 0 ? messages[last].content : "";
  const earlier = messages.slice(0, Math.max(last, 0));
  const start = content.indexOf(SO_FAR);
  if (!content.startsWith(PROBLEM) || start < 0) {
    const acted = messages.findIndex(({ role }) => role === "assistant");
    if (acted < 1) return { problem: content, soFar: null, title: null, earlier };
    const soFar = messages.slice(acted).map((message) => message.content).join("\n\n");
    return { problem: messages[acted - 1].content, soFar, title: null, earlier: messages.slice(0, acted - 1) };
  }
  let soFar = content.slice(start + SO_FAR.length);
  if (soFar.endsWith(ASK)) soFar = soFar.slice(0, -ASK.length);
  const hint = soFar.lastIndexOf(TITLE);
  const title = hint < 0 ? null : soFar.slice(hint + TITLE.length);
  if (hint >= 0) soFar = soFar.slice(0, hint);
  return { problem: content.slice(PROBLEM.length, start), soFar, title, earlier };
}

class Rollouts {
  constructor(packed) {
    this.texts = packed.texts;
    this.cut = packed.cut;
    this.columns = packed.columns;
    this.length = packed.columns.step?.length ?? 0;
    this.prompts = packed.prompts.map((places) => {
      const messages = [];
      for (let i = 0; i < places.length; i += 2)
        messages.push({ role: this.texts[places[i]], content: this.texts[places[i + 1]], place: places[i + 1] });
      return { ...readPrompt(messages), messages };
    });
    this.groups = this.gather((row) => this.groupKey(row));
    this.rows = this.gather((row) => this.rowKey(row));
  }

  get(name, row) {
    return this.columns[name][row];
  }

  text(name, row) {
    const place = this.columns[name][row];
    return place == null ? null : this.texts[place];
  }

  /** How long a text was before it was cut for this page, in characters; null if it is whole. */
  fullLength(name, row) {
    return this.cut[this.columns[name][row]] ?? null;
  }

  prompt(row) {
    return this.prompts[this.columns.prompt[row]];
  }

  groupKey(row) {
    return `${this.get("split", row)} ${this.get("step", row)} ${this.get("group", row)}`;
  }

  /** The row of the data that a rollout answers. */
  rowKey(row) {
    const problem = this.get("problem_id", row);
    return problem == null ? `prompt ${this.get("prompt", row)}` : `${problem} ${this.get("step_index", row)}`;
  }

  gather(key) {
    const places = new Map();
    for (let row = 0; row < this.length; row++) {
      const name = key(row);
      if (!places.has(name)) places.set(name, []);
      places.get(name).push(row);
    }
    return places;
  }

  group(row) {
    return this.groups.get(this.groupKey(row));
  }

  sameRow(row) {
    return this.rows.get(this.rowKey(row));
  }

  /** Places of all texts that contain what is searched for. */
  search(query) {
    this.lowered ??= this.texts.map((text) => text.toLowerCase());
    const wanted = query.toLowerCase();
    const found = new Set();
    this.lowered.forEach((text, place) => text.includes(wanted) && found.add(place));
    return found;
  }
}
