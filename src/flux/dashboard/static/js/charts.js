// Charts by uPlot. The server sends the numbers in the page; lines differ by colour and by dash.
import uPlot from "../vendor/uplot.js";

const DASHES = [[], [6, 4], [2, 3]];
const plots = new Map();

function css(name) {
  // Custom properties that hold light-dark() are resolved only where they are used as a colour.
  const probe = document.createElement("span");
  probe.className = `s-${name}`;
  document.body.append(probe);
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour;
}

function line(name) {
  const probe = document.querySelector(`.${name}`) ?? document.body;
  return getComputedStyle(probe).borderTopColor;
}

export function worded(value, unit) {
  if (value === null || value === undefined) return "–";
  if (unit !== "s") return value >= 100 ? Math.round(value).toLocaleString("en") : String(+value.toPrecision(3));
  if (value < 0.001) return `${Math.round(value * 1e6)} µs`;
  if (value < 1) return `${+(value * 1000).toPrecision(3)} ms`;
  if (value < 120) return `${+value.toPrecision(3)} s`;
  return value < 7200 ? `${Math.round(value / 60)} min` : `${+(value / 3600).toPrecision(3)} h`;
}

function short(value, unit) {
  if (value === 0) return "0";
  if (unit === "s") return worded(value, unit);
  if (value >= 1e6) return `${+(value / 1e6).toPrecision(3)} M`;
  if (value >= 1e4) return `${+(value / 1e3).toPrecision(3)} k`;
  return String(+value.toPrecision(4));
}

// One line under the chart: the time, and the day where it is a new one or the steps are days.
function stamps(plot, splits, _, __, step) {
  const days = plot.data[0].length ? plot.data[0].at(-1) - plot.data[0][0] > 2 * 86400 : false;
  return splits.map((at) => {
    const when = new Date(at * 1000);
    if (days && step >= 86400) return when.toLocaleDateString([], { weekday: "short", day: "numeric" });
    if (days && when.getHours() === 0) return when.toLocaleDateString([], { weekday: "short" });
    return when.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  });
}

function tip(box, data) {
  const element = document.createElement("div");
  element.className = "tip";
  element.hidden = true;
  return {
    hooks: {
      init: (plot) => plot.over.append(element),
      setCursor: (plot) => {
        const { idx, left } = plot.cursor;
        element.hidden = idx === null || idx === undefined || left < 0;
        if (element.hidden) return;
        const rows = [new Date(plot.data[0][idx] * 1000).toLocaleString("en-GB", { weekday: "short", hour: "2-digit", minute: "2-digit" })];
        element.replaceChildren(
          ...rows.map((text) => Object.assign(document.createElement("strong"), { textContent: text })),
          ...data().series.map((one, i) => {
            const row = document.createElement("div");
            const name = Object.assign(document.createElement("span"), { textContent: one.label, className: `s-${one.look}` });
            const value = Object.assign(document.createElement("span"), { textContent: worded(plot.data[i + 1][idx], data().unit) });
            row.append(name, value);
            return row;
          }),
        );
        const right = left > plot.over.clientWidth / 2;
        element.style.transform = right
          ? `translateX(calc(${left - 12}px - 100%))`
          : `translateX(${left + 12}px)`;
      },
    },
  };
}

function alone(plot, index) {
  const values = plot.data[index];
  const lone = [];
  for (let i = 0; i < values.length; i += 1) {
    if (values[i] != null && values[i - 1] == null && values[i + 1] == null) lone.push(i);
  }
  return lone;
}

function draw(box) {
  const read = () => JSON.parse(box.dataset.chart);
  let data = read();
  const axis = css("off");
  const grid = { stroke: line("panel"), width: 1 };
  const font = `12px ${getComputedStyle(document.body).fontFamily}`;
  const plot = new uPlot(
    {
      width: box.clientWidth,
      height: box.clientHeight,
      legend: { show: false },
      cursor: { sync: { key: "flux" }, y: false, points: { size: 6 }, drag: { x: true, y: false } },
      scales: { y: { range: (_, low, high) => [0, high > 0 ? high * 1.1 : 1] } },
      axes: [
        { stroke: axis, grid: { show: false }, ticks: { show: false }, font, space: 64, size: 24, gap: 4, values: stamps },
        { stroke: axis, grid, ticks: { show: false }, font, size: 56, gap: 4, space: 32, values: (_, splits) => splits.map((v) => short(v, data.unit)) },
      ],
      series: [
        {},
        ...data.series.map((one, i) => ({
          label: one.label,
          stroke: css(one.look),
          width: 1.75,
          dash: DASHES[i],
          spanGaps: false,
          // A value between two gaps has no line; a point shows it.
          points: { show: true, size: 4, fill: css(one.look), filter: alone },
        })),
      ],
      plugins: [tip(box, () => data)],
    },
    [data.at, ...data.series.map((one) => one.values)],
    box,
  );
  const listener = () => {
    data = read();
    plot.setData([data.at, ...data.series.map((one) => one.values)]);
  };
  box.addEventListener("chart-data", listener);
  plots.set(box, { plot, listener });
}

function forget(box) {
  const known = plots.get(box);
  if (!known) return;
  box.removeEventListener("chart-data", known.listener);
  sizes.unobserve(box);
  known.plot.destroy();
  plots.delete(box);
}

const sizes = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const known = plots.get(target);
    if (known && target.clientWidth) known.plot.setSize({ width: target.clientWidth, height: target.clientHeight });
  }
});

function look() {
  for (const box of plots.keys()) if (!box.isConnected) forget(box);
  for (const box of document.querySelectorAll(".chart")) {
    if (plots.has(box)) continue;
    draw(box);
    sizes.observe(box);
  }
}

export function startCharts() {
  look();
  document.addEventListener("flux:shown", look);
  document.addEventListener("flux:theme", () => {
    for (const box of [...plots.keys()]) forget(box);
    look();
  });
}
