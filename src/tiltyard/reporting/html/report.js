"use strict";
for (const box of document.querySelectorAll(".table")) {
  const body = box.querySelector("tbody");
  const rows = [...body.rows];
  const headings = [...box.querySelectorAll("thead th")];
  const words = box.querySelector("[data-filter]");
  const choices = [...box.querySelectorAll("[data-choice]")];
  const count = box.querySelector("output");
  const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));

  function filter() {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const fits =
        wanted.every((word) => texts.get(row).includes(word)) &&
        choices.every((one) => !one.value || row.cells[one.dataset.choice].textContent.trim() === one.value);
      row.hidden = !fits;
      shown += fits;
    }
    const all = rows.length === 1 ? "1 row" : `${rows.length} rows`;
    count.textContent = shown === rows.length ? all : `${shown} of ${all}`;
  }

  function sort(heading) {
    const place = headings.indexOf(heading);
    const down = heading.getAttribute("aria-sort") === "ascending";
    const numeric = heading.dataset.number === "yes";
    for (const other of headings) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = new Map(rows.map((row) => [row, row.cells[place].dataset.order]));
    const order = (a, b) => {
      const [x, y] = [key.get(a), key.get(b)];
      if (x === "" || y === "") return (x === "") - (y === ""); // what is missing stands last either way
      const found = numeric ? Number(x) - Number(y) : x.localeCompare(y, "en", { numeric: true });
      return down ? -found : found;
    };
    body.append(...rows.toSorted(order));
  }

  words.addEventListener("input", filter);
  for (const one of choices) one.addEventListener("change", filter);
  for (const heading of headings) heading.querySelector("button").addEventListener("click", () => sort(heading));
}

const examples = [...document.querySelectorAll("details.example")];
let folded = [];
window.addEventListener("beforeprint", () => {
  folded = examples.filter((one) => !one.open); // paper cannot be unfolded
  for (const one of folded) one.open = true;
});
window.addEventListener("afterprint", () => {
  for (const one of folded) one.open = false;
});
