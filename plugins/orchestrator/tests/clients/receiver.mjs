// Reads an event that it is sent with the CloudEvents SDK, which judges it. Prints its address, then what it read.
import { createServer } from "node:http";
import { HTTP } from "cloudevents";

const server = createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    try {
      const event = HTTP.toEvent({ headers: request.headers, body: Buffer.concat(chunks).toString() });
      event.validate();
      response.writeHead(204).end();
      console.log(JSON.stringify({ event }));
    } catch (error) {
      response.writeHead(400).end();
      console.log(JSON.stringify({ error: String(error) }));
    }
  });
});
server.listen(0, "127.0.0.1", () => {
  console.log(JSON.stringify({ address: `127.0.0.1:${server.address().port}` }));
});
