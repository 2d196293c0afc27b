"use strict";
// The table of contents: marks the section at the top of the window, and closes the menu of a narrow window after use.
(() => {
  const contents = document.querySelector(".contents");
  if (!contents) return;
  const menu = contents.querySelector("details");
  menu.addEventListener("click", (event) => { if (event.target.closest("a")) menu.open = false; });
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });
  const links = [...contents.querySelectorAll("a")].map((link) => ({ link, target: document.querySelector(link.hash) }));
  const markCurrent = () => {
    const passed = links.filter(({ target }) => target.getBoundingClientRect().top < innerHeight / 3);
    const current = passed.at(-1)?.target;
    for (const { link, target } of links) {
      if (target === current) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  };
  document.addEventListener("scroll", markCurrent, { passive: true });
  markCurrent();
})();
