// The admin's page of live sync sessions: kept up to date over a socket, by polling where there is none.

const { library } = JSON.parse(document.getElementById("syncsessions-live-config").textContent);
const { config, part, put, root, showList, words } = await import(library);

const { direction, status } = config.labels;

showList({
  type: "sync.list",
  turn: "sync.page",
  items: (list) => list.sessions,
  key: ({ life }) => life,
  rowKey: (element) => element.dataset.life,
  query: () => ({}),
  thing: (session) => ({ ...session, label: session.code, more: status[session.status] ?? session.status }),

  fill({ element, fields }, session) {
    element.dataset.life = session.life;
    element.dataset.status = session.status;
    put(fields.code, session.code);
    put(fields.owner, session.owner);
    put(fields.peer, session.peer ?? "–");
    put(fields.direction, direction[session.direction] ?? session.direction);
    put(fields.status, status[session.status] ?? session.status);
    put(fields.sender_info, session.sender_info ?? "–");
    put(fields.receiver_info, session.receiver_info ?? "–");
    fields.infos.hidden = session.sender_info === null && session.receiver_info === null;
  },

  summary(list) {
    for (const element of root.querySelectorAll("[data-count]")) put(element, String(list.counts[element.dataset.count]));
    put(part("counted"), words(config.texts.counted, list));
    part("counted").hidden = list.counted === list.total;
  },
}, {
  end: {
    asks: true,
    text: "ended",
    request: ({ life }) => ({ type: "sync.end", life }),
    did: ({ ended }) => ended,
  },
});
