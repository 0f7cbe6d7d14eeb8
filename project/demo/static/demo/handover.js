// An order moves: the page that shows a code, and the page that takes one.

import { fillFromLink, showCode, states } from "./code.js";

const { pairing } = window.syncsessions;
const path = "handover/";

const ENDS = {
  peer_gone: "The other device has left the page, or lost its connection. Your order is still here.",
  declined: "The other device does not want it. Your order is still here.",
  not_me: "You have said that this was not you, so the code is void. Your order is still here.",
  different_users: "The other device is logged in as somebody else. Log in as the same person on both.",
  same_browser: "That was this very browser. Enter the code on the other device.",
  logged_out: "Somebody logged in or out on one of the two. Try again.",
  lease_expired: "The code has expired. Your order is still here.",
  connection_lost: "The connection was lost. Your order is where it was.",
  unreachable: "The server does not answer. Try again in a moment.",
  ended_by_admin: "An administrator has ended it.",
};
const JOINER_ENDS = {
  ...ENDS,
  owner_gone: "The other device has closed the page with the code. Nothing was changed there or here.",
  not_me: "The other device has said that it was not you who asked.",
  declined: "You have cancelled. The code is used up: ask for a new one.",
  lease_expired: "The other device is gone, and the code with it. Ask it for a new one.",
  connection_lost: "The connection was lost. Ask the other device for a new code.",
};
const ending = (ends, reason) => ends[reason] ?? `It ended: ${reason}.`;

function send(page) {
  const at = (id) => page.querySelector(`#${id}`);
  const show = states(page);
  let session;
  let joiner;

  function begin() {
    show("opening");
    at("refusal").hidden = true;
    session = pairing.open({ direction: "send", path });
    session.opened.then(({ code }) => { showCode(page, code); show("waiting"); }, () => {});
    session.addEventListener("message", ({ detail }) => detail.type === "handover.joined" && ask(detail));
    session.addEventListener("error", ({ detail }) => refused(detail));
    session.addEventListener("closed", ({ detail }) => closed(detail));
  }

  function ask({ joiner: who, device, logged_in: loggedIn }) {
    joiner = who;
    at("device").textContent = device;
    at("login").textContent = loggedIn ? "logged in" : "not logged in";
    show("joined");
  }

  function refused({ message }) {
    at("refusal").textContent = message;
    at("refusal").hidden = false;
    if (page.dataset.state === "moving") show("joined");
  }

  function closed({ status, reason, result }) {
    if (status === "completed") {
      const { kept } = result;
      at("moved").textContent = kept
        ? `What you changed here while it moved (${kept} ${kept === 1 ? "answer" : "answers"}) has stayed here.`
        : "This browser has let go of it: the steps here are empty again, in every tab.";
      document.getElementById("moves").textContent = "What has moved";
      if (!kept) document.querySelectorAll(".steps .done").forEach((step) => { step.className = ""; step.querySelector(".hushed")?.remove(); });
      show("done");
    } else {
      at("ended").textContent = ending(ENDS, reason);
      show("ended");
    }
  }

  at("send").addEventListener("click", () => {
    show("moving");
    session.send({ type: "handover.confirm", joiner }).catch(() => {});
  });
  at("not-me").addEventListener("click", () => session.fail("not_me"));
  at("again").addEventListener("click", begin);
  addEventListener("pageshow", ({ persisted }) => persisted && begin());
  begin();
}

function receive(page) {
  const at = (id) => page.querySelector(`#${id}`);
  const show = states(page);
  const form = page.querySelector("form");
  const field = at("code");
  let session;
  let arrived = false;

  async function join() {
    at("refusal").hidden = true;
    // A stash needs a browser session, and a socket cannot make one. Only the token goes: the field has no name.
    const made = await fetch(form.action, { method: "POST", body: new FormData(form) }).catch(() => null);
    if (!made?.ok) return refuse({ code: "unreachable" });
    session = pairing.join(field.value, { path });
    session.addEventListener("message", ({ detail }) => { arrived ||= detail.type === "handover.copied"; });
    session.addEventListener("closed", ({ detail }) => page.dataset.state === "waiting" && closed(detail));
    try {
      at("device").textContent = (await session.opened).sender_info.device;
      show("waiting");
    } catch (error) {
      refuse(error);
    }
  }

  function refuse({ code, message, retry_after: wait }) {
    const texts = { rate_limited: `Too many wrong codes. Wait ${Math.ceil(wait)} seconds.`, unreachable: ENDS.unreachable };
    at("refusal").textContent = texts[code] ?? message;
    at("refusal").hidden = false;
    field.focus();
    field.select();
  }

  function closed({ status, reason }) {
    if (status === "completed" || arrived) {
      show("done");
      setTimeout(() => location.assign(page.dataset.next), 1200);
    } else {
      at("ended").textContent = ending(JOINER_ENDS, reason);
      show("ended");
    }
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    await join();
    button.disabled = false;
  });
  at("cancel").addEventListener("click", () => session.fail("declined"));
  at("again").addEventListener("click", () => {
    field.value = "";
    show("entering");
    field.focus();
  });
  fillFromLink(field, (byLink) => { at("from-link").hidden = !byLink; });
}

const pages = { handover: send, continue: receive };
for (const [id, run] of Object.entries(pages)) {
  const page = document.getElementById(id);
  if (page) run(page);
}
