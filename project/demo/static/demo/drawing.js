// One sheet for two: strokes and lines of chat are relayed, each numbered, in order, also over a line that stutters.

import { fillFromLink, showCode, states } from "./code.js";

const { pairing } = window.syncsessions;
const page = document.getElementById("drawing");
const at = (id) => page.querySelector(`#${id}`);
const show = states(page);
const canvas = at("canvas");
const pen = canvas.getContext("2d");
const FEW = 8; // relays not there yet, beyond which points are gathered into fewer, larger ones

const ENDS = {
  owner_gone: "The other one has left.",
  peer_gone: "The other one has left.",
  lease_expired: "The other one is gone.",
  connection_lost: "The connection was lost. What you drew stays on your sheet.",
  unreachable: "The server does not answer.",
  logged_out: "Somebody logged in or out. Begin anew.",
  ended_by_admin: "An administrator has ended it.",
  withdrawn: "The code is void. Nobody can join with it.",
};
const FINISHED = "The drawing is finished. It stays on both sheets.";

let session = null;
let made = 0;
const marks = []; // all that is on the sheet: {mine, points}

// The sheet

const colour = (name) => getComputedStyle(page).getPropertyValue(name);

function line({ mine, points }) {
  pen.strokeStyle = pen.fillStyle = colour(mine ? "--spot" : "--slate");
  pen.lineWidth = 6;
  pen.lineCap = pen.lineJoin = "round";
  pen.beginPath();
  pen.moveTo(points[0][0] * canvas.width, points[0][1] * canvas.height);
  for (const [x, y] of points.slice(1)) pen.lineTo(x * canvas.width, y * canvas.height);
  if (points.length === 1) pen.lineTo(points[0][0] * canvas.width, points[0][1] * canvas.height);
  pen.stroke();
}

function put(mark) {
  marks.push(mark);
  line(mark);
}

function clean() {
  marks.length = 0;
  pen.clearRect(0, 0, canvas.width, canvas.height);
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  pen.clearRect(0, 0, canvas.width, canvas.height);
  marks.forEach(line);
});

// Drawing: the points since the last frame go in one relay, or wait while the line is busy.

let points = []; // of the stroke under the pointer that are not relayed yet; the first one is the last of those before
let drawing = null;

function pointOf({ clientX, clientY }) {
  const { left, top, width, height } = canvas.getBoundingClientRect();
  const round = (part) => Math.round(Math.min(Math.max(part, 0), 1) * 10000) / 10000;
  return [round((clientX - left) / width), round((clientY - top) / height)];
}

canvas.addEventListener("pointerdown", (event) => {
  if (!session || drawing !== null || event.button) return;
  event.preventDefault();
  drawing = event.pointerId;
  canvas.setPointerCapture(drawing);
  points = [pointOf(event)];
  put({ mine: true, points: [...points] });
});
canvas.addEventListener("pointermove", (event) => {
  if (event.pointerId !== drawing) return;
  const found = event.getCoalescedEvents?.() ?? [];
  for (const each of found.length ? found : [event]) {
    const point = pointOf(each);
    put({ mine: true, points: [points.at(-1), point] });
    points.push(point);
  }
  if (!pending) pending = requestAnimationFrame(() => flush(false));
});
for (const end of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(end, (event) => {
    if (event.pointerId !== drawing) return;
    drawing = null;
    flush(true);
  });
}

let pending = 0;

function flush(all) {
  cancelAnimationFrame(pending);
  pending = 0;
  if (!session || !points.length || !all && (points.length < 2 || session.backlog >= FEW)) return;
  relay({ stroke: points });
  points = drawing === null ? [] : [points.at(-1)];
}

// The line

function relay(payload) {
  at("made").textContent = ++made;
  session.relay(payload).then(({ seq }) => {
    at("acknowledged").textContent = seq;
    count();
    if (drawing !== null) flush(false);
  }, count);
  count();
}

function count() { at("backlog").textContent = session?.backlog ?? 0; }

const isPoint = (point) => Array.isArray(point) && point.length === 2 && point.every(Number.isFinite);

function received(payload, seq) {
  at("received").textContent = seq;
  if (Array.isArray(payload?.stroke) && payload.stroke.length && payload.stroke.every(isPoint)) put({ mine: false, points: payload.stroke });
  else if (typeof payload?.text === "string") said("They", payload.text);
  else if (payload?.clean) clean();
}

function said(who, text) {
  const entry = document.createElement("li");
  entry.append(Object.assign(document.createElement("b"), { textContent: who }), ` ${text.slice(0, 300)}`);
  at("chat").append(entry);
  entry.scrollIntoView({ block: "nearest" });
}

// Coming together and apart

function follow(opened) {
  made = 0;
  for (const name of ["made", "acknowledged", "backlog", "received"]) at(name).textContent = 0;
  at("refusal").hidden = true;
  session = opened;
  session.onrelay = received;
  session.addEventListener("peer_joined", together);
  session.addEventListener("closed", ({ detail }) => apart(detail));
  return session.opened;
}

function talk(on) {
  for (const control of at("say").elements) control.disabled = !on;
}

function together() {
  talk(true);
  show("together");
  at("state").textContent = "Connected";
  at("state").dataset.line = "open";
  canvas.focus({ preventScroll: true });
}

function apart({ status, reason, message }) {
  session = null;
  drawing = null;
  talk(false);
  show("apart");
  at("state").textContent = "Not connected";
  delete at("state").dataset.line;
  at("refusal").className = status === "completed" || reason === "withdrawn" ? "from-link" : "errorlist";
  at("refusal").textContent = status === "completed" ? FINISHED : message ?? ENDS[reason] ?? `It ended: ${reason}.`;
  at("refusal").hidden = false;
}

const refused = (error) => apart({ reason: error.code, message: ENDS[error.code] ?? error.message });

at("open").addEventListener("click", () => {
  follow(pairing.open({ direction: "send", path: "drawing/" })).then(({ code }) => {
    showCode(page, code);
    show("waiting");
    at("state").textContent = "Waiting for the other one";
    at("state").dataset.line = "waiting";
  }, refused);
});
at("withdraw").addEventListener("click", () => session?.fail("withdrawn").catch(() => {}));
at("finish").addEventListener("click", () => session?.complete().catch(() => {}));
at("join").addEventListener("submit", (event) => {
  event.preventDefault();
  follow(pairing.join(at("code-field").value, { path: "drawing/" })).then(together, refused);
});
at("say").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!session) return;
  relay({ text: at("words").value });
  said("You", at("words").value);
  at("words").value = "";
});
at("clear").addEventListener("click", () => {
  clean();
  if (session) relay({ clean: true });
});

fillFromLink(at("code-field"), (byLink) => { at("from-link").hidden = !byLink; });
