// A player as others write it: it plays one media session, and says so over npm's centrifuge until it is killed. It prints a line
// for each heartbeat that was taken.
import { Centrifuge } from "centrifuge";
import { WebSocket } from "ws";

const { URL, TOKEN, SESSION, SESSION_TOKEN } = process.env;
const centrifuge = new Centrifuge(URL, { websocket: WebSocket, token: TOKEN, timeout: 60_000 });
centrifuge.connect();
await centrifuge.ready();
for (;;) {
  const { data } = await centrifuge.rpc("stream.heartbeat", { session_id: SESSION, token: SESSION_TOKEN });
  console.log(data.playback_url ? "renewed" : "not renewed");
  await new Promise((wake) => setTimeout(wake, 500));
}
