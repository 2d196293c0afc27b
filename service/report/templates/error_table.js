"use strict";
// The error table: filters, search, sorting, paging, and the evidence of each error. The data is in #errors-data. All
// values are inserted as text, never as HTML. The URL fragment, such as #errors?type=…, contains the
// selection, so that charts and tables can link to a selection, and readers can share it.
(() => {
  const PAGE_SIZE = 50;
  const source = document.getElementById("errors-data");
  const container = document.getElementById("errors-table");
  if (!source || !container) return;
  const data = JSON.parse(source.textContent);
  const { messages } = data;
  const types = new Map(data.types.map((type, position) => [type.value, { ...type, position }])); // order of the rules
  const members = new Map(Object.entries(data.superclasses).map(([name, classes]) => [name, new Set(classes)]));
  const className = (index) => data.classes[index];
  const format = (text, values) => text.replace(/\{(\w+)\}/g, (_, key) => values[key]);
  const INEXACT_PERCENTAGES = { "0.0 %": "< 0.1 %", "100.0 %": "> 99.9 %" }; // of numbers other than 0 and 1
  const formatPercentage = (value) => {
    const text = `${(100 * value).toFixed(1)} %`;
    return (value > 0 && value < 1 && INEXACT_PERCENTAGES[text]) || text;
  };
  const formatCount = (value) => value.toLocaleString("en-US");
  const encodePath = (file) => {
    const segments = file.split("/");
    const isPath = !segments.some((segment) => ["", ".", ".."].includes(segment)); // else a browser would resolve them
    return segments.map(encodeURIComponent).join(isPath ? "/" : "%2F");
  };
  const typeKey = (value) => types.get(value).key;
  const pictures = new Map(Object.entries(data.pictures));
  for (const image of document.querySelectorAll("#errors-static img")) pictures.set(image.dataset.file, image.src);

  const errors = data.file.map((file, row) => ({
    row,
    file: data.prefix + file + data.suffix,
    target: data.target[row],
    predicted: data.predicted[row],
    type: parseInt(data.type[row], 16),
    group: data.group[row],
    labels: [data.label[row]].flat().map((code) => [Math.floor(code / 16), code % 16]),
    probability: data.probability && data.probability[row] !== null ? data.probability[row] / 1000 : null,
    tags: data.tags[row],
  }));

  const createElement = (name, properties = {}, ...children) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(properties)) {
      if (value === null || value === undefined || value === false) continue;
      if (key === "text") element.textContent = value;
      else element.setAttribute(key, value);
    }
    element.append(...children);
    return element;
  };

  // The selection: filters, order, page, and the opened image.
  const filters = ["type", "superclass", "class", "predicted", "group", "confidence", "errors", "problematic", "search"];
  const fields = [...filters, "sort", "page", "image"];
  const PREFIX = "#errors?";
  for (const link of document.querySelectorAll("a[data-filters]")) link.setAttribute("href", PREFIX + link.dataset.filters);
  const isSelection = () => location.hash.startsWith(PREFIX);
  const readSelection = () => {
    const parameters = new URLSearchParams(isSelection() ? location.hash.slice(PREFIX.length) : "");
    return Object.fromEntries(fields.map((field) => [field, parameters.get(field) || ""]));
  };
  let selection = readSelection();
  const storeSelection = (change) => {
    selection = { ...selection, ...change };
    const parameters = new URLSearchParams(Object.entries(selection).filter(([, value]) => value));
    history.replaceState(null, "", parameters.size ? PREFIX + parameters : location.pathname + location.search);
  };
  const select = (change) => {
    storeSelection({ page: "", image: "", ...change });
    render();
  };

  const matches = (error) => {
    const { type, superclass, group, confidence, problematic, search } = selection;
    if (type && typeKey(error.type) !== type) return false;
    if (selection.errors && !types.get(error.type).is_error) return false;
    if (superclass && !members.get(superclass)?.has(error.target)) return false;
    if (selection.class && error.target !== Number(selection.class)) return false;
    if (selection.predicted && error.predicted !== Number(selection.predicted)) return false;
    if (group && !(error.group & (1 << data.groups.indexOf(group)))) return false;
    if (confidence && !(error.probability !== null && error.probability >= Number(confidence))) return false;
    if (problematic === "only" ? !error.tags : problematic !== "with" && error.tags) return false;
    if (search) {
      const text = `${error.file} ${className(error.target)} ${className(error.predicted)}`.toLowerCase();
      return search.toLowerCase().split(/\s+/).every((word) => text.includes(word));
    }
    return true;
  };
  const sortKeys = {
    type: (error) => -types.get(error.type).position,
    target: (error) => className(error.target).toLowerCase(),
    predicted: (error) => className(error.predicted).toLowerCase(),
    confidence: (error) => (error.probability === null ? 0 : -error.probability),
    file: (error) => error.file,
  };
  const sortErrors = (matching) => {
    const key = sortKeys[selection.sort.replace(/^-/, "")];
    if (!key) return matching;
    const sign = selection.sort.startsWith("-") ? -1 : 1;
    return [...matching].sort((a, b) => {
      const [first, second] = [key(a), key(b)];
      return first < second ? -sign : first > second ? sign : a.row - b.row;
    });
  };

  // The evidence of one error.
  const evidenceNotes = (error) => {
    const notes = [];
    const predicted = className(error.predicted);
    const original = data.rejected[error.row];
    if (original !== undefined) notes.push(format(messages.rejected_target_note, { target: className(original) }));
    if (data.answers[error.row]) notes.push(data.answers[error.row]);
    const overlap = data.overlaps[`${error.target} ${error.predicted}`];
    if (overlap) notes.push(overlap);
    for (const [label] of error.labels) {
      if (label === error.predicted) continue;
      const shared = [...members].filter(([, classes]) => classes.has(label) && classes.has(error.predicted));
      if (shared.length) {
        const superclasses = shared.map(([name]) => name).join(", ");
        notes.push(format(messages.superclass_note, { predicted, label: className(label), superclasses }));
      }
    }
    const vocabulary = data.texts[error.row];
    if (vocabulary) {
      const [hasSimilarNeighbors, texts, ranked, prefersLabel] = vocabulary;
      const best = ranked.map(([text, value]) => format(messages.ranked_text, { text, probability: formatPercentage(value) }));
      const neighbors = hasSimilarNeighbors ? messages.similar_neighbors : messages.no_similar_neighbors;
      const ranking = format(messages.best_texts, { texts, best: best.join(", ") });
      notes.push(format(neighbors, { predicted }) + ranking + (prefersLabel ? ` ${messages.prefers_label}` : ""));
    }
    for (const [label] of error.labels) {
      const pair = data.pairs[`${label} ${error.predicted}`];
      if (!pair) continue;
      const [images, examples] = pair;
      const values = { predicted, label: className(label), images, examples: examples.join(", ") };
      notes.push(format(messages.cooccurrence_note, values));
    }
    if (data.experts[error.row]) notes.push(data.experts[error.row]);
    return notes;
  };
  const ruleTrace = (error) => {
    if (error.tags) return "";
    const outcome = ({ value, abstained }) =>
      value === error.type ? data.outcomes.HIT : abstained ? data.outcomes.ABSTAINED : data.outcomes.MISS;
    const reached = data.types.slice(0, types.get(error.type).position + 1);
    return reached.map((type) => `${type.title}: ${outcome(type)}`).join(" · ");
  };
  const imageElements = (error) => {
    const url = pictures.get(error.file) || (data.picture_base && data.picture_base + encodePath(error.file));
    if (!url) return [];
    const image = createElement("img", { src: url, alt: format(messages.image, { name: error.file }), loading: "lazy" });
    image.addEventListener("error", () => image.remove());
    return [image];
  };
  const pageLink = (error, text) =>
    createElement("a", { href: data.page_base + encodePath(error.file) + data.page_query, text });
  const evidenceElement = (error) => {
    const labels = error.labels.map(([label, kind]) => `${className(label)} (${data.sources[kind]})`).join(", ");
    const list = createElement("dl");
    const addEntry = (term, ...details) => {
      if (!details.length) return;
      list.append(createElement("dt", { text: term }), ...details.map((text) => createElement("dd", { text })));
    };
    if (error.tags) addEntry(messages.problematic, error.tags.join("; ") || "–");
    addEntry(messages.labels, labels || messages.no_labels);
    addEntry(messages.evidence, ...evidenceNotes(error));
    if (data.attributes[error.row]) addEntry(messages.attributes, ...data.attributes[error.row]);
    if (ruleTrace(error)) addEntry(messages.rule_trace, ruleTrace(error));
    const { agreement } = types.get(error.type);
    if (agreement) addEntry(messages.agreement, agreement);
    const links = [];
    if (data.page_base) links.push(createElement("p", {}, pageLink(error, messages.image_details)));
    return createElement("div", { class: "evidence" }, ...imageElements(error), list, ...links);
  };

  // The filters.
  const form = document.getElementById("errors-filters");
  const option = (value, text) => createElement("option", { value, text });
  const addOptions = (name, options) => form.elements[name].append(option("", messages.any), ...options);
  addOptions("type", data.types.slice(1).map((type) => option(type.key, type.title)));
  if (members.size) addOptions("superclass", [...members.keys()].map((name) => option(name, name)));
  else form.elements.superclass.closest("label").remove();
  const classes = Object.entries(data.classes).sort((a, b) => a[1].localeCompare(b[1]));
  for (const name of ["class", "predicted"]) addOptions(name, classes.map(([index, text]) => option(index, text)));
  if (data.group_names.length) addOptions("group", data.groups.map((group, index) => option(group, data.group_names[index])));
  else form.elements.group.closest("label").remove();
  if (data.probability === null) {
    form.elements.confidence.closest("label").remove();
    container.classList.add("no-confidence");
  }
  if (Object.keys(data.tags).length) {
    const choices = [
      ["", messages.exclude_problematic],
      ["with", messages.include_problematic],
      ["only", messages.only_problematic],
    ];
    form.elements.problematic.append(...choices.map(([value, text]) => option(value, text)));
  } else form.elements.problematic.closest("label").remove();
  form.addEventListener("input", (event) => select({ [event.target.name]: event.target.value.trim() }));
  form.addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("errors-reset").addEventListener("click", () => {
    select(Object.fromEntries(fields.map((field) => [field, ""])));
  });

  // Sorting and paging.
  const body = container.querySelector("tbody");
  const countLine = document.getElementById("errors-count");
  const previousButton = document.getElementById("errors-previous");
  const nextButton = document.getElementById("errors-next");
  const sortButtons = container.querySelectorAll("thead button");
  for (const button of sortButtons) {
    button.addEventListener("click", () => {
      const column = button.dataset.sort;
      select({ sort: selection.sort === column ? `-${column}` : column });
    });
  }
  const columnNames = new Map([...sortButtons].map((button) => [button.dataset.sort, button.textContent]));
  const turnPage = (step) => {
    select({ page: String((Number(selection.page) || 1) + step) });
    container.scrollIntoView({ block: "start" });
  };
  previousButton.addEventListener("click", () => turnPage(-1));
  nextButton.addEventListener("click", () => turnPage(1));

  // Opens or closes the evidence below a row; returns whether it is open.
  const toggleEvidence = (error, button, line) => {
    const next = line.nextElementSibling;
    if (next && next.classList.contains("opened")) {
      next.remove();
      button.setAttribute("aria-expanded", "false");
      return false;
    }
    const cell = createElement("td", { role: "cell", colspan: 5 }, evidenceElement(error));
    line.after(createElement("tr", { role: "row", class: "opened" }, cell));
    button.setAttribute("aria-expanded", "true");
    return true;
  };
  const createCell = (column, cssClass, content) =>
    createElement("td", { role: "cell", class: cssClass, "data-name": columnNames.get(column) }, content);
  const createRow = (error) => {
    const type = types.get(error.type);
    const button = createElement("button", {
      type: "button",
      class: `stripe type-${error.type}`,
      "aria-expanded": "false",
      text: type.title,
    });
    const file = data.page_base ? pageLink(error, error.file) : error.file;
    const line = createElement(
      "tr",
      { role: "row" },
      createElement("td", { role: "cell", class: "text" }, button),
      createCell("target", "text", className(error.target)),
      createCell("predicted", "text", className(error.predicted)),
      createCell("confidence", null, error.probability === null ? "–" : formatPercentage(error.probability)),
      createCell("file", "text file", file),
    );
    button.addEventListener("click", () => {
      storeSelection({ image: toggleEvidence(error, button, line) ? error.file : "" });
    });
    return { error, button, line };
  };

  function render() {
    for (const name of filters) {
      const control = form.elements[name];
      if (control && document.activeElement !== control) control.value = selection[name];
    }
    const matching = sortErrors(errors.filter(matches));
    const numPages = Math.max(1, Math.ceil(matching.length / PAGE_SIZE));
    let page = Math.min(numPages, Math.max(1, Number(selection.page) || 1));
    const opened = selection.image ? matching.findIndex((error) => error.file === selection.image) : -1;
    if (opened >= 0 && !selection.page) page = Math.floor(opened / PAGE_SIZE) + 1;
    const first = (page - 1) * PAGE_SIZE;
    const rows = matching.slice(first, first + PAGE_SIZE).map(createRow);
    body.replaceChildren(...rows.map(({ line }) => line));
    const openedRow = rows[opened - first];
    if (opened >= 0 && openedRow) toggleEvidence(openedRow.error, openedRow.button, openedRow.line);
    const range = { first: formatCount(first + 1), last: formatCount(first + rows.length), total: formatCount(matching.length) };
    countLine.textContent = matching.length ? format(messages.count, range) : messages.no_match;
    [previousButton.disabled, nextButton.disabled] = [page <= 1, page >= numPages];
    selection.page = page > 1 ? String(page) : "";
    for (const button of sortButtons) {
      const column = button.dataset.sort;
      const order = selection.sort === column ? "ascending" : selection.sort === `-${column}` ? "descending" : "none";
      button.closest("th").setAttribute("aria-sort", order);
    }
  }

  const followLink = () => {
    if (!isSelection()) return;
    document.getElementById("errors").scrollIntoView();
    countLine.focus({ preventScroll: true });
  };
  window.addEventListener("hashchange", () => {
    if (!isSelection()) return; // a link of the table of contents
    selection = readSelection();
    render();
    followLink();
  });
  document.getElementById("errors-static").hidden = true;
  document.getElementById("errors-live").hidden = false;
  render();
  followLink();
})();
