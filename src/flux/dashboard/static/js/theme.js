// The switch acts at once; the cookie it leaves is what the server paints the next page by.
export function startTheme() {
  const form = document.getElementById("theme");
  const root = document.documentElement;
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const now = root.dataset.theme || (prefersDark.matches ? "dark" : "light");
    const next = now === "dark" ? "light" : "dark";
    root.dataset.theme = next;
    const path = root.dataset.base || "/";
    document.cookie = `flux_theme=${next}; Path=${path}; Max-Age=31536000; SameSite=Strict`;
    document.dispatchEvent(new Event("flux:theme"));
  });
  prefersDark.addEventListener("change", () => document.dispatchEvent(new Event("flux:theme")));
}
