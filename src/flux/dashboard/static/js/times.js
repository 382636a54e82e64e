// Keeps "2 s ago" true. flux/dashboard/words.py says the same words for the first paint.
const UNITS = [["d", 86400, "h", 3600], ["h", 3600, "min", 60], ["min", 60, "s", 1]];

let offset = 0; // the server's clock minus ours, in milliseconds

export function serverNow() {
  return Date.now() + offset;
}

export function setServerNow(us) {
  offset = us / 1000 - Date.now();
}

export function coarse(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole} s`;
  for (const [unit, size, small, smaller] of UNITS) {
    if (whole >= size) {
      const n = Math.floor(whole / size);
      const rest = Math.floor((whole % size) / smaller);
      return rest && n < 10 ? `${n} ${unit} ${rest} ${small}` : `${n} ${unit}`;
    }
  }
  return "";
}

function said(at, now, form) {
  if (form === "in" && at <= now) return "now";
  const distance = coarse(Math.abs(now - at) / 1000);
  if (form === "for") return distance;
  return form === "in" || at > now + 1000 ? `in ${distance}` : `${distance} ago`;
}

export function tell(root = document) {
  const now = serverNow();
  for (const element of root.querySelectorAll("time[data-us]")) {
    const at = Number(element.dataset.us) / 1000;
    const text = said(at, now, element.dataset.form);
    if (element.textContent !== text) element.textContent = text;
    if (element.dataset.local !== element.dataset.us) {
      element.dataset.local = element.dataset.us;
      const utc = new Date(at).toISOString().replace("T", " ").replace("Z", " UTC");
      element.title = `${new Date(at).toLocaleString()} (${utc})`;
    }
  }
}

export function startTimes() {
  setServerNow(Number(document.documentElement.dataset.now));
  tell();
  setInterval(() => { if (!document.hidden) tell(); }, 1000);
  document.addEventListener("visibilitychange", () => tell());
}
