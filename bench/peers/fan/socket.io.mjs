// The peer: npm's socket.io as its documentation shows a broadcast, without long polling. Prints its address when it is ready.

import { createServer } from "node:http";
import { Server } from "socket.io";

const http = createServer();
const io = new Server(http, { transports: ["websocket"], pingInterval: 3_600_000, perMessageDeflate: false });
io.on("connection", (socket) => socket.on("m", (data) => io.emit("m", data)));
http.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ gateway: `127.0.0.1:${http.address().port}` })));
process.stdin.on("end", () => process.exit(0)).resume();
