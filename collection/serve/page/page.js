"use strict";
// The page of a collection. All text from outside is set as text, never as HTML.

const PAGE = 60; // photos that the list shows at a time
const $ = (id) => document.getElementById(id);
const state = { query: null, crop: null, results: [], shown: -1, asked: 0, listed: 0, viewer: "", opener: null };

class Refused extends Error {
  constructor(status, sentence) { super(sentence); this.status = status; }
}

async function ask(method, target, form) {
  let answer;
  try {
    answer = await fetch(target, { method, body: form });
  } catch {
    throw new Refused(0, "The service cannot be reached; is it still running?");
  }
  if (answer.ok) return answer;
  let sentence = `The service answers ${answer.status}.`;
  try { sentence = (await answer.json()).detail; } catch { /* no JSON: the number says enough */ }
  if (answer.status === 401) show("login");
  throw new Refused(answer.status, sentence);
}

const pictureOf = (path, height) =>
  "/images/" + path.split("/").map(encodeURIComponent).join("/") + (height ? `?height=${height}` : "");

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function say(place, text, kind = "") {
  place.textContent = text;
  place.className = `message ${kind}`;
  place.hidden = !text;
}

function show(view) {
  for (const name of ["search", "photos", "login"]) $(name).hidden = name !== view;
  for (const name of ["search", "photos"])
    if (name === view) $(`to-${name}`).setAttribute("aria-current", "page");
    else $(`to-${name}`).removeAttribute("aria-current");
  if (view === "login") $("token").focus();
  if (view === "photos") list(true);
}

// State of the service

async function refresh() {
  try {
    const status = await (await ask("GET", "/status")).json();
    $("folder").textContent = status.name;
    document.title = `${status.name}: photo search`;
    $("count").textContent = status.photos.toLocaleString();
    const notice = $("notice");
    notice.className = status.error ? "bad" : "";
    notice.textContent = status.error
      || (status.synchronising && !status.photos
        ? "The photos of the folder are being described, and can be found as they are." : "");
    notice.hidden = !notice.textContent;
    const failed = Object.entries(status.failed);
    $("failed").hidden = !failed.length;
    $("failed").firstElementChild.textContent = `${failed.length} files cannot be used`;
    const lines = failed.map(([path, reason]) => element("li", `${path}: ${reason}`));
    $("failed").lastElementChild.replaceChildren(...lines);
    return status;
  } catch (error) {
    if (error.status !== 401) {
      $("notice").className = "bad";
      $("notice").textContent = error.message;
      $("notice").hidden = false;
    }
    return null;
  }
}

$("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  $("login-error").textContent = "";
  try {
    const answer = await fetch("/session", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ token: $("token").value }),
    });
    if (!answer.ok) throw new Error((await answer.json()).detail);
    $("token").value = "";
    show("search");
    await refresh();
  } catch (error) {
    $("login-error").textContent = error.message;
  }
});

// The query

function setQuery(query) {
  if (state.query?.file) URL.revokeObjectURL(state.query.url);
  state.query = query;
  setCrop(null);
  $("query").src = query.url;
  $("empty-query").hidden = true;
  $("stage").hidden = $("query-tools").hidden = false;
  $("drop").classList.add("full");
  show("search");
  search();
}

const fromFile = (file) => setQuery({ file, name: file.name || "pasted.png", url: URL.createObjectURL(file) });
const likeThis = (path) => {
  $("viewer").close();
  setQuery({ path, name: path, url: pictureOf(path) });
  window.scrollTo(0, 0);
};

$("query").addEventListener("error", () => {
  if (state.query) $("crop-hint").textContent = "This browser cannot show the photo.";
});
$("query").addEventListener("load", () => {
  $("crop-hint").textContent = "Drag a box over the photo to search for a part of it.";
});

function setCrop(crop) {
  state.crop = crop;
  $("whole").hidden = !crop;
  const image = $("query"), box = $("box");
  box.hidden = !crop;
  if (!crop) return;
  const factor = image.clientWidth / image.naturalWidth;
  const [x1, y1, x2, y2] = crop.map((side) => side * factor);
  Object.assign(box.style, { left: `${x1}px`, top: `${y1}px`, width: `${x2 - x1}px`, height: `${y2 - y1}px` });
}
window.addEventListener("resize", () => setCrop(state.crop));

let start = null;
function place(event) {
  const image = $("query"), frame = image.getBoundingClientRect(), factor = image.naturalWidth / frame.width;
  const inside = (value, most) => Math.round(Math.min(Math.max(value * factor, 0), most));
  const x = inside(event.clientX - frame.left, image.naturalWidth);
  return [x, inside(event.clientY - frame.top, image.naturalHeight)];
}
const between = ([x, y], [u, v]) => [Math.min(x, u), Math.min(y, v), Math.max(x, u), Math.max(y, v)];
$("stage").addEventListener("pointerdown", (event) => {
  if (!$("query").naturalWidth || event.button) return;
  start = place(event);
  $("stage").setPointerCapture(event.pointerId);
});
$("stage").addEventListener("pointermove", (event) => { if (start) setCrop(between(start, place(event))); });
$("stage").addEventListener("pointerup", (event) => {
  if (!start) return;
  const crop = between(start, place(event));
  start = null;
  const large = crop[2] - crop[0] > 7 && crop[3] - crop[1] > 7;
  setCrop(large ? crop : null);
  search();
});
$("stage").addEventListener("pointercancel", () => { start = null; setCrop(null); });
$("whole").addEventListener("click", () => { setCrop(null); search(); });

for (const [button, input] of [["pick", "file"], ["other", "file"], ["add", "files"]])
  $(button).addEventListener("click", () => $(input).click());
$("file").addEventListener("change", () => {
  if ($("file").files[0]) fromFile($("file").files[0]);
  $("file").value = "";
});

window.addEventListener("dragover", (event) => { event.preventDefault(); $("drop").classList.add("over"); });
window.addEventListener("dragleave", (event) => { if (!event.relatedTarget) $("drop").classList.remove("over"); });
window.addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  const files = [...event.dataTransfer.files];
  if (!files.length) return;
  if ($("photos").hidden) fromFile(files[0]); else add(files);
});
window.addEventListener("paste", (event) => {
  const file = [...(event.clipboardData?.files ?? [])][0];
  if (file) fromFile(file);
});

function questionForm() {
  const form = new FormData();
  if (state.query.path) form.append("name", state.query.path);
  else form.append("image", state.query.file, state.query.name);
  if (state.crop) form.append("crop", state.crop.join(","));
  return form;
}

// The answer

async function search() {
  const turn = ++state.asked;
  state.results = [];
  $("results").replaceChildren();
  $("verdict").replaceChildren();
  say($("message"), "Searching …", "busy");
  const form = questionForm();
  form.append("k", "20");
  try {
    const answer = await (await ask("POST", "/search", form)).json();
    if (turn !== state.asked) return; // another question has been asked meanwhile
    state.results = answer.results;
    say($("message"), answer.results.length ? answer.note : "The collection holds no photo yet.");
    $("verdict").replaceChildren(...verdictOf(answer));
    $("results").replaceChildren(...answer.results.map(resultTile));
  } catch (error) {
    if (turn === state.asked) say($("message"), error.message, "bad");
  }
}

const percent = (probability) =>
  probability > 0.999 ? "over 99.9 %" : probability < 0.001 ? "under 0.1 %" : `${(100 * probability).toFixed(1)} %`;

function verdictOf(answer) {
  if (!answer.verdict) return [];
  const kind = { same: "same", unsure: "unsure" }[answer.verdict] ?? "absent";
  const text = { same: "In the collection", unsure: "Unsure", absent: "Not in the collection" }[kind];
  const box = element("div", undefined, `verdict ${kind}`);
  box.append(element("b", text));
  if (answer.probability !== null) {
    const sentence = `probability that the first photo shows the same: ${percent(answer.probability)}`;
    box.append(element("span", sentence, "facts"));
  }
  return [box];
}

const sure = (result) => (result.probability === null ? [] : [percent(result.probability)]);
const numbers = (result) =>
  [`similarity ${result.similarity.toFixed(3)}`, ...(result.inliers === null ? [] : [`${result.inliers} inliers`])];

function tile(path, index, open) {
  const item = element("li", undefined, "tile");
  const button = element("button");
  button.type = "button";
  button.dataset.index = index;
  button.setAttribute("aria-label", path);
  const image = element("img");
  image.src = pictureOf(path, 240);
  image.alt = "";
  image.loading = "lazy";
  button.append(image);
  button.addEventListener("click", open);
  const text = element("div");
  const name = element("p", path, "name");
  name.title = path;
  text.append(name);
  item.append(button, text);
  return item;
}

function resultTile(result, index) {
  const item = tile(result.path, index, () => view(index));
  if (result.verdict) {
    item.classList.add(result.verdict);
    item.lastElementChild.append(element("p", [result.verdict, ...sure(result)].join(" · "), "label"));
  }
  const facts = [...(result.verdict ? [] : sure(result)), ...numbers(result)];
  item.lastElementChild.append(element("p", facts.join(" · "), "facts"));
  if (result.changed) item.lastElementChild.append(element("p", "changed since it was described", "facts"));
  return item;
}

// Arrows go through the photos of a grid.
for (const grid of [$("results"), $("list")])
  grid.addEventListener("keydown", (event) => {
    const buttons = [...grid.querySelectorAll("button[data-index]")];
    const now = buttons.indexOf(document.activeElement);
    const tile = buttons[0]?.parentElement.offsetWidth + 10 || grid.clientWidth;
    const width = Math.max(1, Math.round(grid.clientWidth / tile));
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: width, ArrowUp: -width }[event.key];
    if (now < 0 || !step) return;
    event.preventDefault();
    buttons[Math.min(Math.max(now + step, 0), buttons.length - 1)].focus();
  });

// One photo, beside the query where there is one

async function view(index) {
  const result = state.results[index];
  if (!result) return;
  state.shown = index;
  const verdict = result.verdict ? [result.verdict] : [];
  const facts = [`${index + 1} of ${state.results.length}`, ...verdict, ...sure(result), ...numbers(result)];
  openViewer(result.path, facts.join(" · "), true);
  await picture(async () => {
    const form = questionForm();
    form.append("photo", result.path);
    return (await ask("POST", "/overlay", form)).blob();
  }, () => state.shown === index && $("viewer").open, `Inliers of the query and ${result.path}`);
}

async function viewPhoto(path) {
  state.shown = -1;
  openViewer(path, "", false);
  const open = () => state.viewer === path && $("viewer").open;
  await picture(async () => (await ask("GET", pictureOf(path))).blob(), open, path);
}

function openViewer(path, facts, steps) {
  state.viewer = path;
  $("viewer-title").textContent = path;
  $("viewer-facts").textContent = facts;
  $("previous").hidden = $("next").hidden = !steps;
  $("previous").disabled = state.shown <= 0;
  $("next").disabled = state.shown >= state.results.length - 1;
  if (!$("viewer").open) { state.opener = document.activeElement; $("viewer").showModal(); }
}

async function picture(fetched, wanted, description) {
  const image = $("overlay");
  image.hidden = true;
  say($("viewer-message"), "Loading …", "busy");
  try {
    const blob = await fetched();
    if (!wanted()) return;
    if (image.src) URL.revokeObjectURL(image.src);
    image.src = URL.createObjectURL(blob);
    image.alt = description;
    image.hidden = false;
    say($("viewer-message"), "");
  } catch (error) {
    if (wanted()) say($("viewer-message"), error.message, "bad");
  }
}

const step = (by) => { if (state.shown >= 0 && state.results[state.shown + by]) view(state.shown + by); };
$("previous").addEventListener("click", () => step(-1));
$("next").addEventListener("click", () => step(1));
$("close").addEventListener("click", () => $("viewer").close());
$("like").addEventListener("click", () => likeThis(state.viewer));
$("remove").addEventListener("click", () => remove(state.viewer));
function setZoom(full) {
  $("viewer-picture").classList.toggle("full", full);
  $("zoom").setAttribute("aria-pressed", full);
  $("zoom").textContent = full ? "Fit" : "Full size";
}
$("zoom").addEventListener("click", () => setZoom(!$("viewer-picture").classList.contains("full")));
$("viewer").addEventListener("keydown", (event) => {
  if (event.key === "ArrowLeft") step(-1);
  if (event.key === "ArrowRight") step(1);
});
$("viewer").addEventListener("close", () => {
  const last = state.shown >= 0 ? $("results").querySelector(`[data-index="${state.shown}"]`) : state.opener;
  setZoom(false);
  state.shown = -1;
  last?.focus();
});

// The photos of the collection

async function list(anew) {
  if (anew) { state.listed = 0; $("list").replaceChildren(); say($("photos-message"), "Loading …", "busy"); }
  const filter = $("filter").value;
  try {
    const target = `/images?offset=${state.listed}&limit=${PAGE}&contains=${encodeURIComponent(filter)}`;
    const answer = await (await ask("GET", target)).json();
    if (filter !== $("filter").value || answer.offset !== state.listed) return;
    $("list").append(...answer.images.map((path, place) => tile(path, answer.offset + place, () => viewPhoto(path))));
    state.listed += answer.images.length;
    $("more").hidden = state.listed >= answer.total;
    const none = filter
      ? "No path contains this."
      : "The collection holds no photo yet: add some, or put files into its folder.";
    say($("photos-message"), answer.total ? "" : none);
  } catch (error) {
    say($("photos-message"), error.message, "bad");
  }
}
$("more").addEventListener("click", () => list(false));
let typing = 0;
$("filter").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(() => list(true), 200); });

async function add(files) {
  let done = 0;
  const refused = [];
  for (const file of files) {
    say($("photos-message"), `Adding ${done + refused.length + 1} of ${files.length} …`, "busy");
    const form = new FormData();
    form.append("image", file, file.name);
    try {
      await ask("POST", "/images", form);
      done++;
    } catch (error) {
      refused.push(`${file.name}: ${error.message}`);
    }
  }
  await refresh();
  await list(true);
  const text = `${done} added` + (refused.length ? `; ${refused.join(" ")}` : "");
  say($("photos-message"), text, refused.length ? "bad" : "");
}
$("files").addEventListener("change", () => { add([...$("files").files]); $("files").value = ""; });

async function remove(path) {
  $("confirm-path").textContent = path;
  $("delete-file").checked = false;
  $("confirm").returnValue = "no";
  $("confirm").showModal();
  await new Promise((done) => $("confirm").addEventListener("close", done, { once: true }));
  if ($("confirm").returnValue !== "yes") return;
  try {
    await ask("DELETE", pictureOf(path) + ($("delete-file").checked ? "?delete=true" : ""));
  } catch (error) {
    say($("viewer-message"), error.message, "bad");
    return;
  }
  $("viewer").close();
  await refresh();
  if (!$("photos").hidden) { await list(true); say($("photos-message"), `${path} is removed.`); } else search();
}

$("sync").addEventListener("click", async () => {
  $("sync").disabled = true;
  say($("photos-message"), "Looking for changes …", "busy");
  try {
    let run = await (await ask("POST", "/sync")).json();
    while (run.state === "running") run = await (await ask("GET", `/sync/${run.run}`)).json();
    if (run.state === "failed") throw new Error(run.reason);
    const { added, removed, renamed, changed, failed } = run.changes;
    const counts = { added, removed, renamed: Object.keys(renamed), changed, failed: Object.keys(failed) };
    const filled = Object.entries(counts).filter(([, paths]) => paths.length);
    const parts = filled.map(([name, paths]) => `${paths.length} ${name}`);
    await refresh();
    await list(true);
    say($("photos-message"), parts.join(", ") || "Nothing has changed.");
  } catch (error) {
    say($("photos-message"), error.message, "bad");
  }
  $("sync").disabled = false;
});

$("to-search").addEventListener("click", () => show("search"));
$("to-photos").addEventListener("click", () => show("photos"));
refresh();
setInterval(() => { if (!document.hidden && $("login").hidden) refresh(); }, 10000);
