// What Hasura is to the gateway: npm's graphql-ws as a server. It answers with what it was told of the caller.
import { createServer } from "node:http";
import { buildSchema } from "graphql";
import { useServer } from "graphql-ws/use/ws";
import { WebSocketServer } from "ws";

const schema = buildSchema("type Query { seen: String } type Subscription { count(to: Int!): Int }");
const roots = {
  query: { seen: (_, { connectionParams, extra }) => JSON.stringify({ params: connectionParams, headers: extra.request.headers }) },
  subscription: {
    async *count({ to }) {
      for (let count = 1; count <= to; count += 1) yield { count };
      // One that goes on until its client, or this server, goes.
      if (to > 100) await new Promise(() => {});
    },
  },
};

const modern = new WebSocketServer({ noServer: true });
useServer({ schema, roots, context: (context) => context }, modern);
// Apollo's first protocol: what is said is said back.
const old = new WebSocketServer({ noServer: true });
old.on("connection", (socket) => {
  socket.ping();
  socket.on("pong", () => socket.send(JSON.stringify({ type: "ponged" })));
  socket.on("message", (text) => socket.send(String(text)));
});

const server = createServer((request, response) => {
  let body = "";
  request.on("data", (chunk) => (body += chunk));
  request.on("end", () => {
    response.setHeader("content-type", "application/json; charset=utf-8");
    response.end(JSON.stringify({ data: { url: request.url, headers: request.headers, body } }));
  });
});
server.on("upgrade", (request, socket, head) => {
  const protocol = request.headers["sec-websocket-protocol"];
  const among = protocol === "graphql-transport-ws" ? modern : old;
  among.handleUpgrade(request, socket, head, (opened) => among.emit("connection", opened, request));
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
