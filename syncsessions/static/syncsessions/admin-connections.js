// The badges of connections: kept up to date over a socket, by polling where there is none.

const { library } = JSON.parse(document.getElementById("syncsessions-live-config").textContent);
const { become, config, part, put, start } = await import(library);

const badges = { status: new Map(), remote: new Map() }; // by what they show, by the connection's id
for (const badge of document.querySelectorAll("[data-connection]")) {
  const { shows, connection } = badge.dataset;
  badges[shows].set(connection, [...(badges[shows].get(connection) ?? []), badge]);
}
const first = new Map(); // by id: the status that the page came with
for (const [id, [badge]] of badges.status) first.set(id, badge.dataset.status);

function turn(shows, id, status, addition = "") {
  const known = config.words[shows];
  const key = status in known ? status : "error";
  for (const badge of badges[shows].get(id) ?? []) {
    if (shows === "remote" && badge.dataset.status === "unreachable") continue;
    put(badge, known[key][0]);
    badge.dataset.status = key;
    badge.title = [known[key][1], addition].filter(Boolean).join(" ");
  }
}

function showStatus({ id, status, by_peer, over }) {
  const shown = over ? "over" : status;
  turn("status", id, shown, by_peer ? config.texts.by_peer : "");
  if (config.single && first.get(id) !== shown) part("changed").hidden = false;
}

become("connecting");
start({
  type: "connections.rows",
  query: () => ({ show: "connections", ids: config.ids.join(",") }),

  show({ rows, gone, total, remote = {} }) {
    rows.forEach(showStatus);
    for (const [id, status] of Object.entries(remote)) turn("remote", id, status);
    for (const id of gone) turn("status", id, "gone");
    if (!config.single && total !== config.total) part("changed").hidden = false;
    if (config.single && gone.length) part("changed").hidden = false;
  },

  others: {
    "connections.remote": ({ id, status }) => turn("remote", id, status),
  },
});
