// The picture of a part: layers, zoom to the pixel, side by side, marks that become a mask, and the
// grey window. It touches nothing but the picture; `station.js` decides.

const MARK = "#ff2ba6";
const MOST = 32; // times a pixel is enlarged at most
const BRUSH = [2, 4, 8, 14, 22, 34, 52, 80];

export function remembered(name, otherwise) {
  try {
    return localStorage.getItem(name) ?? otherwise;
  } catch (refused) {
    return otherwise; // storage is switched off: the next part starts as the first did
  }
}

export function remember(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch (refused) {
    return;
  }
}

export function openPicture() {
  const picture = document.getElementById("picture");
  if (!picture) return { key: () => false, mask: async () => null, changed: () => false };
  const views = [...picture.querySelectorAll(".view")];
  const whole = picture.querySelector(".view.whole");
  const layers = [...picture.querySelectorAll(".layers")];
  const base = document.getElementById("base");
  const heat = document.getElementById("heat");
  const contour = document.getElementById("contour");
  const slider = document.getElementById("opacity");
  const tools = document.getElementById("tools");
  const canvas = document.createElement("canvas");
  const paint = canvas.getContext("2d", { willReadFrequently: true });
  const place = { scale: 1, x: 0, y: 0, fitted: true };
  const deep = picture.dataset.greyHref !== undefined; // grey of 16 bit: the station draws the window
  const greys = deep ? 65536 : 256;
  const grey = { level: greys / 2, width: greys };
  const [low, high] = deep ? [picture.dataset.low, picture.dataset.high].map(Number) : [0, 255];
  const step = Math.max(1, (high - low) / 256); // greys for one pixel of dragging
  let touched = false;
  let drawing = false;
  let size = { width: 1, height: 1 };
  let tool = "pan";
  let brush = Number(remembered("brush", "3"));
  let drawn = false;
  let changed = false;

  // zoom and pan
  function apply() {
    for (const layer of layers) {
      layer.style.transform = `translate(${place.x}px, ${place.y}px) scale(${place.scale})`;
      layer.classList.toggle("pixels", place.scale > 1);
    }
  }

  function fit() {
    const box = whole.getBoundingClientRect();
    place.scale = Math.min(box.width / size.width, box.height / size.height) || 1;
    place.x = (box.width - size.width * place.scale) / 2;
    place.y = (box.height - size.height * place.scale) / 2;
    place.fitted = true;
    apply();
  }

  function zoom(factor, at) {
    const box = whole.getBoundingClientRect();
    const x = at ? at.clientX - box.left : box.width / 2;
    const y = at ? at.clientY - box.top : box.height / 2;
    const scale = Math.min(MOST, Math.max(0.05, place.scale * factor));
    place.x = x - ((x - place.x) * scale) / place.scale;
    place.y = y - ((y - place.y) * scale) / place.scale;
    place.scale = scale;
    place.fitted = false;
    apply();
  }

  function ready() {
    if (!base.naturalWidth) return;
    size = { width: base.naturalWidth, height: base.naturalHeight };
    for (const layer of layers) {
      layer.style.width = `${size.width}px`;
      layer.style.height = `${size.height}px`;
    }
    canvas.width = size.width;
    canvas.height = size.height;
    canvas.className = "marks";
    canvas.id = "marks";
    whole.querySelector(".layers").append(canvas);
    picture.classList.add("live");
    const kept = document.getElementById("mask");
    if (kept) whenLoaded(kept, () => takeOver(kept));
    fit();
  }

  function whenLoaded(image, act) {
    if (image.complete && image.naturalWidth) act();
    else image.addEventListener("load", act, { once: true });
  }

  // layers
  function press(id, on) {
    document.getElementById(id)?.setAttribute("aria-pressed", String(on));
  }

  function showHeat(on) {
    if (!heat) return;
    heat.hidden = !on;
    press("t-heat", on);
    remember("heat", on ? "on" : "off");
  }

  function showContour(on) {
    if (!contour) return;
    if (on && !contour.hasAttribute("src")) contour.src = contour.dataset.src;
    contour.hidden = !on;
    press("t-contour", on);
    remember("contour", on ? "on" : "off");
  }

  function showSide(on) {
    const plain = picture.querySelector(".view.plain");
    const image = plain.querySelector("img");
    if (on && !image.src) image.src = image.dataset.src;
    plain.hidden = !on;
    picture.classList.toggle("side-by-side", on);
    press("t-side", on);
    remember("side", on ? "on" : "off");
    fit();
  }

  function showOpacity() {
    if (!slider || !heat) return;
    heat.style.opacity = String(slider.valueAsNumber / 100);
    document.getElementById("percent").textContent = `${slider.value} %`;
    remember("opacity", slider.value);
  }

  function windowed() {
    const black = Math.round(grey.level - grey.width / 2);
    return `${picture.dataset.greyHref}?low=${black}&high=${black + Math.round(grey.width)}`;
  }

  // one picture at a time is asked for: the newest window once the last one has come
  function drawWindow() {
    if (drawing) return;
    const wanted = windowed();
    const next = new Image();
    drawing = true;
    next.onload = next.onerror = () => {
      drawing = false;
      if (!touched) return;
      if (next.naturalWidth) for (const image of picture.querySelectorAll(".base")) image.src = next.src;
      if (wanted !== windowed()) drawWindow();
    };
    next.src = wanted;
  }

  function asJudged() {
    Object.assign(grey, { level: greys / 2, width: greys });
    touched = false;
    tellWindow();
    for (const image of picture.querySelectorAll(".base")) {
      image.style.filter = "";
      if (deep) image.src = image.dataset.src;
    }
  }

  function showWindow() {
    touched = true;
    if (deep) drawWindow();
    else {
      const black = grey.level - grey.width / 2;
      for (const channel of document.querySelectorAll("#window [slope]")) {
        channel.setAttribute("slope", String(255 / grey.width));
        channel.setAttribute("intercept", String(-black / grey.width));
      }
      for (const image of picture.querySelectorAll(".base")) image.style.filter = "url(#window)";
    }
    tellWindow();
  }

  function tellWindow() {
    const words = document.getElementById("window-words");
    words.textContent = words.dataset.words
      .replace("LEVEL", String(Math.round(grey.level)))
      .replace("WIDTH", String(Math.round(grey.width)));
  }

  // marks
  function takeOver(kept) {
    paint.globalCompositeOperation = "source-over";
    paint.drawImage(kept, 0, 0);
    paint.globalCompositeOperation = "source-in";
    paint.fillStyle = MARK;
    paint.fillRect(0, 0, size.width, size.height);
    paint.globalCompositeOperation = "source-over";
    kept.hidden = true;
    drawn = true;
  }

  function choose(name) {
    tool = tool === name ? "pan" : name;
    for (const id of ["box", "brush", "eraser", "window"]) press(`t-${id}`, tool === id);
    picture.dataset.tool = tool;
    if (tool === "window" && deep && !touched) {
      Object.assign(grey, { level: (low + high) / 2, width: Math.max(2, high - low) });
      showWindow();
    }
  }

  function marked(now) {
    drawn = now;
    changed = true;
    const words = document.getElementById("has-mask");
    if (words) words.hidden = !now;
  }

  function clear() {
    paint.clearRect(0, 0, size.width, size.height);
    marked(false);
  }

  function pixel(event) {
    const box = whole.getBoundingClientRect();
    return {
      x: (event.clientX - box.left - place.x) / place.scale,
      y: (event.clientY - box.top - place.y) / place.scale,
    };
  }

  function stroke(from, to, radius, erase) {
    paint.globalCompositeOperation = erase ? "destination-out" : "source-over";
    paint.strokeStyle = MARK;
    paint.fillStyle = MARK;
    paint.lineCap = "round";
    paint.lineWidth = 2 * radius;
    paint.beginPath();
    paint.moveTo(from.x, from.y);
    paint.lineTo(to.x + 0.01, to.y);
    paint.stroke();
    paint.globalCompositeOperation = "source-over";
  }

  function fillBox(from, to) {
    const [left, right] = [from.x, to.x].map(Math.round).sort((a, b) => a - b);
    const [top, bottom] = [from.y, to.y].map(Math.round).sort((a, b) => a - b);
    paint.fillStyle = MARK;
    paint.fillRect(left, top, Math.max(1, right - left), Math.max(1, bottom - top));
  }

  function whitened() {
    const data = paint.getImageData(0, 0, size.width, size.height);
    let any = false;
    for (let i = 0; i < data.data.length; i += 4) {
      const on = data.data[i + 3] > 127;
      any ||= on;
      data.data.fill(on ? 255 : 0, i, i + 3);
      data.data[i + 3] = 255;
    }
    return any ? data : null;
  }

  async function mask() {
    const data = drawn ? whitened() : null;
    if (!data) return null;
    const flat = document.createElement("canvas");
    flat.width = size.width;
    flat.height = size.height;
    flat.getContext("2d").putImageData(data, 0, 0);
    return new Promise((done) => flat.toBlob(done, "image/png"));
  }

  // the pointer
  for (const view of views) {
    view.addEventListener("wheel", (event) => {
      event.preventDefault();
      zoom(event.deltaY < 0 ? 1.25 : 0.8, event);
    }, { passive: false });
    view.addEventListener("pointerdown", (event) => {
      if (event.button > 1) return;
      event.preventDefault();
      view.setPointerCapture(event.pointerId);
      const paints = view === whole && event.button === 0;
      const act = event.button === 1 || (!paints && tool !== "window") ? "pan" : tool;
      const from = pixel(event);
      const before = act === "box" ? paint.getImageData(0, 0, size.width, size.height) : null;
      const radius = Math.max(0.5, BRUSH[brush] / 2 / Math.min(1, place.scale));
      let last = from;
      let was = event;
      if (act === "brush" || act === "eraser") stroke(from, from, radius, act === "eraser");

      function move(now) {
        const to = pixel(now);
        if (act === "pan") {
          place.x += now.clientX - was.clientX;
          place.y += now.clientY - was.clientY;
          place.fitted = false;
          apply();
        } else if (act === "window") {
          grey.width += step * (now.clientX - was.clientX);
          grey.level += step * (was.clientY - now.clientY);
          grey.width = Math.min(2 * greys, Math.max(2, grey.width));
          grey.level = Math.min(greys - 1, Math.max(0, grey.level));
          showWindow();
        } else if (act === "box") {
          paint.putImageData(before, 0, 0);
          fillBox(from, to);
        } else stroke(last, to, radius, act === "eraser");
        last = to;
        was = now;
      }

      function up() {
        view.removeEventListener("pointermove", move);
        view.removeEventListener("pointerup", up);
        view.removeEventListener("pointercancel", up);
        if (act !== "pan" && act !== "window") marked(Boolean(whitened()));
      }
      view.addEventListener("pointermove", move);
      view.addEventListener("pointerup", up);
      view.addEventListener("pointercancel", up);
    });
  }

  const acts = {
    h: () => heat && showHeat(heat.hidden),
    c: () => contour && showContour(contour.hidden),
    d: () => showSide(!picture.classList.contains("side-by-side")),
    "+": () => zoom(1.25),
    "=": () => zoom(1.25),
    "-": () => zoom(0.8),
    0: fit,
    ArrowLeft: () => slider && (slider.stepDown(), showOpacity()),
    ArrowRight: () => slider && (slider.stepUp(), showOpacity()),
  };
  if (document.getElementById("t-box")) {
    Object.assign(acts, {
      b: () => choose("box"),
      m: () => choose("brush"),
      e: () => choose("eraser"),
      x: clear,
      "[": () => remember("brush", (brush = Math.max(0, brush - 1))),
      "]": () => remember("brush", (brush = Math.min(BRUSH.length - 1, brush + 1))),
    });
  }
  if (document.getElementById("t-window")) Object.assign(acts, { w: () => choose("window"), r: asJudged });
  const byButton = {
    "t-heat": "h", "t-contour": "c", "t-side": "d", "t-in": "+", "t-out": "-", "t-fit": "0",
    "t-box": "b", "t-brush": "m", "t-eraser": "e", "t-clear": "x", "t-window": "w", "t-judged": "r",
  };
  for (const [id, key] of Object.entries(byButton)) {
    document.getElementById(id)?.addEventListener("click", () => acts[key]());
  }
  tools.hidden = false;
  slider?.addEventListener("input", showOpacity);
  if (slider) slider.value = remembered("opacity", "50");
  showOpacity();
  if (remembered("heat", "on") === "off") showHeat(false);
  if (remembered("contour", "off") === "on") showContour(true);
  whenLoaded(base, ready);
  if (remembered("side", "off") === "on") showSide(true);
  new ResizeObserver(() => place.fitted && base.naturalWidth && fit()).observe(whole);

  return {
    key(name) {
      const act = acts[name];
      if (act) act();
      return Boolean(act);
    },
    mask,
    changed: () => changed,
    loaded: () => base.decode(),
  };
}
