// What the admin's live pages share: a line to the server (a socket, polling where there is none), a list of rows, and
// the question before something ends.

const RETRY = [1000, 30000]; // ms between tries of the socket: first, longest
const CONNECT_WITHIN = 5000;
const ANSWER_WITHIN = 10000;
const CLOSE_NOT_ALLOWED = 4403;

export const config = JSON.parse(document.getElementById("syncsessions-live-config").textContent);
export const root = document.getElementById("syncsessions-live");
export const part = (name) => root.querySelector(`[data-part="${name}"]`);
const parts = Object.fromEntries(
  ["state", "state-text", "problem", "told", "dialog", "asked"].map((name) => [name, part(name)]),
);

export const words = (text, values) => text.replace(/%\((\w+)\)s/g, (whole, name) => values[name] ?? whole);
export const put = (element, text) => { if (element.textContent !== text) element.textContent = text; };
const two = (number) => String(number).padStart(2, "0");

export function clock(seconds) {
  const whole = Math.floor(seconds), hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

export function bytes(count) {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte"];
  let unit = 0;
  for (; count >= 1024 && unit < units.length - 1; unit++) count /= 1024;
  const options = { style: "unit", unit: units[unit], unitDisplay: unit ? "short" : "long" };
  const digits = unit ? { minimumFractionDigits: 1, maximumFractionDigits: 1 } : {};
  const format = new Intl.NumberFormat(document.documentElement.lang || undefined, { ...options, ...digits });
  return format.format(count).replace("kB", "KB"); // as Django has it
}

// What the page says

export function become(state) {
  parts.state.dataset.state = state;
  put(parts["state-text"], config.texts[state]);
}

export function complain(text) {
  put(parts.problem, text ?? "");
  parts.problem.hidden = !text;
}

export function unavailable() {
  become("trying");
  complain(config.texts.unavailable);
}

export function tell(level, text) {
  const line = document.createElement("li");
  line.className = level;
  line.textContent = text;
  parts.told.replaceChildren(...[...parts.told.children].slice(-2), line);
}

export function finish(text) {
  over = true;
  become("offline");
  put(parts["state-text"], "");
  complain(text);
}

// The line. `subject`: {type, query(), show(frame), others: {type: what is done with a frame of it}}

let subject = null, socket = null, live = false, over = false, tries = 0, polling = null, refs = 0;
const waiting = new Map(); // by ref: what is to be done with the answer

export const isLive = () => live && !over;

export function start(what) {
  subject = what;
  addEventListener("online", connect);
  connect();
}

function take(frame) {
  const answered = waiting.get(frame.ref);
  waiting.delete(frame.ref);
  if (frame.type === subject.type) {
    live = true;
    tries = 0;
    become("live");
    complain(null);
    subject.show(frame);
  } else if (frame.type === "error" && frame.code === "store_unavailable") {
    live = true;
    unavailable();
  } else {
    subject.others?.[frame.type]?.(frame);
  }
  answered?.(frame);
}

function connect() {
  if (over || socket) return;
  const address = new URL(config.socket, location.href);
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  address.search = new URLSearchParams(subject.query());
  let opening;
  try {
    opening = socket = new WebSocket(address);
  } catch {
    return lost(null);
  }
  let silence = setTimeout(() => opening.close(), CONNECT_WITHIN);
  opening.onmessage = ({ data }) => {
    clearTimeout(silence);
    // The server says something every few seconds: a line on which nothing comes is dead.
    silence = setTimeout(() => { opening.close(); lost(opening); }, config.every + ANSWER_WITHIN);
    take(JSON.parse(data));
    if (over) opening.close();
  };
  opening.onclose = ({ code }) => { clearTimeout(silence); lost(opening, code); };
}

function lost(gone, code) {
  if (gone !== socket) return;
  socket = null;
  live = false;
  for (const answered of waiting.values()) answered(null);
  waiting.clear();
  if (over) return;
  if (code === CLOSE_NOT_ALLOWED) return finish(config.texts.not_allowed);
  become("polling");
  poll();
  setTimeout(connect, Math.min(RETRY[0] * 2 ** tries++, RETRY[1]) * (0.5 + Math.random() / 2));
}

export async function poll() {
  clearTimeout(polling);
  if (over || live) return;
  polling = setTimeout(poll, config.every);
  try {
    const response = await fetch(`${config.poll}?${new URLSearchParams(subject.query())}`, {
      redirect: "manual", signal: AbortSignal.timeout(ANSWER_WITHIN),
    });
    if (response.type === "opaqueredirect") return finish(config.texts.logged_out);
    if (response.status === 403) return finish(config.texts.not_allowed);
    const frame = await response.json();
    if (live) return;
    become("polling");
    if (frame.type === subject.type) {
      complain(null);
      subject.show(frame);
    } else if (frame.type === "error") {
      unavailable();
    } else {
      subject.others?.[frame.type]?.(frame);
    }
  } catch {
    if (!live && !over) become("offline");
  }
}

export const say = (frame) => socket.send(JSON.stringify(frame));

export function request(frame) {
  return new Promise((resolve) => {
    const ref = ++refs;
    waiting.set(ref, resolve);
    say({ ...frame, ref });
  });
}

// What the reader does. `actions` by name: {request(thing), did(answer), text, asks}; a thing has a `label`.

export async function carryOut(action, things) {
  const done = [], late = [];
  await Promise.all(things.map(async (thing) => {
    const answer = await request(action.request(thing));
    const did = answer && answer.type !== "error" ? action.did(answer) : null;
    if (did !== null) (did ? done : late).push(thing.label);
    else tell("error", words(config.texts.failed, { codes: thing.label, message: answer?.message ?? config.texts.offline }));
  }));
  if (done.length) tell("success", words(config.texts[action.text], { codes: done.join(", ") }));
  if (late.length) tell("warning", words(config.texts.late, { codes: late.join(", ") }));
}

export function act(action, things) {
  if (!action.asks) return void carryOut(action, things);
  parts.asked.replaceChildren(...things.map(({ label, more }) => {
    const line = document.createElement("li");
    line.textContent = more ? `${label}: ${more}` : label;
    return line;
  }));
  parts.dialog.returnValue = "";
  parts.dialog.onclose = () => {
    if (parts.dialog.returnValue !== "yes") return;
    if (isLive()) carryOut(action, things);
    else tell("error", config.texts.offline);
  };
  parts.dialog.showModal();
}

// A list of rows. `kind`: {type, page, items(list), key(item), thing(item), fill(row, item), query(), summary(list)}

export function showList(kind, actions) {
  const names = ["total", "form", "rows", "empty", "pages", "previous", "page", "next", "all", "all-text", "row"];
  const list = Object.fromEntries(names.map((name) => [name, part(name)]));
  const rows = new Map(); // by key: {element, fields, item, at}
  let page = config.list.page;

  function adopt(element) {
    const fields = {};
    for (const field of element.querySelectorAll("[data-field]")) fields[field.dataset.field] = field;
    return { element, fields };
  }

  function tick() {
    for (const { fields, item, at } of rows.values()) {
      const passed = (performance.now() - at) / 1000;
      put(fields.age, clock(item.age + passed));
      put(fields.left, clock(Math.max(0, item.left - passed)));
    }
  }

  function show(frame) {
    page = frame.page;
    const items = kind.items(frame), keys = new Set(items.map(kind.key));
    for (const [key, { element }] of rows) {
      if (!keys.has(key)) {
        element.remove();
        rows.delete(key);
      }
    }
    // Rows that stay where they are are not moved: that would take the focus from them.
    let next = list.rows.firstElementChild;
    for (const item of items) {
      let row = rows.get(kind.key(item));
      if (!row) {
        row = adopt(list.row.content.firstElementChild.cloneNode(true));
        rows.set(kind.key(item), row);
      }
      Object.assign(row, { item, at: performance.now() });
      for (const field of ["chosen", ...Object.keys(actions)]) if (row.fields[field]) row.fields[field].value = kind.key(item);
      kind.fill(row, item);
      if (row.element === next) next = next.nextElementSibling;
      else list.rows.insertBefore(row.element, next);
    }
    put(list.total, String(frame.total));
    list.pages.hidden = frame.pages === 1;
    put(list.page, words(config.texts.page, frame));
    for (const [name, to] of [["previous", page - 1], ["next", page + 1]]) {
      list[name].hidden = to < 1 || to > frame.pages;
      list[name].href = `?${new URLSearchParams({ ...kind.query(), p: to })}`;
    }
    const query = new URLSearchParams({ ...kind.query(), ...(page > 1 ? { p: page } : {}) }).toString();
    history.replaceState(null, "", query ? `?${query}` : location.pathname);
    list.empty.hidden = items.length > 0;
    kind.summary(frame);
    tick();
    showChosen();
  }

  const chosen = () => [...rows.values()].filter(({ fields }) => fields.chosen.checked).map(({ item }) => item);

  function showChosen() {
    if (!list.all) return;
    const count = chosen().length;
    list.all.checked = count > 0 && count === rows.size;
    list.all.indeterminate = count > 0 && count < rows.size;
    for (const { element, fields } of rows.values()) element.classList.toggle("selected", fields.chosen.checked);
  }

  function turn(event) {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    page = Number(new URL(event.currentTarget.href).searchParams.get("p"));
    if (isLive()) say({ type: kind.turn, page });
    else poll();
  }

  list.form.addEventListener("submit", (event) => {
    const { submitter } = event, action = actions[submitter?.dataset.action];
    if (!isLive() || !action) return; // the form asks on a page of its own
    event.preventDefault();
    const only = submitter.name === "action" ? null : rows.get(submitter.value)?.item;
    const items = only ? [only] : chosen();
    if (items.length) act(action, items.map(kind.thing));
  });
  list.form.addEventListener("change", ({ target }) => {
    if (target === list.all) for (const { fields } of rows.values()) fields.chosen.checked = target.checked;
    showChosen();
  });
  for (const name of ["previous", "next"]) list[name].addEventListener("click", turn);
  for (const element of list.rows.children) rows.set(kind.rowKey(element), adopt(element));
  if (list.all) list.all.hidden = list["all-text"].hidden = false;
  if (config.unavailable) {
    unavailable();
  } else {
    show(config.list);
    become("connecting");
  }
  start({ type: kind.type, show, query: () => ({ ...kind.query(), ...kind.address, p: page }) });
  setInterval(tick, 1000);
}
