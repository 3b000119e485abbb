// Shows /openapi.json. Text goes in as text, never as HTML: schemas and summaries come from plugins.
"use strict";

function element(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function section(title, ...children) {
  return [element("h3", {}, title), ...children];
}

function schema(value) {
  return element("pre", { tabindex: "0" }, JSON.stringify(value, null, 2));
}

function parameters(list) {
  const rows = list.map((parameter) => element("tr", {},
    element("td", {}, element("code", {}, parameter.name)),
    element("td", {}, parameter.in + (parameter.required ? ", required" : "")),
    element("td", {}, [parameter.schema.type].flat().filter(Boolean).join(" | "))));
  return element("table", {}, element("tbody", {}, ...rows));
}

function responses(all) {
  return Object.entries(all).flatMap(([status, response]) => {
    if (response.$ref) return [];
    const content = Object.entries(response.content ?? {});
    const shapes = content.map(([kind, media]) => media.schema ? schema(media.schema) : element("code", {}, kind));
    return section(`Answer ${status}: ${response.description}`, ...shapes);
  });
}

function operation(path, method, details) {
  const body = element("div", { class: "body" }, ...section("Who may call", details["x-access"]));
  if (details.parameters) body.append(...section("Parameters", parameters(details.parameters)));
  const request = details.requestBody?.content["application/json"]?.schema;
  if (request) body.append(...section("Request body", schema(request)));
  body.append(...responses(details.responses));
  const summary = element("summary", {},
    element("b", { class: "method" }, method.toUpperCase()), " ",
    element("code", {}, path), element("span", {}, details.summary));
  const node = element("details", {}, summary, body);
  node.dataset.words = `${details.tags.join(" ")} ${method} ${path} ${details.summary}`.toLowerCase();
  return node;
}

function render(api) {
  const groups = new Map(api.tags.map((tag) => [tag.name, []]));
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, details] of Object.entries(methods)) {
      groups.get(details.tags[0]).push(operation(path, method, details));
    }
  }
  return [...groups].map(([tag, nodes]) => element("section", {}, element("h2", {}, tag), ...nodes));
}

function filter(words) {
  for (const group of document.querySelectorAll("main section")) {
    const nodes = [...group.querySelectorAll("details")];
    for (const node of nodes) node.hidden = !words.every((word) => node.dataset.words.includes(word));
    group.hidden = nodes.every((node) => node.hidden);
  }
}

async function start() {
  const main = document.getElementById("routes");
  try {
    const response = await fetch("/openapi.json");
    if (!response.ok) throw new Error(`the host answered ${response.status}`);
    main.replaceChildren(...render(await response.json()));
  } catch (error) {
    main.replaceChildren(element("p", { role: "alert" }, `Cannot show the reference: ${error.message}`));
  }
  document.getElementById("filter").addEventListener("input", (event) => {
    filter(event.target.value.toLowerCase().split(/\s+/).filter(Boolean));
  });
}

start();
