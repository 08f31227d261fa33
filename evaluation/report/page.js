"use strict";
// Sorts tables by a click on, or Enter in, a column's head; orders and filters the cards of the failure browser.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const text = (row) => row.cells[column].textContent.trim();
      const value = (row) => { const x = parseFloat(text(row)); return Number.isNaN(x) ? -Infinity : x; };
      const order = column === 0 ? (a, b) => text(a).localeCompare(text(b)) : (a, b) => value(a) - value(b);
      body.append(...[...body.rows].sort((a, b) => (up ? 1 : -1) * order(a, b)));
    });
  });
}
const browser = document.getElementById("browser");
if (browser) {
  const cards = [...document.querySelectorAll("article.card")], holder = cards[0].parentNode;
  const order = browser.querySelector("select"), find = browser.querySelector("input"), shown = browser.querySelector("output");
  const refresh = () => {
    const key = order.value, word = find.value.toLowerCase();
    cards.sort((a, b) => parseFloat(a.dataset[key]) - parseFloat(b.dataset[key]));
    holder.append(...cards);
    let count = 0;
    for (const card of cards) {
      card.hidden = !card.dataset.name.toLowerCase().includes(word);
      count += card.hidden ? 0 : 1;
    }
    shown.textContent = `${count} of ${cards.length} shown`;
  };
  order.addEventListener("change", refresh);
  find.addEventListener("input", refresh);
  browser.hidden = false;
  refresh();
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    if (event.key !== "j" && event.key !== "k") return;
    const open = cards.filter((card) => !card.hidden), at = open.indexOf(document.activeElement);
    const next = open[event.key === "j" ? Math.min(at + 1, open.length - 1) : Math.max(at - 1, 0)];
    if (next) { next.focus(); next.scrollIntoView({ block: "start" }); }
  });
}
