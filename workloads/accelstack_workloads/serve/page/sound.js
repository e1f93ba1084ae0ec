"use strict";

const player = byId("player");

function forget() {
  if (player.src) URL.revokeObjectURL(player.src);
  player.removeAttribute("src");
  player.hidden = true;
}

function take(file) {
  forget();
  player.src = URL.createObjectURL(file);
  player.hidden = false;
  ask(file, "audio/wav");
}

byId("clear").addEventListener("click", () => {
  forget();
  showNothing();
});

takeFiles("a wav file", take);
