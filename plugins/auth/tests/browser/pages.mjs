// The pages in a real browser, from making an account to connecting a television. BASE_URL is the host.

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { authenticator, begin } from "./chromium.mjs";

const { BASE_URL } = process.env;
const PASSWORD = "correct horse battery";

const browser = await begin();

/** A tab of a person: with an authenticator, and with an ear for what the page's policy forbids. */
async function person() {
  const context = await browser.createBrowserContext();
  const page = await context.newPage();
  await page.setExtraHTTPHeaders({ "accept-language": "en" });
  page.on("pageerror", (error) => assert.fail(`${page.url()}: ${error}`));
  page.on("console", (message) => {
    assert.doesNotMatch(message.text(), /Content Security Policy/, page.url());
  });
  await authenticator(page);
  return page;
}

const open = async (page, path) => {
  await page.goto(new URL(path, BASE_URL).href);
  const faults = await page.evaluate(() => [
    ...[...document.querySelectorAll("input:not([type=hidden])")].filter((one) => !one.labels.length).map((one) => `no label: ${one.name}`),
    ...[...document.querySelectorAll("button, a")].filter((one) => !one.textContent.trim()).map(() => "a control without a name"),
    ...(document.querySelectorAll("h1").length === 1 ? [] : ["not one h1"]),
    ...(document.documentElement.lang ? [] : ["no language"]),
  ]);
  assert.deepEqual(faults, [], path);
};

const fill = async (page, form, fields) => {
  for (const [name, value] of Object.entries(fields)) await page.type(`${form} [name=${name}]`, value);
};
const press = (page, selector) => page.locator(selector).click();
const shown = async (page, id) => {
  const place = await page.waitForSelector(`#${id}:not([hidden])`);
  return place.evaluate((one) => one.textContent);
};
const arrives = (page, path) =>
  page.waitForFunction((path) => location.pathname === path, {}, path);

/** Asks the host as the page's person would. */
const ask = (page, method, path, body) =>
  page.evaluate(async (method, path, body) => {
    const { access_token } = JSON.parse(sessionStorage.getItem("nself.session"));
    const headers = { authorization: `Bearer ${access_token}`, "content-type": "application/json" };
    const answer = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
    return { status: answer.status, ...(await answer.json()) };
  }, method, path, body);

/** The newest link to a page in the mails to an address. */
async function mailed(email, page) {
  for (let tries = 0; tries < 200; tries += 1) {
    const found = await (await fetch(`${BASE_URL}/api/v2/search?kind=to&query=${encodeURIComponent(email)}`)).json();
    for (const item of found.items) {
      const text = item.Raw.Data.replaceAll("=\r\n", "").replaceAll("=3D", "=");
      const link = text.match(new RegExp(`${BASE_URL}${page}\\?token=[\\w-]+`));
      if (link) return link[0];
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return assert.fail(`no mail to ${email} with a link to ${page}`);
}

async function signUp(page, email) {
  await open(page, "/auth/sign-up");
  await fill(page, "form", { display_name: "Ada", email, password: "cdefghijklmn" });
  await press(page, "form button");
  assert.match(await shown(page, "alert"), /four random words\. Do not count up or down\./);
  const retype = async (password) => {
    await page.$eval("form [name=password]", (one) => { one.value = ""; });
    await fill(page, "form", { password });
    await page.focus("form [name=email]");
  };
  await retype("elephant1987");
  const advice = await page.waitForSelector("[data-advice]:not([hidden])");
  assert.match(await advice.evaluate((one) => one.textContent), /soon guessed.*Leave out years/);
  await retype(PASSWORD);
  await page.waitForSelector("[data-advice][hidden]");
  await press(page, "form button");
  assert.match(await shown(page, "status"), /a mail is on its way/);
  const link = await mailed(email, "/auth/verify-email");
  // Programs that look at the mail first use nothing up.
  for (let looks = 0; looks < 2; looks += 1) assert.equal((await fetch(link)).status, 200);
  await open(page, link);
  await press(page, "form button");
  await arrives(page, "/auth/account");
}

async function signOut(page) {
  await open(page, "/auth/account");
  await press(page, "[data-sign-out]");
  await arrives(page, "/auth/sign-in");
}

/** RFC 6238. */
function totp(secret, now = Date.now()) {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  const bits = [...secret.replaceAll("=", "")].map((c) => alphabet.indexOf(c).toString(2).padStart(5, "0")).join("");
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(now / 30_000)));
  const hmac = createHmac("sha1", key).update(counter).digest();
  const at = hmac[19] & 15;
  return String((hmac.readUInt32BE(at) & 0x7fffffff) % 1_000_000).padStart(6, "0");
}

try {
  const ada = await person();

  // An account, and a language that is chosen.
  await signUp(ada, "ada@example.org");
  await ada.waitForSelector("#sessions li");
  assert.match(await ada.$eval("#who", (one) => one.textContent), /ada@example.org/);
  await press(ada, "footer a[lang=de]");
  await ada.waitForSelector("html[lang=de]");
  assert.equal(await ada.$eval("h1", (one) => one.textContent), "Ihr Konto");

  // A passkey.
  await open(ada, "/auth/account");
  await press(ada, "[data-passkey=register]");
  assert.match(await shown(ada, "status"), /passkey is added/);
  await signOut(ada);
  await press(ada, "[data-passkey=sign-in]");
  await arrives(ada, "/auth/account");
  await signOut(ada);

  // A wrong password, a forgotten one, a new one.
  await fill(ada, "form", { email: "ada@example.org", password: "wrong password" });
  await press(ada, "form button");
  assert.match(await shown(ada, "alert"), /password is wrong/);
  await open(ada, "/auth/password/forgot");
  await fill(ada, "form", { email: "ada@example.org" });
  await press(ada, "form button");
  await shown(ada, "status");
  await open(ada, await mailed("ada@example.org", "/auth/password/reset"));
  await fill(ada, "form", { password: "zwetschgenknoedel" });
  await press(ada, "form button");
  assert.match(await shown(ada, "status"), /password is changed/);

  // A link by mail; a page that needs a session comes back to it.
  await open(ada, "/auth/device");
  await arrives(ada, "/auth/sign-in");
  await press(ada, "summary");
  await fill(ada, "details form", { email: "ada@example.org" });
  await press(ada, "details form button");
  await shown(ada, "status");
  await open(ada, await mailed("ada@example.org", "/auth/magic-link/verify"));
  await press(ada, "form button");
  await arrives(ada, "/auth/account");

  // A television.
  const family = await ask(ada, "POST", "/auth/families", { name: "The Lovelaces" });
  assert.equal(family.status, 201);
  await ada.evaluate(async (family_id) => {
    const { refresh_token } = JSON.parse(sessionStorage.getItem("nself.session"));
    const answer = await fetch("/auth/refresh", {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ refresh_token, family_id }),
    });
    sessionStorage.setItem("nself.session", JSON.stringify((await answer.json()).data));
  }, family.data.id);
  const form = (fields) => ({ method: "POST", body: new URLSearchParams(fields) });
  const begun = await (await fetch(`${BASE_URL}/oauth/device_authorization`, form({ client_id: "tv", name: "Hall" }))).json();
  await open(ada, new URL(begun.verification_uri_complete).pathname + new URL(begun.verification_uri_complete).search);
  await press(ada, "#device-code button");
  await ada.waitForSelector("#device-shown:not([hidden])");
  assert.equal(await ada.$eval("[data-field=name]", (one) => one.textContent), "Hall");
  await press(ada, "[data-decide=approve]");
  assert.match(await shown(ada, "status"), /connected/);
  const grant = "urn:ietf:params:oauth:grant-type:device_code";
  const tokens = await fetch(`${BASE_URL}/oauth/token`, form({ client_id: "tv", grant_type: grant, device_code: begun.device_code }));
  assert.equal(tokens.status, 200);

  // An invitation.
  const invited = await ask(ada, "POST", `/auth/families/${family.data.id}/invitations`, { role: "ADULT_MEMBER" });
  assert.equal(invited.status, 201);
  const bob = await person();
  await signUp(bob, "bob@example.org");
  await open(bob, `/auth/invitations/accept?token=${invited.data.token}`);
  await bob.waitForSelector("#invitation:not([hidden])");
  assert.equal(await bob.$eval("[data-field=family_name]", (one) => one.textContent), "The Lovelaces");
  await press(bob, "[data-decide=accept]");
  assert.match(await shown(bob, "status"), /Welcome/);

  // A second factor.
  const enrolled = await ask(bob, "POST", "/auth/mfa/totp/enroll", {});
  assert.ok([200, 201].includes(enrolled.status), JSON.stringify(enrolled));
  const { secret } = enrolled.data;
  const confirmed = await ask(bob, "POST", "/auth/mfa/totp/confirm", { code: totp(secret) });
  assert.ok([200, 201].includes(confirmed.status), JSON.stringify(confirmed));
  await signOut(bob);
  await fill(bob, "form", { email: "bob@example.org", password: PASSWORD });
  await press(bob, "form button");
  await arrives(bob, "/auth/second-factor");
  await fill(bob, "form", { code: "000000" });
  await press(bob, "form button");
  assert.match(await shown(bob, "alert"), /wrong/);
  await press(bob, "summary");
  await fill(bob, "details form", { recovery_code: confirmed.data.recovery_codes[0] });
  await press(bob, "details form button");
  await arrives(bob, "/auth/account");
} finally {
  await browser.close();
}
