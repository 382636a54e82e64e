// The page over openapi.json: what there is, and a form to try it. No library, nothing from elsewhere.
"use strict";

function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value !== undefined && value !== null && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

// Words between backticks are code.
function prose(text) {
  return (text || "").split("`").map((part, index) => (index % 2 ? make("code", null, part) : part));
}

function pretty(value) {
  return typeof value === "string" ? value : JSON.stringify(value, null, 2);
}

function kind(schema, document) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.anyOf) return schema.anyOf.map((part) => kind(part, document)).join(" | ");
  if (schema.type === "array") return "list of " + (kind(schema.items, document) || "anything");
  return schema.format ? schema.type + " (" + schema.format + ")" : schema.type || "anything";
}

function fields(schema, document) {
  if (!schema || !schema.$ref) return null;
  const found = document.components.schemas[schema.$ref.split("/").pop()];
  if (!found || !found.properties) return null;
  const required = new Set(found.required || []);
  const rows = Object.entries(found.properties).map(([name, property]) =>
    make("tr", null,
      make("td", null, make("code", null, name), required.has(name) ? " *" : ""),
      make("td", { class: "quiet" }, kind(property, document) +
        (property.default !== undefined && property.default !== null ? ", default " + JSON.stringify(property.default) : "")))
  );
  return make("details", null, make("summary", null, "Fields of " + schema.$ref.split("/").pop()),
    make("div", { class: "inside" }, found.description ? make("p", null, ...prose(found.description.replaceAll("``", "`"))) : null, make("table", null, ...rows)));
}

function address(path, inputs) {
  let url = path;
  const query = new URLSearchParams();
  for (const { parameter, input } of inputs) {
    const value = input.value.trim();
    if (parameter.in === "path") {
      url = url.replace("{" + parameter.name + "}", encodeURIComponent(value));
    } else if (parameter.in === "query" && value) {
      if (parameter.name.endsWith(".*")) {
        const [name, ...rest] = value.split("=");
        query.append(name, rest.join("="));
      } else {
        query.append(parameter.name, value);
      }
    }
  }
  const text = query.toString();
  return text ? url + "?" + text : url;
}

async function show(response, output, stop) {
  const head = response.status + " " + response.statusText + "\n" +
    [...response.headers].map(([name, value]) => name + ": " + value).join("\n") + "\n\n";
  const type = response.headers.get("content-type") || "";
  if (!type.startsWith("text/event-stream")) {
    const text = await response.text();
    try {
      output.textContent = head + pretty(JSON.parse(text));
    } catch {
      output.textContent = head + text;
    }
    return;
  }
  output.textContent = head;
  stop.hidden = false;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    output.textContent = (output.textContent + value).slice(-50000);
  }
}

function form(method, path, operation) {
  const inputs = [];
  const rows = (operation.parameters || []).map((parameter) => {
    const input = make("input", {
      "aria-label": parameter.name,
      placeholder: parameter.name.endsWith(".*") ? "payload.to=user@example.com" : String(parameter.example ?? ""),
    });
    inputs.push({ parameter, input });
    return make("tr", null,
      make("td", null, make("code", null, parameter.name), parameter.required ? " *" : "",
        make("div", { class: "quiet" }, parameter.in)),
      make("td", null, input, make("div", { class: "quiet" }, ...prose(parameter.description))));
  });
  const body = operation.requestBody
    ? make("textarea", { "aria-label": "Body", spellcheck: "false" },
        pretty(operation.requestBody.content["application/json"].example))
    : null;
  const output = make("pre", { hidden: "", "aria-live": "polite" });
  const send = make("button", { type: "submit" }, "Send");
  const stop = make("button", { type: "button", class: "quiet", hidden: "" }, "Stop");
  const element = make("form", null,
    rows.length ? make("table", null, ...rows) : null,
    body ? make("h3", null, "Body") : null, body,
    make("p", null, send, " ", stop), output);
  let under = null;
  stop.addEventListener("click", () => under && under.abort());
  element.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (under) under.abort();
    under = new AbortController();
    const headers = {};
    for (const { parameter, input } of inputs) {
      if (parameter.in === "header" && input.value.trim()) headers[parameter.name] = input.value.trim();
    }
    if (body && body.value.trim()) headers["Content-Type"] = "application/json";
    const url = address(path, inputs);
    output.hidden = false;
    output.textContent = method + " " + url + " …";
    try {
      const response = await fetch(url, {
        method, headers, signal: under.signal, body: body && body.value.trim() ? body.value : undefined,
      });
      await show(response, output, stop);
    } catch (error) {
      output.textContent += "\n" + (error.name === "AbortError" ? "Stopped." : error);
    } finally {
      stop.hidden = true;
    }
  });
  return element;
}

function replies(operation, document) {
  const parts = [];
  for (const [status, reply] of Object.entries(operation.responses)) {
    const content = Object.entries(reply.content || {})[0];
    const inside = make("div", { class: "inside" });
    if (content) {
      const [type, { example, schema }] = content;
      inside.append(make("p", { class: "quiet" }, type + (kind(schema, document) ? ": " + kind(schema, document) : "")));
      const table = fields(schema, document);
      if (table) inside.append(table);
      if (example !== undefined) inside.append(make("pre", null, pretty(example)));
    }
    for (const [name, header] of Object.entries(reply.headers || {})) {
      inside.append(make("p", null, make("code", null, name), " ", ...prose(header.description)));
    }
    parts.push(make("details", null, make("summary", null, make("code", null, status), make("span", null, ...prose(reply.description))), inside));
  }
  return parts;
}

function render(method, path, operation, document) {
  const inside = make("div", { class: "inside" });
  const element = make("details", { id: operation.operationId },
    make("summary", null, make("span", { class: "method " + method }, method.toUpperCase()),
      make("code", null, path), make("span", { class: "quiet" }, operation.summary)),
    inside);
  element.dataset.words = [method, path, operation.summary, operation.operationId].join(" ").toLowerCase();
  element.addEventListener("toggle", () => {
    if (!element.open || inside.childElementCount) return;
    if (operation.description) inside.append(make("p", null, ...prose(operation.description)));
    inside.append(make("h3", null, "Try it"), form(method.toUpperCase(), path, operation));
    const schema = operation.requestBody && operation.requestBody.content["application/json"].schema;
    const table = fields(schema, document);
    if (table) inside.append(table);
    inside.append(make("h3", null, "Answers"), ...replies(operation, document));
  });
  return element;
}

function build(document_) {
  const main = document.getElementById("operations");
  const nav = document.getElementById("groups");
  main.replaceChildren(make("p", null, ...prose(document_.info.description)));
  document.getElementById("version").textContent = "Version " + document_.info.version;
  const all = [];
  for (const { name } of document_.tags) {
    const section = make("section", { id: "group-" + name }, make("h2", null, name));
    for (const [path, methods] of Object.entries(document_.paths)) {
      for (const [method, operation] of Object.entries(methods)) {
        if (operation.tags[0] !== name) continue;
        const element = render(method, path, operation, document_);
        all.push(element);
        section.append(element);
      }
    }
    main.append(section);
    nav.append(make("a", { href: "#group-" + name }, name));
  }
  document.getElementById("search").addEventListener("input", (event) => {
    const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const element of all) element.hidden = !words.every((word) => element.dataset.words.includes(word));
    for (const section of main.querySelectorAll("section")) {
      section.hidden = !section.querySelector("section > details:not([hidden])");
    }
  });
  const wanted = location.hash && document.getElementById(location.hash.slice(1));
  if (wanted) {
    if (wanted.tagName === "DETAILS") wanted.open = true;
    wanted.scrollIntoView();
  }
}

fetch("/openapi.json")
  .then((response) => response.json())
  .then(build)
  .catch((error) => {
    document.getElementById("loading").textContent = "The document could not be read: " + error;
  });
