"use strict";
// The grid of images: if htmx does not show a response, such as an error, the browser opens its URL as a page.
for (const name of ["htmx:responseError", "htmx:sendError"]) {
  document.addEventListener(name, (event) => location.assign(event.detail.pathInfo.finalRequestPath));
}
// htmx keeps the focus on the element with the same ID. If the new grid lacks it, the number of images gets the focus.
document.addEventListener("htmx:afterSettle", () => {
  if (document.activeElement === document.body) document.querySelector("#images [role=status]")?.focus({ preventScroll: true });
});
// The page of an image: arrow keys follow the links to the previous and to the next image.
(() => {
  const pager = document.querySelector("[data-arrow-keys]");
  if (!pager) return;
  for (const hint of document.querySelectorAll(".scripted")) hint.hidden = false;
  document.addEventListener("keydown", (event) => {
    const relation = { ArrowLeft: "prev", ArrowRight: "next" }[event.key];
    const hasModifier = event.altKey || event.ctrlKey || event.metaKey || event.shiftKey;
    if (!relation || hasModifier || event.target.closest("input, select, textarea, [tabindex]")) return;
    pager.querySelector(`a[rel=${relation}]`)?.click();
  });
})();
