"use strict";
// Names of classes and files only ever enter the page as textContent or attribute values: they are text, not markup.
(() => {
  const embedded = JSON.parse(document.getElementById("embedded").textContent);
  const byId = (id) => document.getElementById(id);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const collator = new Intl.Collator("en", { numeric: true });
  const count = (number, word, words = `${word}s`) => `${number.toLocaleString("en")} ${number === 1 ? word : words}`;

  function make(tag, properties = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
      if (name.includes("-") || name === "role" || name === "scope") element.setAttribute(name, value);
      else element[name] = value;
    }
    element.append(...children);
    return element;
  }

  function show(image) {
    const [path, uri] = embedded.photos[image.dataset.photo];
    image.title = path;
    image.removeAttribute("height"); // that of the square reserved for it
    image.src = uri;
    if (image.dataset.photo in embedded.contexts) {
      image.classList.add("opens");
      image.tabIndex = 0;
      image.setAttribute("role", "button");
    }
  }
  all("img[data-photo]").forEach(show);

  // A thumbnail opens the photo that it is of, with the boxes drawn.
  function view(image) {
    const [uri, boxes] = embedded.contexts[image.dataset.photo];
    const marks = boxes.map((box) => {
      const mark = make("span", { className: "box" });
      ["left", "top", "width", "height"].forEach((side, at) => (mark.style[side] = `${100 * box[at]}%`));
      return mark;
    });
    const path = embedded.photos[image.dataset.photo][0];
    document.querySelector("#viewer .stage").replaceChildren(make("img", { src: uri, alt: image.alt }), ...marks);
    byId("viewer-path").textContent = path;
    byId("viewer").showModal();
  }
  if (byId("viewer")) {
    document.addEventListener("click", (event) => {
      if (event.target.matches("img.opens")) view(event.target);
    });
    document.addEventListener("keydown", (event) => {
      if (!event.target.matches("img.opens") || !["Enter", " "].includes(event.key)) return;
      event.preventDefault();
      view(event.target);
    });
    byId("viewer-close").addEventListener("click", () => byId("viewer").close());
  }

  // Rows of long tables come as data; a bar stands for a score.
  for (const [id, rows] of Object.entries(embedded.rest)) {
    const cell = (value, column, row) => {
      if (column === 0) return make("th", { scope: "row", textContent: value });
      const score = id === "class-table" && column > 1;
      const td = make("td", { className: score ? "number bar" : "number" });
      if (score) td.style.setProperty("--share", value);
      const text = score ? value.toFixed(3) : value.toLocaleString("en");
      td.append(score && row[1] === 0 ? "–" : make("data", { value: String(value), textContent: text }));
      return td;
    };
    byId(id).tBodies[0].append(...rows.map((row) => make("tr", {}, ...row.map((value, column) => cell(value, column, row)))));
  }

  // Tables: sort by a column, find rows by name, show the first rows until all are requested.
  function key(row, column) {
    const cell = row.cells[column];
    if (cell.dataset.sort !== undefined) return Number(cell.dataset.sort);
    const figure = cell.querySelector("data");
    return figure ? Number(figure.value) : cell.textContent.trim();
  }
  function compare(a, b) {
    if (typeof a === "number" && typeof b === "number") return a - b;
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
    return collator.compare(a, b);
  }
  function limit(table) {
    const wanted = table.dataset.wanted || "";
    const most = table.dataset.everything ? Infinity : Number(table.dataset.atFirst || Infinity);
    let found = 0;
    for (const row of table.tBodies[0].rows) {
      const fits = row.cells[0].textContent.toLowerCase().includes(wanted);
      row.hidden = !fits || ++found > most;
    }
    const status = document.querySelector(`[data-status="${table.id}"]`);
    if (status) status.textContent = found > most ? `${most} of ${count(found, "row")}` : count(found, "row");
    const more = document.querySelector(`[data-more="${table.id}"]`);
    if (more) more.hidden = found <= most;
  }
  for (const table of all("table.sortable")) {
    all("thead th", table).forEach((heading, column) => {
      heading.querySelector("button").addEventListener("click", () => {
        const numbers = heading.classList.contains("number");
        const before = heading.getAttribute("aria-sort");
        const falling = before ? before === "ascending" : numbers;
        all("thead th", table).forEach((other) => other.removeAttribute("aria-sort"));
        heading.setAttribute("aria-sort", falling ? "descending" : "ascending");
        const rows = [...table.tBodies[0].rows].map((row) => [key(row, column), row]);
        rows.sort((a, b) => (falling ? compare(b[0], a[0]) : compare(a[0], b[0])));
        table.tBodies[0].append(...rows.map(([, row]) => row));
        limit(table);
      });
    });
    limit(table);
  }
  for (const input of all("[data-filter]")) {
    input.addEventListener("input", () => {
      const table = byId(input.dataset.filter);
      table.dataset.wanted = input.value.trim().toLowerCase();
      limit(table);
    });
  }
  for (const button of all("[data-more]")) {
    button.addEventListener("click", () => {
      const table = byId(button.dataset.more);
      table.dataset.everything = "yes";
      limit(table);
      table.parentElement.focus();
    });
  }

  // Printing shows what is collapsed on the screen.
  let closed = [];
  window.addEventListener("beforeprint", () => {
    closed = all("details:not([open])");
    closed.forEach((each) => (each.open = true));
  });
  window.addEventListener("afterprint", () => closed.forEach((each) => (each.open = false)));

  // The navigation shows the current section.
  const links = new Map(all("nav.sections a").map((link) => [link.hash.slice(1), link]));
  const visible = new Set();
  const observer = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) entry.isIntersecting ? visible.add(entry.target.id) : visible.delete(entry.target.id);
      const here = [...links.keys()].find((id) => visible.has(id));
      for (const [id, link] of links) {
        if (id === here) {
          link.setAttribute("aria-current", "true");
          const list = link.closest("ul"); // on a phone the list itself scrolls
          list.scrollLeft = link.offsetLeft - (list.clientWidth - link.offsetWidth) / 2;
        } else link.removeAttribute("aria-current");
      }
    },
    { rootMargin: "-15% 0px -60% 0px" },
  );
  for (const id of links.keys()) observer.observe(byId(id));

  if (!byId("matrix")) return; // the screening has none

  // The confusion matrix.
  const models = new Map(Object.entries(embedded.models).map(([name, cells]) => [name, tally(cells)]));
  let model = byId("matrix-model").value;
  let chosen = null;

  function tally(cells) {
    const classes = embedded.labels.map(() => ({ photos: 0, right: 0, errors: 0 }));
    const at = new Map();
    for (const [truth, predicted, photos, shown] of cells) {
      classes[truth].photos += photos;
      if (truth === predicted) classes[truth].right += photos;
      else {
        classes[truth].errors += photos;
        classes[predicted].errors += photos;
      }
      at.set(`${truth} ${predicted}`, { truth, predicted, photos, shown });
    }
    return { classes, at };
  }
  const ORDERS = {
    errors: (a, b) => b.errors - a.errors,
    name: () => 0,
    photos: (a, b) => b.photos - a.photos,
    recall: (a, b) => (a.photos ? a.right / a.photos : 2) - (b.photos ? b.right / b.photos : 2),
  };
  function classesShown(also = []) {
    const { classes } = models.get(model);
    const wanted = byId("matrix-filter").value.trim().toLowerCase();
    const name = (number) => embedded.labels[number];
    let numbers = classes.map((_, number) => number).filter((number) => name(number).toLowerCase().includes(wanted));
    if (wanted && numbers.length && numbers.length <= 5) {
      // a class alone says little: show it with those it is confused with
      const found = new Set(numbers);
      for (const { truth, predicted } of models.get(model).at.values()) {
        if (numbers.includes(truth)) found.add(predicted);
        if (numbers.includes(predicted)) found.add(truth);
      }
      numbers = [...found];
    }
    const found = numbers.length;
    numbers.sort((a, b) => classes[b].errors - classes[a].errors || collator.compare(name(a), name(b)));
    numbers = [...new Set([...also, ...numbers])].slice(0, Math.max(embedded.matrixClasses, also.length));
    const order = ORDERS[byId("matrix-order").value];
    numbers.sort((a, b) => order(classes[a], classes[b]) || collator.compare(name(a), name(b)));
    return [numbers, found];
  }
  function draw(also = []) {
    const { classes, at } = models.get(model);
    const [numbers, found] = classesShown(also);
    const largest = Math.max(1, ...[...at.values()].filter((c) => c.truth !== c.predicted).map((c) => c.photos));
    const columns = numbers.map((number) =>
      make("th", { scope: "col", title: embedded.labels[number] }, make("span", { textContent: embedded.labels[number] })),
    );
    const head = make("tr", {}, make("th", { scope: "col", textContent: "true ↓ predicted →" }), ...columns);
    const elsewhere = numbers.length < classes.length;
    const body = numbers.map((truth) => {
      const cells = numbers.map((predicted) => {
        const cell = at.get(`${truth} ${predicted}`);
        const td = make("td");
        if (cell) {
          const right = truth === predicted;
          const button = make("button", {
            type: "button", className: right ? "right" : "", textContent: cell.photos, tabIndex: -1,
            "aria-label": `${embedded.labels[truth]} predicted as ${embedded.labels[predicted]}: ${count(cell.photos, "photo")}`,
            "aria-pressed": "false",
          });
          button.dataset.cell = `${truth} ${predicted}`;
          button.style.setProperty("--share", right ? cell.photos / classes[truth].photos : cell.photos / largest);
          td.append(button);
        }
        return td;
      });
      const total = make("td", { className: "total number", textContent: classes[truth].photos.toLocaleString("en") });
      const heading = make("th", { scope: "row", title: embedded.labels[truth], textContent: embedded.labels[truth] });
      if (!elsewhere) return make("tr", {}, heading, ...cells, total);
      let missing = classes[truth].photos;
      for (const predicted of numbers) missing -= at.get(`${truth} ${predicted}`)?.photos || 0;
      const others = make("td", { className: "total number", textContent: missing ? missing.toLocaleString("en") : "" });
      return make("tr", {}, heading, ...cells, others, total);
    });
    if (elsewhere) head.append(make("th", { scope: "col" }, make("span", { textContent: "as other classes" })));
    head.append(make("th", { scope: "col" }, make("span", { textContent: "photos" })));
    const caption = make("caption", { textContent: `${model}: true classes in rows, predicted classes in columns` });
    byId("matrix").replaceChildren(caption, make("thead", {}, head), make("tbody", {}, ...body));
    const first = byId("matrix").querySelector("button");
    if (first) first.tabIndex = 0; // one tab stop; the arrow keys do the rest
    const shown = numbers.length;
    byId("matrix-status").textContent =
      shown < found ? `${shown} of ${count(found, "class", "classes")}, those with most errors` : "";
    mark();
  }
  function mark() {
    for (const button of all("#matrix button")) {
      const is = button.dataset.cell === chosen;
      button.setAttribute("aria-pressed", String(is));
      if (is) {
        all("#matrix button").forEach((other) => (other.tabIndex = -1));
        button.tabIndex = 0;
      }
    }
  }
  function photo([number, confidence], truth, predicted) {
    const image = make("img", { width: 96, alt: `Photo labelled ${truth}, predicted as ${predicted}` });
    image.dataset.photo = number;
    show(image);
    const caption = make(
      "figcaption", {},
      make("span", { className: "predicted", textContent: `${confidence >= 0.995 ? "over\u00a099" : Math.round(100 * confidence)}\u00a0%` }),
      make("span", { className: "path", textContent: embedded.photos[number][0] }),
    );
    return make("figure", { className: truth === predicted ? "photo" : "photo wrong" }, image, caption);
  }
  function open(cell) {
    chosen = cell;
    mark();
    const found = models.get(model).at.get(cell);
    if (!found) {
      byId("cell").replaceChildren(make("p", { className: "note", textContent: "No cell is chosen." }));
      return;
    }
    const [truth, predicted] = [embedded.labels[found.truth], embedded.labels[found.predicted]];
    const right = found.truth === found.predicted;
    const heading = make("h3", {
      textContent: right
        ? `${truth}, recognised: ${count(found.photos, "photo")}`
        : `${truth} taken for ${predicted}: ${count(found.photos, "photo")}`,
    });
    const gallery = make("div", { className: "gallery" }, ...found.shown.map((each) => photo(each, truth, predicted)));
    gallery.dataset.gallery = "cell";
    const children = [heading, gallery];
    if (found.shown.length < found.photos) {
      const which = right ? "least" : "most";
      const text = found.shown.length
        ? `${found.shown.length} of ${count(found.photos, "photo")} shown, the ${which} confident first.`
        : "To keep the page small, none of them is embedded.";
      children.splice(1, 0, make("p", { className: "note", textContent: text }));
    }
    byId("cell").replaceChildren(...children);
  }
  byId("matrix").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) open(button.dataset.cell);
  });
  byId("matrix").addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    const button = event.target.closest("button");
    if (!step || !button) return;
    event.preventDefault();
    const table = byId("matrix");
    let [row, column] = [button.closest("tr").rowIndex, button.closest("td").cellIndex];
    for (;;) {
      [row, column] = [row + step[0], column + step[1]];
      if (row < 1 || row >= table.rows.length || column < 1 || column >= table.rows[row].cells.length) return;
      const next = table.rows[row].cells[column].querySelector("button");
      if (next) {
        button.tabIndex = -1;
        next.tabIndex = 0;
        next.focus();
        return;
      }
    }
  });
  byId("matrix-order").addEventListener("change", () => draw());
  byId("matrix-filter").addEventListener("input", () => draw());

  for (const choice of all("[data-choose-model]")) {
    choice.addEventListener("change", () => {
      model = choice.value;
      all("[data-choose-model]").forEach((other) => (other.value = model));
      all("[data-model]").forEach((panel) => (panel.hidden = panel.dataset.model !== model));
      draw();
      open(null);
    });
  }
  for (const button of all(".to-cell")) {
    button.addEventListener("click", () => {
      const [row, column] = [Number(button.dataset.row), Number(button.dataset.column)];
      byId("matrix-filter").value = "";
      draw([row, column]);
      open(`${row} ${column}`);
      byId("cell").focus({ preventScroll: true });
      byId("cell").scrollIntoView({ block: "center" });
    });
  }
  draw();

  // Corrections.
  const form = byId("corrections");
  if (form) {
    const boxes = all("input[type=checkbox]", form);
    const tell = () => {
      const ticked = boxes.filter((box) => box.checked).length;
      byId("corrections-status").textContent = ticked ? `${count(ticked, "photo")} ticked` : "no photo ticked";
      byId("tick-all").textContent = ticked === boxes.length ? "Untick all" : "Tick all";
    };
    form.addEventListener("change", (event) => {
      if (event.target.tagName === "SELECT") event.target.closest(".suspect").querySelector("input").checked = true;
      tell();
    });
    form.addEventListener("focusin", (event) => {
      const select = event.target;
      if (select.tagName !== "SELECT" || select.dataset.full) return;
      select.dataset.full = "yes"; // filling every list from the start would make the page slow
      const had = new Set([...select.options].map((option) => option.value));
      select.append(...embedded.labels.filter((label) => !had.has(label)).map((label) => new Option(label, label)));
    });
    byId("tick-all").addEventListener("click", () => {
      const tick = !boxes.every((box) => box.checked);
      boxes.forEach((box) => (box.checked = tick));
      tell();
    });
    const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const rows = all(".suspect", form)
        .filter((row) => row.querySelector("input").checked)
        .map((row) => `${quoted(row.dataset.path)},${quoted(row.querySelector("select").value)},model\n`);
      if (!rows.length) {
        byId("corrections-status").textContent = "Tick a photo first.";
        return;
      }
      const address = URL.createObjectURL(new Blob(["path,label,suspected_by\n", ...rows], { type: "text/csv" }));
      const link = make("a", { href: address, download: "corrections.csv" });
      document.body.append(link);
      link.click();
      link.remove();
      setTimeout(() => URL.revokeObjectURL(address), 10000);
      byId("corrections-status").textContent = `${count(rows.length, "row")} saved`;
    });
  }
})();
