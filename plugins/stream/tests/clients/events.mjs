// Clients that only listen: npm's eventsource, and node's own fetch. What they are told is printed, a line of JSON each.
import { EventSource } from "eventsource";

const say = (line) => console.log(JSON.stringify(line));
const { URL: address, TOKEN: token, CLIENT: client } = process.env;

/** As browsers have it: nothing but an address. */
function listen(options) {
  const source = new EventSource(address, options);
  source.onopen = () => say({ event: "open" });
  source.onmessage = ({ data, lastEventId }) => say({ event: "message", data: JSON.parse(data), id: lastEventId });
  source.addEventListener("lost", ({ data }) => say({ event: "lost", data: JSON.parse(data) }));
  source.addEventListener("greeting", ({ data }) => say({ event: "greeting", data: JSON.parse(data) }));
  source.onerror = ({ code }) => say({ event: "error", code, over: source.readyState === EventSource.CLOSED });
}

/** A reader of its own making. */
async function read() {
  const response = await fetch(address, { headers: { authorization: `Bearer ${token}` } });
  say({ event: "open", status: response.status });
  let text = "";
  for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
    const lines = (text + chunk).split("\n");
    text = lines.pop();
    for (const line of lines.filter((line) => line.startsWith("data: "))) {
      say({ event: "message", data: JSON.parse(line.slice(6)) });
    }
  }
  say({ event: "end" });
}

const withToken = (url, init) =>
  fetch(url, { ...init, headers: { ...init.headers, authorization: `Bearer ${token}` } });

const clients = {
  EventSource: () => listen({}),
  EventSourceWithToken: () => listen({ fetch: withToken }),
  fetch: read,
};
await clients[client]();
