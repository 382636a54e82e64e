// Forms are sent without leaving the page; the stream shows what they did. Without us they are plain forms.
import { clearSelection } from "./rows.js";

const flash = document.getElementById("flash");
const csrf = document.querySelector('meta[name="csrf"]').content;

export function say(text, ok) {
  const icon = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  icon.setAttribute("class", "icon");
  icon.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", ok ? "#i-check" : "#i-cross");
  icon.append(use);
  const words = document.createElement("span");
  words.textContent = text;
  const line = document.createElement("p");
  line.className = `flash ${ok ? "good" : "bad"}`;
  line.append(icon, words);
  flash.replaceChildren(line);
  fade(line, ok);
}

function fade(line, ok) {
  setTimeout(() => line.remove(), ok ? 6000 : 15000);
}

export async function post(action, fields) {
  const body = new URLSearchParams(fields);
  body.set("csrf", csrf);
  let answer;
  try {
    const response = await fetch(action, {
      method: "POST",
      body,
      headers: { "x-flux-script": "1" },
      credentials: "same-origin",
    });
    answer = await response.json();
  } catch {
    say("The dashboard did not answer, so it is not known whether this was done.", false);
    return false;
  }
  if (answer.go) {
    location.assign(answer.go);
    return true;
  }
  say(answer.text, answer.ok);
  return answer.ok;
}

async function send(form, submitter) {
  const fields = new FormData(form);
  if (submitter?.name) fields.set(submitter.name, submitter.value);
  // Which boxes are in the page is the server's; which of them count here are those that are checked now.
  const buttons = [...form.querySelectorAll("button")];
  for (const button of buttons) button.disabled = true;
  const action = submitter?.getAttribute("formaction") || form.getAttribute("action");
  const ok = await post(action, fields);
  for (const button of buttons) button.disabled = false;
  if (ok) {
    for (const menu of [form.closest("details[open]"), ...form.querySelectorAll("details[open]")]) {
      if (menu) menu.open = false;
    }
    clearSelection();
  }
}

export function startForms() {
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!form.matches("form[data-act]")) return;
    event.preventDefault();
    send(form, event.submitter);
  });
  // One menu at a time, and a click elsewhere closes it.
  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
  });
  const first = flash.querySelector(".flash");
  if (first) fade(first, first.classList.contains("good"));
}
