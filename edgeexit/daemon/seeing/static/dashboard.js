"use strict";
// Asks the daemon for its state once a second and shows it. Nothing is loaded from anywhere else.

const EVERY_MS = 1000, SLOTS = 60, PATIENCE_MS = 5000;
const at = (id) => document.getElementById(id);
const WHY = {
  refused: "no room, or not in time", deadline_passed: "too late to begin", bad_request: "wrong request",
  model_not_found: "no such model", model_not_ready: "model not loaded", engine_error: "ONNX Runtime failed", error: "other error",
};
const touched = new Set();
let governors = "", facts = null;

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
  return value >= 1e9 ? `${(value / 1e9).toFixed(2)}\u00a0GHz` : `${Math.round(value / 1e6)}\u00a0MHz`;
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
  text("rate-note", `${minute.answered} answered in the last minute${refusals ? `, ${refusals}\u00a0not` : ""}`);
  at("rate").closest(".tile").classList.toggle("bad", refusals > 0);
  const p50 = minute.latency_s.p50;
  text("p50", shown(p50));
  text("latency-note", p50 === null ? "no answer in the last minute" : `median; 95\u00a0% in ${shown(minute.latency_s.p95)}, 99\u00a0% in ${shown(minute.latency_s.p99)}`);
  const due = minute.deadlines_met + minute.deadlines_missed;
  text("met", due ? `${round((100 * minute.deadlines_met) / due)} %` : "–");
  text("met-note", due ? `${minute.deadlines_missed} of ${due} answers late${refusals ? `, ${refusals}\u00a0not answered` : ""}` : "no answer had a deadline");
  at("met").closest(".tile").classList.toggle("bad", minute.deadlines_missed > 0);
  text("energy", joules(minute.energy_per_sample_j));
  text("energy-note", minute.energy_per_sample_j === null ? (minute.answered ? "no meter tells it" : "no answer in the last minute") : `a sample, ${state.energy_source ?? "modelled"}, mean of the last minute`);
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
  at("exits").replaceChildren(...(parts.length ? parts : [node("p", "No answer in the last minute.", { class: "empty" })]));
}

function showRefusals(state) {
  const counts = Object.entries(state.minute.refused).sort((a, b) => b[1] - a[1]);
  const total = counts.reduce((sum, [, count]) => sum + count, 0);
  const rows = counts.map(([reason, count]) => [WHY[reason] ?? reason, count / total, String(count)]);
  at("refusals").replaceChildren(rows.length ? bars(rows) : node("p", "None.", { class: "empty" }));
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
      node("td", what, model.state === "failed" || (model.ready && model.reason) ? { class: "bad" } : {}),
      node("td", model.drifted ? "drifted" : model.ready ? "as calibrated" : "–", model.drifted ? { class: "bad" } : {}),
    ]);
  }));
}

function showRecent(state) {
  const answers = state.recent.slice(-12).reverse();
  if (!answers.length) return;
  const cell = (content, kind) => node("td", content, { class: kind, role: "cell" });
  at("recent").replaceChildren(...answers.map((a) => node("tr", [
    cell(a.model, "model"), cell(String(a.exit_index), "exit number"),
    cell(shown(a.latency_s), "latency number"),
    cell(a.latency_budget_s === null ? "never" : shown(a.latency_budget_s), "due number"),
    cell(joules(a.energy_j), "energy number"),
    cell(Object.entries(a.clocks).map(([name, value]) => `${name} ${hertz(value)}`).join(", ") || "as they are", "clocks"),
    cell(a.reason || "no governor", "reason"),
  ], { role: "row" })));
}

function showSettings(state) {
  const names = state.governors.join(" ");
  if (names !== governors) {
    governors = names;
    at("governor").replaceChildren(...state.governors.map((name) => node("option", name, { value: name })));
  }
  if (!touched.has("governor")) at("governor").value = state.governor ?? "none";
  if (!touched.has("deadline")) at("deadline").value = state.latency_budget_s === null ? "" : round(state.latency_budget_s * 1e3);
}

/** Tell a screen reader what has changed for good; the figures, which always change, it reads when asked. */
function showNews(state) {
  const now = [
    `governor ${state.governor ?? "none"}`,
    state.latency_budget_s === null ? "no default deadline" : `default deadline ${shown(state.latency_budget_s)}`,
    state.throttled?.length ? `throttled: ${state.throttled.join(", ")}` : "not throttled",
    `clocks set by ${state.clocks_set_by}`,
    ...state.models.map((model) => `${model.name} version ${model.version} ${model.state}${model.drifted ? ", its exits have drifted" : ""}`),
  ];
  const news = facts === null ? [] : now.filter((fact) => !facts.includes(fact));
  if (news.length) text("news", `Now ${news.join("; ")}.`);
  facts = now;
}

function show(state) {
  text("device", `${state.device}${state.simulated && !state.device.startsWith("simulated") ? " (simulated)" : ""} · up ${duration(state.uptime_s)}`);
  text("version", `edgeexit ${state.edgeexit}`);
  document.title = `${state.device} – edgeexit`;
  for (const part of [showTiles, showLatencies, showExits, showRefusals, showClocks, showModels, showRecent, showSettings, showNews]) part(state);
}

function connected(yes, why = "") {
  text("connection", yes ? "live" : "no answer");
  at("connection").classList.toggle("gone", !yes);
  at("notice").hidden = yes;
  if (!yes) text("notice", `The daemon does not answer${why ? ` (${why})` : ""}. The figures below are old; trying again every second.`);
}

async function look() {
  try {
    const answer = await fetch("/edgeexit/v1/state", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    show(await answer.json());
    connected(true);
  } catch (error) {
    connected(false, error instanceof TypeError ? "" : error.message);
  }
}

async function poll() {
  if (!document.hidden) await look();
  setTimeout(poll, EVERY_MS);
}

/** What the user has touched, and nothing else: the rest may have been changed by somebody else meanwhile. */
function wanted() {
  const settings = {};
  if (touched.has("governor")) settings.governor = at("governor").value;
  if (touched.has("deadline")) settings.latency_budget_s = deadlineWanted();
  if (!touched.size) throw new Error("Nothing to apply: choose another governor or deadline first.");
  return settings;
}

function deadlineWanted() {
  const deadline = at("deadline").value.trim().replace(",", ".");
  if (deadline === "") return null;
  const milliseconds = Number(deadline);
  if (!(milliseconds > 0 && Number.isFinite(milliseconds))) throw new Error("The deadline must be a number of milliseconds above 0, or empty for none.");
  return milliseconds / 1e3;
}

async function send(settings, token) {
  const headers = { "content-type": "application/json" };
  if (token) headers.authorization = `Bearer ${token}`;
  const reply = await fetch("/edgeexit/v1/settings", { method: "POST", headers, body: JSON.stringify(settings) }).catch(() => null);
  if (reply === null) throw new Error("The daemon does not answer; try again once it is back.");
  const body = await reply.json().catch(() => ({}));
  if (reply.status === 401) throw new Error(token ? "The token is wrong: nothing was changed." : "Changes need the token: nothing was changed.");
  if (!reply.ok) throw new Error(body.error ?? `The daemon refused with status ${reply.status}.`);
  return body;
}

async function apply(event) {
  event.preventDefault();
  const answer = at("settings-answer"), button = event.target.querySelector("button");
  button.disabled = true;
  try {
    const state = await send(wanted(), at("token").value.trim());
    touched.clear();
    show(state);
    answer.textContent = "Applied.";
    answer.classList.remove("bad");
  } catch (error) {
    answer.textContent = error.message;
    answer.classList.add("bad");
  }
  button.disabled = false;
}

at("settings").addEventListener("submit", apply);
for (const id of ["governor", "deadline"]) at(id).addEventListener("input", () => touched.add(id));
document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
poll();
