"use strict";
// Asks the daemon for its state once a second and shows it. Nothing is loaded from anywhere else.

const EVERY_MS = 1000, SLOTS = 60, PATIENCE_MS = 5000;
const at = (id) => document.getElementById(id);
let governors = "";
let touched = false;

function text(id, value) {
  const element = at(id);
  if (element.textContent !== value) element.textContent = value;
}

function node(name, content, attributes = {}) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...[content].flat());
  return element;
}

function hertz(value) {
  if (value === null) return "not known";
  return value >= 1e9 ? `${(value / 1e9).toFixed(2)} GHz` : `${Math.round(value / 1e6)} MHz`;
}

function duration(seconds) {
  const minutes = Math.floor(seconds / 60), hours = Math.floor(minutes / 60);
  if (hours >= 48) return `${Math.floor(hours / 24)} days`;
  return hours ? `${hours} h ${minutes % 60} min` : minutes ? `${minutes} min` : `${Math.floor(seconds)} s`;
}

function showTiles(state) {
  const minute = state.minute;
  const refusals = Object.values(minute.refused).reduce((sum, count) => sum + count, 0);
  text("rate", round(minute.rate_hz));
  text("rate-note", `${minute.answered} answered, ${refusals} refused in the last minute`);
  at("rate").closest(".tile").classList.toggle("bad", refusals > 0);
  const p50 = minute.latency_s.p50;
  text("p50", shown(p50));
  text("latency-note", p50 === null ? "no answers yet" : `median; 95 % within ${shown(minute.latency_s.p95)}, 99 % within ${shown(minute.latency_s.p99)}`);
  const due = minute.deadlines_met + minute.deadlines_missed;
  text("met", due ? `${round((100 * minute.deadlines_met) / due)} %` : "–");
  text("met-note", due ? `${minute.deadlines_missed} of ${due} late` : "no request had a deadline");
  at("met").closest(".tile").classList.toggle("bad", minute.deadlines_missed > 0);
  text("energy", joules(minute.energy_per_sample_j));
  text("energy-note", minute.energy_per_sample_j === null ? "no meter tells it" : `a sample, ${state.energy_source ?? "modelled"}, mean of the last minute`);
  text("queue", String(state.queue.length));
  text("queue-limit", `of ${state.queue.limit}`);
  text("queue-note", state.queue.length ? "requests wait" : "nobody waits");
  showBoard(state);
}

function showBoard(state) {
  const heat = state.temperature_c, throttled = state.throttled ?? [];
  text("heat", heat !== null ? `${heat.toFixed(1)} °C` : state.power_w !== null ? `${state.power_w.toFixed(1)} W` : "–");
  const parts = [];
  if (throttled.length) parts.push(`throttled: ${throttled.join(", ")}`);
  if (heat !== null && state.power_w !== null) parts.push(`${state.power_w.toFixed(1)} W`);
  if (state.cpu_load !== null) parts.push(`load ${Math.round(100 * state.cpu_load)} %`);
  text("heat-note", parts.join(", ") || (state.simulated ? "a simulated board has no sensors" : heat === null ? "no sensor was found" : "not throttled"));
  at("heat").closest(".tile").classList.toggle("bad", throttled.length > 0);
}

function showLatencies(state) {
  const answers = state.recent.slice(-SLOTS);
  drawLatencies(at("latency-chart"), answers, SLOTS);
  if (!answers.length) { text("latency-summary", "No answers yet."); return; }
  const late = answers.filter((a) => a.latency_budget_s !== null && a.latency_s > a.latency_budget_s * (1 + 1e-9)).length;
  const longest = Math.max(...answers.map((a) => a.latency_s));
  text("latency-summary", `${answers.length} answers, the longest after ${shown(longest)}, ${late ? `${late} late` : "none late"}.`);
}

function bars(rows) {
  const list = node("dl", [], { class: "bars" });
  for (const [name, share, value] of rows) {
    list.append(node("dt", name), node("dd", track(share)), node("dd", value, { class: "value" }));
  }
  return list;
}

function showExits(state) {
  const parts = [];
  for (const [model, counts] of Object.entries(state.minute.exits)) {
    const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
    const exits = state.models.find((each) => each.name === model && each.ready)?.exits ?? 0;
    const indices = new Set([...Object.keys(counts).map(Number), ...Array(exits).keys()]);
    const rows = [...indices].sort((a, b) => a - b).map((index) => {
      const share = (counts[index] ?? 0) / total;
      return [`exit ${index}`, share, `${(100 * share).toFixed(1)} %`];
    });
    parts.push(node("p", model, { class: "group" }), bars(rows));
  }
  at("exits").replaceChildren(...(parts.length ? parts : [node("p", "No answers yet.", { class: "empty" })]));
}

function showClocks(state) {
  const governor = state.governor === null || state.governor === "none" ? "no governor" : `governor ${state.governor}`;
  const who = { "in process": "a simulated board's clocks, set by the daemon", clockd: "set through clockd", nobody: "not set" }[state.clocks_set_by] ?? state.clocks_set_by;
  text("clocks-note", `${governor}; ${who}${state.clocks_reason ? `: ${state.clocks_reason}` : ""}`);
  const rows = Object.entries(state.clocks).map(([name, clock]) => {
    const top = clock.points_hz.at(-1) ?? clock.hz ?? 1;
    return [name, (clock.hz ?? 0) / top, clock.hz === null ? "not known" : `${hertz(clock.hz)} of ${hertz(top)}`];
  });
  at("clocks").replaceChildren(rows.length ? bars(rows) : node("p", "This board shows no clock.", { class: "empty" }));
}

function showModels(state) {
  at("models").replaceChildren(...state.models.map((model) => {
    const what = model.reason ? `${model.state}: ${model.reason}` : model.state;
    return node("tr", [
      node("td", model.name), node("td", model.version),
      node("td", what, model.ready && !model.reason ? {} : { class: "bad" }),
      node("td", model.drifted ? "drifted" : model.ready ? "yes" : "–", model.drifted ? { class: "bad" } : {}),
    ]);
  }));
}

function showRecent(state) {
  const answers = state.recent.slice(-12).reverse();
  if (!answers.length) return;
  at("recent").replaceChildren(...answers.map((a) => node("tr", [
    node("td", a.model), node("td", String(a.exit_index), { class: "number" }),
    node("td", shown(a.latency_s), { class: "number" }),
    node("td", a.latency_budget_s === null ? "none" : shown(a.latency_budget_s), { class: "number" }),
    node("td", joules(a.energy_j), { class: "number" }),
    node("td", Object.entries(a.clocks).map(([name, value]) => `${name} ${hertz(value)}`).join(", ") || "as they are"),
    node("td", a.reason || "no governor"),
  ])));
}

function showSettings(state) {
  const names = state.governors.join(" ");
  if (names !== governors) {
    governors = names;
    at("governor").replaceChildren(...state.governors.map((name) => node("option", name, { value: name })));
  }
  if (touched) return;
  at("governor").value = state.governor ?? "none";
  at("deadline").value = state.latency_budget_s === null ? "" : round(state.latency_budget_s * 1e3);
}

function show(state) {
  text("device", `${state.device}${state.simulated && !state.device.startsWith("simulated") ? " (simulated)" : ""} · up ${duration(state.uptime_s)}`);
  text("version", `edgeexit ${state.edgeexit}`);
  for (const part of [showTiles, showLatencies, showExits, showClocks, showModels, showRecent, showSettings]) part(state);
}

function connected(yes, why = "") {
  text("connection", yes ? "live" : "no answer");
  at("connection").classList.toggle("gone", !yes);
  at("notice").hidden = yes;
  if (!yes) text("notice", `The daemon does not answer${why ? ` (${why})` : ""}. The figures below are old; trying again every second.`);
}

async function poll() {
  try {
    const answer = await fetch("/edgeexit/v1/state", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    show(await answer.json());
    connected(true);
  } catch (error) {
    connected(false, error instanceof TypeError ? "" : error.message);
  }
  setTimeout(poll, EVERY_MS);
}

function wanted() {
  const deadline = at("deadline").value.trim().replace(",", ".");
  const settings = { governor: at("governor").value };
  if (deadline === "") return { ...settings, latency_budget_s: null };
  const milliseconds = Number(deadline);
  if (!(milliseconds > 0 && Number.isFinite(milliseconds))) throw new Error("The deadline must be a number of milliseconds above 0, or empty for none.");
  return { ...settings, latency_budget_s: milliseconds / 1e3 };
}

async function apply(event) {
  event.preventDefault();
  const answer = at("settings-answer"), button = event.target.querySelector("button");
  button.disabled = true;
  try {
    const headers = { "content-type": "application/json" };
    const token = at("token").value.trim();
    if (token) headers.authorization = `Bearer ${token}`;
    const reply = await fetch("/edgeexit/v1/settings", { method: "POST", headers, body: JSON.stringify(wanted()) });
    const body = await reply.json();
    if (!reply.ok) throw new Error(body.error ?? `status ${reply.status}`);
    touched = false;
    show(body);
    answer.textContent = "Applied.";
    answer.classList.remove("bad");
  } catch (error) {
    answer.textContent = error.message;
    answer.classList.add("bad");
  }
  button.disabled = false;
}

at("settings").addEventListener("submit", apply);
for (const id of ["governor", "deadline"]) at(id).addEventListener("input", () => { touched = true; });
poll();
