"use strict";
// The upload form: a file can be dropped on it, and a file that the service would refuse is not sent.
(() => {
  const form = document.querySelector("form.upload");
  if (!form) return;
  const input = form.elements.file;
  const area = form.querySelector(".drop");
  const status = form.querySelector("[role=status]");
  const maxBytes = Number(form.getAttribute("data-max-bytes")); // form.dataset is the field of this name
  const hint = status.textContent;
  const button = form.querySelector("button[type=submit]");
  const check = () => {
    const file = input.files[0];
    const isTooLarge = Boolean(file) && file.size > maxBytes;
    status.textContent = isTooLarge ? status.dataset.tooLarge : hint;
    input.setCustomValidity(isTooLarge ? status.dataset.tooLarge : "");
  };
  const hasFiles = (event) => event.dataTransfer && event.dataTransfer.types.includes("Files");
  input.addEventListener("change", check);
  area.addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    area.classList.add("over");
  });
  area.addEventListener("dragleave", () => area.classList.remove("over"));
  area.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    area.classList.remove("over");
    input.files = event.dataTransfer.files;
    check();
  });
  form.addEventListener("submit", () => {
    button.disabled = true;
    status.textContent = status.dataset.uploading;
  });
  window.addEventListener("pageshow", () => {
    button.disabled = false;
    check();
  });
})();
