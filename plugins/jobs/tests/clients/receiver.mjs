// An endpoint as others would write it: CloudEvents are read by the CloudEvents SDK, signatures checked by Standard Webhooks'
// own library. It prints its address, then a line of JSON for each request. What it answers stands in the event's data.
import { createServer } from "node:http";
import { HTTP } from "cloudevents";
import { Webhook } from "standardwebhooks";

const webhook = new Webhook(process.env.SECRET);

function read(headers, body) {
  webhook.verify(body, headers);
  const event = HTTP.toEvent({ headers, body });
  event.validate();
  return event;
}

const server = createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    const body = Buffer.concat(chunks).toString();
    try {
      const event = read(request.headers, body);
      const { status = 200, headers = {}, body: answer = "" } = event.data.answer ?? {};
      response.writeHead(status, headers).end(answer);
      console.log(JSON.stringify({ event, headers: request.headers }));
    } catch (error) {
      response.writeHead(400).end("not verified");
      console.log(JSON.stringify({ error: String(error), headers: request.headers }));
    }
  });
});
server.listen(0, "127.0.0.1", () => {
  console.log(JSON.stringify({ address: `127.0.0.1:${server.address().port}` }));
});
