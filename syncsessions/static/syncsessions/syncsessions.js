// The page's side of syncsessions: `<form data-syncsessions-stash="view">` keeps itself, `stash.view(name)` is for scripts,
// `pairing.open()` and `pairing.join(code)` bring two pages together, `process.connect(name)` is a session process's socket.

const MOUNTS_ID = "syncsessions-mounts";
const TAB_KEY = "syncsessions.tab";
const SUBMITTED_KEY = "syncsessions.submitted";
const TAB_FIELD = "syncsessions-tab";
const SAVE_AFTER = 250; // ms from a change to its save, which takes along what came meanwhile
const ANSWER_WITHIN = 5000; // ms for an answer, then the way is taken for dead
const PING_EVERY = 25000;
const RETRY = [300, 15000]; // ms: first, longest
const SETTLE = [800, 2500]; // ms between tries of a socket whose session has changed: the new cookie is on its way
const SOCKET_GIVES_WAY_AFTER = 1500; // ms that a page waits for its socket before it reads by fetch
const KEEPALIVE_LIMIT = 60000; // characters that a browser sends for a page that is gone
const WINDOW = 16; // relays under way, as the server has it
const PACE = 17; // ms that a frame takes in the long run
const BURST = 80; // frames at once; with a window that the line held up, this is what the server lets pass
const ACKNOWLEDGE_AFTER = 20; // ms in which one acknowledgement takes along others
const SUBSCRIBE_AGAIN = 5; // seconds after which a subscription is tried again that the server had no room for

const mounts = JSON.parse(document.getElementById(MOUNTS_ID)?.textContent ?? "{}");
const navigation = performance.getEntriesByType("navigation")[0];
const navigated = !["reload", "back_forward"].includes(navigation?.type);

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
/** The objects in one, in which no name means anything by itself: a field may be called "constructor" or "__proto__". */
const own = (...objects) => Object.assign(Object.create(null), ...objects);
/** A form's property, which a field called "method" or "elements" would hide. */
const of = (form, name) => Reflect.get(HTMLFormElement.prototype, name, form);
/** A timer for an answer. A page that stands still (a dialog, a frozen tab) first hears what has come meanwhile. */
const whenOverdue = (then) => {
  let left = 5;
  const timer = setInterval(() => { if (!--left) { clearInterval(timer); then(); } }, ANSWER_WITHIN / 5);
  return timer;
};
const deferred = () => {
  const made = {};
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
  made.promise.catch(() => {}); // whoever does not wait for it hears of a failure by an event
  return made;
};
const backoff = (tries) => Math.min(RETRY[0] * 2 ** tries, RETRY[1]) * (0.5 + Math.random() / 2);

const remembered = {
  get(key) {
    try { return sessionStorage.getItem(key); } catch { return null; }
  },
  set(key, value) {
    try { value === null ? sessionStorage.removeItem(key) : sessionStorage.setItem(key, value); } catch { /* private mode */ }
  },
};

// The tab: one id in sessionStorage, guarded by a lock, for a duplicated tab has a copy of the id but not of the lock.

function holdLock(name, within) {
  return new Promise((resolve) => {
    navigator.locks
      .request(name, { signal: AbortSignal.timeout(within) }, () => { resolve(true); return new Promise(() => {}); })
      .catch(() => resolve(false));
  });
}

async function claimTab() {
  const known = remembered.get(TAB_KEY);
  if (!navigator.locks) return known ?? newTab();
  if (known && (await holdLock(`${TAB_KEY}.${known}`, 700))) return known;
  const drawn = newTab();
  await holdLock(`${TAB_KEY}.${drawn}`, 700);
  return drawn;
}

function newTab() {
  const drawn = Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  remembered.set(TAB_KEY, drawn);
  return drawn;
}

let tab = "";
const tabClaimed = claimTab().then((id) => { tab = id; });

// A socket: one for all stashes, one for each sync session. `request` resolves with the answer that has its ref; all else goes
// to `heard`.

class Failure extends Error {
  static of({ type, ref, message, ...details }) { return Object.assign(new Failure(message), details); }
}

class Socket {
  #socket = null;
  #waiting = new Map();
  #refs = 0;
  #tries = 0;
  #retry = 0;
  #ping = 0;
  #life = new AbortController();
  /** "closed" | "opening" | "open" | "refused" (4401: there is no session yet, or it is another now) */
  state = "closed";
  /** Whether the session has just changed, by a login or logout elsewhere: until it is known which, nothing is sent. */
  settling = false;
  #settles = [];

  /** `path` below the mount; `hello`: the first frame, whose answer `opened` gets; `again`: whether it comes back when it is gone. */
  constructor({ path, hello = { type: "ping" }, again = true, opened, heard, changed }) {
    Object.assign(this, { path, hello, again, opened, heard, changed });
    if (!again) return;
    const { signal } = this.#life;
    addEventListener("online", () => this.open(), { signal });
    addEventListener("offline", () => this.#gone(this.#socket, 0), { signal });
  }

  open() {
    if (!mounts.sockets || this.ended || this.state === "open" || this.state === "opening") return;
    clearTimeout(this.#retry);
    this.#become("opening");
    const address = new URL(`${mounts.sockets}${this.path}`, location.href);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    let socket;
    try {
      socket = new WebSocket(address);
    } catch {
      return this.#gone(this.#socket, 0);
    }
    this.#socket = socket;
    const overdue = whenOverdue(() => socket.readyState === 0 && this.#gone(socket, 0));
    socket.onmessage = ({ data }) => this.#take(JSON.parse(data));
    socket.onclose = ({ code }) => { clearTimeout(overdue); this.#gone(socket, code); };
    // Without a session the server accepts and closes at once: the answer tells that it has not.
    socket.onopen = () => {
      clearTimeout(overdue);
      this.#request(this.hello).then((answer) => {
        this.#tries = 0;
        this.#settles = this.again ? [...SETTLE] : [];
        this.settling = false;
        this.#become("open");
        this.#ping = setInterval(() => this.request({ type: "ping" }).catch(() => {}), PING_EVERY);
        this.opened(answer);
      }, () => {});
    };
  }

  close() { this.#gone(this.#socket, 1000, false); }

  /** Close, and do not come back when the browser is online again. */
  end() {
    this.ended = true;
    this.#life.abort();
    this.close();
  }

  request(frame) {
    return this.state === "open" ? this.#request(frame) : Promise.reject(new Failure("no socket"));
  }

  /** Send this text as it is; what comes back goes to `heard`. */
  put(text) { this.#socket?.send(text); }

  #request(frame) {
    return new Promise((resolve, reject) => {
      const ref = ++this.#refs;
      const socket = this.#socket;
      const overdue = whenOverdue(() => this.#gone(socket, 0));
      this.#waiting.set(ref, { resolve, reject, overdue });
      socket.send(JSON.stringify({ ...frame, ref }));
    });
  }

  #take(frame) {
    const asked = this.#waiting.get(frame.ref);
    if (!asked || "view" in frame && frame.type === "error") return this.heard(frame);
    this.#waiting.delete(frame.ref);
    clearTimeout(asked.overdue);
    asked.resolve(frame);
  }

  #gone(socket, code, again = true) {
    if (socket !== this.#socket) return;
    this.#socket = null;
    if (socket) {
      socket.onclose = socket.onopen = socket.onmessage = null;
      socket.close();
    }
    clearInterval(this.#ping);
    for (const { reject, overdue } of this.#waiting.values()) { clearTimeout(overdue); reject(new Failure("socket gone")); }
    this.#waiting.clear();
    const refused = code === 4401;
    const settle = refused ? this.#settles.shift() : undefined;
    this.settling = settle !== undefined;
    this.#become(refused && !this.settling ? "refused" : "closed");
    if (again && this.again && this.state === "closed") this.#retry = setTimeout(() => this.open(), settle ?? backoff(this.#tries++));
  }

  #become(state) {
    if (state === this.state) return;
    this.state = state;
    this.changed(state);
  }
}

// Fetch: the socket's frames over HTTP.

const csrf = {
  token: null,
  async get(renew) {
    if (renew) this.token = await fetch(`${mounts.stash}?token`, { credentials: "same-origin" }).then((r) => r.json()).then((r) => r.token);
    return (this.token ??= document.querySelector("input[name=csrfmiddlewaretoken]")?.value) ?? this.get(true);
  },
};

async function post(frame, { keepalive = false } = {}) {
  if (!mounts.stash) throw new Failure("not mounted");
  for (const renew of [false, true]) {
    const response = await fetch(mounts.stash, {
      method: "POST",
      credentials: "same-origin",
      keepalive,
      headers: { "Content-Type": "application/json", "X-CSRFToken": await csrf.get(renew), "X-Syncsessions-Tab": tab },
      body: JSON.stringify(frame),
      ...(keepalive ? {} : { signal: AbortSignal.timeout(2 * ANSWER_WITHIN) }),
    });
    if (response.headers.get("Content-Type")?.startsWith("application/json")) return response.json();
    if (response.status !== 403) break; // 403 in HTML: the CSRF token was another session's
  }
  throw new Failure("no answer");
}

let sessionKnown = false;
const otherTabs = globalThis.BroadcastChannel ? new BroadcastChannel("syncsessions") : {};
otherTabs.onmessage = () => socket.state === "refused" && socket.open(); // another tab's save has made the session

/** A browser without a session makes one by its first save: until that is done, no other save is sent, in any tab. */
async function postSave(frame) {
  if (sessionKnown || !navigator.locks) return post(frame);
  return navigator.locks.request("syncsessions.first-save", async () => {
    const answer = await post(frame);
    sessionKnown = answer.type === "stash.saved";
    if (sessionKnown) otherTabs.postMessage?.("session");
    return answer;
  });
}

// Views: what the page knows of a view's slices, and what it has yet to save.

let clock = 0; // tells a slice that was heard of since the server was asked from what a late answer says of it

/** One view's stash. Events: "changed" ({keys}), "cleared" ({keys}), "state". */
class View extends EventTarget {
  #slices = new Map(); // tab -> { keys: [..] or null, life, revision, data, heard }
  #pending = {};
  #sending = {};
  #refused = {}; // what the server would not have: shown, not kept, and tried again with the next change
  #creating = false;
  #timer = 0;
  #tries = 0;
  #busy = null;
  #fresh = true;
  state = "loading";
  ready = false;

  constructor(name, vsn) {
    super();
    this.name = name;
    this.vsn = vsn;
  }

  /** The values as this page knows them, its own unsaved changes included. */
  get data() {
    return own(...[...this.#slices.values()].map((slice) => slice.data), this.unsaved);
  }

  /** The revision of the session's slice as this page knows it; 0 where there is none. */
  get revision() { return this.#slices.get("")?.revision ?? 0; }

  get unsaved() { return own(this.#refused, this.#sending, this.#pending); }

  /** What to say to subscribe to this view; only the page's first time is a visit. */
  entry(fresh) {
    const entry = { view: this.name, tab, fresh: fresh && this.#fresh };
    return this.vsn ? { ...entry, vsn: this.vsn } : entry;
  }

  /** Save these values: now locally, in a moment at the server, after a while offline. */
  save(changes) {
    this.#pending = { ...this.#refused, ...this.#pending, ...changes };
    this.#refused = {};
    if (this.state === "error" && !this.ready) return; // the server has refused the whole view
    this.#become(this.state === "offline" ? "offline" : "unsaved");
    if (this.#timer) return;
    this.#schedule(SAVE_AFTER);
    if (mounts.stash) csrf.get().catch(() => {}); // `sendOff` cannot wait for it
  }

  /** Remove what a browser may write here; other pages are told. */
  async clear(lives) {
    this.forget();
    const tabs = lives ? Object.entries(lives) : [...this.#slices].map(([at, slice]) => [at, slice.life]);
    for (const [at, life] of tabs) {
      const frame = { type: "stash.clear", view: this.name, vsn: this.vsn, tab: at, ...(life ? { base: { life } } : {}) };
      this.cleared(await (socket.state === "open" ? socket.request(frame) : post(frame)));
    }
  }

  /** Drop what is not saved yet. */
  forget() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#pending = {};
    this.#refused = {};
  }

  /** The lives of the slices as last seen, by tab. */
  get lives() { return Object.fromEntries([...this.#slices].map(([at, slice]) => [at, slice.life])); }

  /** The save under way that makes a slice, if any: nothing on the server can refuse it for coming late. */
  get creating() { return this.#creating ? this.#busy : null; }

  /** The server's answer to what was asked at this time of the clock. */
  subscribed({ vsn, slices }, asked) {
    this.vsn = vsn;
    this.#fresh = false;
    this.#slices = new Map(slices.map(({ tab: at, keys }) => [at, Object.assign(this.#slice(at), { keys })]));
    for (const [at, { life, heard }] of this.#slices) if (heard <= asked) this.cleared({ tab: at, life });
    const first = !this.ready;
    this.ready = true;
    if (first) this.dispatchEvent(new CustomEvent("ready"));
    if (Object.keys(this.#pending).length) this.#schedule(0);
    else if (!this.#busy) this.#become("saved"); // what is on its way is not there yet
  }

  refused({ code, message }) {
    console.warn(`syncsessions: the stash of ${this.name} is not kept (${code}): ${message}`);
    this.forget();
    this.#become("error");
  }

  took({ tab: at, life, revision, data }, asked = clock) {
    const slice = this.#slice(at);
    const late = slice.heard > asked && slice.life !== life;
    slice.heard = ++clock;
    if (late || slice.life === life && revision <= slice.revision) return;
    const old = slice.data;
    const gone = slice.life && slice.life !== life ? Object.keys(old).filter((key) => !Object.hasOwn(data, key)) : [];
    Object.assign(slice, { life, revision, data });
    this.#slices.set(at, slice);
    const mine = this.unsaved;
    const keys = Object.keys(data).filter((key) => !(key in mine) && !same(data[key], old[key]));
    if (keys.length) this.dispatchEvent(new CustomEvent("changed", { detail: { keys } }));
    if (gone.length) this.#tellCleared(gone);
  }

  cleared({ tab: at, life }) {
    const slice = this.#slices.get(at);
    if (!slice?.life || slice.life !== life) return;
    const keys = Object.keys(slice.data);
    Object.assign(slice, { life: "", revision: 0, data: {}, heard: ++clock });
    this.#tellCleared(keys);
  }

  /** What was typed since the last save stays, and will be saved. */
  #tellCleared(keys) {
    const cleared = keys.filter((key) => !Object.hasOwn(this.#pending, key));
    this.dispatchEvent(new CustomEvent("cleared", { detail: { keys: cleared } }));
  }

  #slice(at) { return this.#slices.get(at) ?? { life: "", revision: 0, data: {}, keys: null, heard: 0 }; }

  /** Try again at once: there is a way to the server again. */
  retry() {
    this.#tries = 0;
    if (this.ready && Object.keys(this.#pending).length) this.#schedule(0);
  }

  /** The page goes: what is not saved is sent without waiting for an answer. */
  sendOff() {
    if (!this.ready || socket.settling) return;
    const unsaved = this.unsaved;
    for (const [at, slice] of this.#slices) {
      const frame = this.#frame(at, slice, this.#of(slice, unsaved));
      if (!Object.keys(frame.changes).length) continue;
      const byFetch = csrf.token && JSON.stringify(frame).length < KEEPALIVE_LIMIT;
      (byFetch ? post(frame, { keepalive: true }) : socket.request(frame)).catch(() => {});
    }
  }

  #schedule(after) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#timer = 0;
      this.#busy ??= this.#saveAll().finally(() => { this.#busy = null; });
    }, after);
  }

  async #saveAll() {
    if (!this.ready) return; // subscribed() comes back to it
    this.#become("saving");
    for (const [at, slice] of this.#slices) {
      const changes = this.#of(slice, this.#pending);
      if (!Object.keys(changes).length) continue;
      for (const key of Object.keys(changes)) delete this.#pending[key];
      this.#sending = changes;
      this.#creating = !slice.life;
      const again = await this.#saveSlice(at, slice, changes);
      this.#sending = {};
      this.#creating = false;
      if (again) {
        this.#pending = { ...changes, ...this.#pending };
        return;
      }
    }
    for (const key of Object.keys(this.#pending)) if (!this.#belongs(key)) delete this.#pending[key];
    if (Object.keys(this.#pending).length) this.#schedule(SAVE_AFTER);
    else if (this.state === "saving") this.#become(Object.keys(this.#refused).length ? "error" : "saved");
  }

  /** Send one slice's changes. True when they have to be sent again, which is then scheduled. */
  async #saveSlice(at, slice, changes) {
    const frame = this.#frame(at, slice, changes);
    let answer;
    try {
      if (socket.settling) throw new Failure("the session is changing");
      // A frame that is too large for a socket is answered by no socket.
      const bySocket = socket.state === "open" && JSON.stringify(frame).length < KEEPALIVE_LIMIT;
      answer = await (bySocket ? socket.request(frame) : postSave(frame));
    } catch {
      answer = { type: "error", code: "unreachable" };
    }
    if (answer.type === "stash.saved") {
      const follows = !slice.life ? answer.revision === 1 : answer.life === slice.life && answer.revision === slice.revision + 1;
      Object.assign(slice, { life: answer.life, data: { ...slice.data, ...changes }, heard: ++clock });
      if (follows) slice.revision = answer.revision;
      else if (socket.state !== "open") reread(this);
      this.#tries = 0;
      if (socket.state === "refused") socket.open();
      return false;
    }
    if (answer.code === "conflict") {
      this.cleared({ tab: at, life: slice.life });
      this.#tellCleared(Object.keys(changes));
      reread(this);
      return false;
    }
    if (["unreachable", "store_unavailable", "rate_limited"].includes(answer.code)) {
      this.#become(answer.code === "rate_limited" ? "unsaved" : "offline");
      this.#schedule(answer.retry_after ? answer.retry_after * 1000 : backoff(this.#tries++));
      return true;
    }
    const keys = Object.keys(changes);
    if (keys.length > 1 && ["invalid_value", "too_large"].includes(answer.code)) {
      // One value is wrong, or too long: the others are kept without it.
      for (const key of keys) if (await this.#saveSlice(at, slice, own({ [key]: changes[key] }))) return true;
      return false;
    }
    console.warn(`syncsessions: ${this.name} was not saved: ${answer.message}`);
    this.#refused = { ...this.#refused, ...changes };
    return false;
  }

  #frame(at, slice, changes) {
    const base = slice.life ? { base: { life: slice.life, revision: slice.revision } } : {};
    return { type: "stash.save", view: this.name, vsn: this.vsn, tab: at, changes, ...base };
  }

  #of(slice, changes) {
    const first = this.#slices.values().next().value;
    return Object.fromEntries(
      Object.entries(changes).filter(([key]) => (slice.keys === null ? slice === first : slice.keys.includes(key))),
    );
  }

  #belongs(key) { return [...this.#slices.values()].some(({ keys }) => keys === null || keys.includes(key)); }

  #become(state) {
    if (state === this.state) return;
    this.state = state;
    this.dispatchEvent(new CustomEvent("state"));
  }
}

const views = new Map();
const socket = new Socket({
  path: "stash/",
  opened() {
    sessionKnown = true;
    if (views.size) subscribe([...views.values()]);
  },
  heard(frame, asked) {
    const view = views.get(frame.view);
    if (!view) return;
    if (frame.type === "stash.changed") view.took(frame, asked);
    else if (frame.type === "stash.cleared") view.cleared(frame);
    else if (frame.code === "store_unavailable") setTimeout(() => reread(view), backoff(2));
    else if (frame.type === "error") view.refused(frame);
  },
  changed(state) {
    if (state !== "refused") return;
    sessionKnown = false;
    for (const view of views.values()) read(view);
  },
});

let returned = new Set(); // views whose form came back after a submit: that is no fresh visit

async function subscribe(some) {
  const asked = clock;
  try {
    const entries = some.map((view) => view.entry(navigated && !returned.has(view.name)));
    settle(await socket.request({ type: "stash.subscribe", views: entries }), asked);
  } catch { /* the socket is gone, and comes again */ }
}

/** Read a view over HTTP: there is no socket, or no session that it would take. */
async function read(view) {
  if (!mounts.stash || !tab) return;
  const { fresh, ...entry } = view.entry(navigated && !returned.has(view.name));
  const query = new URLSearchParams({ ...entry, fresh: fresh ? "1" : "" });
  const asked = clock;
  try {
    const answer = await fetch(`${mounts.stash}?${query}`, { credentials: "same-origin", signal: AbortSignal.timeout(ANSWER_WITHIN) });
    const { frames } = await answer.json();
    for (const frame of frames) socket.heard(frame, asked);
    settle(frames.at(-1), asked);
  } catch {
    if (!view.ready) setTimeout(() => view.ready || read(view), backoff(3));
  }
}

const reread = (view) => (socket.state === "open" ? subscribe([view]) : read(view));

function settle(subscribed, asked) {
  for (const part of subscribed.views ?? []) views.get(part.view)?.subscribed(part, asked);
  for (const view of views.values()) view.retry();
}

function openView(name, { vsn } = {}) {
  if (!views.has(name)) {
    const view = new View(name, vsn);
    views.set(name, view);
    tabClaimed.then(() => {
      if (socket.state === "open") return subscribe([view]);
      socket.open();
      if (socket.state === "refused") return read(view);
      return sleep(mounts.sockets ? SOCKET_GIVES_WAY_AFTER : 0).then(() => view.ready || read(view));
    });
  }
  return views.get(name);
}

// Forms: fields are filled on load, saved on input, and follow what other pages write.

const SECRET = /\b(one-time-code|cc-[a-z-]+|(current|new)-password)\b/;
const bound = new Map();

class BoundForm {
  #passwords = new WeakSet(); // a password stays one when the page shows it as text
  #fromStash = new Set();
  #restored = new Set(); // what the browser itself brought back, of which the stash knows nothing
  #filling = false;

  constructor(form) {
    this.form = form;
    this.view = openView(of(form, "dataset").syncsessionsStash, { vsn: Number(of(form, "dataset").syncsessionsVsn) || undefined });
    this.returned = returned.has(this.view.name) || form.querySelector('[aria-invalid="true"], .errorlist') !== null;
    if (this.returned) returned.add(this.view.name);
    this.view.addEventListener("changed", ({ detail }) => this.#fill(detail.keys));
    this.view.addEventListener("cleared", ({ detail }) => this.#empty(detail.keys));
    this.view.addEventListener("state", () => this.#show());
    if (this.view.ready) this.#begin();
    else this.view.addEventListener("ready", () => this.#begin(), { once: true });
    this.#fields();
    this.#show();
  }

  input(field) {
    if (this.#filling) return;
    if (this.submitted) { // and the page is still here: a download, or the browser's stop
      this.submitted = false;
      remember(this.view, undefined);
      return this.saveAll();
    }
    const elements = this.#fields().get(field.name);
    const value = elements && readField(elements);
    // The "change" on leaving a field tells nothing new, and could bring back what is cleared at this moment.
    if (elements && !same(value, this.view.data[field.name])) this.view.save({ ...this.#takeRestored(), [field.name]: value });
  }

  #takeRestored() {
    const fields = this.#fields();
    const values = [...this.#restored].filter((key) => fields.has(key)).map((key) => [key, readField(fields.get(key))]);
    this.#restored.clear();
    return Object.fromEntries(values);
  }

  /** Save what the form says now where the stash says something else. */
  saveAll() {
    const known = this.view.data;
    const values = [...this.#fields()].map(([key, elements]) => [key, readField(elements)]);
    const changed = values.filter(([key, value]) => !same(value, known[key]));
    if (changed.length) this.view.save(Object.fromEntries(changed));
  }

  #begin() {
    if (this.returned) return this.saveAll(); // a form that came back with errors knows better than the stash
    const { data } = this.view;
    for (const [key, elements] of this.#fields()) if (key in data && same(readField(elements), data[key])) this.#fromStash.add(key);
    for (const [key, elements] of this.#fields()) {
      if (!(key in data) && !elements.every(isAsDelivered)) this.#restored.add(key);
    }
    this.#fill(Object.keys(data).filter((key) => !(key in this.view.unsaved)));
    this.#show();
  }

  #fill(keys) {
    if (!this.view.ready) return; // #begin() does it then
    const { data } = this.view;
    const fields = this.#fields();
    const filled = keys.filter((key) => fields.has(key) && !same(readField(fields.get(key)), data[key]));
    this.#write("syncsessions:filled", filled, (key) => writeField(fields.get(key), data[key]));
  }

  #empty(keys) {
    const fields = this.#fields();
    const emptied = keys.filter((key) => fields.has(key));
    this.#write("syncsessions:cleared", emptied, (key) => resetField(fields.get(key), this.#fromStash.has(key)));
  }

  #write(event, keys, write) {
    this.#show();
    if (!keys.length) return;
    this.#filling = true;
    for (const key of keys) {
      const element = write(key);
      element?.dispatchEvent(new Event("input", { bubbles: true }));
      element?.dispatchEvent(new Event("change", { bubbles: true }));
    }
    this.#filling = false;
    this.form.dispatchEvent(new CustomEvent(event, { bubbles: true, detail: { keys } }));
  }

  /** The fields that are kept: name -> elements. */
  #fields() {
    const fields = new Map();
    for (const element of of(this.form, "elements")) {
      if (!element.name || !this.#isKept(element)) continue;
      fields.set(element.name, [...(fields.get(element.name) ?? []), element]);
    }
    return fields;
  }

  #isKept(element) {
    if (element.type === "password") this.#passwords.add(element);
    if (this.#passwords.has(element) || !/^(INPUT|TEXTAREA|SELECT)$/.test(element.tagName)) return false;
    if (["file", "hidden", "submit", "button", "image", "reset"].includes(element.type)) return false;
    if (element.name === "csrfmiddlewaretoken" || SECRET.test(element.autocomplete ?? "")) return false;
    return element.closest("[data-syncsessions-skip]") === null;
  }

  #show() {
    const dataset = of(this.form, "dataset");
    dataset.syncsessionsState = this.view.state === "saved" && this.#restored.size ? "unsaved" : this.view.state;
    dataset.syncsessionsRevision = this.view.revision;
  }
}

function readField(elements) {
  const [first] = elements;
  if (first.type === "radio") return elements.find((element) => element.checked)?.value ?? null;
  if (first.type === "checkbox") {
    return elements.length === 1 ? first.checked : elements.filter((element) => element.checked).map((element) => element.value);
  }
  if (first.type === "select-multiple") return [...first.selectedOptions].map((option) => option.value);
  return elements.length === 1 ? first.value : elements.map((element) => element.value);
}

/** Give the elements a value that readField gave, or one that the server stashed; the element to tell of it. */
function writeField(elements, value) {
  const [first] = elements;
  const chosen = (Array.isArray(value) ? value : [value]).map((item) => String(item ?? ""));
  if (first.type === "radio") for (const element of elements) element.checked = chosen.includes(element.value);
  else if (first.type === "checkbox") {
    for (const element of elements) element.checked = typeof value === "boolean" ? value : chosen.includes(element.value);
  } else if (first.type === "select-multiple") for (const option of first.options) option.selected = chosen.includes(option.value);
  else elements.forEach((element, index) => writeText(element, chosen[index] ?? ""));
  return first;
}

function writeText(element, text) {
  const { selectionStart: start, selectionEnd: end } = element;
  element.value = text;
  if (start !== null && document.activeElement === element && /^(TEXTAREA|INPUT)$/.test(element.tagName)) {
    try { element.setSelectionRange(start, end); } catch { /* number and date fields have no selection */ }
  }
}

function isAsDelivered(element) {
  if (element.tagName === "SELECT") {
    const options = [...element.options];
    const first = !element.multiple && !options.some((option) => option.defaultSelected) ? options[0] : null;
    return options.every((option) => option.selected === (option.defaultSelected || option === first));
  }
  return ["radio", "checkbox"].includes(element.type) ? element.checked === element.defaultChecked : element.value === element.defaultValue;
}

/** Back to how the page was delivered, or to nothing where it was delivered with what is now cleared. */
function resetField(elements, toNothing) {
  for (const element of elements) {
    if (element.tagName === "SELECT") {
      for (const option of element.options) option.selected = !toNothing && option.defaultSelected;
      if (element.selectedIndex < 0 && !element.multiple) element.selectedIndex = 0;
    } else if (["radio", "checkbox"].includes(element.type)) element.checked = !toNothing && element.defaultChecked;
    else if (["range", "color"].includes(element.type)) element.value = element.defaultValue; // they know no nothing
    else element.value = toNothing ? "" : element.defaultValue;
  }
  return elements[0];
}

function bind(form) {
  if (!bound.has(form)) bound.set(form, new BoundForm(form));
  return bound.get(form).view;
}

// Submitting: pending saves are dropped; where the next page lacks the form, the submit has succeeded.

/** Before the page's own handlers, which shall hear of a submit once. */
function beforeSubmit(event) {
  const known = bound.get(event.target);
  const creating = known?.view.creating;
  if (!creating || known.waited) return;
  // A first save under way would come after the server's reset and bring the draft back: let it arrive before.
  event.preventDefault();
  event.stopImmediatePropagation();
  if (known.waits) return;
  known.waits = true;
  Promise.race([creating, sleep(ANSWER_WITHIN)]).then(() => {
    known.waited = true;
    of(known.form, "requestSubmit").call(known.form, event.submitter);
    known.waited = known.waits = false;
  });
}

function onSubmit(event) {
  const known = bound.get(event.target);
  if (!known || event.defaultPrevented) return;
  const { form, view } = known;
  view.forget();
  if ((event.submitter?.formMethod || of(form, "method")) === "post") {
    const field = of(form, "elements")[TAB_FIELD] ?? form.appendChild(Object.assign(document.createElement("input"), { type: "hidden", name: TAB_FIELD }));
    field.value = tab;
  }
  remember(view, { vsn: view.vsn, lives: view.lives, keep: "syncsessionsKeep" in of(form, "dataset") });
  known.submitted = true;
}

function remember(view, submit) {
  const submitted = JSON.parse(remembered.get(SUBMITTED_KEY) ?? "{}");
  remembered.set(SUBMITTED_KEY, JSON.stringify({ ...submitted, [view.name]: submit }));
}

function settleSubmitted() {
  const submitted = JSON.parse(remembered.get(SUBMITTED_KEY) ?? "{}");
  if (navigation?.responseStatus >= 400) return; // an error page is no success; the next page will tell
  remembered.set(SUBMITTED_KEY, null);
  const present = new Set([...document.querySelectorAll("form[data-syncsessions-stash]")].map((form) => of(form, "dataset").syncsessionsStash));
  for (const [name, { vsn, lives, keep }] of Object.entries(submitted)) {
    if (present.has(name)) returned.add(name);
    else if (!keep && navigated) tabClaimed.then(() => new View(name, vsn).clear(lives)).catch(() => {});
  }
  if (!navigated) returned = new Set();
}

function start() {
  settleSubmitted();
  document.querySelectorAll("form[data-syncsessions-stash]").forEach(bind);
  for (const type of ["input", "change"]) {
    document.addEventListener(type, ({ target }) => bound.get(target.form)?.input(target));
  }
  document.addEventListener("reset", ({ target }) => setTimeout(() => bound.get(target)?.saveAll()));
  addEventListener("submit", beforeSubmit, { capture: true });
  addEventListener("submit", onSubmit);
  addEventListener("pagehide", () => {
    const going = new Set([...bound.values()].filter((form) => form.submitted).map((form) => form.view));
    for (const view of views.values()) if (!going.has(view)) view.sendOff();
    socket.close();
  });
  addEventListener("pageshow", ({ persisted }) => persisted && socket.open());
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState !== "visible") views.forEach((view) => view.retry()); // a phone may end the page unheard
    else if (socket.state !== "open") views.forEach((view) => read(view));
  });
  new MutationObserver(() => {
    document.querySelectorAll("form[data-syncsessions-stash]").forEach(bind);
  }).observe(document.documentElement, { childList: true, subtree: true });
}

start(); // a module runs when the document is parsed

/** `stash.view(name)`: an EventTarget with `data`, `state`, `save(changes)`, `clear()`; `stash.bind(form)` is done for marked forms. */
export const stash = { view: openView, bind, get tab() { return tab; } };

// Pairing: a sync session with another party, over a socket of its own, with which it ends.

const sessions = new Set();
addEventListener("pagehide", () => sessions.forEach((session) => session.close()));

/** One party's end of a sync session. Events: "peer_joined", "closed", "error", "message", each with what there is to say as `detail`. */
class Session extends EventTarget {
  #socket;
  #opened = deferred();
  #closed = deferred();
  #end = null; // how it ended
  #numbers = 0;
  #queue = []; // relays that are not sent yet, or were refused for now: in order
  #way = new Map(); // ref -> what was sent, in order, and is not settled
  #window = WINDOW;
  #relayed = 0;
  #free = 0; // the time at which no frame sent so far counts any more
  #pace = PACE;
  #pumping = 0;
  #incoming = []; // relays that the page has not seen
  #onrelay = null;
  #busy = false;
  #handled = 0;
  #acknowledged = 0;
  #acknowledging = 0;
  /** "opening", then as the server says: "pending" | "connected" | "completed" | "failed" */
  status = "opening";

  constructor(hello, { path = "sync/", onrelay = null } = {}) {
    super();
    sessions.add(this);
    this.#onrelay = onrelay;
    this.opened = this.#opened.promise;
    this.closed = this.#closed.promise;
    this.closed.then((end) => this.#tell("closed", end));
    this.#socket = new Socket({
      path,
      hello,
      again: false,
      opened: (answer) => (answer.type === "error" ? this.#finish({ reason: answer.code }, answer) : this.#begin(answer)),
      heard: (frame) => this.#hear(frame),
      changed: (state) => this.#lost(state),
    });
    this.#socket.open();
    this.#lost(this.#socket.state); // nowhere to open it
  }

  /** Called with each relay's payload and seq. The next one, and the acknowledgement, wait for what it returns; without it relays wait. */
  get onrelay() { return this.#onrelay; }

  set onrelay(handler) {
    this.#onrelay = handler;
    this.#deliver();
  }

  /** How many relays the other party has not acknowledged yet. */
  get backlog() { return this.#queue.length + this.#underWay.length; }

  get #underWay() { return [...this.#way.values()].filter(({ isRelay }) => isRelay); }

  /** Relay this payload, as it is now: resolves with {seq} once the other party's page has handled it. */
  relay(payload) {
    const relay = this.#frame({ type: "session.relay", payload }, true);
    if (!this.#end) this.#queue.push(relay);
    this.#pump();
    return relay.promise;
  }

  /** Send a frame of the page's own to a consumer that knows it: resolves with the answer. */
  send(frame) {
    const asked = this.#frame(frame);
    this.opened.then(() => this.#put(asked), () => asked.reject(this.#over()));
    return asked.promise;
  }

  /** End well, after what was relayed has been acknowledged: resolves as `closed` does. */
  async complete(result) {
    await Promise.allSettled([...this.#underWay, ...this.#queue].map(({ promise }) => promise));
    return this.#ask({ type: "session.complete", result });
  }

  async fail(reason) { return this.#ask({ type: "session.fail", reason }); }

  /** Leave at once. The other party is told that this one has gone. */
  close() {
    if (this.#acknowledging) this.#acknowledge();
    this.#finish({ reason: this.#socket.hello.type === "session.open" ? "owner_gone" : "peer_gone" });
  }

  async #ask(frame) {
    await this.send(frame).catch((error) => { if (error.code !== "closed") throw error; });
    return this.closed;
  }

  #frame(frame, isRelay = false) {
    const number = ++this.#numbers;
    const ref = `${isRelay ? "relay" : "frame"}-${number}`;
    const made = { number, ref, isRelay, text: JSON.stringify({ ...frame, ref }), ...deferred() };
    if (this.#end) made.reject(this.#over());
    return made;
  }

  #put(frame) {
    if (this.#end) return frame.reject(this.#over());
    if (this.#acknowledging) this.#acknowledge();
    this.#free = Math.max(this.#free, performance.now()) + this.#pace;
    this.#way.set(frame.ref, frame);
    this.#socket.put(frame.text);
  }

  /** Send what the window and the pace allow. */
  #pump() {
    clearTimeout(this.#pumping);
    while (this.#queue.length && this.status === "connected") {
      const underWay = this.#underWay;
      // The server takes nothing sent after a refused one before that comes again: first it has answered all of it.
      if (underWay.length >= this.#window || underWay.at(-1)?.number > this.#queue[0].number) return;
      const wait = this.#free - performance.now() - BURST * this.#pace;
      if (wait > 0) {
        this.#pumping = setTimeout(() => this.#pump(), wait);
        return;
      }
      this.#put(this.#queue.shift());
    }
  }

  #begin({ session }) {
    this.#know(session);
    this.#opened.resolve(session);
    this.#pump();
  }

  #know({ code, direction, status, sender_info, receiver_info }) {
    Object.assign(this, { code: code ?? this.code, direction, status, sender_info, receiver_info });
  }

  #hear(frame) {
    const asked = this.#way.get(frame.ref);
    if (frame.type === "error") return this.#refused(frame, asked);
    if (asked && !asked.isRelay) {
      this.#way.delete(frame.ref);
      asked.resolve(frame);
    }
    if (frame.type === "session.peer_joined") {
      this.#know(frame.session);
      this.#tell("peer_joined", frame.session);
      this.#pump();
    } else if (frame.type === "session.relay") {
      this.#incoming.push(frame);
      this.#deliver();
    } else if (frame.type === "session.relayed") this.#relayedTo(frame.seq);
    else if (frame.type === "session.closed") this.#finish(frame);
    else if (!asked && !frame.type.startsWith("session.")) this.#tell("message", frame);
  }

  #relayedTo(seq) {
    for (const { ref, resolve } of this.#underWay.slice(0, seq - this.#relayed)) {
      this.#way.delete(ref);
      resolve({ seq: ++this.#relayed });
    }
    this.#pump();
  }

  #refused(error, asked) {
    this.#way.delete(asked?.ref);
    if (asked?.isRelay && ["window_full", "rate_limited"].includes(error.code)) {
      this.#queue.push(asked);
      this.#queue.sort((a, b) => a.number - b.number);
      if (error.code === "window_full") this.#window = Math.max(this.#underWay.length, 1);
      else if (this.#queue[0] === asked) this.#slowDown(error.retry_after * 1000); // who is behind it goes when it has gone
      return this.#pump();
    }
    // What is too large is not read, and so is answered without its ref.
    const tooLarge = [...this.#way.values()].filter(({ text }) => new Blob([text]).size > error.limit);
    for (const { ref, reject } of asked ? [asked] : tooLarge) {
      this.#way.delete(ref);
      reject(Failure.of(error));
    }
    this.#tell("error", Failure.of(error));
    this.#pump();
  }

  /** Nothing for so many ms; from then on half as fast, but not slower than one frame in that time. */
  #slowDown(ms) {
    this.#pace = Math.max(this.#pace, Math.min(2 * this.#pace, ms));
    this.#free = Math.max(this.#free, performance.now() + ms + BURST * this.#pace);
  }

  async #deliver() {
    if (this.#busy) return;
    this.#busy = true;
    while (this.#incoming.length && this.#onrelay) {
      const { payload, seq } = this.#incoming.shift();
      try { await this.#onrelay(payload, seq); } catch (error) { reportError(error); }
      this.#handled = seq;
      if (seq - this.#acknowledged >= WINDOW / 2) this.#acknowledge();
      else this.#acknowledging ||= setTimeout(() => this.#acknowledge(), ACKNOWLEDGE_AFTER);
    }
    this.#busy = false;
    if (this.#end) this.#closed.resolve(this.#end);
  }

  #acknowledge() {
    clearTimeout(this.#acknowledging);
    this.#acknowledging = 0;
    this.#acknowledged = this.#handled;
    if (!this.#end) this.#socket.put(JSON.stringify({ type: "session.ack", seq: this.#handled }));
  }

  #lost(state) {
    if (state === "refused") this.#finish({ reason: "logged_out" });
    else if (state === "closed") this.#finish({ reason: this.status === "opening" ? "unreachable" : "connection_lost" });
  }

  /** The first end that is heard of is the session's. */
  #finish({ type, ref, status = "failed", ...more }, error) {
    if (this.#end) return;
    this.#opened.reject(Failure.of(error ?? { code: more.reason, message: `The sync session was not opened: ${more.reason}` }));
    this.#end = { status, ...more };
    this.status = status;
    sessions.delete(this);
    clearTimeout(this.#pumping);
    this.#socket.close();
    for (const { reject } of [...this.#way.values(), ...this.#queue]) reject(this.#over());
    this.#way.clear();
    this.#queue = [];
    // A session that ended well has brought all there was: the page sees it before it hears of the end.
    if (status !== "completed") this.#incoming = [];
    if (status !== "completed" || !this.#busy) this.#closed.resolve(this.#end);
  }

  #over() {
    return Failure.of({ code: "closed", reason: this.#end.reason, message: `The sync session is closed: ${this.#end.reason}` });
  }

  #tell(type, detail) { this.dispatchEvent(new CustomEvent(type, { detail })); }
}

const formatCode = (text) => text.replace(/[^0-9a-z]/gi, "").toUpperCase().replace(/.{4}(?=.)/g, "$&-");

/** The code in this page's fragment (`#code=…` or `#A7X9-K2M4`), which is taken out of the address bar; null where there is none. */
function codeFromFragment() {
  const fragment = location.hash.slice(1);
  const given = new URLSearchParams(fragment).get("code") ?? (/^[2-9A-Z]{4}-[2-9A-Z]{4}$/.test(fragment) ? fragment : "");
  const code = formatCode(given).replace("-", "");
  if (!/^[2-9A-HJKMNP-Z]{8}$/.test(code)) return null;
  history.replaceState(history.state, "", location.pathname + location.search);
  return code;
}

/** `open({direction, info})` and `join(code, {info})` give a Session; both take `onrelay` and another consumer's `path`. */
export const pairing = {
  open: ({ direction, info, ...options }) => new Session({ type: "session.open", direction, info }, options),
  join: (code, { info, ...options } = {}) => new Session({ type: "session.join", code, info }, options),
  format: formatCode,
  codeFromFragment,
};

// Session processes: what the server shows of this browser's one, and what the page dispatches to it.

const connected = new Set();
addEventListener("pagehide", () => connected.forEach((socket) => socket.close()));
addEventListener("pageshow", ({ persisted }) => persisted && connected.forEach((socket) => socket.open()));

/** The socket of a session process. Events: "state" ({values, revision}), "stopped" ({reason}), "error" (what was refused). */
class ProcessSocket extends EventTarget {
  #socket;
  #subscriptions = new Set();
  #refs = 0;
  #queue = []; // dispatches that wait for the socket
  #way = new Map(); // ref -> what was sent and is not answered

  constructor(name) {
    super();
    this.#socket = new Socket({
      path: `process/${encodeURIComponent(name)}/`,
      opened: () => this.#begin(),
      heard: (frame) => this.#hear(frame),
      changed: (state) => this.#lost(state),
    });
    connected.add(this.#socket);
    this.#socket.open();
  }

  /** Call back with {values, revision} of these selectors: now, and whenever one of them has changed. Returns a function that ends it. */
  subscribe(selectors, callback) {
    const subscription = { selectors: [...selectors], callback, ready: false };
    this.#subscriptions.add(subscription);
    if (this.#socket.state === "open") this.#ask(subscription);
    return () => { this.#subscriptions.delete(subscription); };
  }

  /** Dispatch an action with this payload, as it is now: resolves with the revision after it. It is never sent twice. */
  dispatch(action, payload = null) {
    const asked = this.#frame({ type: "dispatch", action, payload });
    this.#queue.push(asked);
    if (this.#socket.state === "open") this.#flush();
    else if (!mounts.sockets || this.#socket.ended) this.#reject(this.#queue.splice(0), this.#socket.ended ? "closed" : "unreachable");
    else if (!this.#socket.settling) this.#socket.open();
    return asked.promise;
  }

  /** Hear and send no more; the session lives on. */
  close() {
    connected.delete(this.#socket);
    this.#subscriptions.clear();
    this.#socket.end();
    this.#reject(this.#queue.splice(0), "closed");
  }

  #frame(frame) {
    const ref = `frame-${++this.#refs}`;
    return { ref, text: JSON.stringify({ ...frame, ref }), ...deferred() };
  }

  #put(asked) {
    this.#way.set(asked.ref, asked);
    this.#socket.put(asked.text);
  }

  #flush() { this.#queue.splice(0).forEach((asked) => this.#put(asked)); }

  #ask(subscription) {
    if (this.#socket.state !== "open" || !this.#subscriptions.has(subscription)) return;
    const { selectors } = subscription;
    this.#put({ ...this.#frame({ type: "subscribe", selectors }), subscription });
  }

  #begin() {
    this.#subscriptions.forEach((subscription) => this.#ask(subscription));
    this.#flush();
  }

  #hear(frame) {
    const asked = this.#way.get(frame.ref);
    this.#way.delete(frame.ref);
    if (frame.type === "error") return this.#refused(frame, asked);
    if (frame.type === "dispatched") asked?.resolve(frame.revision);
    else if (frame.type === "stopped") {
      for (const subscription of this.#subscriptions) subscription.seen = undefined; // the next session is another
      this.#tell("stopped", { reason: frame.reason });
    }
    else if (frame.type === "state") {
      if (asked) asked.subscription.ready = true;
      this.#show(frame);
    }
  }

  #show({ values, revision }) {
    for (const subscription of this.#subscriptions) {
      const names = subscription.selectors.filter((name) => Object.hasOwn(values, name));
      const seen = Object.fromEntries(names.map((name) => [name, values[name]]));
      if (!subscription.ready || same(seen, subscription.seen)) continue;
      subscription.seen = seen;
      try { subscription.callback?.({ values: seen, revision }); } catch (error) { reportError(error); }
    }
    this.#tell("state", { values, revision });
  }

  #refused(error, asked) {
    // What is too large is not read, and so is answered without its ref.
    const tooLarge = [...this.#way.values()].filter(({ text }) => new Blob([text]).size > error.limit);
    for (const { ref, reject, subscription } of asked ? [asked] : tooLarge) {
      this.#way.delete(ref);
      reject(Failure.of(error));
      if (!subscription) continue;
      if (["invalid_value", "bad_frame", "too_large", "not_allowed"].includes(error.code)) this.#subscriptions.delete(subscription);
      // All pages were refused together where a site starts again: they do not come back together.
      else setTimeout(() => this.#ask(subscription), (error.retry_after ?? SUBSCRIBE_AGAIN) * (1000 + 250 * Math.random()));
    }
    this.#tell("error", Failure.of(error));
  }

  #lost(state) {
    if (state === "open" || state === "opening") return;
    this.#reject([...this.#way.values()], "connection_lost"); // whether it was done, nobody knows
    this.#way.clear();
    if (this.#socket.settling) return;
    this.#reject(this.#queue.splice(0), this.#socket.ended ? "closed" : state === "refused" ? "no_session" : "unreachable");
  }

  #reject(all, code) {
    for (const { reject } of all) reject(Failure.of({ code, message: `The session process was not reached: ${code}` }));
  }

  #tell(type, detail) { this.dispatchEvent(new CustomEvent(type, { detail })); }
}

/** `connect(name)` gives the socket at `ws/process/<name>/`, which comes back by itself. */
export const process = { connect: (name) => new ProcessSocket(name) };

window.syncsessions = { ...window.syncsessions, stash, pairing, process };
