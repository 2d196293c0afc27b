"use strict";
// Tables that are complete without a script: sorting by a column, filtering by group, and live updates.
(() => {
  const cellText = (row, column) => row.children[column].textContent.trim();
  const parseNumber = (text) => {
    const match = text.replace(/,/g, "").replace("−", "-").match(/^([<>] )?([+-]?[\d.]+)/);
    return match ? Number(match[2]) * ({ "< ": 0.9999, "> ": 1.0001 }[match[1]] ?? 1) : null; // between its neighbors
  };
  for (const table of document.querySelectorAll("table[data-sortable]")) {
    table.querySelectorAll("thead th").forEach((header, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = header.textContent;
      header.replaceChildren(button);
      button.addEventListener("click", () => {
        const isDescending = header.getAttribute("aria-sort") !== "descending";
        for (const other of table.querySelectorAll("thead th")) other.removeAttribute("aria-sort");
        header.setAttribute("aria-sort", isDescending ? "descending" : "ascending");
        const rows = [...table.tBodies[0].rows];
        const sign = isDescending ? -1 : 1;
        rows.sort((a, b) => {
          const [first, second] = [cellText(a, column), cellText(b, column)];
          const [x, y] = [parseNumber(first), parseNumber(second)];
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
  // An element with data-live is fetched again until nothing in it changes anymore. In a table, only changed cells are
  // replaced. Cells with an input are not replaced, because the reader sets the value of the input.
  const updateRow = (oldRow, newRow) => {
    for (const [index, newCell] of [...newRow.cells].entries()) {
      const oldCell = oldRow.cells[index];
      const haveControl = oldCell.querySelector("input") && newCell.querySelector("input");
      if (oldCell.innerHTML !== newCell.innerHTML && !haveControl) oldCell.replaceChildren(...newCell.childNodes);
    }
  };
  const update = (oldElement, newElement) => {
    const [oldBody, newBody] = [oldElement.querySelector("tbody"), newElement.querySelector("tbody")];
    if (!oldBody || !newBody) return oldElement.replaceChildren(...newElement.childNodes);
    const oldRows = new Map([...oldBody.rows].map((row) => [row.dataset.id, row]));
    const newIds = new Set([...newBody.rows].map((row) => row.dataset.id));
    for (const [id, row] of oldRows) if (!newIds.has(id)) row.remove();
    let previous = null;
    for (const row of [...newBody.rows]) {
      const oldRow = oldRows.get(row.dataset.id);
      if (oldRow) updateRow(oldRow, row);
      else if (previous) previous.after(row);
      else oldBody.prepend(row);
      previous = oldRow ?? row;
    }
    const [oldCaption, newCaption] = [oldElement.querySelector("caption"), newElement.querySelector("caption")];
    if (oldCaption && newCaption) oldCaption.textContent = newCaption.textContent;
  };
  const live = document.querySelector("[data-live]");
  if (live) {
    const refresh = async () => {
      try {
        const response = await fetch(location.href, { headers: { accept: "text/html" } });
        if (response.status === 404) return location.reload(); // the analysis was deleted
        if (response.ok) {
          const page = new DOMParser().parseFromString(await response.text(), "text/html");
          const element = page.getElementById(live.id);
          if (!element) return location.reload(); // the analysis is finished: the page is its report
          update(live, element);
          if (!element.hasAttribute("data-live")) return live.removeAttribute("data-live");
        }
      } catch (error) {
        // the server is not reachable: retry
      }
      setTimeout(refresh, 2000);
    };
    setTimeout(refresh, 2000);
  }
})();
