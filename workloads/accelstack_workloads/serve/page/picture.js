"use strict";

// Thick enough that a digit drawn over most of the board has strokes like those of the data sets.
const PEN_WIDTH = 26;
// Strokes follow each other while one draws; the answer comes when the hand rests.
const REST_MS = 250;

const canvas = byId("canvas");
const context = canvas.getContext("2d");

let last = null;
let timer = 0;

function wipe() {
  context.fillStyle = "#ffffff";
  context.fillRect(0, 0, canvas.width, canvas.height);
}

function stop() {
  clearTimeout(timer);
  cancel();
}

// Browsers do not know every format; the server tells them by their content.
function classify(picture) {
  ask(picture, picture.type || "image/*");
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
  stop();
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

async function take(file) {
  stop();
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

byId("clear").addEventListener("click", () => {
  wipe();
  stop();
  showNothing();
});

takeFiles("a picture file", take);
wipe();
