// Keys that work wherever one does not write.

function startKeyboard(browser) {
  const help = find("help");
  find("help-open").addEventListener("click", () => help.showModal());
  find("help-close").addEventListener("click", () => help.close());
  const keys = {
    j: () => browser.list.select(browser.list.place + 1),
    k: () => browser.list.select(browser.list.place - 1),
    n: () => browser.sibling(1),
    p: () => browser.sibling(-1),
    m: () => find("monologue")?.querySelector("summary").click(),
    c: () => find("compare")?.click(),
    t: nextTheme,
    "?": () => help.showModal(),
    "/": () => browser.filters.query.focus(),
  };
  const inList = { ArrowDown: keys.j, ArrowUp: keys.k, Home: () => browser.list.select(0), End: () => browser.list.select(Infinity) };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
    const writing = event.target.matches("input, select, textarea");
    if (event.key === "Escape" && writing) return event.target.blur();
    if (writing) return;
    const free = event.target === document.body || event.target.closest("#list, #detail");
    const act = keys[event.key] ?? (free ? inList[event.key] : undefined);
    if (!act || (browser.empty && !["t", "?"].includes(event.key))) return;
    event.preventDefault();
    act();
  });
}
