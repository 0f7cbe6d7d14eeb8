// The shop: what is in the basket comes by the socket, and so does what is done with it; the past goes over HTTP.

import { basket } from "./basket.js";

const page = document.getElementById("shop");
const at = (id) => page.querySelector(`#${id}`);
const ASK_AGAIN_AFTER = 3000; // ms: an effect may be lost with the server that ran it
const LOOK_AFTER = 120; // ms in which several changes are one look at the history

const money = (cents) => `€ ${(cents / 100).toLocaleString("en", { minimumFractionDigits: cents % 100 ? 2 : 0 })}`;
const count = (number, one, more) => `${number} ${number === 1 ? one : more}`;
const say = (text) => { at("told").textContent = text; };

const LOST = {
  unreachable: "The server does not answer. Nothing was done.",
  connection_lost: "The connection was lost: look whether that was still done.",
  no_session: "Somebody logged in or out. Reload the page.",
};

function refuse(error) {
  at("refusal").textContent = LOST[error?.code] ?? error?.message ?? "";
  at("refusal").hidden = !error;
  if (error?.code in LOST) lineIs("waiting", "Not connected");
}

function lineIs(state, text) {
  at("line").dataset.line = state;
  at("line").textContent = text;
}

/** Does one thing; what the server says against it is shown. */
async function act(action, payload) {
  try {
    showRevision(await basket.dispatch(action, payload));
    refuse(null);
    lookSoon();
    return true;
  } catch (error) {
    refuse(error);
    return false;
  }
}

// What things cost

let asking = 0;
let prices = {};

function pricesAre(known) {
  prices = known;
  const there = Object.keys(prices).length > 0;
  for (const field of page.querySelectorAll("[data-price]")) showPrice(field, prices[field.dataset.price]);
  clearInterval(asking);
  asking = 0;
  if (there) return;
  const ask = () => basket.dispatch("prices.load").then(lookSoon, () => {});
  asking = setInterval(ask, ASK_AGAIN_AFTER);
  ask();
}

function showPrice(field, cents) {
  field.classList.toggle("asked", cents == null);
  field.textContent = cents == null ? "asking for prices …" : money(cents);
}

// What is in the basket

const shown = new Map(); // slug -> its line

function showBasket({ lines, total }) {
  const there = new Set(lines.map(({ slug }) => slug));
  for (const [slug, line] of shown) {
    if (there.has(slug)) continue;
    if (line.contains(document.activeElement)) at("basket-title").focus({ preventScroll: true });
    line.remove();
    shown.delete(slug);
  }
  lines.forEach((line, place) => {
    const element = shown.get(line.slug) ?? made(line);
    if (at("lines").children[place] !== element) at("lines").insertBefore(element, at("lines").children[place] ?? null);
    const quantity = element.querySelector("input");
    quantity.dataset.known = line.quantity;
    if (quantity !== document.activeElement) quantity.value = line.quantity;
    showPrice(element.querySelector(".price"), line.total);
  });
  at("nothing").hidden = lines.length > 0;
  at("sum").hidden = at("empty").hidden = at("summary").hidden = !lines.length;
  showPrice(at("total"), total);
  const things = lines.reduce((sum, { quantity }) => sum + quantity, 0);
  const summary = `${count(things, "thing", "things")}${total == null ? "" : `, ${money(total)}`}`;
  at("summary").querySelector("b").textContent = summary;
  return things ? `In the basket: ${summary}.` : "The basket is empty.";
}

function made({ slug, name, unit }) {
  const line = document.getElementById("line-template").content.firstElementChild.cloneNode(true);
  line.querySelector(".line-name").textContent = name;
  line.querySelector(".line-unit").textContent = unit;
  const [quantity, remove] = [line.querySelector("input"), line.querySelector("button")];
  quantity.setAttribute("aria-label", `${name}: how many times ${unit}`);
  remove.querySelector(".hushed").textContent = `Take out ${name}`;
  quantity.addEventListener("change", async () => {
    if (!quantity.reportValidity() || !await act("basket.set", { slug, quantity: quantity.valueAsNumber })) quantity.value = quantity.dataset.known;
  });
  quantity.addEventListener("blur", () => { if (!quantity.validity.valid) quantity.value = quantity.dataset.known; });
  remove.addEventListener("click", () => act("basket.remove", { slug }));
  shown.set(slug, line);
  return line;
}

function showRevision(number) { at("revision").textContent = number; }

// The past

const [travel, slider] = [at("travel"), at("slider")];
let entries = []; // newest first
let looking = 0;
let byKey = false; // each arrow would travel at once

function lookSoon() {
  clearTimeout(looking);
  looking = setTimeout(look, LOOK_AFTER);
}

async function look() {
  try {
    const response = await fetch(travel.dataset.history);
    const past = await response.json();
    if (response.ok) showRevision(past.revision);
    pastIs(response.ok ? past.entries : []);
  } catch { /* the next change looks again */ }
}

function pastIs(found) {
  const newest = entries[0]?.revision ?? 0;
  const more = found.findIndex((entry) => entry.revision <= newest);
  // What was marked stays marked where something was done meanwhile.
  const marked = slider.valueAsNumber && found[more]?.revision === newest ? slider.valueAsNumber + more : 0;
  entries = found;
  slider.max = entries.length;
  slider.value = marked;
  slider.disabled = !entries.length;
  travel.elements.newest.value = entries[0]?.revision ?? "";
  at("past").hidden = !entries.length;
  at("past").replaceChildren(...entries.map(entryOf));
  mark();
}

function entryOf({ type, at: seconds, what }) {
  const entry = document.createElement("li");
  const when = Object.assign(document.createElement("time"), { textContent: clock(seconds), dateTime: new Date(seconds * 1000).toISOString() });
  const name = Object.assign(document.createElement("code"), { textContent: type });
  entry.append(when, Object.assign(document.createElement("span"), { textContent: what }), name);
  return entry;
}

const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString("en-GB");

function mark() {
  const n = slider.valueAsNumber;
  const items = [...at("past").children];
  items.forEach((item, place) => item.classList.toggle("undone", place < n));
  at("go").disabled = !n;
  at("go").textContent = n ? `Go back ${count(n, "action", "actions")}` : "Go back";
  const { type, what, at: seconds } = entries[n - 1] ?? {};
  const said = n ? `To before “${what}” (${type}, ${clock(seconds)})` : "";
  at("moment").textContent = said || (entries.length ? "Now. Pull to the left to go back." : "Nothing has been done yet.");
  slider.setAttribute("aria-valuetext", n ? `${count(n, "action", "actions")} back. ${said}` : "Now");
  const last = items[Math.max(n - 1, 0)];
  if (last) at("past").scrollTop = n ? last.offsetTop + last.offsetHeight - at("past").clientHeight / 2 : 0;
}

function stay() {
  slider.value = 0;
  mark();
}

slider.addEventListener("input", mark);
slider.addEventListener("pointerdown", () => { byKey = false; });
slider.addEventListener("keydown", (event) => {
  byKey = true;
  if (event.key === "Escape") stay();
  if (event.key !== "Enter") return;
  event.preventDefault();
  travel.requestSubmit();
});
slider.addEventListener("keyup", () => { byKey = false; });
slider.addEventListener("change", () => { if (!byKey) travel.requestSubmit(); });

travel.addEventListener("submit", async (event) => {
  event.preventDefault();
  const n = slider.valueAsNumber;
  if (!n) return;
  const body = new FormData(travel);
  stay();
  try {
    const response = await fetch(travel.action, { method: "POST", body });
    const answer = await response.json();
    if (response.ok) say(`${count(n, "action was", "actions were")} taken back.`);
    refuse(response.ok ? null : answer);
  } catch {
    refuse({ code: "connection_lost" });
  }
  look();
});

// The line

for (const button of page.querySelectorAll("[data-add]")) {
  button.addEventListener("click", () => act("basket.add", { slug: button.dataset.add, quantity: 1 }));
}
at("empty").addEventListener("click", () => act("basket.empty"));

let last = "";

basket.subscribe(["basket", "prices"], ({ values, revision: number }) => {
  showRevision(number);
  for (const button of page.querySelectorAll("[data-add]")) button.disabled = false;
  if (values.prices) pricesAre(values.prices);
  if (values.basket) {
    const said = showBasket(values.basket);
    if (last && said !== last) say(said);
    last = said;
  }
  lookSoon();
});
basket.addEventListener("state", () => lineIs("open", "Connected"));
basket.addEventListener("stopped", ({ detail: { reason } }) => {
  showBasket({ lines: [], total: 0 });
  showRevision(0);
  refuse({ message: `Your basket ${reason === "expired" ? "was left alone for too long and is gone" : "was taken away"}. What you add begins a new one.` });
  lookSoon();
});
