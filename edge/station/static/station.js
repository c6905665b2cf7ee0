// The opacity of the map (slider, left and right arrow), and one review for one press. Without this
// script the map stays at half and everything else works.
"use strict";

(function () {
  const form = document.querySelector("form.decide");
  let sent = false;
  if (!form) return;
  form.addEventListener("submit", function (event) {
    if (sent) event.preventDefault();
    sent = true;
  });
  window.addEventListener("pageshow", function () {
    sent = false; // also when the person comes back to this page
  });
})();

(function () {
  const slider = document.getElementById("opacity");
  const heat = document.getElementById("heat");
  const percent = document.getElementById("percent");
  if (!slider || !heat) return;

  function show() {
    heat.style.opacity = String(slider.valueAsNumber / 100);
    percent.textContent = slider.value + " %";
  }

  function change() {
    show();
    try {
      localStorage.setItem("opacity", slider.value);
    } catch (refused) {
      return; // storage is switched off: the next part starts at half again
    }
  }

  try {
    const kept = localStorage.getItem("opacity");
    if (kept !== null) slider.value = kept;
  } catch (refused) {
    slider.value = "50";
  }
  show();

  slider.addEventListener("input", change);
  document.addEventListener("keydown", function (event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const at = event.target;
    if (at !== slider && at.closest("input, select, textarea")) return;
    if (event.key === "ArrowLeft") slider.stepDown();
    else if (event.key === "ArrowRight") slider.stepUp();
    else return;
    event.preventDefault();
    change();
  });
})();
