"use strict";
// Nothing here is set as HTML: labels and file names are text.

const AT_ONCE = 2, ASK_AGAIN = 700; // requests, milliseconds
const byId = id => document.getElementById(id);
const cards = byId("cards"), drop = byId("drop"), picker = byId("files"), clear = byId("clear");
// never rounded up to 100 %
const percent = value => `${value > .995 ? Math.floor(1000 * value) / 10 : (100 * value).toFixed(value < .0995 ? 1 : 0)} %`;
const pause = time => new Promise(done => setTimeout(done, time));
let about = null;
const queue = [];
let running = 0;

function make(tag, parent, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  if (parent) parent.append(element);
  return element;
}

async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("The server cannot be reached; is `florafauna serve` still running?");
  }
  const value = await answer.json().catch(() => ({ error: `The server failed (${answer.status}).` }));
  if (!answer.ok) throw new Error(value.error ?? `The server failed (${answer.status}).`);
  return value;
}

function showState(state) {
  const line = byId("nearest");
  if (state.kind === "computing") line.textContent = `Looking at the training photos: ${state.done} of ${state.total}`;
  else line.textContent = state.why;
}

async function start() {
  try {
    about = await ask("/about");
  } catch (error) {
    byId("model").textContent = error.message;
    return;
  }
  byId("model").textContent = `${about.name} (${about.architecture}) knows ${about.classes} classes`
    + (about.remark ? `; ${about.remark.replaceAll("`", "")}` : "");
  showState(about.nearest);
}

function take(files) {
  for (const file of files) {
    const card = make("li", null, "card waiting");
    card.setAttribute("aria-busy", "true");
    make("span", make("div", card, "photo"), "", "…").setAttribute("aria-hidden", "true");
    const body = make("div", card, "body");
    make("p", body, "name", file.name);
    make("p", body, "soft", "Looking …");
    cards.prepend(card);
    queue.push([file, card]);
  }
  clear.hidden = !cards.children.length;
  work();
}

async function work() {
  while (running < AT_ONCE && queue.length) {
    running += 1;
    const [file, card] = queue.shift();
    look(file, card).finally(() => { running -= 1; work(); });
  }
}

async function look(file, card) {
  const body = card.querySelector(".body");
  try {
    if (about && file.size > about.largest)
      throw new Error(`It has ${Math.round(file.size / 1048576)} MB; ${about.largest / 1048576} MB is the most that a photo may have here.`);
    const found = await ask(`/photo?name=${encodeURIComponent(file.name)}`, {
      method: "POST", body: file, headers: { "content-type": "application/octet-stream" },
    });
    body.lastChild.remove();
    show(found, card, body, file.name);
  } catch (error) {
    body.lastChild.remove();
    card.querySelector(".photo span").textContent = "✕";
    make("h2", body, "", "Cannot be used");
    make("span", body, "badge refused", "refused");
    make("p", body, "sure", error.message);
    byId("spoken").textContent = `${file.name}: ${error.message}`;
  }
  card.classList.remove("waiting");
  card.removeAttribute("aria-busy");
}

function show(found, card, body, name) {
  const best = found.labels[0], unknown = found.accepted === false;
  const photo = card.querySelector(".photo");
  photo.replaceChildren();
  const image = make("img", photo);
  image.src = found.seen;
  image.alt = `${name}, as the model sees it`;
  make("h2", body, "", unknown ? "Unknown" : best.label);
  // accepted is null where validation could promise nothing: then neither is said
  if (found.accepted !== null)
    make("span", body, unknown ? "badge unknown" : "badge known", unknown ? "not sure enough" : "sure enough");
  if (unknown) make("p", body, "sure", `Perhaps ${best.label}, but too unsure to say so.`);
  if (found.taxon && unknown)
    make("p", body, "sure soft", `Sure of the ${found.taxon.rank}: ${found.taxon.name} (${percent(found.taxon.confidence)})`);
  const list = make("ol", body, "labels");
  list.setAttribute("aria-label", "The likeliest labels");
  for (const each of found.labels) {
    const row = make("li", list);
    make("span", row, "", each.label);
    make("span", row, "value", percent(each.confidence));
    const track = make("span", row, "track");
    track.setAttribute("aria-hidden", "true");
    const fill = make("span", track, "fill");
    requestAnimationFrame(() => requestAnimationFrame(() => { fill.style.width = `${100 * each.confidence}%`; }));
  }
  byId("spoken").textContent = `${name}: ${unknown ? "unknown, perhaps " : ""}${best.label}, ${percent(best.confidence)}`;
  if (about.nearest.kind !== "absent") showNear(found.id, body, best.label);
}

async function showNear(id, body, label) {
  const near = make("div", body, "near");
  const title = make("p", near, "", "Looking for training photos like it …");
  try {
    let answer = await ask(`/near/${id}`);
    while (answer.state.kind === "computing" || answer.state.kind === "waiting") {
      showState(answer.state);
      await pause(ASK_AGAIN);
      answer = await ask(`/near/${id}`);
    }
    showState(answer.state);
    if (!answer.photos.length) { near.remove(); return; }
    title.textContent = `The training photos of ${label} most like it`;
    const list = make("ul", near);
    for (const each of answer.photos) {
      const item = make("li", list);
      const image = make("img", item);
      image.src = `/train/${each.row}`;
      image.loading = "lazy";
      image.alt = `training photo of ${label}`;
      make("span", item, "", each.likeness.toFixed(2)).title = "cosine of the features: 1 is equal";
    }
  } catch (error) {
    title.textContent = error.message;
  }
}

byId("choose").addEventListener("click", () => picker.click());
picker.addEventListener("change", () => { take(picker.files); picker.value = ""; });
clear.addEventListener("click", () => { queue.length = 0; cards.replaceChildren(); clear.hidden = true; byId("choose").focus(); });
document.addEventListener("paste", event => take(event.clipboardData.files));
let depth = 0;
document.addEventListener("dragenter", () => { depth += 1; drop.classList.add("over"); });
document.addEventListener("dragleave", () => { depth -= 1; if (depth <= 0) { depth = 0; drop.classList.remove("over"); } });
document.addEventListener("dragover", event => event.preventDefault());
document.addEventListener("drop", event => {
  event.preventDefault();
  depth = 0;
  drop.classList.remove("over");
  take(event.dataTransfer.files);
});
start();
