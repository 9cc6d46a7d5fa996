// Line charts as SVG: the raw line pale, its moving mean strong; the values at the pointer stand in the legend.

const MARGIN = { left: 44, right: 10, top: 8, bottom: 22 };

function ticks(low, high, wanted) {
  const span = high - low || 1;
  const power = 10 ** Math.floor(Math.log10(span / wanted));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => span / size <= wanted) ?? 10 * power;
  const found = [];
  for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + 1e-9 * span; value += step)
    found.push(Math.abs(value) < step / 1e6 ? 0 : value);
  return found;
}

function movingMean(values, reach) {
  return values.map((value, place) => {
    const near = values.slice(Math.max(place - reach, 0), place + reach + 1).filter((other) => other != null);
    return value == null || !near.length ? null : near.reduce((sum, other) => sum + other, 0) / near.length;
  });
}

function pathOf(xs, ys, x, y) {
  let path = "";
  let pen = "M";
  xs.forEach((value, place) => {
    if (ys[place] == null) return void (pen = "M");
    path += `${pen}${x(value).toFixed(1)} ${y(ys[place]).toFixed(1)}`;
    pen = "L";
  });
  return path;
}

function nearest(xs, wanted) {
  return xs.reduce((best, value, place) => (Math.abs(value - wanted) < Math.abs(xs[best] - wanted) ? place : best), 0);
}

/** series: [{name, xs, ys}]; unit: a function from value to text; domain: [low, high] or null for the data's. */
function lineChart({ title, series, unit = fixed, domain = null, small = false }) {
  const tick = unit === percent ? (value) => `${Number((100 * value).toPrecision(3))} %` : general;
  const outputs = series.map(() => h("output"));
  const figure = h(
    "figure",
    { class: small ? "chart small panel" : "chart panel" },
    h(
      "figcaption",
      {},
      h("strong", {}, title),
      series.map(({ name }, k) => h("span", { class: "key" }, !small && h("i", { class: `b${k}` }), name, outputs[k])),
    ),
  );
  const ends = series.map(({ name, xs, ys }) => {
    const known = xs.map((x, place) => [x, ys[place]]).filter(([, y]) => y != null);
    if (!known.length) return `${name}: none`;
    const [[x0, y0], [x1, y1]] = [known[0], known[known.length - 1]];
    return `${name}: ${unit(y0)} at step ${x0}, ${unit(y1)} at step ${x1}`;
  });
  const svg = s("svg", { role: "img", tabindex: "0", "aria-label": `${title}. ${ends.join(". ")}.` });
  figure.append(svg);
  const allX = series.flatMap(({ xs }) => xs);
  const allY = series.flatMap(({ ys }) => ys.filter((value) => value != null)); // a thousand points each at most
  const [x0, x1] = [Math.min(...allX), Math.max(...allX)];
  let [y0, y1] = domain ?? [Math.min(...allY), Math.max(...allY)];
  if (y0 === y1) [y0, y1] = [y0 - Math.abs(y0 || 1) / 2, y1 + Math.abs(y1 || 1) / 2];
  let at = null;
  let drawnWidth = 0;

  function draw() {
    const [width, height] = [svg.clientWidth, svg.clientHeight];
    if (!width || !height) return;
    drawnWidth = width;
    const x = (value) => MARGIN.left + ((value - x0) / (x1 - x0 || 1)) * (width - MARGIN.left - MARGIN.right);
    const y = (value) => height - MARGIN.bottom - ((value - y0) / (y1 - y0)) * (height - MARGIN.top - MARGIN.bottom);
    const grid = s("g", { class: "grid" });
    for (const value of ticks(y0, y1, small ? 2 : 4)) {
      grid.append(s("line", { x1: MARGIN.left, x2: width - MARGIN.right, y1: y(value), y2: y(value) }));
      grid.append(s("text", { x: MARGIN.left - 7, y: y(value) + 4, "text-anchor": "end" }, tick(value)));
    }
    for (const value of ticks(x0, x1, small ? 3 : 6).filter(Number.isInteger))
      grid.append(s("text", { x: x(value), y: height - 5, "text-anchor": "middle" }, general(value)));
    const lines = series.map(({ xs, ys }, k) => {
      const reach = Math.floor(xs.length / 24);
      const dots = xs.length < 4 || ys.filter((v) => v != null).length < 4;
      return [
        reach > 0 && s("path", { class: `raw c${k}`, d: pathOf(xs, ys, x, y) }),
        s("path", { class: `mean c${k}`, d: pathOf(xs, reach ? movingMean(ys, reach) : ys, x, y) }),
        dots && xs.map((value, i) => ys[i] != null && s("circle", { class: `dot c${k}`, cx: x(value), cy: y(ys[i]), r: 3 })),
      ];
    });
    const marks = at == null ? [] : [s("line", { class: "cross", x1: x(at), x2: x(at), y1: MARGIN.top, y2: height - MARGIN.bottom })];
    series.forEach(({ xs, ys }, k) => {
      const place = at == null ? ys.findLastIndex((value) => value != null) : nearest(xs, at);
      outputs[k].textContent = unit(ys[place] ?? null);
      if (at != null && ys[place] != null)
        marks.push(s("circle", { class: `dot c${k}`, cx: x(xs[place]), cy: y(ys[place]), r: 3.5 }));
    });
    if (at != null) marks.push(s("text", { x: Math.min(x(at) + 5, width - 58), y: MARGIN.top + 9 }, `step ${at}`));
    svg.replaceChildren(grid);
    append(svg, [lines.reverse(), marks]); // the first series on top
  }

  function move(step) {
    at = step;
    draw();
  }
  const steps = [...new Set(allX)].sort((a, b) => a - b);
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const share = (event.clientX - box.left - MARGIN.left) / (box.width - MARGIN.left - MARGIN.right);
    move(steps[nearest(steps, x0 + share * (x1 - x0))]);
  });
  svg.addEventListener("pointerleave", () => move(null));
  svg.addEventListener("blur", () => move(null));
  svg.addEventListener("keydown", (event) => {
    const way = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!way) return;
    event.preventDefault();
    const place = at == null ? (way > 0 ? 0 : steps.length - 1) : steps.indexOf(at) + way;
    move(steps[Math.min(Math.max(place, 0), steps.length - 1)]);
  });
  new ResizeObserver(() => svg.clientWidth !== drawnWidth && draw()).observe(svg);
  return figure;
}
