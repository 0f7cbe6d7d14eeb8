// A page that brings two browsers together: each shows what the other says.

const { pairing } = window.syncsessions;
const at = (selector) => document.querySelector(selector);
const show = (text) => { at("#state").textContent = text; };

function follow(session) {
  window.session = session;
  session.onrelay = (payload) => at("#heard").append(Object.assign(document.createElement("li"), { textContent: payload.text }));
  session.opened.then(
    ({ code, status }) => {
      at("#code").textContent = code ? pairing.format(code) : "";
      show(status);
    },
    ({ code }) => show(code),
  );
  session.addEventListener("peer_joined", ({ detail }) => show(`joined by ${detail.receiver_info?.name}`));
  session.addEventListener("closed", ({ detail }) => show(`${detail.status}: ${detail.reason}`));
}

at("#open").addEventListener("click", () => follow(pairing.open({ direction: "send", info: { name: "owner" } })));
at("#join").addEventListener("submit", (event) => {
  event.preventDefault();
  follow(pairing.join(at("[name=code]").value, { info: { name: "peer" } }));
});
at("#say").addEventListener("submit", (event) => {
  event.preventDefault();
  window.session.relay({ text: at("[name=text]").value });
});
at("#complete").addEventListener("click", () => window.session.complete());

const given = pairing.codeFromFragment();
if (given) at("[name=code]").value = pairing.format(given);
