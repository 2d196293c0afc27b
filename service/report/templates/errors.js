"use strict";
// The table of errors: filters, search, sorting, pages, and the evidence behind a row. The data stand in #errors-data;
// everything is put in as text, never as HTML. What is chosen stands in the address, so that it can be shared.
(() => {
  const source = document.getElementById("errors-data");
  const home = document.getElementById("errors-table");
  if (!source || !home) return;
  const data = JSON.parse(source.textContent);
  const { words } = data;
  const size = 50;
  const types = new Map(data.types.map((each) => [each.value, each]));
  const named = (index) => data.classes[index];
  const filled = (text, values) => text.replace(/\{(\w+)\}/g, (_, key) => values[key]);
  const percent = (value) => `${(100 * value).toFixed(1)} %`;
  const counted = (value) => value.toLocaleString("en-US");
  const members = new Map(Object.entries(data.superclasses).map(([name, classes]) => [name, new Set(classes)]));

  const rows = data.file.map((file, row) => ({
    row,
    file: data.prefix + file + data.suffix,
    target: data.target[row],
    predicted: data.predicted[row],
    type: Number(data.type[row]),
    group: Number(data.group[row]),
    labels: [data.label[row]].flat().map((code) => [Math.floor(code / 16), code % 16]),
    probability: data.probability && data.probability[row] !== null ? data.probability[row] / 1000 : null,
    tags: data.tags[row],
  }));

  const make = (name, properties = {}, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(properties)) {
      if (value === null || value === undefined || value === false) continue;
      if (key === "text") made.textContent = value;
      else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
      else made.setAttribute(key, value);
    }
    made.append(...children);
    return made;
  };

  // What is chosen: read from the address, written to it.
  const fields = ["type", "superclass", "class", "group", "confidence", "aside", "search", "sort", "page", "image"];
  const chosen = () => {
    const given = new URLSearchParams(location.hash.slice(1));
    return Object.fromEntries(fields.map((field) => [field, given.get(field) || ""]));
  };
  let state = chosen();
  const remember = (change) => {
    state = { ...state, ...change };
    const given = new URLSearchParams(Object.entries(state).filter(([, value]) => value));
    history.replaceState(null, "", given.size ? `#${given}` : location.pathname + location.search);
  };
  const choose = (change) => {
    remember({ page: "", image: "", ...change });
    show();
  };

  const matches = (each) => {
    const { type, superclass, group, confidence, aside, search } = state;
    if (type && each.type !== Number(type)) return false;
    if (superclass) {
      const inside = members.get(superclass);
      if (!inside || !(inside.has(each.target) || inside.has(each.predicted))) return false;
    }
    if (state.class) {
      const index = Number(state.class);
      if (each.target !== index && each.predicted !== index) return false;
    }
    if (group && !(each.group & (1 << Number(group)))) return false;
    if (confidence && !(each.probability !== null && each.probability >= Number(confidence))) return false;
    if (aside === "only" ? !each.tags : aside !== "with" && each.tags) return false;
    if (search) {
      const text = `${each.file} ${named(each.target)} ${named(each.predicted)}`.toLowerCase();
      return search.toLowerCase().split(/\s+/).every((word) => text.includes(word));
    }
    return true;
  };
  const keys = {
    type: (each) => -each.type,
    target: (each) => named(each.target).toLowerCase(),
    predicted: (each) => named(each.predicted).toLowerCase(),
    confidence: (each) => (each.probability === null ? 0 : -each.probability),
    file: (each) => each.file,
  };
  const sorted = (found) => {
    const name = state.sort.replace(/^-/, "");
    if (!keys[name]) return found;
    const sign = state.sort.startsWith("-") ? -1 : 1;
    const key = keys[name];
    return [...found].sort((a, b) => {
      const [first, second] = [key(a), key(b)];
      return first < second ? -sign : first > second ? sign : a.row - b.row;
    });
  };

  // The evidence of one error.
  const reasons = (each) => {
    const found = [];
    const predicted = named(each.predicted);
    const why = data.overlaps[`${each.target} ${each.predicted}`];
    if (why) found.push(why);
    for (const [label] of each.labels) {
      if (label === each.predicted) continue;
      const both = [...members].filter(([, inside]) => inside.has(label) && inside.has(each.predicted));
      if (both.length) {
        const superclasses = both.map(([name]) => name).join(words.and);
        found.push(filled(words.shared, { predicted, label: named(label), superclasses }));
      }
    }
    const said = data.texts[each.row];
    if (said) {
      const [gate, texts, best] = said;
      const told = best.map(([text, probability]) => filled(words.fitting, { text, probability: percent(probability) }));
      const near = filled(gate ? words.near : words.not_near, { predicted });
      found.push(near + filled(words.compared, { num_texts: counted(texts), texts: told.join(", ") }));
    }
    for (const [label] of each.labels) {
      const seen = data.pairs[`${label} ${each.predicted}`];
      if (!seen) continue;
      const [count, examples] = seen;
      const values = { predicted, label: named(label), count: counted(count), examples: examples.join(", ") };
      found.push(filled(words.together, values));
    }
    return found;
  };
  const trace = (each) => {
    if (each.tags) return "";
    const asked = data.types.filter(({ value }) => value <= each.type);
    const said = ({ value, abstained }) =>
      value === each.type ? data.outcomes.HIT : abstained ? data.outcomes.ABSTAINED : data.outcomes.MISS;
    return asked.map((type) => `${type.title}: ${said(type)}`).join(" · ");
  };
  const picture = (each) => {
    const own = Object.hasOwn(data.pictures, each.file) ? data.pictures[each.file] : "";
    const url = own || (data.picture_base && data.picture_base + each.file.split("/").map(encodeURIComponent).join("/"));
    if (!url) return [];
    const made = make("img", { src: url, alt: filled(words.picture, { file: each.file }), loading: "lazy" });
    made.addEventListener("error", () => made.remove());
    return [made];
  };
  const evidence = (each) => {
    const labels = each.labels.map(([label, who]) => `${named(label)} (${data.sources[who]})`).join(", ");
    const list = make("dl");
    const line = (term, ...details) => {
      if (details.length) list.append(make("dt", { text: term }), ...details.map((text) => make("dd", { text })));
    };
    if (each.tags) line(words.aside, each.tags.join("; ") || "–");
    line(words.in_image, labels || words.nothing);
    line(words.evidence, ...reasons(each));
    if (trace(each)) line(words.rules, trace(each));
    const more = data.page_base
      ? [make("p", {}, make("a", { href: data.page_base + each.file.split("/").map(encodeURIComponent).join("/"), text: words.more }))]
      : [];
    return make("div", { class: "evidence" }, ...picture(each), list, ...more);
  };

  // The controls, from the templates' own form.
  const form = document.getElementById("errors-filters");
  const option = (value, text) => make("option", { value, text });
  const fill = (name, options) => form.elements[name].append(option("", words.any), ...options);
  fill("type", data.types.slice(1).map((each) => option(each.value, each.title)));
  fill("superclass", [...members.keys()].map((name) => option(name, name)));
  const inUse = Object.entries(data.classes).sort((a, b) => a[1].localeCompare(b[1]));
  fill("class", inUse.map(([index, name]) => option(index, name)));
  fill("group", data.group_names.map((name, index) => option(index, name)));
  if (data.probability === null) {
    form.elements.confidence.closest("label").remove();
    home.classList.add("unsure");
  }
  if (Object.keys(data.tags).length) {
    const choices = [["", words.without_aside], ["with", words.with_aside], ["only", words.only_aside]];
    form.elements.aside.append(...choices.map(([value, text]) => option(value, text)));
  } else form.elements.aside.closest("label").remove();
  form.addEventListener("input", (event) => choose({ [event.target.name]: event.target.value.trim() }));
  form.addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("errors-reset").addEventListener("click", () => choose(Object.fromEntries(fields.map((f) => [f, ""]))));

  const body = home.querySelector("tbody");
  const told = document.getElementById("errors-count");
  const [back, forth] = [document.getElementById("errors-back"), document.getElementById("errors-forth")];
  for (const button of home.querySelectorAll("thead button")) {
    button.addEventListener("click", () => {
      const by = button.dataset.sort;
      choose({ sort: state.sort === by ? `-${by}` : by });
    });
  }
  const turn = (step) => {
    choose({ page: String((Number(state.page) || 1) + step) });
    home.scrollIntoView({ block: "start" });
  };
  back.addEventListener("click", () => turn(-1));
  forth.addEventListener("click", () => turn(1));

  const opened = (each, button, line) => {
    const next = line.nextElementSibling;
    if (next && next.classList.contains("opened")) {
      next.remove();
      button.setAttribute("aria-expanded", "false");
      return false;
    }
    line.after(make("tr", { class: "opened" }, make("td", { colspan: 5 }, evidence(each))));
    button.setAttribute("aria-expanded", "true");
    return true;
  };
  const lineOf = (each) => {
    const type = types.get(each.type);
    const button = make("button", { type: "button", class: `stripe type-${each.type}`, "aria-expanded": "false", text: type.title });
    const line = make(
      "tr",
      {},
      make("td", { class: "text" }, button),
      make("td", { class: "text", text: named(each.target) }),
      make("td", { class: "text", text: named(each.predicted) }),
      make("td", { text: each.probability === null ? "–" : percent(each.probability) }),
      make("td", { class: "text file", text: each.file }),
    );
    button.addEventListener("click", () => {
      remember({ image: opened(each, button, line) ? each.file : "" });
    });
    return [line, button];
  };

  function show() {
    for (const name of ["type", "superclass", "class", "group", "confidence", "aside", "search"]) {
      const control = form.elements[name];
      if (control && document.activeElement !== control) control.value = state[name];
    }
    const found = sorted(rows.filter(matches));
    const pages = Math.max(1, Math.ceil(found.length / size));
    let page = Math.min(pages, Math.max(1, Number(state.page) || 1));
    const wanted = state.image ? found.findIndex((each) => each.file === state.image) : -1;
    if (wanted >= 0 && !state.page) page = Math.floor(wanted / size) + 1;
    const first = (page - 1) * size;
    const part = found.slice(first, first + size);
    body.replaceChildren(...part.map((each) => {
      const [line, button] = lineOf(each);
      line.addEventListener("errata:open", () => opened(each, button, line));
      return line;
    }));
    if (wanted >= 0) body.children[wanted - first]?.dispatchEvent(new Event("errata:open"));
    told.textContent = found.length
      ? filled(words.page, { first: counted(first + 1), last: counted(first + part.length), found: counted(found.length) })
      : words.none;
    [back.disabled, forth.disabled] = [page <= 1, page >= pages];
    state.page = page > 1 ? String(page) : "";
    for (const button of home.querySelectorAll("thead button")) {
      const by = button.dataset.sort;
      const order = state.sort === by ? "ascending" : state.sort === `-${by}` ? "descending" : "none";
      button.closest("th").setAttribute("aria-sort", order);
    }
  }

  window.addEventListener("hashchange", () => { state = chosen(); show(); });
  document.getElementById("errors-still").hidden = true;
  document.getElementById("errors-live").hidden = false;
  show();
})();
