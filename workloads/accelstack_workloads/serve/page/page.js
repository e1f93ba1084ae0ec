"use strict";

// Thick enough that a digit drawn over most of the board has strokes like those of the data sets.
const PEN_WIDTH = 26;
// Strokes follow each other while one draws; the answer comes when the hand rests.
const REST_MS = 250;
const MOST_BARS = 10;

const byId = (id) => document.getElementById(id);
const canvas = byId("canvas");
const context = canvas.getContext("2d");

let last = null;
let timer = 0;
let request = null;

function wipe() {
  context.fillStyle = "#ffffff";
  context.fillRect(0, 0, canvas.width, canvas.height);
}

function clear() {
  wipe();
  cancel();
  showError("");
  byId("waiting").hidden = false;
  byId("answer").hidden = true;
  byId("meta").hidden = true;
  byId("bars").replaceChildren();
}

function cancel() {
  clearTimeout(timer);
  request?.abort();
  request = null;
}

function point(event) {
  const box = canvas.getBoundingClientRect();
  return {
    x: ((event.clientX - box.left) * canvas.width) / box.width,
    y: ((event.clientY - box.top) * canvas.height) / box.height,
  };
}

function stroke(to) {
  context.strokeStyle = "#111111";
  context.lineWidth = PEN_WIDTH;
  context.lineCap = "round";
  context.lineJoin = "round";
  context.beginPath();
  context.moveTo(last.x, last.y);
  context.lineTo(to.x, to.y);
  context.stroke();
  last = to;
}

canvas.addEventListener("pointerdown", (event) => {
  if (event.button !== 0 || !event.isPrimary) return;
  cancel();
  canvas.setPointerCapture(event.pointerId);
  last = point(event);
  stroke(last);
});

canvas.addEventListener("pointermove", (event) => {
  if (!last || !event.isPrimary) return;
  // Fast strokes are delivered in batches; their parts keep curves round.
  const parts = event.getCoalescedEvents?.() ?? [];
  for (const part of parts.length ? parts : [event]) stroke(point(part));
});

for (const kind of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(kind, (event) => {
    if (!last || !event.isPrimary) return;
    last = null;
    timer = setTimeout(() => canvas.toBlob(classify, "image/png"), REST_MS);
  });
}

async function classify(picture) {
  cancel();
  const own = new AbortController();
  request = own;
  try {
    const response = await fetch("/predict", {
      method: "POST",
      // Browsers do not know every format; the server tells them by their content.
      headers: { "Content-Type": picture.type || "image/*" },
      body: picture,
      signal: own.signal,
    });
    const answer = await response.json();
    if (request !== own) return;
    if (response.ok) showAnswer(answer);
    else showError(answer.error);
  } catch (error) {
    if (request === own) showError(`The server did not answer (${error.message}). Is it still running?`);
  }
}

async function take(file) {
  cancel();
  wipe();
  classify(file);
  try {
    const image = await createImageBitmap(file);
    const scale = Math.min(canvas.width / image.width, canvas.height / image.height);
    const width = image.width * scale;
    const height = image.height * scale;
    context.drawImage(image, (canvas.width - width) / 2, (canvas.height - height) / 2, width, height);
  } catch {
    // The browser cannot show this format; the server says whether it can read it.
  }
}

function percent(probability) {
  return `${(probability * 100).toFixed(1)} %`;
}

function element(name, kind, text = "") {
  const made = document.createElement(name);
  made.className = kind;
  made.textContent = text;
  return made;
}

function bar({ label, probability }) {
  const row = document.createElement("li");
  const track = element("div", "track");
  const fill = element("div", "fill");
  fill.style.width = `${probability * 100}%`;
  track.append(fill);
  row.append(element("span", "label", label), track, element("span", "value", percent(probability)));
  return row;
}

function showAnswer(answer) {
  showError("");
  byId("waiting").hidden = true;
  byId("answer").hidden = false;
  byId("meta").hidden = false;
  byId("version").textContent = answer.version;
  byId("label").textContent = answer.classes[0].label;
  byId("confidence").textContent = percent(answer.classes[0].probability);
  byId("latency").textContent = answer.latency_ms.toFixed(1);
  byId("bars").replaceChildren(...answer.classes.slice(0, MOST_BARS).map(bar));
}

function showError(text) {
  const error = byId("error");
  error.textContent = text;
  error.hidden = !text;
  if (!text) return;
  byId("waiting").hidden = true;
  byId("answer").hidden = true;
  byId("meta").hidden = true;
  byId("bars").replaceChildren();
}

byId("clear").addEventListener("click", clear);
byId("choose").addEventListener("click", () => byId("file").click());
byId("file").addEventListener("change", (event) => {
  if (event.target.files.length) take(event.target.files[0]);
  event.target.value = ""; // so that choosing the same file again counts as a change
});

// The whole window takes a dropped file: one dropped beside the board must not replace the page.
const board = byId("board");
window.addEventListener("dragover", (event) => {
  event.preventDefault();
  board.classList.add("over");
});
window.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) board.classList.remove("over");
});
window.addEventListener("drop", (event) => {
  event.preventDefault();
  board.classList.remove("over");
  const file = event.dataTransfer.files[0];
  if (file) take(file);
  else showError("What was dropped is not a file; drop a picture file.");
});

wipe();
