// Tables that are sorted by the column whose head is pressed. Rows stay as Python wrote them; only their order changes.

function sortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => sortBy(table, heads, column));
  });
}

/** By the other direction if it is already sorted by this column; numbers begin with the largest. */
function sortBy(table, heads, column) {
  const head = heads[column];
  const numbers = head.classList.contains("n");
  const before = head.getAttribute("aria-sort");
  const falling = before === "none" ? numbers && column > 0 : before === "ascending";
  heads.forEach((other) => other.setAttribute("aria-sort", "none"));
  head.setAttribute("aria-sort", falling ? "descending" : "ascending");
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const keys = new Map(rows.map((row) => [row, key(row.cells[column], numbers)]));
  rows.sort((a, b) => compare(keys.get(a), keys.get(b), falling ? -1 : 1));
  body.append(...rows);
}

/** What a cell is sorted by; null for a dash. */
function key(cell, number) {
  const text = cell.dataset.key;
  if (text === undefined) return null;
  return number ? Number(text) : text;
}

/** Dashes come last in both directions; equal rows keep their order. */
function compare(a, b, sign) {
  if (a === null || b === null) return (a === null) - (b === null);
  if (typeof a === "string") return sign * a.localeCompare(b, "en", { numeric: true });
  return sign * (a - b);
}
