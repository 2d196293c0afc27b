"use strict";
// The name of a chart's mark beside it, at once on hover and also on keyboard focus. Without this script, the browser
// shows the <title> of a mark on hover after a while.
(() => {
  const marks = document.querySelectorAll(".picture svg :is(path, line):has(> title)");
  if (!marks.length) return;
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  tip.setAttribute("aria-hidden", "true"); // the label of the mark has the same text
  document.body.append(tip);
  const hide = () => { tip.hidden = true; };
  const show = (mark, name) => {
    tip.textContent = name;
    tip.hidden = false;
    const { left, right, top, bottom } = mark.getBoundingClientRect();
    const { width, height } = tip.getBoundingClientRect();
    const x = Math.max(4, Math.min((left + right - width) / 2, document.documentElement.clientWidth - width - 4));
    const y = top - height - 4 >= 0 ? top - height - 4 : bottom + 4;
    tip.style.transform = `translate(${x}px, ${y}px)`;
  };
  for (const mark of marks) {
    const title = mark.querySelector("title");
    const name = title.textContent;
    const link = mark.closest("a");
    (link || mark).setAttribute("aria-label", name);
    title.remove(); // the browser would show it over the tip
    mark.addEventListener("pointerenter", () => show(mark, name));
    mark.addEventListener("pointerleave", hide);
    if (!link) continue;
    link.addEventListener("focus", () => show(mark, name));
    link.addEventListener("blur", hide);
  }
  document.addEventListener("scroll", hide, { capture: true, passive: true });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
})();
