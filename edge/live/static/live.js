// Asks the line once a second how it does, and shows it. A page that hears nothing says so, and
// greys what it showed last: an old picture must not look like a live one.
"use strict";

(function () {
  const EVERY_MS = 1000;
  const PATIENCE_MS = 3000;
  const MOST_STREAMS = 4; // a browser opens six connections to one server
  const SVG = "http://www.w3.org/2000/svg";
  const cards = new Map();
  let heard = Date.now();
  let started = null;

  const byId = (id) => document.getElementById(id);
  const count = (n) => n.toLocaleString("en");
  const ms = (v) => (v === null ? "–" : (v < 100 ? v.toFixed(1) : v.toFixed(0)) + " ms");
  const path = (id) => "/live/" + encodeURIComponent(id);

  function make(tag, className, text) {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function mark(word) {
    const made = document.createElementNS(SVG, "svg");
    const use = document.createElementNS(SVG, "use");
    made.setAttribute("class", "mark " + word);
    made.setAttribute("aria-hidden", "true");
    use.setAttribute("href", "#mark-" + word);
    made.append(use);
    return made;
  }

  function since(text) {
    const s = Math.max(0, Math.round((Date.now() - Date.parse(text)) / 1000));
    if (s < 60) return s + " s";
    if (s < 3600) return Math.floor(s / 60) + " min";
    return Math.floor(s / 3600) + " h " + Math.floor((s % 3600) / 60) + " min";
  }

  function bytes(n) {
    return n < 1e9 ? (n / 1e6).toFixed(0) + " MB" : (n / 1e9).toFixed(1) + " GB";
  }

  function pairs(list, rows, nothing) {
    const made = rows.flatMap(([name, value, bad]) => {
      return [make("dt", bad ? "bad" : "", name), make("dd", "", value)];
    });
    list.replaceChildren(...(made.length ? made : [make("dt", "quiet", nothing)]));
  }

  function alarms(line) {
    const words = [];
    for (const s of line.sources) {
      if (s.state === "degraded") words.push(s.source_id + ": " + (s.why || "no frames") + ", for " + since(s.since));
    }
    for (const s of line.sinks) {
      if (s.state !== "running") words.push("sink " + s.sink_id + " is " + s.state + ": " + (s.why || "no answer"));
    }
    if (line.images_why) words.push("pictures are not kept: " + line.images_why);
    byId("alarms").replaceChildren(...words.map((text) => make("p", "alarm", text)));
  }

  function tiles(line) {
    const dropped = Object.values(line.dropped).reduce((a, b) => a + b, 0);
    const rows = [["captured", line.captured], ["OK", line.ok, "OK"], ["NG", line.ng, "NG"],
      ["REVIEW", line.review, "REVIEW"], ["FAULT", line.fault, "FAULT"], ["dropped", dropped, "DROPPED"],
      ["in flight", line.in_flight]];
    byId("counts").replaceChildren(...rows.map(([what, number, shape]) => {
      const tile = make("div", "count");
      const name = make("span", "what");
      if (shape) name.append(mark(shape));
      name.append(what);
      const figure = make("span", "number", count(number));
      figure.style.setProperty("--length", String(Math.max(4, figure.textContent.length)));
      tile.append(name, figure);
      return tile;
    }));
  }

  function card(source) {
    const made = { box: make("article", "source"), who: make("div", "who"), verdict: make("div", "verdict"),
      stage: make("div", "stage"), words: make("p"), image: make("img"), shown: "" };
    made.image.alt = "";
    made.image.addEventListener("error", () => { made.shown = ""; });
    made.stage.append(made.image, made.words);
    made.box.append(made.who, made.verdict, made.stage);
    cards.set(source.source_id, made);
    byId("sources").append(made.box);
    return made;
  }

  function show(source, streams) {
    const made = cards.get(source.source_id) || card(source);
    const last = source.latest;
    const degraded = source.state === "degraded";
    made.box.className = "source " + source.state;
    made.who.replaceChildren(make("b", "", source.source_id), make("span", "quiet", source.kind),
      make("span", degraded ? "bad" : "quiet", source.state + " for " + since(source.since)),
      make("span", "number quiet", count(source.frames) + " frames" +
        (source.reopened ? ", taken up again " + source.reopened + " times" : "")));
    made.verdict.className = "verdict " + (last ? last.verdict : "");
    const why = make("span", "why");
    if (last) why.append(make("b", "", last.part_id || "part not identified"), make("span", "", last.reason));
    made.verdict.replaceChildren(...(last ? [mark(last.verdict), make("span", "word", last.verdict), why]
      : [make("span", "word", "–"), make("span", "why", "no part so far")]));
    let words = "";
    if (degraded) words = "DEGRADED: " + (source.why || "no frames") + "\nthe verdict above is of an earlier part";
    else if (!last) words = "waiting for the first part";
    else if (!last.has_image) words = "no picture of this part";
    made.words.textContent = words;
    if (document.hidden || !last) return;
    const address = path(source.source_id) + (streams ? ".mjpg" : ".jpg?" + encodeURIComponent(last.inspection_id));
    if (made.shown !== address) {
      made.shown = address;
      made.image.src = address;
    }
  }

  function sinks(rows) {
    const table = byId("sinks");
    if (!rows.length) return table.replaceChildren(make("caption", "quiet", "none"));
    const head = make("tr");
    head.append(...["sink", "state", "waiting", "delivered", "last failure"].map((t) => make("th", "", t)));
    const thead = make("thead");
    thead.append(head);
    const body = make("tbody");
    for (const s of rows) {
      const row = make("tr");
      row.append(make("th", "", s.sink_id), make("td", s.state === "running" ? "" : "bad", s.state),
        make("td", "", count(s.waiting)), make("td", "", count(s.delivered)), make("td", "", s.why));
      body.append(row);
    }
    return table.replaceChildren(thead, body);
  }

  function latency(line) {
    byId("latency").textContent = "p50 " + ms(line.p50_ms) + "   p99 " + ms(line.p99_ms);
    const total = line.latency.counts.reduce((a, b) => a + b, 0) || 1;
    const names = [...line.latency.up_to_ms.map(String), "more"];
    byId("bars").replaceChildren(...line.latency.counts.map((n, i) => {
      const bar = make("i", "", names[i].replace(/000$/, "k"));
      bar.title = count(n) + " parts up to " + names[i] + " ms";
      bar.style.setProperty("--share", (72 * n / total).toFixed(1) + "%");
      return bar;
    }));
  }

  function render(line) {
    if (started !== null && started !== line.started_at) location.reload();
    started = line.started_at;
    document.body.className = "";
    document.title = line.state + " – " + line.manifest;
    byId("name").textContent = line.manifest;
    byId("bundle").textContent = line.bundle_id;
    byId("runtime").textContent = line.runtime;
    byId("clock").textContent = "up " + since(line.started_at) + ", now " + new Date().toLocaleTimeString("en-GB");
    byId("state").textContent = line.state;
    byId("state").className = "state " + line.state;
    alarms(line);
    tiles(line);
    for (const source of line.sources) show(source, line.sources.length <= MOST_STREAMS);
    latency(line);
    pairs(byId("resources"), [["waiting to be judged", count(line.queued)], ["in flight", count(line.in_flight)],
      ["free on the journal's disk", bytes(line.disk_free_bytes)],
      [line.images_why ? "pictures not kept" : "pictures", line.images_why ? "" : "kept", Boolean(line.images_why)]]);
    pairs(byId("drops"), Object.entries(line.dropped).map(([cause, n]) => [cause, count(n)]), "none");
    sinks(line.sinks);
  }

  function lost() {
    document.body.className = "lost";
    byId("state").textContent = "no contact";
    byId("state").className = "state degraded";
    byId("alarms").replaceChildren(make("p", "alarm", "The line has not answered for " +
      Math.round((Date.now() - heard) / 1000) + " s. What stands below is old."));
  }

  async function ask() {
    try {
      const answer = await fetch("/state.json", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
      if (!answer.ok) throw new Error(String(answer.status));
      render(await answer.json());
      heard = Date.now();
    } catch (error) {
      if (Date.now() - heard >= PATIENCE_MS) {
        lost();
        for (const made of cards.values()) made.shown = "";
      }
    }
    setTimeout(ask, EVERY_MS);
  }

  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) return;
    for (const made of cards.values()) { // nobody looks: the line need not draw
      made.image.removeAttribute("src");
      made.shown = "";
    }
  });
  ask();
})();
