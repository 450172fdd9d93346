"use strict";
// Every text gets into the page as text: names of services and spans come from recordings that anybody may have written.
const data = JSON.parse(document.getElementById("data").textContent);
const chosen = { service: "", rule: "", fate: "" };

function make(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties || {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value);
  }
  return fill(element, ...children);
}

// `append` writes out what is not there.
function fill(element, ...children) {
  element.append(...children.filter((child) => child !== null));
  return element;
}

const number = (value) => value.toLocaleString("en-US");
// Rounded down, as the table of the command line does: only what is all is 100 %.
const share = (kept, all) => (all === 0 ? 0 : Math.floor((kept * 1000) / all) / 10);
const percent = (kept, all) => share(kept, all).toFixed(1) + " %";

function bytes(count) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let at = 0;
  let scaled = count;
  while (scaled >= 1000 && at < units.length - 1) {
    scaled /= 1000;
    at += 1;
  }
  return (at === 0 ? String(count) : (Math.floor(scaled * 10) / 10).toFixed(1)) + " " + units[at];
}

function duration(nanoseconds) {
  for (const [unit, size] of [["s", 1e9], ["ms", 1e6], ["µs", 1e3]]) {
    if (nanoseconds >= size) return (nanoseconds / size).toFixed(nanoseconds >= 100 * size ? 0 : 2) + " " + unit;
  }
  return nanoseconds + " ns";
}

function bar(kept, all) {
  const inner = make("i");
  inner.style.width = share(kept, all) + "%";
  return make("span", { class: "bar", "aria-hidden": "true" }, inner);
}

const shareCell = (kept, all) => make("td", { class: "share" }, make("div", {}, bar(kept, all), make("span", {}, percent(kept, all))));
const numberCell = (value) => make("td", { class: "number" }, value === null ? "–" : number(value));
const textCell = (text, kind) => make("td", { class: kind || "" }, text);
const headCell = (text, kind) => make("th", { scope: "row", class: "name " + (kind || "") }, text);

function table(id, caption, heads, rows, more) {
  const head = heads.map(([name, kind]) => make("th", { scope: "col", class: kind || "" }, name));
  const body = rows.length > 0 ? rows : [make("tr", {}, make("td", { colspan: heads.length, class: "soft" }, "none"))];
  const hint = more > 0 ? make("p", { class: "soft" }, number(more) + " more are in -o json") : null;
  return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    make("table", { id }, make("caption", {}, caption), make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...body)), hint);
}

// What a row counts while a rule is chosen: the traces that this rule decided.
function counted(row) {
  if (chosen.rule === "") return row;
  const [, traces, kept] = row.by.find(([rule]) => String(rule) === chosen.rule) || [0, 0, 0];
  return { traces, kept, spansKept: null, bytesKept: null };
}

const isOfService = (row) => chosen.service === "" || String(row.key) === chosen.service;

function tallies(rows, names) {
  const shown = rows.map((row) => [row, counted(row)]).filter(([row, count]) => isOfService(row) && (chosen.rule === "" || count.traces > 0));
  return shown.map(([row, count]) => make("tr", {},
    ...names(row).map((name, at) => (at === 0 ? headCell(name) : textCell(name, "name"))), numberCell(count.traces), numberCell(count.kept), shareCell(count.kept, count.traces),
    numberCell(count.spansKept), textCell(count.bytesKept === null ? "–" : bytes(count.bytesKept), "number")));
}

const NUMBERS = [["Traces", "number"], ["Kept", "number"], ["Share kept"], ["Spans kept", "number"], ["Bytes kept", "number"]];

function services() {
  const rows = tallies(data.services, (row) => [row.label]);
  return table("services", "A trace counts for each service that it has a span of", [["Service"], ...NUMBERS], rows, data.more.services);
}

function routes() {
  const rows = tallies(data.routes, (row) => [row.name, row.label]);
  return table("routes", "By the root of the trace; with a service chosen, those that begin in it", [["Route"], ["Service"], ...NUMBERS], rows, data.more.routes);
}

const where = (rule) => (rule.file === null ? "–" : rule.file + (rule.line === null ? "" : ":" + rule.line));

function note(rule) {
  if (rule.shadowedBy) return "never decides: " + rule.shadowedBy.rule + (rule.shadowedBy.policy ? " of " + rule.shadowedBy.policy : "") + " is before it";
  if (rule.matched === 0) return "never matched";
  return rule.decided === 0 ? "others decided" : "";
}

function rules() {
  const service = data.services.find((row) => String(row.key) === chosen.service);
  const rows = data.rules.flatMap((rule, at) => {
    if (chosen.rule !== "" && String(at) !== chosen.rule) return [];
    let { matched, decided, kept } = rule;
    if (chosen.service !== "") {
      const [, traces, some] = (service ? service.by : []).find(([number]) => number === at) || [at, 0, 0];
      [matched, decided, kept] = [null, traces, some];
      if (traces === 0 && chosen.rule === "") return [];
    }
    return [make("tr", {},
      headCell(rule.rule, "mono"), textCell(rule.policy || "the collector", "name"), textCell(rule.ratio === null ? "–" : String(rule.ratio), "number"),
      numberCell(matched), numberCell(decided), numberCell(kept), shareCell(kept, decided), textCell(where(rule), "mono"),
      textCell(chosen.service === "" ? note(rule) : ""))];
  });
  const heads = [["Rule"], ["Policy"], ["Ratio", "number"], ["Matched", "number"], ["Decided", "number"], ["Kept", "number"], ["Share kept"], ["Where"], ["Note"]];
  return table("rules", "Each trace is decided by one rule", heads, rows, 0);
}

function scrubbed() {
  const rows = data.scrubbed.map((one) => make("tr", {}, headCell(one.attribute === null ? "(others)" : one.attribute, "mono"), numberCell(one.removed), numberCell(one.cut)));
  return table("scrubbed", "Of all traces: attributes that never leave the collector, or only cut; values are not in this page", [["Attribute"], ["Removed", "number"], ["Cut", "number"]], rows, 0);
}

const TIMING = {
  spread: "its spans end further apart than decisionWait", late: "spans come after the decision",
  crowded: "more traces are open than tracesInMemory: the collector loses some of them",
};

function timing() {
  const rows = data.timed.map((one) => make("tr", {}, headCell(one.traceId, "mono"), textCell(TIMING[one.timing])));
  return table("timing", "Of all traces: a collector may decide otherwise about these", [["Trace"], ["Why"]], rows, data.more.timed);
}

// Parents before their children, by the time of their beginning; what hangs together in a circle comes last.
function inOrder(spans) {
  const byStart = spans.map((span, at) => at).sort((one, other) => spans[one].start - spans[other].start || one - other);
  const ids = new Set(spans.map((span) => span.id));
  const children = new Map();
  for (const at of byStart) {
    const parent = ids.has(spans[at].parent) && spans[at].parent !== spans[at].id ? spans[at].parent : "";
    children.set(parent, [...(children.get(parent) || []), at]);
  }
  const seen = new Set();
  const order = [];
  const visit = (first) => {
    const waiting = [[first, 0]];
    while (waiting.length > 0) {
      const [at, depth] = waiting.pop();
      if (seen.has(at)) continue;
      seen.add(at);
      order.push([spans[at], depth]);
      for (const child of [...(children.get(spans[at].id) || [])].reverse()) waiting.push([child, depth + 1]);
    }
  };
  for (const at of children.get("") || []) visit(at);
  for (const at of byStart) visit(at);
  return order;
}

function timeline(trace) {
  const length = Math.max(1, ...trace.spans.map((span) => span.start + span.duration));
  const rows = inOrder(trace.spans).map(([span, depth]) => {
    const inner = make("i", { class: span.error ? "failed" : span.recorded ? "" : "unrecorded" });
    inner.style.left = (100 * span.start) / length + "%";
    inner.style.width = (100 * span.duration) / length + "%";
    const name = make("th", { scope: "row", class: "name" }, span.name, span.error ? make("span", { class: "error" }, " error") : null, span.recorded ? null : make("span", { class: "soft" }, " not recorded"));
    name.style.paddingLeft = Math.min(depth, 20) + "rem";
    return make("tr", {}, name, textCell(span.service, "name"), textCell("+" + duration(span.start), "number"), textCell(duration(span.duration), "number"),
      make("td", {}, make("div", { class: "lane", "aria-hidden": "true" }, inner)));
  });
  const more = trace.more > 0 ? make("p", { class: "soft" }, number(trace.more) + " more spans") : null;
  const heads = ["Span", "Service", "Start", "Duration", "Timeline"].map((name) => make("th", { scope: "col" }, name));
  return make("div", { class: "scroll timeline " + (trace.kept ? "kept" : "dropped") },
    make("table", {}, make("caption", {}, "Spans of trace " + trace.traceId), make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows)), more);
}

function example(trace) {
  const rule = data.rules[trace.ruleAt];
  const fate = trace.kept ? "kept" : "dropped";
  const words = rule.rule + (rule.policy ? " of " + rule.policy : "") + (rule.file === null ? "" : " (" + where(rule) + ")");
  const details = make("details", { "data-trace": trace.traceId },
    make("summary", {}, make("span", { class: "badge " + fate }, fate), " ", make("bdi", {}, trace.route === null ? "(no root)" : trace.route), " · ",
      make("span", { class: "soft" }, make("bdi", {}, trace.services.map(([, label]) => label).join(", ")), " · ", number(trace.spans.length + trace.more), " spans · ", duration(trace.duration), " · by ", words,
        trace.timing ? " · depends on timing" : ""), " ", make("code", {}, trace.traceId)));
  details.addEventListener("toggle", () => {
    if (details.open && details.childElementCount === 1) details.append(timeline(trace));
  });
  return details;
}

const FATES = [["", "All"], ["kept", "Kept"], ["dropped", "Dropped"]];

function examples() {
  const isMeant = (trace) =>
    (chosen.service === "" || trace.services.some(([key]) => String(key) === chosen.service)) &&
    (chosen.rule === "" || String(trace.ruleAt) === chosen.rule) &&
    (chosen.fate === "" || (chosen.fate === "kept") === trace.kept);
  const meant = data.examples.filter(isMeant);
  const buttons = FATES.map(([fate, name]) =>
    make("button", { type: "button", "aria-pressed": String(chosen.fate === fate), "data-fate": fate, onclick: () => choose("fate", fate) }, name));
  return make("section", { id: "examples" }, make("p", { role: "group", "aria-label": "Which examples" }, ...buttons.flatMap((button) => [button, " "])),
    make("p", { class: "soft", role: "status" }, number(meant.length) + " examples: the first ones of each rule and service"), ...meant.map(example));
}

function total() {
  const service = data.services.find((row) => String(row.key) === chosen.service);
  if (chosen.service !== "") return service ? counted(service) : { traces: 0, kept: 0 };
  if (chosen.rule !== "") return { traces: data.rules[Number(chosen.rule)].decided, kept: data.rules[Number(chosen.rule)].kept };
  return data.summary;
}

function result() {
  const { traces, kept } = total();
  document.getElementById("result").textContent = number(kept) + " of " + number(traces) + " traces kept (" + percent(kept, traces) + ")";
}

const PARTS = [["Services", services], ["Routes", routes], ["Rules", rules], ["Scrubbed", scrubbed], ["Depends on timing", timing], ["Examples", examples]];

function draw() {
  result();
  for (const [name, part] of PARTS) {
    const place = document.getElementById("part-" + name);
    const focused = place.contains(document.activeElement) ? document.activeElement.dataset.fate : undefined;
    place.replaceChildren(part());
    if (focused !== undefined) place.querySelector("[data-fate='" + focused + "']").focus();
  }
}

function choose(name, value) {
  chosen[name] = value;
  draw();
}

function select(name, caption, options) {
  const choices = options.map(([value, text]) => make("option", { value }, text));
  const element = make("select", { id: "filter-" + name, onchange: (event) => choose(name, event.target.value) }, make("option", { value: "" }, "all"), ...choices);
  return make("label", {}, caption, element);
}

function reset() {
  chosen.service = chosen.rule = chosen.fate = "";
  document.getElementById("filter-service").value = document.getElementById("filter-rule").value = "";
  draw();
}

function card(name, part, all, words) {
  return make("div", { class: "card", id: "total-" + name }, make("span", { class: "soft" }, name + " kept"), make("strong", {}, percent(part, all)), bar(part, all),
    make("div", {}, words(part) + " of " + words(all)));
}

function begin() {
  const all = data.summary;
  const from = "Recordings: " + data.recordings.join(", ") + (data.withHead ? ". Head sampling is applied first: " + number(all.notRecorded) + " traces are not recorded." : ".");
  const unread = all.malformed > 0 ? make("p", { class: "error" }, number(all.malformed) + " parts of the recording cannot be read") : null;
  const names = data.services.map((row) => [String(row.key), row.label]);
  const ruleNames = data.rules.map((rule, at) => [String(at), rule.rule + " · " + (rule.policy || "the collector")]);
  document.title = "What TracingCollector " + all.collector + " would keep";
  fill(document.getElementById("page"),
    make("h1", {}, document.title), make("p", { class: "soft" }, from), unread,
    make("div", { class: "cards" }, card("Traces", all.kept, all.traces, number), card("Spans", all.spansKept, all.spans, number), card("Bytes", all.bytesKept, all.bytes, bytes)),
    make("div", { class: "filters", role: "search", "aria-label": "Filter" }, select("service", "Service", names), select("rule", "Rule that decided", ruleNames),
      make("button", { type: "button", id: "reset", onclick: reset }, "Show all"), make("output", { id: "result", "aria-live": "polite" })),
    ...PARTS.flatMap(([name]) => [make("h2", {}, name), make("div", { id: "part-" + name })]));
  draw();
  document.body.dataset.ready = "true";
}

begin();
