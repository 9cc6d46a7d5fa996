// Automatic, light or dark; remembered where the browser lets a file remember something.

const THEMES = { auto: "light dark", light: "light", dark: "dark" };
let theme = "auto";

function setTheme(name) {
  theme = name in THEMES ? name : "auto";
  document.documentElement.style.colorScheme = THEMES[theme];
  document.documentElement.dataset.theme = theme;
  find("theme").textContent = theme[0].toUpperCase() + theme.slice(1);
  find("theme").setAttribute("aria-label", `Colours: ${theme}`);
  try {
    localStorage.setItem("trl-srl-theme", theme);
  } catch {
    // a file may have no storage
  }
}

function nextTheme() {
  const names = Object.keys(THEMES);
  setTheme(names[(names.indexOf(theme) + 1) % names.length]);
}

function startTheme() {
  let remembered = "auto";
  try {
    remembered = localStorage.getItem("trl-srl-theme") ?? "auto";
  } catch {
    // as above
  }
  setTheme(remembered);
  find("theme").addEventListener("click", nextTheme);
}
