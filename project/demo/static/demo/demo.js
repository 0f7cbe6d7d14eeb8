// Small comforts of the demo's pages; all of them work without this file.

for (const field of document.querySelectorAll("[data-output]")) {
  const output = document.getElementById(field.dataset.output);
  const show = () => { output.value = field.value === field.max ? "any" : `€ ${field.value}`; };
  field.addEventListener("input", show);
  show();
}

for (const field of document.querySelectorAll("[data-counter]")) {
  const counter = document.getElementById(field.dataset.counter);
  const show = () => {
    counter.textContent = `${field.value.length.toLocaleString("en")} of ${field.maxLength.toLocaleString("en")} characters`;
  };
  field.addEventListener("input", show);
  show();
}

/** Shows the products that pass the filters as soon as these are saved, here or in another tab: the server knows them by then. */
function followFilters(form) {
  let changed = false;
  let latest = null;

  async function refresh() {
    if (!changed || form.dataset.syncsessionsState !== "saved") return;
    changed = false;
    latest?.abort();
    latest = new AbortController();
    try {
      const response = await fetch(form.action, { signal: latest.signal });
      if (response.ok) put(new DOMParser().parseFromString(await response.text(), "text/html"));
    } catch { /* the next change, or the button, asks again */ }
  }

  function put(page) {
    const old = document.getElementById(form.dataset.results);
    const found = page.getElementById(form.dataset.results);
    const picked = old.querySelector("input:checked")?.value;
    const focused = old.contains(document.activeElement) ? document.activeElement.value : null;
    for (const radio of found.querySelectorAll("input")) radio.checked = radio.value === picked;
    old.replaceChildren(...found.childNodes);
    document.getElementById("count").textContent = page.getElementById("count").textContent;
    if (focused) old.querySelector(`input[value="${CSS.escape(focused)}"]`)?.focus();
    if (!changed) placeRanges(page);
  }

  // A range that was emptied, after an order in another tab, stands in its middle; the server knows where it begins.
  function placeRanges(page) {
    for (const range of form.querySelectorAll("input[type=range]")) {
      range.value = page.getElementById(range.id).value;
      range.dispatchEvent(new Event("input")); // for its output alone: it does not bubble up to be saved
    }
  }

  form.addEventListener("input", () => { changed = true; setTimeout(refresh); });
  new MutationObserver(refresh).observe(form, { attributeFilter: ["data-syncsessions-state"] });
}

document.querySelectorAll("form[data-results]").forEach(followFilters);
