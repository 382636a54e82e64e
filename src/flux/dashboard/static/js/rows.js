// The row that keys act on, the rows that are selected, and the order that holds still under the pointer.
const chosen = new Set();
let hovering = false;
let left = null;

export function rows() {
  return [...document.querySelectorAll("#main [data-row]")];
}

export function cursorRow() {
  return document.querySelector("#main [data-row][data-cursor]");
}

export function setCursor(row, scroll = true) {
  for (const other of document.querySelectorAll("#main [data-cursor]")) other.removeAttribute("data-cursor");
  if (!row) return;
  row.setAttribute("data-cursor", "");
  // In the history entry, so that Back comes to the row that was left.
  history.replaceState({ ...history.state, cursor: row.id }, "");
  if (scroll) row.scrollIntoView({ block: "nearest" });
}

export function moveCursor(step) {
  const all = rows();
  if (!all.length) return;
  const now = all.indexOf(cursorRow());
  setCursor(all[now === -1 ? (step > 0 ? 0 : all.length - 1) : Math.min(Math.max(now + step, 0), all.length - 1)]);
}

export function selection() {
  return [...chosen];
}

export function toggle(row) {
  const box = row?.querySelector('input[name="id"]');
  if (!box) return;
  box.checked = !box.checked;
  took(box);
}

export function clearSelection() {
  const had = chosen.size > 0;
  chosen.clear();
  restoreRows();
  if (had && !hovering) released();
}

function took(box) {
  if (box.checked) chosen.add(box.value);
  else chosen.delete(box.value);
  mark();
  if (!chosen.size && !hovering) released();
}

function mark() {
  for (const box of document.querySelectorAll('#main input[name="id"]')) {
    box.checked = chosen.has(box.value);
    box.closest("[data-row]").toggleAttribute("data-chosen", box.checked);
  }
  const said = document.getElementById("selected");
  if (said) said.textContent = chosen.size ? `${chosen.size} selected` : said.dataset.none;
}

export function restoreRows() {
  const here = new Set([...document.querySelectorAll('#main input[name="id"]')].map((box) => box.value));
  for (const id of chosen) if (!here.has(id)) chosen.delete(id);
  mark();
}

function released() {
  left = null;
  document.dispatchEvent(new Event("flux:released"));
}

// Rows must not move away from under the pointer, nor from among those that somebody is selecting. New content keeps
// today's rows where they are, shows those that are gone greyed, and says how many new ones wait.
export function holdOrder(fresh) {
  const held = document.getElementById("held");
  const body = document.querySelector("#main table[data-order] tbody");
  const coming = fresh.querySelector("table[data-order] tbody");
  if (!body || !coming || !(hovering || chosen.size)) return;
  const byId = new Map([...coming.children].map((row) => [row.id, row]));
  const kept = [...body.children].map((row) => {
    const same = byId.get(row.id);
    byId.delete(row.id);
    if (same) return same;
    const gone = row.cloneNode(true);
    gone.classList.add("left");
    return gone;
  });
  coming.replaceChildren(...kept);
  const note = fresh.querySelector("#held");
  if (note && held && byId.size) {
    note.hidden = false;
    note.textContent = `${byId.size} new`;
  }
}

export function startRows() {
  document.addEventListener("change", (event) => {
    if (event.target.matches?.('#main input[name="id"]')) took(event.target);
  });
  document.addEventListener("pointerover", (event) => {
    const over = Boolean(event.target.closest?.("table[data-order] tbody"));
    if (hovering && !over && !chosen.size) {
      clearTimeout(left);
      left = setTimeout(() => { if (!hovering) released(); }, 150);
    }
    hovering = over;
  });
  document.documentElement.addEventListener("pointerleave", () => {
    hovering = false;
    if (!chosen.size) released();
  });
  document.addEventListener("click", (event) => {
    const row = event.target.closest?.("#main [data-row]");
    if (!row) return;
    setCursor(row, false);
    // The whole row leads where its link leads; text that is being selected, and controls, do not.
    if (event.target.closest("a, button, input, summary, details, label, form[data-act] .menu-in")) return;
    if (String(getSelection())) return;
    if (row.dataset.href) location.assign(row.dataset.href);
  });
  // What the browser restores after Back is what was ticked.
  for (const box of document.querySelectorAll('#main input[name="id"]:checked')) chosen.add(box.value);
  mark();
  const back = history.state?.cursor && document.getElementById(history.state.cursor);
  if (back) setCursor(back);
}
