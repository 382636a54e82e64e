// Keys, for those who would rather not reach for the mouse. The same list stands in the help of every page.
import { clearSelection, cursorRow, moveCursor, selection, setCursor, toggle } from "./rows.js";
import { toggleFreeze } from "./live.js";
import { say } from "./forms.js";

const help = document.getElementById("help");
const base = document.documentElement.dataset.base;
let going = -Infinity; // when g was pressed

function typing(target) {
  return target.closest?.("input:not([type=checkbox]), textarea, select, [contenteditable]");
}

function go(letter) {
  const link = document.querySelector(`nav a[data-go="${CSS.escape(letter)}"]`);
  if (link) link.click();
}

function search() {
  const box = document.getElementById("q");
  if (box) {
    box.focus();
    box.select();
  } else {
    location.assign(`${base}/jobs#q`); // the browser focuses what the fragment names
  }
}

// On the list: what is selected, or else the row under the cursor, which is selected for it so that it is seen.
function chooseRow() {
  if (selection().length) return true;
  const row = cursorRow();
  if (row?.querySelector('input[name="id"]')) toggle(row);
  return selection().length > 0;
}

function retry() {
  const form = document.querySelector('form[data-key="r"]');
  if (form) form.requestSubmit();
  else if (document.getElementById("bulk-retry")) {
    if (chooseRow()) document.getElementById("bulk").requestSubmit(document.getElementById("bulk-retry"));
    else say("Choose a job first: j and k move, x selects.", false);
  }
}

function cancel() {
  const menu = document.getElementById("cancel") || document.getElementById("bulk-cancel");
  if (!menu) return;
  if (menu.id === "bulk-cancel" && !chooseRow()) {
    say("Choose a job first: j and k move, x selects.", false);
    return;
  }
  menu.open = true;
  menu.querySelector("input[name=reason]").focus();
}

function pause() {
  const scope = cursorRow();
  const form = scope?.querySelector('form[data-key="p"]');
  if (form) form.requestSubmit();
  else if (document.querySelector('form[data-key="p"]')) say("Choose a row first: j and k move.", false);
}

function open() {
  const href = cursorRow()?.dataset.href;
  if (href) location.assign(href);
}

const KEYS = {
  j: () => moveCursor(1),
  k: () => moveCursor(-1),
  x: () => toggle(cursorRow()),
  r: retry,
  c: cancel,
  p: pause,
  f: toggleFreeze,
  "/": search,
  "?": () => help.showModal(),
};

function leave() {
  const menu = document.querySelector("details.menu[open]");
  if (menu) {
    menu.open = false;
    menu.querySelector("summary").focus();
    return;
  }
  clearSelection();
  setCursor(null);
}

export function startKeys() {
  const button = document.getElementById("help-button");
  button.hidden = false;
  button.addEventListener("click", () => help.showModal());
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
    if (event.key === "Escape") {
      if (typing(event.target)) event.target.blur();
      leave();
      return;
    }
    if (typing(event.target)) return;
    if (performance.now() - going < 1200) {
      going = -Infinity;
      event.preventDefault();
      go(event.key);
      return;
    }
    if (event.key === "g") {
      going = performance.now();
      return;
    }
    if (event.key === "Enter") {
      // On a link or a button Enter is theirs.
      if (event.target === document.body || event.target.id === "main") open();
      return;
    }
    const act = KEYS[event.key];
    if (act) {
      event.preventDefault();
      act();
    }
  });
}
