// The admin's page of running processes: kept up to date over a socket, by polling where there is none.

const { library } = JSON.parse(document.getElementById("syncsessions-live-config").textContent);
const { bytes, config, part, put, showList, words } = await import(library);

const path = config.list.class;

showList({
  type: "process.list",
  turn: "process.page",
  address: { show: "processes" },
  items: (list) => list.processes,
  key: ({ key }) => key,
  rowKey: (element) => element.dataset.key,
  query: () => (path ? { class: path } : {}),
  thing: ({ key, name, id }) => ({ key, label: `${name} ${id}` }),

  fill({ element, fields }, process) {
    element.dataset.key = process.key;
    fields.link.href = `${config.base}${process.key}/`;
    put(fields.id, process.id);
    put(fields.name, process.name);
    fields.name.title = process.class;
    put(fields.revision, String(process.revision));
    put(fields.bytes, bytes(process.bytes));
  },

  summary(list) {
    put(part("matching"), words(config.texts.matching, { shown: list.processes.length, read: list.read }));
    part("empty").hidden = list.processes.length > 0 || Boolean(path);
    const links = part("classes");
    links.hidden = list.classes.length === 0;
    const known = new Set([...links.querySelectorAll("a")].map((link) => link.dataset.class));
    for (const found of list.classes) {
      if (known.has(found)) continue;
      const link = links.lastElementChild.cloneNode(), name = document.createElement("bdi");
      name.dir = "ltr";
      name.textContent = link.dataset.class = found;
      link.href = `?${new URLSearchParams({ class: found })}`;
      link.removeAttribute("aria-current");
      link.append(name);
      links.append(link);
    }
  },
}, {
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
});
