// The peer: Bun's own WebSockets, by its own topics. Prints its address when it is ready.

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  fetch: (request, server) => (server.upgrade(request) ? undefined : new Response("WebSocket", { status: 426 })),
  websocket: {
    idleTimeout: 0,
    sendPings: false,
    perMessageDeflate: false,
    open: (socket) => socket.subscribe("all"),
    message: (_, data) => void server.publish("all", data),
  },
});
console.log(JSON.stringify({ gateway: `127.0.0.1:${server.port}` }));
process.stdin.on("end", () => process.exit(0)).resume();
