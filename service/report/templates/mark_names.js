"use strict";
// Shows the name of a chart's mark beside the mark, at once on hover and on keyboard focus. Without this script, the
// browser shows the <title> of a mark only on hover, and after a delay.
(() => {
  const marks = document.querySelectorAll(".picture svg :is(path, line):has(> title)");
  if (!marks.length) return;
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  tip.setAttribute("aria-hidden", "true"); // the label of the link has the same text
  document.body.append(tip);
  let current = null;
  const place = () => {
    if (!current) return;
    const { left, right, top, bottom } = current.getBoundingClientRect();
    const { width, height } = tip.getBoundingClientRect();
    const x = Math.max(4, Math.min((left + right - width) / 2, document.documentElement.clientWidth - width - 4));
    const y = top - height - 4 >= 0 ? top - height - 4 : bottom + 4;
    tip.style.transform = `translate(${x}px, ${y}px)`;
  };
  const hide = () => {
    current = null;
    tip.hidden = true;
  };
  const show = (mark, name) => {
    current = mark;
    tip.textContent = name;
    tip.hidden = false;
    place();
  };
  for (const mark of marks) {
    const title = mark.querySelector("title");
    const name = title.textContent;
    title.remove(); // the browser would show it over the tip
    mark.addEventListener("pointerenter", () => show(mark, name));
    mark.addEventListener("pointerleave", hide);
    const link = mark.closest("a");
    if (!link) continue;
    link.setAttribute("aria-label", name);
    link.addEventListener("focus", () => show(mark, name));
    link.addEventListener("blur", hide);
  }
  document.addEventListener("scroll", place, { capture: true, passive: true });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
})();
