// A client as others write it: npm's centrifuge over npm's ws. It takes commands as lines of JSON, and prints a line for each
// answer and for each thing that it is told.
import { createInterface } from "node:readline";
import { Centrifuge } from "centrifuge";
import { WebSocket } from "ws";

const say = (line) => console.log(JSON.stringify(line));
let socket;

class Cuttable extends WebSocket {
  constructor(...args) {
    super(...args);
    socket = this;
  }
}

let token = process.env.TOKEN;
const centrifuge = new Centrifuge(process.env.URL, {
  websocket: Cuttable,
  token,
  getToken: async () => {
    say({ event: "token wanted" });
    return token;
  },
  minReconnectDelay: 20,
  maxReconnectDelay: 200,
  timeout: 60_000,
});
for (const event of ["connected", "connecting", "disconnected"]) {
  centrifuge.on(event, ({ code, reason, client }) => say({ event, code, reason, client }));
}
centrifuge.on("error", ({ type, error }) => say({ event: "error", type, code: error.code }));

// What the server has subscribed it to.
centrifuge.on("subscribed", ({ channel, wasRecovering, recovered, data }) =>
  say({ event: "server subscribed", channel, wasRecovering, recovered, data }));
centrifuge.on("publication", ({ channel, data, offset }) =>
  say({ event: "server publication", channel, data, offset }));
centrifuge.on("join", ({ channel, info }) => say({ event: "server join", channel, user: info.user }));
centrifuge.on("leave", ({ channel, info }) => say({ event: "server leave", channel, user: info.user }));
centrifuge.on("unsubscribed", ({ channel }) => say({ event: "server unsubscribed", channel }));

const subscriptions = {};

function subscribe(channel, options) {
  const subscription = centrifuge.newSubscription(channel, { joinLeave: true, ...options });
  subscriptions[channel] = subscription;
  subscription.on("publication", ({ data, offset, info, tags }) =>
    say({ event: "publication", channel, data, offset, user: info?.user, tags }));
  subscription.on("join", ({ info }) => say({ event: "join", channel, client: info.client }));
  subscription.on("leave", ({ info }) => say({ event: "leave", channel, client: info.client }));
  subscription.on("subscribed", ({ recoverable, wasRecovering, recovered }) =>
    say({ event: "subscribed", channel, recoverable, wasRecovering, recovered }));
  subscription.on("unsubscribed", ({ code }) => say({ event: "unsubscribed", channel, code }));
  subscription.on("error", ({ error }) => say({ event: "subscription error", channel, code: error.code }));
  subscription.subscribe();
}

const commands = {
  connect: () => centrifuge.connect(),
  disconnect: () => centrifuge.disconnect(),
  subscribe: ({ channel, options }) => subscribe(channel, options),
  deltaStats: ({ channel }) => subscriptions[channel].deltaStats(),
  unsubscribe: ({ channel }) => subscriptions[channel].unsubscribe(),
  publish: ({ channel, data }) => centrifuge.publish(channel, data),
  history: ({ channel, options }) => centrifuge.history(channel, options),
  presence: ({ channel }) => centrifuge.presence(channel),
  presenceStats: ({ channel }) => centrifuge.presenceStats(channel),
  rpc: ({ method, data }) => centrifuge.rpc(method, data),
  // Without a word to the server, as when a network goes away.
  cut: () => socket.terminate(),
  token: (command) => {
    token = command.token;
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  Promise.resolve()
    .then(() => commands[command.do](command))
    .then((result) => say({ done: command.do, result }))
    .catch((error) => say({ done: command.do, error: error.code ?? String(error) }));
}
process.exit(0);
