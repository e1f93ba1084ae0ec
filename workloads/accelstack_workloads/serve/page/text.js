"use strict";

const text = byId("text");

byId("form").addEventListener("submit", (event) => {
  event.preventDefault();
  ask(text.value, text.dataset.type.split(",")[0]);
});

byId("clear").addEventListener("click", () => {
  text.value = "";
  showNothing();
  text.focus();
});
