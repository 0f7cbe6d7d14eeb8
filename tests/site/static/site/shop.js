// A page that shows a cart, which is a session process.

const { process } = window.syncsessions;
const at = (selector) => document.querySelector(selector);

const cart = process.connect("shop");
window.cart = cart;
window.heard = [];
cart.subscribe(["cart_count"], ({ values, revision }) => {
  at("#count").textContent = values.cart_count;
  window.heard.push([values, revision]);
});
cart.subscribe(["total"], ({ values }) => { at("#total").textContent = values.total; });
for (const type of ["stopped", "error"]) {
  cart.addEventListener(type, ({ detail }) => { at("#state").textContent = `${type}: ${detail.reason ?? detail.code}`; });
}
at("#add").addEventListener("click", async () => {
  const revision = await cart.dispatch("cart.add_item", { name: "pen", price: 3 });
  at("#state").textContent = `added: ${revision}`;
});
