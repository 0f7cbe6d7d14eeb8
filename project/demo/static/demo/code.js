// What the pages with a code share: states of which one is shown, the code in two groups, its picture.

const { pairing } = window.syncsessions;

/** Shows one state of the page: the element with this `data-when`. Its heading gets the focus, and is read out. */
export function states(page) {
  const told = page.querySelector("#told");
  return (name) => {
    page.dataset.state = name;
    for (const part of page.querySelectorAll("[data-when]")) part.hidden = part.dataset.when !== name;
    const heading = page.querySelector(`[data-when=${name}] :is(h1, h2)`);
    if (heading?.tabIndex === -1) heading.focus({ preventScroll: true });
    if (told) told.textContent = heading?.textContent ?? "";
  };
}

/** The code as two groups that are read out sign by sign, and as the picture of a link. */
export function showCode(page, code) {
  const groups = pairing.format(code).split("-");
  const shown = page.querySelector("#code");
  shown.replaceChildren(...groups.map((text) => Object.assign(document.createElement("span"), { textContent: text })));
  shown.setAttribute("aria-label", groups.map((group) => [...group].join(" ")).join(", "));
  shown.setAttribute("role", "img");
  return showPicture(page, code);
}

async function showPicture(page, code) {
  const picture = page.querySelector("#qr");
  const body = new FormData(page.querySelector("form"));
  body.set("link", `${page.dataset.link}#code=${code}`);
  try {
    const response = await fetch(page.dataset.qr, { method: "POST", body });
    if (!response.ok) return;
    picture.src = `data:image/svg+xml,${encodeURIComponent(await response.text())}`;
    picture.hidden = false;
  } catch { /* the code alone will do */ }
}

/** Puts what a link's fragment says into the field, and nothing more: who came by the link has yet to say yes. */
export function fillFromLink(field, filled) {
  const fill = () => {
    const code = pairing.codeFromFragment();
    if (!code || field.closest("[hidden]")) return;
    field.value = pairing.format(code);
    filled?.(true);
  };
  addEventListener("hashchange", fill);
  field.addEventListener("input", () => filled?.(false));
  field.addEventListener("change", () => { field.value = pairing.format(field.value); });
  fill();
}
