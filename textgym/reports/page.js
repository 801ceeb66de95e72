"use strict";
const told = document.getElementById("_told");
let about = null;  // the token that is told about

// Tables: a heading sorts, and sorts the other way when asked again. Cells that are not known stay below.
for (const heading of document.querySelectorAll("thead th")) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...heading.childNodes);
  heading.append(button);
  heading.ariaSort = "none";
  button.addEventListener("click", () => sort(heading));
}

function sort(heading) {
  const column = heading.cellIndex, body = heading.closest("table").tBodies[0];
  const rows = [...body.rows], numbers = rows.some(row => row.cells[column].dataset.v !== undefined);
  const ascending = heading.ariaSort === "none" ? !numbers : heading.ariaSort === "descending";
  const key = row => numbers ? row.cells[column].dataset.v ?? "" : row.cells[column].textContent.trim();
  const compare = (a, b) => (numbers ? a - b : a.localeCompare(b, undefined, {numeric: true})) * (ascending ? 1 : -1);
  const known = rows.filter(row => key(row) !== ""), rest = rows.filter(row => key(row) === "");
  body.append(...known.sort((a, b) => compare(key(a), key(b))), ...rest);
  for (const other of heading.parentNode.cells) other.ariaSort = "none";
  heading.ariaSort = ascending ? "ascending" : "descending";
  say(`Sorted by ${heading.textContent}, ${heading.ariaSort}`);
}

// What scrolls is reached by the keyboard; what fits is no stop on the way.
const fits = new ResizeObserver(entries => {
  for (const {target} of entries) {
    const scrolls = target.scrollWidth > target.clientWidth;
    target.tabIndex = scrolls ? 0 : -1;
    scrolls ? target.setAttribute("role", "group") : target.removeAttribute("role");
  }
});
document.querySelectorAll(".scroll").forEach(region => fits.observe(region));

// Heat maps: one stop each; arrow keys go from token to token and from line to line.
for (const story of document.querySelectorAll(".tokens")) {
  story.setAttribute("role", "group");
  story.setAttribute("aria-description", "Arrow keys move from token to token and tell what each one earned.");
  story.querySelector("span").tabIndex = 0;
  story.addEventListener("mouseover", event => tell(story, event.target.closest("span")));
  story.addEventListener("click", event => go(story, event.target.closest("span")));
  story.addEventListener("focusin", event => tell(story, event.target));
  story.addEventListener("focusout", hush);
  story.addEventListener("keydown", event => {
    const next = step(story, event.target, event.key);
    if (!next) return;
    event.preventDefault();
    go(story, next);
  });
  story.addEventListener("mouseleave", event => told.contains(event.relatedTarget) || hush());
}
told.addEventListener("mouseleave", hush);
addEventListener("keydown", event => event.key === "Escape" && hush());
addEventListener("scroll", () => about && beside(about), {passive: true});

function go(story, token) {
  if (!token) return;
  story.querySelector("[tabindex='0']").tabIndex = -1;
  token.tabIndex = 0;
  token.focus();
}

function step(story, token, key) {
  const tokens = [...story.querySelectorAll("span")], here = tokens.indexOf(token);
  const on = getComputedStyle(story).direction === "rtl" ? "ArrowLeft" : "ArrowRight";
  if (key === "Home") return tokens[0];
  if (key === "End") return tokens.at(-1);
  if (key === "ArrowLeft" || key === "ArrowRight") return tokens[here + (key === on ? 1 : -1)] ?? token;
  if (key !== "ArrowUp" && key !== "ArrowDown") return null;
  const box = token.getBoundingClientRect(), down = key === "ArrowDown" ? 1 : -1;
  const beyond = tokens.map(other => [other, other.getBoundingClientRect()])
    .filter(([, place]) => (place.top - box.top) * down > box.height / 2);
  const apart = ([, place]) => Math.abs(place.top - box.top) * 99 + Math.abs(place.left - box.left);
  return beyond.sort((a, b) => apart(a) - apart(b))[0]?.[0] ?? token;
}

function tell(story, token) {
  if (!token) return;
  about = token;
  const tokens = [...story.querySelectorAll("span")], place = tokens.indexOf(token);
  const head = document.createElement("p");
  head.append(token.textContent, ` · ${place + 1} of ${tokens.length}`);
  const lines = JSON.parse(story.dataset.values).map(([name, values]) => {
    const line = document.createElement("div"), value = values[place];
    line.append(node("span", name), " ", node("span", value === null ? "not known" : signed(value)));
    return line;
  });
  const marks = token.nextElementSibling?.matches("sup") ? token.nextElementSibling.textContent.split(", ") : [];
  const faults = story.parentNode.querySelectorAll(".faults li");
  told.replaceChildren(head, ...lines, ...marks.map(mark => {
    const fault = faults[mark - 1];
    return node("p", fault.querySelector("bdi").textContent, fault.className);
  }));
  told.classList.add("here");
  beside(token);
}

function beside(token) {
  const box = token.getBoundingClientRect(), below = box.bottom + told.offsetHeight + 8 < innerHeight;
  told.style.left = `${Math.max(8, Math.min(box.left, document.documentElement.clientWidth - told.offsetWidth - 8))}px`;
  told.style.top = `${below ? box.bottom + 2 : Math.max(box.top - told.offsetHeight - 2, 0)}px`;
}

function node(tag, text, name = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = name;
  return made;
}

function signed(value) {
  return (value > 0 ? "+" : "") + String(value).replace("-", "\u2212");
}

function say(text) {
  hush();
  told.textContent = text;
}

function hush() {
  about = null;
  told.classList.remove("here");
}

// On paper everything is open.
let closed = [];
addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details:not([open])")];
  closed.forEach(details => { details.open = true; });
});
addEventListener("afterprint", () => closed.forEach(details => { details.open = false; }));
