// Watches a run with npm's eventsource, which connects again by itself and says then what it heard last. Prints what it hears, a line
// of JSON each. With CUT it cuts its own line once, when it has heard of the first call.
import { EventSource } from "eventsource";

const { WATCH_URL: address, TOKEN: token, CUT: cut } = process.env;
const say = (line) => console.log(JSON.stringify(line));

let line;
let isCut = !cut;
const source = new EventSource(address, {
  fetch: async (url, init) => {
    line = new AbortController();
    const signal = AbortSignal.any([line.signal, init.signal]);
    const headers = { ...init.headers, authorization: `Bearer ${token}` };
    const response = await fetch(url, { ...init, signal, headers });
    const sent = headers["Last-Event-ID"] ?? null;
    say({ event: "open", status: response.status, sent });
    return response;
  },
});
source.addEventListener("progress", ({ data, lastEventId }) => {
  const rows = JSON.parse(data);
  say({ event: "progress", id: lastEventId, data: rows });
  if (!isCut && rows.some(({ name }) => name === "first")) {
    isCut = true;
    say({ event: "cut" });
    // As a line that breaks, not as a client that hangs up.
    line.abort(new TypeError("the line is cut"));
  }
});
source.addEventListener("ended", ({ data, lastEventId }) => {
  say({ event: "ended", id: lastEventId, data: JSON.parse(data) });
  source.close();
});
