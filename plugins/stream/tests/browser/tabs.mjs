// Two tabs of a real browser, with a page of another origin than the host's: npm's centrifuge, who is there, a cut, and the browser's own
// EventSource.
//
// BASE_URL is the host, PAGE_PORT the port of the page that it lets ask, CHANNEL a channel that ADA and BOB, two tokens of one family, may
// hear and publish to, KEY a program's. CHROMIUM is the browser, PROFILE an empty folder.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { connect, createServer as createProxy } from "node:net";
import { build } from "esbuild";
import puppeteer from "puppeteer-core";

const { BASE_URL, PAGE_PORT, CHANNEL, ADA, BOB, KEY, CHROMIUM, PROFILE } = process.env;
const WAIT = { polling: 50, timeout: 120_000 };

const bundled = await build({
  stdin: { contents: 'export { Centrifuge } from "centrifuge"', resolveDir: "." },
  bundle: true, write: false, format: "iife", globalName: "Library", logLevel: "error",
});
const page = createServer((request, response) => {
  if (request.url === "/library.js") return response.end(bundled.outputFiles[0].text);
  return response.setHeader("content-type", "text/html").end('<!doctype html><title>An app</title><script src="/library.js"></script>');
});

/** The way to the host, which can be cut: what is open is reset, what comes again is let through. */
const open = new Set();
const proxy = createProxy((client) => {
  const server = connect(Number(new URL(BASE_URL).port), "127.0.0.1");
  for (const [one, other] of [[client, server], [server, client]]) {
    open.add(one);
    one.on("error", () => {});
    one.on("close", () => {
      open.delete(one);
      other.destroy();
    });
    one.pipe(other);
  }
});
function cut() {
  assert.ok(open.size > 0);
  for (const socket of open) socket.resetAndDestroy();
}

page.listen(Number(PAGE_PORT), "127.0.0.1");
proxy.listen(0, "127.0.0.1");
await Promise.all([once(page, "listening"), once(proxy, "listening")]);
const host = `localhost:${proxy.address().port}`;

async function publish(data) {
  const body = JSON.stringify({ channel: CHANNEL, data });
  const headers = { "x-api-key": KEY, "content-type": "application/json" };
  const answer = await (await fetch(`${BASE_URL}/api/publish`, { method: "POST", headers, body })).json();
  assert.ok(answer.result, JSON.stringify(answer));
}

const browser = await puppeteer.launch({
  executablePath: CHROMIUM,
  userDataDir: PROFILE,
  args: [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
  ],
});

/** A tab of somebody, which listens to the channel. */
async function tab(token) {
  const context = await browser.createBrowserContext();
  const one = await context.newPage();
  one.on("pageerror", (error) => assert.fail(String(error)));
  await one.goto(`http://localhost:${PAGE_PORT}/`);
  await one.evaluate((host, token, channel) => {
    const options = { token, minReconnectDelay: 20, maxReconnectDelay: 200, timeout: 60_000 };
    const centrifuge = new Library.Centrifuge(`ws://${host}/connection/websocket`, options);
    const subscription = centrifuge.newSubscription(channel);
    Object.assign(window, { subscription, heard: [], begun: [] });
    subscription.on("publication", ({ data }) => heard.push(data));
    subscription.on("subscribed", ({ wasRecovering, recovered }) => begun.push({ wasRecovering, recovered }));
    subscription.subscribe();
    centrifuge.connect();
  }, host, token, CHANNEL);
  await one.waitForFunction(() => begun.length === 1, WAIT);
  return one;
}

/** All that a tab hears, in this order and nothing else. */
async function hears(one, expected) {
  await one.waitForFunction((amount) => heard.length >= amount, WAIT, expected.length);
  assert.deepEqual(await one.evaluate(() => heard), expected);
}

/** Waits until so many are there, as a tab sees it. */
const there = (one, amount) =>
  one.waitForFunction(async (amount) => (await subscription.presenceStats()).numUsers === amount, WAIT, amount);

try {
  const [ada, bob] = [await tab(ADA), await tab(BOB)];
  await there(ada, 2);
  await ada.evaluate(() => subscription.publish("from Ada"));
  await publish("from a program");
  for (const one of [ada, bob]) await hears(one, ["from Ada", "from a program"]);

  // Both are cut, and miss nothing.
  cut();
  for (const number of [1, 2, 3]) await publish(number);
  for (const one of [ada, bob]) {
    await hears(one, ["from Ada", "from a program", 1, 2, 3]);
    assert.deepEqual(await one.evaluate(() => begun.at(-1)), { wasRecovering: true, recovered: true });
  }
  await there(bob, 2);
  await bob.close();
  await there(ada, 1);

  // The browser's own client of events, which knows nothing but an address.
  await ada.evaluate((host, token, channel) => {
    const asked = encodeURIComponent(JSON.stringify({ token, subs: { [channel]: {} } }));
    Object.assign(window, { events: [], connects: 0 });
    new EventSource(`http://${host}/connection/uni_sse?cf_connect=${asked}`).onmessage = ({ data }) => {
      const { connect, pub } = JSON.parse(data);
      if (connect) connects += 1;
      const missed = connect?.subs[channel].publications ?? [];
      events.push(...[...missed, ...(pub ? [pub] : [])].map(({ data }) => data));
    };
  }, host, ADA, CHANNEL);
  await ada.waitForFunction(() => connects === 1, WAIT);
  await publish("once");
  await ada.waitForFunction(() => events.includes("once"), WAIT);
  cut();
  for (const number of [4, 5]) await publish(number);
  await ada.waitForFunction(() => connects === 2 && events.length >= 3, WAIT);
  assert.deepEqual(await ada.evaluate(() => events), ["once", 4, 5]);
  await hears(ada, ["from Ada", "from a program", 1, 2, 3, "once", 4, 5]);
} finally {
  await browser.close();
  page.close();
  proxy.close();
  for (const socket of open) socket.destroy();
}
