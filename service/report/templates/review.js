"use strict";
// The page of a review: single keys, and a row for each class that is added. Everything works without the script.
(() => {
  const form = document.querySelector("form[data-review]");
  if (!form) return;
  const rows = () => [...form.querySelectorAll("fieldset.choice")].filter((row) => !row.querySelector("[name=problematic]"));
  const radios = (row) => [...row.querySelectorAll("input[type=radio]")];
  const input = form.elements.added;
  const selected = (row) => radios(row).find((radio) => radio.checked)?.value ?? "";
  const title = (row) => [...row.querySelector("legend").childNodes].slice(1).map((node) => node.textContent).join(" ").trim();
  const onSelected = (row) => {
    if (row?.dataset.text === input.value.trim()) input.value = ""; // the statement takes the place of the text
    // A browser that goes back to this page restores the fields that the server sent, but not the rows of the script.
    const added = rows().filter((item) => "added" in item.dataset && selected(item));
    const statements = added.map((item) => [radios(item)[0].name, title(item), selected(item)]);
    if (statements.length || history.state?.length) history.replaceState(statements, "");
  };
  const select = (row, value) => {
    for (const radio of radios(row)) radio.checked = radio.value === value;
    onSelected(row);
  };
  const number = () => rows().slice(0, 9).forEach((row, index) => {
    const key = row.querySelector("kbd");
    key.hidden = false;
    key.textContent = index + 1;
  });
  const cycle = (row) => {
    const values = ["", "yes", "no"];
    select(row, values[(values.indexOf(selected(row)) + 1) % values.length]);
    row.scrollIntoView({ block: "nearest" });
  };

  const findOption = (text) => {
    const options = [...document.querySelectorAll("#classes option")];
    const matching = (key) => options.filter((item) => key(item).toLowerCase() === text.toLowerCase());
    const exact = options.find((item) => item.value === text);
    return exact ?? [matching((item) => item.value), matching((item) => item.dataset.name)].find((items) => items.length === 1)?.[0];
  };
  const find = (name) => rows().find((row) => radios(row)[0].name === name);
  const append = (...added) => {
    for (const row of added) row.dataset.added = "";
    form.querySelector("[data-others]").append(...added);
    number();
  };
  const rowOf = (name, text) => {
    if (find(name)) return find(name);
    const row = document.querySelector("template#choice").content.cloneNode(true).querySelector("fieldset");
    for (const radio of radios(row)) radio.name = name;
    const span = document.createElement("span");
    span.textContent = ` ${text} `;
    row.querySelector("legend").append(span);
    append(row);
    return row;
  };
  const addRow = () => {
    const option = findOption(input.value.trim());
    if (!option) return false;
    select(rowOf(`class-${option.dataset.index}`, option.label), "yes");
    input.value = "";
    return true;
  };
  const isEnter = (event) => event.key === "Enter" && !event.isComposing; // an input method composes, such as Japanese
  input.addEventListener("input", (event) => {
    if (event.inputType === "insertReplacementText" || !event.inputType) addRow(); // an option of the list was selected
  });
  input.addEventListener("keydown", async (event) => {
    const text = input.value.trim();
    if (!isEnter(event) || !text) return;
    event.preventDefault();
    if (addRow()) return;
    for (const [row, match] of await findClasses(text)) {
      row.dataset.text = text;
      if (match === "exact") select(row, "yes");
    }
  });
  form.addEventListener("change", (event) => onSelected(event.target.closest("fieldset")));
  form.addEventListener("submit", () => addRow());

  // A search adds the classes that it finds to the form, whose statements are not saved yet. It returns their rows.
  const findClasses = async (text) => {
    const url = new URL(form.getAttribute("data-url"), location); // form.dataset is the field with this name;
    url.searchParams.set("search", text);
    const status = document.querySelector("[data-found]");
    const response = await fetch(url).catch(() => Response.error()); // the server is not reachable
    const page = new DOMParser().parseFromString(await response.text().catch(() => ""), "text/html");
    const message = page.querySelector(response.ok ? "[data-found]" : ".headline"); // a proxy can send another page
    status.textContent = message?.textContent ?? status.dataset.failed;
    const found = [...page.querySelectorAll("fieldset[data-match]")].map((row) => [
      find(radios(row)[0].name) ?? document.importNode(row, true),
      row.dataset.match,
    ]);
    append(...found.map(([row]) => row).filter((row) => !row.isConnected));
    status.scrollIntoView({ block: "nearest" });
    return found;
  };
  const search = document.querySelector("[name=search]");
  search?.removeAttribute("form"); // the form saves, the script searches
  search?.addEventListener("keydown", (event) => isEnter(event) && findClasses(search.value));
  document.querySelector("[data-search]")?.addEventListener("click", (event) => {
    event.preventDefault();
    findClasses(search.value);
  });

  // Until the next page is open, another form or a key would change another review than the reader expects.
  let sentForm = null; // can be sent again, for example after the reader stopped the loading: the server stores it once
  document.addEventListener("submit", (event) => {
    if (sentForm && sentForm !== event.target) event.preventDefault();
    else sentForm = event.target;
  });
  addEventListener("pagehide", () => { sentForm = null; }); // the browser can show the page again as it was

  const skip = document.querySelector("a[data-next]");
  skip?.addEventListener("click", () => { // the next page has the name that was entered on this one
    const url = new URL(skip.href);
    if (form.elements.reviewer) url.searchParams.set("reviewer", form.elements.reviewer.value);
    skip.href = url;
  });
  const actions = {
    a: () => rows().filter((row) => "label" in row.dataset).forEach((row) => select(row, "yes")),
    "/": () => input.focus(),
    p: () => {
      const row = form.querySelector("[name=problematic]").closest("fieldset");
      select(row, selected(row) === "yes" ? "" : "yes");
      row.scrollIntoView({ block: "nearest" });
    },
    c: () => form.elements.comment.focus(),
    s: () => form.requestSubmit(),
    n: () => skip?.click(),
    u: () => document.querySelector("[data-undo] button")?.click(),
  };
  for (let key = 1; key <= 9; key++) actions[key] = () => rows()[key - 1] && cycle(rows()[key - 1]);

  // Readers can turn single-key shortcuts off, because speech input and stray keys can trigger them.
  const shortcuts = document.querySelector("[data-shortcuts]");
  const storage = "errata-review-keys";
  try {
    shortcuts.checked = localStorage.getItem(storage) !== "off";
    shortcuts.addEventListener("change", () => localStorage.setItem(storage, shortcuts.checked ? "on" : "off"));
  } catch (error) {
    // the browser refuses storage: the choice is valid only on this page
  }
  document.addEventListener("keydown", (event) => {
    const isText = event.target.matches("input:not([type=radio], [type=checkbox]), textarea, select");
    if (isText && event.key === "Escape") event.target.blur();
    if (isText || event.altKey || event.ctrlKey || event.metaKey || !shortcuts.checked) return;
    const action = actions[event.key.toLowerCase()]; // Caps Lock can be on
    if (!action) return;
    event.preventDefault();
    if (!sentForm && !event.repeat) action();
  });
  document.querySelector(".keys").hidden = false;
  number();
  for (const [name, text, value] of history.state ?? []) select(rowOf(name, text), value);
})();
