// One stream per open page: its content is morphed in place, its heartbeat says how old what we see is.
import { Idiomorph } from "../vendor/idiomorph.js";
import { coarse, serverNow, setServerNow, tell } from "./times.js";
import { holdOrder, restoreRows } from "./rows.js";

const OLD = 5; // seconds without news after which the dot says so
const LOST = 10; // and after which, without a connection, the page does
const root = document.documentElement;
const main = document.getElementById("main");
const button = document.getElementById("live");
const age = document.getElementById("age");
const away = document.getElementById("away");

let frozen = false;
let waiting = null; // content that came while frozen
let at = Number(root.dataset.at) / 1000; // when what is shown was true, on the server's clock
let newest = at;
let source = null;

const morphing = {
  morphStyle: "innerHTML",
  ignoreActiveValue: true,
  callbacks: {
    beforeNodeMorphed(old, fresh) {
      if (!(old instanceof Element) || !(fresh instanceof Element)) return true;
      // What somebody has open and is about to fill in stays as it is.
      if (old.matches("details[data-keep][open]")) return false;
      if (old.matches("[data-keep-focus]") && old.contains(document.activeElement)) return false;
      if (old.matches(".chart") && fresh.matches(".chart")) {
        if (old.dataset.chart !== fresh.dataset.chart) {
          old.dataset.chart = fresh.dataset.chart;
          old.dataset.empty = fresh.dataset.empty;
          old.dispatchEvent(new Event("chart-data"));
        }
        return false;
      }
      if (old.matches("time[data-us]") && fresh.matches("time[data-us]")) {
        for (const { name, value } of fresh.attributes) {
          if (name !== "title" && old.getAttribute(name) !== value) old.setAttribute(name, value);
        }
        return false; // its words are ours
      }
      return true;
    },
    beforeAttributeUpdated(name, node) {
      // These are the browser's or the person's, and the server does not know them.
      if (name === "open" && node.matches("details, dialog")) return false;
      if (name === "checked" || name === "data-cursor" || name === "data-chosen") return false;
      if (name === "value" && node.matches('input[name="csrf"]')) return false;
      return true;
    },
  },
};

function show(html) {
  const fresh = document.createElement("template");
  fresh.innerHTML = html;
  holdOrder(fresh.content);
  const pinned = [...main.querySelectorAll("[data-pin]")].filter(
    (box) => box.scrollTop + box.clientHeight >= box.scrollHeight - 4,
  );
  Idiomorph.morph(main, fresh.content, morphing);
  for (const box of pinned) box.scrollTop = box.scrollHeight;
  restoreRows();
  tell(main);
  document.dispatchEvent(new CustomEvent("flux:shown"));
}

function tick() {
  const seconds = (serverNow() - at) / 1000;
  const text = frozen ? `frozen, ${coarse(seconds)} ago` : `${coarse(seconds)} ago`;
  if (age.textContent !== text) age.textContent = text;
  button.classList.toggle("old", seconds > OLD && !frozen);
  if (seconds > LOST && !frozen && source?.readyState !== EventSource.OPEN) {
    setAway("The dashboard does not answer, so this is what it last showed.");
  }
}

function setAway(why) {
  document.body.classList.toggle("is-away", Boolean(why));
  away.hidden = !why;
  const text = why ? `${why} It is ${coarse((serverNow() - at) / 1000)} old.` : "";
  if (away.textContent !== text) away.textContent = text;
}

export function toggleFreeze() {
  if (button.hidden) return;
  frozen = !frozen;
  button.setAttribute("aria-pressed", String(frozen));
  button.title = frozen ? "Let this page go on (f)" : "Freeze this page (f)";
  if (!frozen) {
    at = newest;
    if (waiting !== null) show(waiting);
    waiting = null;
  }
  tick();
}

// A held order is let go when the pointer leaves or the selection ends: show what came meanwhile.
let held = null;
document.addEventListener("flux:released", () => {
  if (held !== null && !frozen) show(held);
  held = null;
});

function open() {
  // The stream of a page is the page itself, asked for as a stream: the URL is the whole state.
  source = new EventSource(location.href.split("#")[0]);
  source.addEventListener("page", (event) => {
    if (frozen) {
      waiting = event.data;
    } else {
      held = event.data;
      show(event.data);
    }
  });
  source.addEventListener("beat", (event) => {
    const said = JSON.parse(event.data);
    setServerNow(said.now);
    if (said.at) newest = said.at / 1000;
    if (!frozen) at = newest;
    setAway(said.away);
    button.classList.remove("fresh");
    requestAnimationFrame(() => button.classList.add("fresh"));
    tick();
  });
  source.onerror = () => {
    // The browser comes back by itself, except after an answer that was no stream.
    if (source.readyState === EventSource.CLOSED) setTimeout(reopen, 3000);
  };
}

function reopen() {
  if (source !== null && source.readyState === EventSource.CLOSED && !document.hidden) open();
}

export function startLive() {
  if ("away" in root.dataset) document.body.classList.add("is-away");
  if (!("live" in document.body.dataset)) return;
  button.hidden = false;
  button.addEventListener("click", toggleFreeze);
  tick();
  setInterval(() => { if (!document.hidden) tick(); }, 1000);
  open();
  // A page in the back costs the server nothing; it is up to date a moment after it is looked at again.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) source.close();
    else reopen();
  });
  window.addEventListener("pagehide", () => source.close());
  window.addEventListener("pageshow", (event) => { if (event.persisted) reopen(); });
}
