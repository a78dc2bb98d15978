const body = document.querySelector("table.sorted tbody"), rows = [...body.rows];
const heads = [...document.querySelectorAll("table.sorted th")];
heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
  const text = head.classList.contains("text"), was = head.getAttribute("aria-sort");
  const down = text ? was === "ascending" : was !== "descending", sign = down ? -1 : 1;
  const value = row => row.cells[column].dataset.value ?? row.cells[column].textContent;
  rows.sort((a, b) => {
    const x = value(a), y = value(b);
    if (text) return sign * x.localeCompare(y);
    if (x === "" || y === "") return (x === "") - (y === "");
    return sign * (x - y);
  });
  heads.forEach(other => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  body.append(...rows);
}));
const field = document.querySelector("#filter"), shown = document.querySelector("#shown");
const filter = () => {
  const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
  let n = 0;
  rows.forEach(row => {
    row.hidden = !words.every(word => row.textContent.toLowerCase().includes(word));
    n += !row.hidden;
  });
  shown.textContent = n + " of " + rows.length + " " + shown.dataset.what;
};
field.addEventListener("input", filter);
filter();
