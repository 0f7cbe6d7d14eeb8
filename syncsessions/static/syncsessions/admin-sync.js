// The admin's page of live sync sessions: kept up to date over a socket, by polling where there is none.

const RETRY = [1000, 30000]; // ms between tries of the socket: first, longest
const CONNECT_WITHIN = 5000;
const ANSWER_WITHIN = 10000;
const CLOSE_NOT_ALLOWED = 4403;

const config = JSON.parse(document.getElementById("syncsessions-live-config").textContent);
const root = document.getElementById("syncsessions-live");
const part = (name) => root.querySelector(`[data-part="${name}"]`);
const parts = Object.fromEntries(
  ["state", "state-text", "problem", "told", "total", "counted", "form", "rows", "empty", "pages", "previous", "page",
    "next", "all", "all-text", "dialog", "asked", "row"].map((name) => [name, part(name)]),
);
const mayEnd = parts.dialog !== null;
const rows = new Map(); // by life: {element, fields, session, at}
let page = config.list.page;

const words = (text, values) => text.replace(/%\((\w+)\)s/g, (whole, name) => values[name] ?? whole);
const put = (element, text) => { if (element.textContent !== text) element.textContent = text; };
const two = (number) => String(number).padStart(2, "0");

function clock(seconds) {
  const whole = Math.floor(seconds), hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

// The rows

function adopt(element) {
  const fields = {};
  for (const field of element.querySelectorAll("[data-field]")) fields[field.dataset.field] = field;
  return { element, fields };
}

function fill(row, session) {
  const { element, fields } = row;
  Object.assign(row, { session, at: performance.now() });
  element.dataset.life = session.life;
  element.dataset.status = session.status;
  put(fields.code, session.code);
  put(fields.owner, session.owner);
  put(fields.peer, session.peer ?? "–");
  put(fields.direction, config.labels.direction[session.direction] ?? session.direction);
  put(fields.status, config.labels.status[session.status] ?? session.status);
  put(fields.sender_info, session.sender_info ?? "–");
  put(fields.receiver_info, session.receiver_info ?? "–");
  fields.infos.hidden = session.sender_info === null && session.receiver_info === null;
  if (mayEnd) fields.chosen.value = fields.end.value = session.life;
}

function tick() {
  for (const { fields, session, at } of rows.values()) {
    const passed = (performance.now() - at) / 1000;
    put(fields.age, clock(session.age + passed));
    put(fields.left, clock(Math.max(0, session.left - passed)));
  }
}

function show(list) {
  page = list.page;
  const lives = new Set(list.sessions.map(({ life }) => life));
  for (const [life, { element }] of rows) {
    if (!lives.has(life)) {
      element.remove();
      rows.delete(life);
    }
  }
  // Rows that stay where they are are not moved: that would take the focus from them.
  let next = parts.rows.firstElementChild;
  for (const session of list.sessions) {
    let row = rows.get(session.life);
    if (!row) {
      row = adopt(parts.row.content.firstElementChild.cloneNode(true));
      rows.set(session.life, row);
    }
    fill(row, session);
    if (row.element === next) next = next.nextElementSibling;
    else parts.rows.insertBefore(row.element, next);
  }
  put(parts.total, String(list.total));
  for (const element of root.querySelectorAll("[data-count]")) put(element, String(list.counts[element.dataset.count]));
  put(parts.counted, words(config.texts.counted, list));
  parts.counted.hidden = list.counted === list.total;
  parts.empty.hidden = list.sessions.length > 0;
  parts.pages.hidden = list.pages === 1;
  put(parts.page, words(config.texts.page, list));
  for (const [name, to] of [["previous", page - 1], ["next", page + 1]]) {
    parts[name].hidden = to < 1 || to > list.pages;
    parts[name].href = `?p=${to}`;
  }
  history.replaceState(null, "", page > 1 ? `?p=${page}` : location.pathname);
  tick();
  showChosen();
}

function chosen() {
  return [...rows.values()].filter(({ fields }) => fields.chosen.checked).map(({ session }) => session);
}

function showChosen() {
  if (!mayEnd) return;
  const count = chosen().length;
  parts.all.checked = count > 0 && count === rows.size;
  parts.all.indeterminate = count > 0 && count < rows.size;
  for (const { element, fields } of rows.values()) element.classList.toggle("selected", fields.chosen.checked);
}

function become(state) {
  parts.state.dataset.state = state;
  put(parts["state-text"], config.texts[state]);
}

function complain(text) {
  put(parts.problem, text ?? "");
  parts.problem.hidden = !text;
}

function unavailable() {
  become("trying");
  complain(config.texts.unavailable);
}

function tell(level, text) {
  const line = document.createElement("li");
  line.className = level;
  line.textContent = text;
  parts.told.replaceChildren(...[...parts.told.children].slice(-2), line);
}

// Where the lists come from

let socket = null, live = false, over = false, tries = 0, polling = null, refs = 0;
const waiting = new Map(); // by ref: what is to be done with the answer

function end(reason) {
  over = true;
  become("offline");
  put(parts["state-text"], "");
  complain(config.texts[reason]);
}

function take(frame) {
  const answered = waiting.get(frame.ref);
  waiting.delete(frame.ref);
  if (frame.type === "sync.list") {
    live = true;
    tries = 0;
    become("live");
    complain(null);
    show(frame);
  } else if (frame.type === "error" && frame.code === "store_unavailable") {
    live = true;
    unavailable();
  }
  answered?.(frame);
}

function connect() {
  if (over || socket) return;
  const address = new URL(config.socket, location.href);
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  address.search = `?p=${page}`;
  let opening;
  try {
    opening = socket = new WebSocket(address);
  } catch {
    return lost(null);
  }
  let silence = setTimeout(() => opening.close(), CONNECT_WITHIN);
  opening.onmessage = ({ data }) => {
    clearTimeout(silence);
    // The server sends a list every few seconds: a line on which nothing comes is dead.
    silence = setTimeout(() => { opening.close(); lost(opening); }, config.every + ANSWER_WITHIN);
    take(JSON.parse(data));
  };
  opening.onclose = ({ code }) => { clearTimeout(silence); lost(opening, code); };
}

function lost(gone, code) {
  if (gone !== socket) return;
  socket = null;
  live = false;
  for (const answered of waiting.values()) answered(null);
  waiting.clear();
  if (code === CLOSE_NOT_ALLOWED) return end("not_allowed");
  become("polling");
  poll();
  setTimeout(connect, Math.min(RETRY[0] * 2 ** tries++, RETRY[1]) * (0.5 + Math.random() / 2));
}

async function poll() {
  clearTimeout(polling);
  if (over || live) return;
  polling = setTimeout(poll, config.every);
  try {
    const response = await fetch(`${config.poll}?p=${page}`, {
      redirect: "manual", signal: AbortSignal.timeout(ANSWER_WITHIN),
    });
    if (response.type === "opaqueredirect") return end("logged_out");
    if (response.status === 403) return end("not_allowed");
    const frame = await response.json();
    if (live) return;
    become("polling");
    if (frame.type === "sync.list") {
      complain(null);
      show(frame);
    } else {
      unavailable();
    }
  } catch {
    if (!live) become("offline");
  }
}

function request(frame) {
  return new Promise((resolve) => {
    const ref = ++refs;
    waiting.set(ref, resolve);
    socket.send(JSON.stringify({ ...frame, ref }));
  });
}

// What the reader does

async function endAll(sessions) {
  const outcomes = { ended: [], late: [] };
  await Promise.all(sessions.map(async ({ life, code }) => {
    const answer = await request({ type: "sync.end", life });
    if (answer?.type === "sync.ended") outcomes[answer.ended ? "ended" : "late"].push(code);
    else tell("error", words(config.texts.failed, { codes: code, message: answer?.message ?? config.texts.offline }));
  }));
  for (const [outcome, level] of [["ended", "success"], ["late", "warning"]]) {
    if (outcomes[outcome].length) tell(level, words(config.texts[outcome], { codes: outcomes[outcome].join(", ") }));
  }
}

function ask(sessions) {
  parts.asked.replaceChildren(...sessions.map(({ code, status }) => {
    const line = document.createElement("li");
    line.textContent = `${code}: ${config.labels.status[status] ?? status}`;
    return line;
  }));
  parts.dialog.returnValue = "";
  parts.dialog.onclose = () => {
    if (parts.dialog.returnValue !== "yes") return;
    if (live) endAll(sessions);
    else tell("error", config.texts.offline);
  };
  parts.dialog.showModal();
}

function turn(event) {
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  page = Number(new URL(event.currentTarget.href).searchParams.get("p"));
  if (live) socket.send(JSON.stringify({ type: "sync.page", page }));
  else poll();
}

parts.form.addEventListener("submit", (event) => {
  if (!live) return; // the form asks on a page of its own
  event.preventDefault();
  const only = event.submitter?.name === "only" ? rows.get(event.submitter.value)?.session : null;
  const sessions = only ? [only] : chosen();
  if (sessions.length) ask(sessions);
});
parts.form.addEventListener("change", ({ target }) => {
  if (target === parts.all) for (const { fields } of rows.values()) fields.chosen.checked = target.checked;
  showChosen();
});
for (const name of ["previous", "next"]) parts[name].addEventListener("click", turn);
addEventListener("online", connect);

for (const element of parts.rows.children) rows.set(element.dataset.life, adopt(element));
if (mayEnd) parts.all.hidden = parts["all-text"].hidden = false;
if (config.unavailable) {
  unavailable();
} else {
  show(config.list);
  become("connecting");
}
connect();
setInterval(tick, 1000);
