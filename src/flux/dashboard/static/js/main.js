// Every page without us is a plain page with links and forms; this makes it live and adds keys.
import { startTimes } from "./times.js";
import { startLive } from "./live.js";
import { startRows } from "./rows.js";
import { startForms } from "./forms.js";
import { startKeys } from "./keys.js";
import { startTheme } from "./theme.js";

startTimes();
startRows();
startForms();
startKeys();
startTheme();
startLive();

if (document.querySelector(".chart")) {
  const { startCharts } = await import("./charts.js");
  startCharts();
}
