// Passkeys in a real browser with a virtual authenticator: what @simplewebauthn/browser sends unchanged, and what is refused.
//
// BASE_URL is the host, PAGE_PORT the port of the page that it accepts, ACCESS_TOKEN somebody's fresh token.

import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { authenticator, begin } from "./chromium.mjs";

const { BASE_URL, PAGE_PORT, ACCESS_TOKEN } = process.env;

const library = await readFile("node_modules/@simplewebauthn/browser/dist/bundle/index.umd.min.js");
const html = `<!doctype html><title>Passkeys</title><script src="/library.js"></script>`;

/** Serves the page, and passes `/auth` on to the host. */
async function serve(port) {
  const server = createServer(async (request, response) => {
    if (request.url === "/library.js") return response.end(library);
    if (!request.url.startsWith("/auth")) {
      return response.setHeader("content-type", "text/html").end(html);
    }
    const chunks = await request.toArray();
    // Not what the browser can decode, but what this process can.
    const { host, connection, "accept-encoding": _, ...headers } = request.headers;
    const body = chunks.length ? Buffer.concat(chunks) : undefined;
    const answer = await fetch(BASE_URL + request.url, { method: request.method, headers, body });
    response.writeHead(answer.status, { "content-type": "application/json" });
    response.end(Buffer.from(await answer.arrayBuffer()));
  });
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  return server;
}

const accepted = await serve(Number(PAGE_PORT));
const strange = await serve(0);
const browser = await begin();

try {
  const page = await browser.newPage();
  const { devtools, authenticatorId } = await authenticator(page);

  const open = async (server) => {
    await page.goto(`http://localhost:${server.address().port}/`);
    await page.evaluate((token) => {
      window.send = async (method, path, body, token) => {
        const headers = { "content-type": "application/json" };
        if (token) headers.authorization = `Bearer ${token}`;
        const answer = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
        return { status: answer.status, ...(await answer.json()) };
      };
      window.register = async () => {
        const { data } = await send("POST", "/auth/passkeys/register/options", undefined, token);
        const credential = await SimpleWebAuthnBrowser.startRegistration({ optionsJSON: data.options });
        const body = { flow_id: data.flow_id, name: "Laptop", credential };
        return send("POST", "/auth/passkeys/register/verify", body, token);
      };
      window.show = async (changes) => {
        const { data } = await send("POST", "/auth/passkeys/login/options");
        const options = { ...data.options, ...changes };
        const credential = await SimpleWebAuthnBrowser.startAuthentication({ optionsJSON: options });
        return { flow_id: data.flow_id, credential };
      };
      window.signIn = (shown) => send("POST", "/auth/passkeys/login/verify", shown);
    }, ACCESS_TOKEN);
  };
  const signIn = (changes) => page.evaluate(async (changes) => signIn(await show(changes)), changes);
  const refused = (answer) => assert.deepEqual([answer.status, answer.code], [401, "PASSKEY_INVALID"]);

  await open(accepted);
  const registered = await page.evaluate(() => register());
  assert.equal(registered.status, 201, JSON.stringify(registered));
  assert.equal(registered.data.name, "Laptop");
  assert.deepEqual(registered.data.transports, ["internal"]);
  const again = await page.evaluate(() => register().catch((error) => error.name));
  assert.equal(again, "InvalidStateError", "the browser knows what is registered already");

  const shown = await page.evaluate(() => show());
  const first = await page.evaluate((shown) => signIn(shown), shown);
  assert.equal(first.status, 200, JSON.stringify(first));
  const claims = JSON.parse(Buffer.from(first.data.access_token.split(".")[1], "base64url"));
  assert.equal(claims.acr, "aal2");
  assert.deepEqual(claims.amr, ["hwk", "mfa"]);
  refused(await page.evaluate((shown) => signIn(shown), shown));

  const unverified = await page.evaluate(() =>
    send("POST", "/auth/passkeys/login/options").then(({ data }) => data.options.userVerification));
  assert.equal(unverified, "required");
  await devtools.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified: false });
  refused(await signIn({ userVerification: "discouraged" }));
  await devtools.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified: true });

  await open(strange);
  refused(await signIn());
  await open(accepted);
  assert.equal((await signIn()).status, 200);

  // A copy of the authenticator that has stood still: let in, and noted.
  const { credentials } = await devtools.send("WebAuthn.getCredentials", { authenticatorId });
  const [credential] = credentials;
  const { credentialId } = credential;
  await devtools.send("WebAuthn.removeCredential", { authenticatorId, credentialId });
  await devtools.send("WebAuthn.addCredential", { authenticatorId, credential: { ...credential, signCount: 1 } });
  assert.equal((await signIn()).status, 200);

  const removed = await page.evaluate(
    (id, token) => send("DELETE", `/auth/passkeys/${id}`, undefined, token),
    registered.data.id, ACCESS_TOKEN);
  assert.equal(removed.status, 200, JSON.stringify(removed));
  refused(await signIn());
} finally {
  await browser.close();
  for (const server of [accepted, strange]) server.close();
}
