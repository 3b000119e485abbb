// The provider buttons of the sign-in page, the whole way: there, a question, back. BASE_URL is the host, PLACE the provider.

import assert from "node:assert/strict";
import { begin } from "./chromium.mjs";

const { BASE_URL, PLACE } = process.env;
const browser = await begin();

async function person() {
  const context = await browser.createBrowserContext();
  const page = await context.newPage();
  page.on("pageerror", (error) => assert.fail(`${page.url()}: ${error}`));
  page.on("console", (message) => {
    assert.doesNotMatch(message.text(), /Content Security Policy/, page.url());
  });
  return page;
}

const press = (page, selector) => page.locator(selector).click();
const arrives = (page, path) => page.waitForFunction((path) => location.pathname === path, {}, path);

/** To the question of the foreign provider, from our page. */
async function leave(page, path) {
  await page.goto(`${BASE_URL}${path}`);
  assert.match(await page.$eval("[data-provider=place]", (one) => one.textContent), /Sign in with/);
  await press(page, "[data-provider=place]");
  await page.waitForSelector("[name=login]");
  assert.equal(new URL(page.url()).origin, PLACE);
}

const session = (page) => page.evaluate(() => JSON.parse(sessionStorage.getItem("nself.session")));

try {
  // Yes: back, signed in, and with nothing left in the address or in the tab that could be used again.
  const alice = await person();
  await leave(alice, "/auth/sign-in");
  await alice.type("[name=login]", "alice");
  await press(alice, "[value=yes]");
  await arrives(alice, "/auth/account");
  await alice.waitForSelector("#sessions li");
  assert.match(await alice.$eval("#who", (one) => one.textContent), /alice of elsewhere · alice@example.org/);
  const first = await session(alice);
  assert.equal(await alice.evaluate(() => sessionStorage.getItem("nself.left")), null);
  await alice.goBack();
  assert.equal(new URL(alice.url()).searchParams.get("code"), null);

  // What was wanted before is where it goes on, with all that belongs to its address.
  await alice.evaluate(() => sessionStorage.clear());
  await alice.goto(`${BASE_URL}/auth/device?user_code=ABCD-EFGH`);
  await arrives(alice, "/auth/sign-in");
  await alice.waitForSelector("[data-provider=place]");
  await press(alice, "[data-provider=place]");
  await arrives(alice, "/auth/device");
  await alice.waitForSelector("#device-code");
  assert.equal(await alice.$eval("[name=user_code]", (one) => one.value), "ABCD-EFGH");
  assert.equal((await session(alice)).user.id, first.user.id, "the same account as before");

  // No: back on our page, which says so, and signs nobody in; a second try is another one.
  const bob = await person();
  await leave(bob, "/auth/sign-in?next=/auth/device");
  await press(bob, "[value=no]");
  const alert = await bob.waitForSelector("#alert:not([hidden])");
  assert.match(await alert.evaluate((one) => one.textContent), /said no/);
  assert.equal(new URL(bob.url()).search, "?next=%2Fauth%2Fdevice", "the reason is gone from the address");
  assert.equal(await session(bob), null);
  await press(bob, "[data-provider=place]");
  await bob.waitForSelector("[name=login]");
  await bob.type("[name=login]", "bob");
  await press(bob, "[value=yes]");
  await arrives(bob, "/auth/device");

  // A code in an address is worth nothing in a tab that has not asked for it.
  const eve = await person();
  await eve.goto(`${BASE_URL}/auth/sign-in?code=${"A".repeat(64)}`);
  const refused = await eve.waitForSelector("#alert:not([hidden])");
  assert.match(await refused.evaluate((one) => one.textContent), /wrong, was used before/);
  assert.equal(await session(eve), null);
} finally {
  await browser.close();
}
