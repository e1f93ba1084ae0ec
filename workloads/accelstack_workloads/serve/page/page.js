"use strict";

// What every form of input shares: asking the model, showing its answer, and taking files.
const MOST_BARS = 10;

const byId = (id) => document.getElementById(id);

let request = null;

function cancel() {
  request?.abort();
  request = null;
}

function showNothing() {
  cancel();
  showError("");
  byId("waiting").hidden = false;
  byId("answer").hidden = true;
  byId("meta").hidden = true;
  byId("bars").replaceChildren();
}

async function ask(body, type) {
  cancel();
  const own = new AbortController();
  request = own;
  try {
    const response = await fetch("/predict", {
      method: "POST",
      headers: { "Content-Type": type },
      body,
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
  const classes = answer.classes ?? [];
  byId("label").textContent = classes.length ? classes[0].label : (answer.text ?? answer.value);
  byId("confidence").textContent = classes.length ? percent(classes[0].probability) : "";
  byId("latency").textContent = answer.latency_ms.toFixed(1);
  byId("bars").replaceChildren(...classes.slice(0, MOST_BARS).map(bar));
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

// Where people drop or choose files, which `take` gets. The whole window takes a dropped one: beside the board it must
// not replace the page.
function takeFiles(noun, take) {
  byId("choose").addEventListener("click", () => byId("file").click());
  byId("file").addEventListener("change", (event) => {
    if (event.target.files.length) take(event.target.files[0]);
    event.target.value = ""; // so that choosing the same file again counts as a change
  });
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
    else showError(`What was dropped is not a file; drop ${noun}.`);
  });
}
