// The admin's page of one process: facts, state and history, kept up to date over a socket, by polling without one.

const { library } = JSON.parse(document.getElementById("syncsessions-live-config").textContent);
const { act, become, bytes, clock, config, finish, isLive, part, put, root, start, unavailable, words } =
  await import(library);

const names = ["class", "revision", "age", "left", "bytes", "form", "tree", "waiting", "waiting-names", "history",
  "no-history", "some-history", "older", "action"];
const parts = Object.fromEntries(names.map((name) => [name, part(name)]));
const BRACKETS = { list: ["[", "]"], object: ["{", "}"] };
let shown = null, at = 0, drawn = null;

function made(name, kind, text) {
  const element = document.createElement(name);
  if (kind) element.className = `syncsessions-tree-${kind}`;
  if (text !== undefined) element.textContent = text;
  return element;
}

// The state. What the reader has opened and closed stays so, and so does the focus.

function leaf(node) {
  const value = made("bdi", "value", node.text ?? BRACKETS[node.kind].join(""));
  value.dataset.kind = node.kind;
  const parts = [made("bdi", "key", node.key), " ", value];
  if (node.cut) parts.push(" ", made("span", "rest", words(config.texts.cut, { count: node.cut })));
  return parts;
}

function branch(node, path, opened) {
  const details = made("details"), summary = made("summary"), [open, close] = BRACKETS[node.kind];
  details.dataset.path = path;
  details.open = opened.get(path) ?? !path.includes("/", 1);
  summary.append(made("bdi", "key", node.key), " ", made("span", "size", `${open}${node.size}${close}`));
  details.append(summary, branches(node, path, opened));
  return [details];
}

function branches(node, path, opened) {
  const list = made("ul");
  for (const [index, item] of node.items.entries()) {
    const line = made("li");
    line.append(...(item.size ? branch(item, `${path}/${index}.${item.key}`, opened) : leaf(item)));
    list.append(line);
  }
  if (node.more) list.append(made("li", "rest", words(config.texts.more, { count: node.more })));
  if (!path && !node.size) list.append(made("li", "rest", config.texts.empty));
  return list;
}

function draw(state) {
  const text = JSON.stringify(state);
  if (text === drawn) return;
  const opened = new Map([...parts.tree.querySelectorAll("details")].map(({ dataset, open }) => [dataset.path, open]));
  const focused = parts.tree.contains(document.activeElement) && document.activeElement.parentElement.dataset.path;
  parts.tree.replaceChildren(branches(state, "", opened));
  if (focused) {
    [...parts.tree.querySelectorAll("details")].find(({ dataset }) => dataset.path === focused)?.firstElementChild.focus();
  }
  drawn = text;
}

function line(entry) {
  const row = parts.action.content.firstElementChild.cloneNode(true);
  for (const name of ["revision", "action", "payload"]) put(row.querySelector(`[data-field="${name}"]`), String(entry[name]));
  const time = new Date(entry.at * 1000), field = row.querySelector("[data-field=at]");
  field.dateTime = time.toISOString();
  field.textContent = time.toLocaleString(document.documentElement.lang || undefined);
  return row;
}

function show(frame) {
  shown = frame;
  at = performance.now();
  put(parts.class, frame.class);
  put(parts.revision, String(frame.revision));
  put(parts.bytes, bytes(frame.bytes));
  tick();
  if (!frame.state) return; // nothing but the clocks has moved
  draw(frame.state);
  put(parts["waiting-names"], frame.waiting.join(", "));
  parts.waiting.hidden = !frame.waiting.length;
  parts.history.replaceChildren(...frame.history.map(line));
  parts["no-history"].hidden = frame.history.length > 0;
  parts["some-history"].hidden = !frame.history.length;
  parts.older.hidden = !frame.older;
}

function tick() {
  if (!shown) return;
  const passed = (performance.now() - at) / 1000;
  put(parts.age, clock(shown.age + passed));
  put(parts.left, clock(Math.max(0, shown.left - passed)));
}

function gone() {
  shown = null;
  put(parts.left, "–");
  root.classList.add("syncsessions-live-gone");
  for (const button of parts.form?.querySelectorAll("button") ?? []) button.disabled = true;
  finish(config.texts.gone);
}

const actions = {
  touch: {
    text: "touched",
    request: ({ key }) => ({ type: "process.touch", key }),
    did: ({ touched }) => touched,
  },
  terminate: {
    asks: true,
    text: "terminated",
    request: ({ key }) => ({ type: "process.terminate", key }),
    did: ({ terminated }) => terminated,
  },
};

parts.form?.addEventListener("submit", (event) => {
  const action = actions[event.submitter?.dataset.action];
  if (!isLive() || !action) return; // the form asks on a page of its own
  event.preventDefault();
  act(action, [{ key: config.key, label: config.label }]);
});
if (config.unavailable) {
  unavailable();
} else {
  show(config.shown);
  become("connecting");
}
start({ type: "process.shown", show, others: { "process.gone": gone }, query: () => ({ show: "process", key: config.key }) });
setInterval(tick, 1000);
