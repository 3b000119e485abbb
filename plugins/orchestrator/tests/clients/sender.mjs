// Makes events with the CloudEvents SDK and posts them as it writes them: structured, binary, and with data that are no JSON. Prints
// what was answered to each.
import { CloudEvent, HTTP } from "cloudevents";

async function post({ headers, body }) {
  const response = await fetch(`${process.env.BASE_URL}/v1/events`, {
    method: "POST",
    headers: { ...headers, authorization: `Bearer ${process.env.TOKEN}` },
    body,
  });
  return { status: response.status, body: await response.json() };
}

const source = "https://example.org/kitchen";
const tea = new CloudEvent({
  id: "structured",
  source,
  type: "org.example.tea",
  subject: "Grüner Tee 100 %",
  time: "2026-11-27T08:00:00.000Z",
  steeped: true,
  data: { cup: 1 },
});
const words = new CloudEvent({
  id: "text",
  source,
  type: "org.example.words",
  datacontenttype: "text/plain",
  data: "hot & strong",
});
const bytes = new CloudEvent({
  id: "bytes",
  source,
  type: "org.example.bytes",
  datacontenttype: "application/octet-stream",
  data: new Uint8Array([0, 159, 255]),
});
console.log(
  JSON.stringify([
    await post(HTTP.structured(tea)),
    // The same once more, in the other way.
    await post(HTTP.binary(tea)),
    await post(HTTP.binary(tea.cloneWith({ id: "binary", data: { cup: 2 } }))),
    await post(HTTP.binary(words)),
    await post(HTTP.structured(bytes)),
    await post(HTTP.binary(bytes.cloneWith({ id: "binary bytes" }))),
  ]),
);
