// npm's graphql-ws as a client, with headers that are not for it to say. Prints what it was told, a line each.
import { createClient } from "graphql-ws";
import WebSocket from "ws";

const headers = { authorization: "Bearer of-the-request", "x-hasura-role": "admin", "x-hasura-admin-secret": "guessed" };
class Socket extends WebSocket {
  constructor(url, protocols) {
    super(url, protocols, { headers });
  }
}
const client = createClient({
  url: process.env.URL,
  webSocketImpl: Socket,
  lazy: false,
  retryAttempts: 0,
  onNonLazyError: () => {},
  connectionParams: { headers: { Authorization: "Bearer of-the-client", "X-Hasura-Admin-Secret": "guessed", "x-hasura-role": "admin" } },
  on: { closed: (event) => console.log(JSON.stringify({ closed: event.code })) },
});
try {
  for await (const { data } of client.iterate({ query: `subscription { count(to: ${process.env.TO}) }` })) {
    console.log(JSON.stringify(data));
  }
  for await (const { data } of client.iterate({ query: "{ seen }" })) console.log(data.seen);
  await client.dispose();
} catch {
  // The end is printed above.
}
