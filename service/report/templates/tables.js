"use strict";
// Tables that are whole without a script: sorting by a column, and rows of one group alone.
(() => {
  const value = (row, column) => row.children[column].textContent.trim();
  const amount = (text) => {
    const found = text.replace(/,/g, "").replace("−", "-").match(/^[+-]?[\d.]+/);
    return found ? Number(found[0]) : null;
  };
  for (const table of document.querySelectorAll("table[data-sortable]")) {
    table.querySelectorAll("thead th").forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") !== "descending";
        for (const other of table.querySelectorAll("thead th")) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const rows = [...table.tBodies[0].rows];
        const sign = down ? -1 : 1;
        rows.sort((a, b) => {
          const [first, second] = [value(a, column), value(b, column)];
          const [x, y] = [amount(first), amount(second)];
          return sign * (x !== null && y !== null ? x - y : first.localeCompare(second));
        });
        table.tBodies[0].append(...rows);
      });
    });
  }
  for (const form of document.querySelectorAll("form[data-groups-of]")) {
    form.hidden = false;
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", () => {
      const group = form.elements.group.value;
      const section = form.closest("section");
      for (const row of section.querySelectorAll("tr[data-groups]")) {
        row.hidden = Boolean(group) && !row.dataset.groups.split(" ").includes(group);
      }
    });
  }
  // A page that says so asks for itself again and again while something in it is open. Of a table, only rows that have
  // changed are put in anew, and of those only what isn't in the reader's hands.
  const renewed = (old, fresh) => {
    for (const [index, cell] of [...fresh.cells].entries()) {
      const before = old.cells[index];
      if (before.innerHTML !== cell.innerHTML && !(before.querySelector("input") && cell.querySelector("input"))) {
        before.replaceChildren(...cell.childNodes);
      }
    }
  };
  const merge = (old, fresh) => {
    const [body, news] = [old.querySelector("tbody"), fresh.querySelector("tbody")];
    if (!body || !news) return old.replaceChildren(...fresh.childNodes);
    const known = new Map([...body.rows].map((row) => [row.dataset.id, row]));
    const added = [];
    for (const row of [...news.rows]) {
      if (known.has(row.dataset.id)) renewed(known.get(row.dataset.id), row);
      else added.push(row);
    }
    body.prepend(...added);
    const [caption, told] = [old.querySelector("caption"), fresh.querySelector("caption")];
    if (caption && told) caption.textContent = told.textContent;
  };
  const live = document.querySelector("[data-live]");
  if (live) {
    const again = async () => {
      try {
        const answer = await fetch(location.href, { headers: { accept: "text/html" } });
        if (answer.ok) {
          const page = new DOMParser().parseFromString(await answer.text(), "text/html");
          const fresh = page.getElementById(live.id);
          if (!fresh) return location.reload(); // an open analysis has become a report
          merge(live, fresh);
          if (!fresh.hasAttribute("data-live")) return live.removeAttribute("data-live");
        }
      } catch (error) {
        // the service is away: ask again later
      }
      setTimeout(again, 2000);
    };
    setTimeout(again, 2000);
  }
})();
