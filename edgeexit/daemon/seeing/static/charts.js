"use strict";
// Small SVG charts; everything is made of elements and attributes, no markup is ever parsed.

const SVG = "http://www.w3.org/2000/svg";

function svg(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

/** Draw latencies in seconds as bars against their deadlines; `slots` places, the newest on the right. */
function drawLatencies(chart, answers, slots) {
  const width = chart.clientWidth || 600, height = chart.clientHeight || 180, left = 52, bottom = 4;
  const all = answers.flatMap((a) => [a.latency_s, a.latency_budget_s ?? 0]);
  const top = niceTop(Math.max(...all, 1e-6));
  const y = (seconds) => height - bottom - (height - bottom - 8) * Math.min(seconds / top, 1);
  const step = (width - left) / slots, first = slots - answers.length;
  const parts = [];
  for (const share of [0, 0.5, 1]) {
    parts.push(svg("line", { class: "grid", x1: left, x2: width, y1: y(top * share), y2: y(top * share) }));
    const label = svg("text", { x: left - 8, y: y(top * share) + 4, "text-anchor": "end" });
    label.textContent = shown(top * share);
    parts.push(label);
  }
  let due = "";
  answers.forEach((answer, index) => {
    const x = left + (first + index) * step, limit = answer.latency_budget_s;
    const late = limit !== null && answer.latency_s > limit * (1 + 1e-9);
    const high = y(answer.latency_s);
    const bar = svg("rect", { class: late ? "bar late" : "bar", x: x + step * 0.15, width: step * 0.7, y: high, height: Math.max(height - bottom - high, 1), rx: 1.5 });
    parts.push(bar);
    if (limit !== null) due += `M${x} ${y(limit)}H${x + step}`;
  });
  if (due) parts.push(svg("path", { class: "due", d: due }));
  chart.setAttribute("viewBox", `0 0 ${width} ${height}`);
  chart.replaceChildren(...parts);
}

/** A bar that is filled by a share of its width; the figure beside it says the same. */
function track(share) {
  const bar = svg("svg", { class: "track", "aria-hidden": "true" });
  const filled = Math.min(Math.max(share, 0), 1);
  bar.append(svg("rect", { width: "100%", height: "100%", rx: 6 }));
  if (filled > 0) bar.append(svg("rect", { class: "filled", width: `${100 * filled}%`, height: "100%", rx: 6 }));
  return bar;
}

/** The next of 1, 2, 5, 10, ... that is not below a value. */
function niceTop(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= value * 0.999);
}

/** Seconds as text with a unit. */
function shown(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds === 0) return "0";
  if (seconds < 1e-3) return `${round(seconds * 1e6)}\u00a0µs`;
  return seconds < 1 ? `${round(seconds * 1e3)}\u00a0ms` : `${round(seconds)}\u00a0s`;
}

/** Joules as text with a unit. */
function joules(energy) {
  if (energy === null || energy === undefined) return "–";
  if (energy < 1e-3) return `${round(energy * 1e6)}\u00a0µJ`;
  return energy < 1 ? `${round(energy * 1e3)}\u00a0mJ` : `${round(energy)}\u00a0J`;
}

/** Three significant digits, and no exponent. */
function round(value) {
  return Number(value.toPrecision(3)).toString();
}
