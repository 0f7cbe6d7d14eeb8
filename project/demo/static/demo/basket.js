// The badge in every page's head: how many things are in the basket, in whichever tab they were put in.

const badge = document.getElementById("badge");
const otherTabs = new BroadcastChannel("demo.basket");

/** This page's line to the basket; null where the browser has no session yet. */
export let basket = null;

function show(count) {
  badge.hidden = !count;
  badge.querySelector("b").textContent = count;
}

function follow() {
  if (basket) return;
  basket = window.syncsessions.process.connect("basket");
  basket.subscribe(["count"]);
  basket.addEventListener("state", ({ detail: { values } }) => { if ("count" in values) show(values.count); });
  basket.addEventListener("stopped", () => show(0));
}

otherTabs.onmessage = follow; // another tab's page has made the session
if ("session" in badge.dataset) {
  follow();
  otherTabs.postMessage("session");
}
