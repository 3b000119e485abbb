// The peer: npm's ws as its documentation shows a broadcast. Prints its address when it is ready.

import { WebSocketServer, WebSocket } from "ws";

const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: false }, () =>
  console.log(JSON.stringify({ gateway: `127.0.0.1:${server.address().port}` })),
);
server.on("connection", (socket) => {
  socket.on("message", (data, isBinary) => {
    for (const client of server.clients) {
      if (client.readyState === WebSocket.OPEN) client.send(data, { binary: isBinary });
    }
  });
});
process.stdin.on("end", () => process.exit(0)).resume();
