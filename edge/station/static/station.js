// The keyboard of the station, and the next part without loading a page. Without this script every
// form and link still works, one page after the other.
import { openPicture, remembered } from "./view.js";

const AHEAD = 2; // parts whose page and pictures are fetched before they are asked for
const pages = new Map(); // address -> promise of a page that was fetched before
const done = new Set(); // addresses of parts that were decided here
let picture;
let sending = false;
let asking = false;

const byId = (id) => document.getElementById(id);

// pages fetched before they are needed
async function fetched(href) {
  const answer = await fetch(href, { headers: { accept: "text/html" } });
  if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const wanted = [...page.querySelectorAll(".whole img[src]")];
  if (remembered("contour", "off") === "on") {
    const contour = page.getElementById("contour");
    if (contour) contour.setAttribute("src", contour.dataset.src);
    if (contour) wanted.push(contour);
  }
  // kept with the page: while this document holds a picture, the next element with its address
  // shows it at once. A parsed page is no place to load one: nothing is loaded there.
  page.pictures = wanted.map((image) => Object.assign(new Image(), { src: image.getAttribute("src") }));
  await Promise.all(page.pictures.map((picture) => picture.decode().catch(() => null)));
  return page;
}

function page(href) {
  if (!pages.has(href)) {
    const promise = fetched(href);
    promise.catch(() => pages.delete(href));
    pages.set(href, promise);
  }
  return pages.get(href);
}

async function lookAhead(link, depth) {
  const href = link?.getAttribute("href");
  if (!href || !depth || done.has(href) || href === location.pathname) return;
  try {
    await lookAhead((await page(href)).getElementById("next"), depth - 1);
  } catch (failed) {
    return; // it is loaded, and its error told, when it is asked for
  }
}

async function show(href, told) {
  const since = told?.since ?? performance.now();
  let next;
  try {
    next = await page(href);
  } catch (failed) {
    location.assign(href);
    return;
  }
  pages.delete(href);
  document.title = next.title;
  document.body.replaceChildren(...next.body.children);
  history.pushState(null, "", href);
  start();
  if (told?.waiting) byId("waiting").textContent = told.waiting;
  if (told?.saved) {
    byId("saved-words").textContent = told.saved;
    byId("undo").action = told.undo;
    byId("undo").hidden = !told.can_undo;
    byId("saved").hidden = false;
  }
  if (told?.problem) problem(told.problem);
  await picture.loaded?.().catch(() => null);
  requestAnimationFrame(() => requestAnimationFrame(() => {
    performance.measure("decision-to-picture", { start: since, end: performance.now() });
  }));
}

// decisions
function problem(words) {
  const place = byId("problem");
  place.textContent = words;
  place.hidden = false;
}

async function sent(href, body, headers) {
  const answer = await fetch(href, {
    method: "POST", body, headers: { accept: "application/json", ...headers },
  });
  if (answer.redirected || answer.status === 401) {
    location.reload(); // logged out: nothing was saved, and the page says what is wanted
    throw new Error("logged out");
  }
  const told = await answer.json().catch(() => ({}));
  return { status: answer.status, ok: answer.ok, told };
}

async function withMask(form, decision) {
  if (decision !== "NG" || !picture.changed()) return true;
  const drawn = await picture.mask();
  form.mask.value = "";
  if (!drawn) return true;
  const token = { "x-csrf-token": form.csrf.value, "content-type": "image/png" };
  const { ok, told } = await sent(byId("picture").dataset.maskHref, drawn, token);
  if (ok) form.mask.value = told.mask;
  else problem(told.problem ?? told.error?.message ?? form.dataset.network);
  return ok;
}

async function decide(decision) {
  const form = byId("decide");
  if (!form || sending) return;
  const reason = form.querySelector("input[name=reason]:checked");
  const why = reason && (reason.value !== "other" || form.note.value.trim());
  if (decision === "OK" && byId("reasons") && !why && !form.note.value.trim()) {
    ask(true);
    if (reason) form.note.focus();
    return;
  }
  sending = true;
  const since = performance.now();
  try {
    if (!(await withMask(form, decision))) return;
    const fields = new URLSearchParams(new FormData(form));
    fields.set("decision", decision);
    const { status, ok, told } = await sent(form.getAttribute("action"), fields);
    const here = location.pathname;
    if (ok) {
      done.add(here);
      if (told.next.startsWith("/part/")) await show(told.next, { ...told, since });
      else location.assign(`/?saved=${here.split("/").pop()}`);
    } else if (status === 409) {
      pages.delete(here);
      await show(here, { problem: told.problem });
    } else problem(told.problem ?? told.error?.message ?? form.dataset.network);
  } catch (failed) {
    problem(form.dataset.network);
  } finally {
    sending = false;
  }
}

function ask(on) {
  asking = on;
  byId("reasons")?.classList.toggle("asked", on);
  if (on) byId("reasons").scrollIntoView({ block: "nearest" });
}

async function undo() {
  const form = byId("undo");
  if (!form || form.hidden || byId("saved").hidden || sending) return;
  sending = true;
  try {
    const body = new URLSearchParams(new FormData(form));
    const { ok, told } = await sent(form.getAttribute("action"), body);
    if (ok) {
      done.delete(told.next);
      pages.clear();
      await show(told.next, told);
    } else if (byId("problem")) problem(told.problem ?? told.error?.message);
    else form.submit();
  } catch (failed) {
    form.submit();
  } finally {
    sending = false;
  }
}

async function skip() {
  let href = byId("next")?.getAttribute("href");
  if (href && done.has(href)) {
    const now = await fetched(location.pathname).catch(() => null);
    href = now?.getElementById("next")?.getAttribute("href");
  }
  if (href) await show(href);
  else location.assign("/");
}

function neighbour(step) {
  const here = document.querySelector(".strip .here");
  const link = (step < 0 ? here?.previousElementSibling : here?.nextElementSibling)?.querySelector("a");
  if (link) show(link.getAttribute("href"));
}

function numbered(number) {
  const form = byId("decide");
  if (!form) return;
  const name = asking ? "reason" : "defect_class";
  const choices = [...form.querySelectorAll(`input[name=${name}]`)].filter((c) => c.value);
  const choice = choices[number - 1];
  if (!choice) return;
  choice.checked = true;
  decide(asking ? "OK" : "NG");
}

// keys
const acts = {
  o: () => decide("OK"),
  n: () => decide("NG"),
  s: skip,
  u: undo,
  t: () => byId("decide")?.note.focus(),
  j: () => neighbour(-1),
  k: () => neighbour(1),
  q: () => location.assign("/"),
  "?": () => byId("keys").showModal(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
  const at = event.target;
  const isText = at.matches?.("textarea, select, input:not([type=radio]):not([type=range])");
  if (event.key === "Escape") {
    ask(false);
    if (isText) at.blur();
    return;
  }
  if (isText || document.querySelector("dialog[open]")) return;
  if (at.matches?.("input[type=radio]") && event.key.startsWith("Arrow")) return;
  const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const used = byId("decide") || byId("picture") || byId("keys");
  if (!used && name !== "u") return;
  if (/^[1-9]$/.test(name)) numbered(Number(name));
  else if (acts[name]) acts[name]();
  else if (!picture.key(name)) return;
  event.preventDefault();
});

document.addEventListener("submit", (event) => {
  if (event.target.id === "decide") {
    event.preventDefault();
    if (event.submitter?.value) decide(event.submitter.value);
  } else if (event.target.id === "undo" && byId("decide")) {
    event.preventDefault();
    undo();
  }
});

document.addEventListener("click", (event) => {
  if (event.ctrlKey || event.shiftKey || event.metaKey) return;
  if (event.target.closest("#next")) {
    event.preventDefault();
    skip();
  } else if (event.target.closest("#help")) acts["?"]();
});

window.addEventListener("popstate", () => location.reload());

function start() {
  asking = false;
  picture = openPicture();
  const help = byId("help");
  if (help) help.hidden = false;
  lookAhead(byId("next"), AHEAD);
}

start();
