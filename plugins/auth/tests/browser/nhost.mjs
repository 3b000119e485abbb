// Passkeys by Nhost's clients in a real browser with a virtual authenticator: nhost-js 4 beside @simplewebauthn/browser, as its
// documents have it, and the client of its versions 1 to 3, which brings an older @simplewebauthn along.
//
// BASE_URL is the host, PAGE_PORT the port of the page whose passkeys it accepts, EMAIL and PASSWORD somebody who is known.

import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { build } from "esbuild";
import { authenticator, begin } from "./chromium.mjs";

const { BASE_URL, PAGE_PORT, EMAIL, PASSWORD } = process.env;

const bundled = await build({
  stdin: { contents: 'export { HasuraAuthClient } from "@nhost/hasura-auth-js"', resolveDir: "." },
  bundle: true, write: false, format: "iife", globalName: "HasuraAuth", logLevel: "error",
});
const scripts = {
  "/webauthn.js": await readFile("node_modules/@simplewebauthn/browser/dist/bundle/index.umd.min.js"),
  "/nhost.js": await readFile("node_modules/@nhost/nhost-js/dist/nhost-js.umd.js"),
  "/hasura-auth.js": bundled.outputFiles[0].text,
};
const html = `<!doctype html><title>An app</title>${Object.keys(scripts).map((src) => `<script src="${src}"></script>`).join("")}`;

/** Serves the page, and passes `/v1` on to the host, as the proxy before it does. */
const server = createServer(async (request, response) => {
  if (scripts[request.url]) return response.end(scripts[request.url]);
  if (!request.url.startsWith("/v1/")) return response.setHeader("content-type", "text/html").end(html);
  const chunks = await request.toArray();
  const { host, connection, "accept-encoding": _, ...headers } = request.headers;
  const body = chunks.length ? Buffer.concat(chunks) : undefined;
  const answer = await fetch(BASE_URL + request.url.slice("/v1".length), { method: request.method, headers, body });
  response.writeHead(answer.status, { "content-type": answer.headers.get("content-type") ?? "application/json" });
  response.end(Buffer.from(await answer.arrayBuffer()));
});
server.listen(Number(PAGE_PORT), "127.0.0.1");
await once(server, "listening");
const browser = await begin();

try {
  const page = await browser.newPage();
  const { devtools, authenticatorId } = await authenticator(page);
  await page.goto(`http://localhost:${PAGE_PORT}/`);
  await page.evaluate(() => {
    const { startRegistration, startAuthentication } = SimpleWebAuthnBrowser;
    const authUrl = `${location.origin}/v1`;
    const urls = { authUrl, storageUrl: authUrl, graphqlUrl: authUrl, functionsUrl: authUrl };
    window.client = () => {
      let kept = null;
      const storage = { get: () => kept, set: (session) => { kept = session; }, remove: () => { kept = null; } };
      return NhostJs.createClient({ ...urls, storage });
    };
    window.signUp = async (nhost, email) => {
      const options = { displayName: "Ada" };
      const { body: optionsJSON } = await nhost.auth.signUpWebauthn({ email, options });
      const credential = await startRegistration({ optionsJSON });
      return (await nhost.auth.verifySignUpWebauthn({ credential, nickname: "Laptop" })).body;
    };
    window.signIn = async (nhost, email) => {
      const { body: optionsJSON } = await nhost.auth.signInWebauthn(email && { email });
      const credential = await startAuthentication({ optionsJSON });
      return (await nhost.auth.verifySignInWebauthn({ credential })).body;
    };
    window.add = async (nhost) => {
      const { body: optionsJSON } = await nhost.auth.addSecurityKey();
      const credential = await startRegistration({ optionsJSON });
      return (await nhost.auth.verifyAddSecurityKey({ credential, nickname: "Phone" })).body;
    };
    window.elevate = async (nhost) => {
      const { body: optionsJSON } = await nhost.auth.elevateWebauthn();
      const credential = await startAuthentication({ optionsJSON });
      return (await nhost.auth.verifyElevateWebauthn({ credential })).body;
    };
    window.claims = (token) => JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")));
    window.older = () => new HasuraAuth.HasuraAuthClient({
      url: authUrl, clientUrl: location.origin, autoSignIn: false, autoRefreshToken: false, clientStorageType: "custom",
      clientStorage: (() => {
        const kept = new Map();
        return {
          getItem: (key) => kept.get(key) ?? null,
          setItem: (key, value) => kept.set(key, value),
          removeItem: (key) => kept.delete(key),
        };
      })(),
    });
  });
  // One account's passkeys are not offered for the next one.
  const forget = () => devtools.send("WebAuthn.clearCredentials", { authenticatorId });

  // An account that begins with a passkey.
  const made = await page.evaluate(async () => {
    const nhost = client();
    const { session } = await signUp(nhost, "grace@example.org");
    return { session, kept: nhost.getUserSession().accessToken, claims: claims(session.accessToken) };
  });
  assert.equal(made.kept, made.session.accessToken);
  assert.equal(made.session.user.email, "grace@example.org");
  assert.deepEqual([made.claims.acr, made.claims.amr], ["aal2", ["hwk", "mfa"]]);
  for (const email of [undefined, "grace@example.org", "nobody@example.org"]) {
    const { session } = await page.evaluate((email) => signIn(client(), email), email);
    assert.equal(session.user.id, made.session.user.id);
  }
  // What the older client makes of a passkey that the newer one has made.
  const olderSignIn = await page.evaluate(async () => {
    const auth = older();
    const { error } = await auth.signInSecurityKey();
    return { error, id: auth.getUser()?.id };
  });
  assert.deepEqual(olderSignIn, { error: null, id: made.session.user.id });
  const taken = await page.evaluate(() => signUp(client(), "grace@example.org").catch((error) => error.body));
  assert.deepEqual([taken.status, taken.error], [409, "email-already-in-use"]);

  // A passkey beside a password, and a fresh proof by it.
  await forget();
  const added = await page.evaluate(async (email, password) => {
    const nhost = client();
    await nhost.auth.signInEmailPassword({ email, password });
    const key = await add(nhost);
    const again = await add(nhost).catch((error) => error.name);
    const before = claims(nhost.getUserSession().accessToken);
    const { session } = await elevate(nhost);
    const after = claims(session.accessToken);
    const refreshed = claims((await nhost.refreshSession(0)).accessToken);
    return { key, again, before, after, refreshed };
  }, EMAIL, PASSWORD);
  assert.equal(added.key.nickname, "Phone");
  assert.match(added.key.id, /^[0-9a-f-]{36}$/);
  assert.equal(added.again, "InvalidStateError", "the browser knows what is registered already");
  assert.deepEqual([added.before.amr, added.before.acr], [["pwd"], "aal1"]);
  assert.deepEqual([added.after.acr, added.after.sid], ["aal2", added.before.sid]);
  const elevated = added.refreshed["https://hasura.io/jwt/claims"]["x-hasura-auth-elevated"];
  assert.equal(elevated, added.refreshed.sub);

  // The older client, from the beginning.
  await forget();
  const olderAccount = await page.evaluate(async () => {
    const auth = older();
    const signedUp = await auth.signUp({ email: "hedy@example.org", securityKey: true, options: { displayName: "Hedy" } });
    const elevated = await auth.elevateEmailSecurityKey("hedy@example.org");
    const again = older();
    const signedIn = await again.signIn({ email: "hedy@example.org", securityKey: true });
    const known = await again.addSecurityKey("Phone");
    return {
      errors: [signedUp.error, elevated.error, signedIn.error], elevated: elevated.elevated, known: !!known.error,
      id: again.getUser()?.id, name: again.getUser()?.displayName,
    };
  });
  assert.deepEqual(olderAccount.errors, [null, null, null], JSON.stringify(olderAccount));
  assert.deepEqual([olderAccount.elevated, olderAccount.known, olderAccount.name], [true, true, "Hedy"]);
  // And the newer one with what that has made.
  const { session } = await page.evaluate(() => signIn(client()));
  assert.equal(session.user.id, olderAccount.id);
  await forget();
  const key = await page.evaluate(async (email, password) => {
    const auth = older();
    await auth.signIn({ email, password });
    return auth.addSecurityKey("Tablet");
  }, EMAIL, PASSWORD);
  assert.deepEqual([key.error, key.key.nickname], [null, "Tablet"]);
} finally {
  await browser.close();
  server.close();
}
