// What the pages do: send a form as JSON, show the answer, go on. No framework, no inline script, no cookie.
//
// The session is kept for this tab only, and everything is asked with its bearer token, so no other site can act for it.

const STORE = "nself.session";
const messages = JSON.parse(document.getElementById("messages").textContent);
const query = new URLSearchParams(location.search);
const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

class Refusal extends Error {
  constructor(code, text, details) {
    const advice = messages[`ADVICE_${details?.reason}`];
    super([messages[code] ?? text ?? messages.failed, advice].filter(Boolean).join(" "));
    this.code = code;
  }
}

function show(id, text) {
  const place = document.getElementById(id);
  place.textContent = text;
  place.hidden = text === "";
  if (text !== "") place.scrollIntoView({ block: "nearest" });
}

// --- Session --------------------------------------------------------------------------------------------------------

const session = {
  read: () => JSON.parse(sessionStorage.getItem(STORE) ?? "null"),
  keep: (tokens) => sessionStorage.setItem(STORE, JSON.stringify(tokens)),
  forget: () => sessionStorage.removeItem(STORE),
};

async function ask(method, path, body, token) {
  const headers = { accept: "application/json" };
  if (body !== undefined) headers["content-type"] = "application/json";
  if (token) headers.authorization = `Bearer ${token}`;
  let response;
  try {
    response = await fetch(path, { method, headers, body: body && JSON.stringify(body), credentials: "omit" });
  } catch {
    throw new Refusal("OFFLINE");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refusal(answer.code ?? answer.error, answer.error, answer.details);
  return { status: response.status, data: answer.data };
}

// As `ask`, for who is signed in: an access token that has ended is renewed once.
async function askSignedIn(method, path, body) {
  const tokens = session.read();
  try {
    return await ask(method, path, body, tokens?.access_token);
  } catch (refusal) {
    if (!["TOKEN_EXPIRED", "TOKEN_OUTDATED", "TOKEN_INVALID"].includes(refusal.code) || !tokens) throw refusal;
    const { data } = await ask("POST", "/auth/refresh", { refresh_token: tokens.refresh_token });
    session.keep(data);
    return ask(method, path, body, data.access_token);
  }
}

// What was wanted before signing in, to be handed on as it is: it is looked at where it is used.
const wanted = () => (query.has("next") ? { next: query.get("next") } : {});

// Where to go after signing in: only to a page of this origin.
function next() {
  const path = query.get("next") ?? "/auth/account";
  const target = new URL(path, location.origin);
  return target.origin === location.origin && path.startsWith("/") ? target.href : "/auth/account";
}

function signedIn(data) {
  if (data.mfa_required) {
    const parameters = new URLSearchParams({ flow_id: data.flow_id, ...wanted() });
    location.assign(`/auth/second-factor?${parameters}`);
    return;
  }
  session.keep(data);
  location.assign(next());
}

function toSignIn() {
  const here = location.pathname + location.search;
  location.replace(`/auth/sign-in?${new URLSearchParams({ next: here })}`);
}

// --- Forms ----------------------------------------------------------------------------------------------------------

// Runs one action of the page at a time; what goes wrong is shown and leaves the page as it was.
async function act(button, work) {
  show("alert", "");
  if (button) button.disabled = true;
  try {
    await work();
  } catch (refusal) {
    show("alert", refusal.message);
  } finally {
    if (button) button.disabled = false;
  }
}

for (const form of $$("form[data-action]")) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    act($("button", form), async () => {
      const fields = Object.fromEntries(new FormData(form));
      const fromQuery = form.dataset.fromQuery;
      if (fromQuery) fields[fromQuery] = query.get(fromQuery) ?? "";
      const { status, data } = await ask("POST", form.dataset.action, fields);
      if (form.dataset.then === "signed-in" && status !== 202) return signedIn(data);
      form.hidden = true;
      show("status", form.dataset.done);
    });
  });
}

// What to think of a new password, as soon as it is typed. A refusal is told when the form is sent; this is advice, and
// where there is none to be had, nobody is kept waiting.
for (const input of $$("input[autocomplete=new-password]")) {
  input.addEventListener("change", async () => {
    const { email, display_name } = Object.fromEntries(new FormData(input.form));
    const asked = ask("POST", "/auth/password/check", { password: input.value, email, display_name });
    const { data } = await asked.catch(() => ({ data: {} }));
    const isWeak = data.is_accepted && data.reasons.length > 0;
    const advice = isWeak ? [messages.WEAK, ...data.reasons.map((reason) => messages[`ADVICE_${reason}`])] : [];
    const place = $("[data-advice]", input.form);
    place.textContent = advice.filter(Boolean).join(" ");
    place.hidden = !isWeak;
  });
}

function keepNext() {
  for (const link of $$("a[data-keep]")) {
    if (query.has("next")) link.search = new URLSearchParams(wanted());
  }
}
keepNext();

const fill = (root, data) => {
  for (const place of $$("[data-field]", root)) place.textContent = data[place.dataset.field] ?? "–";
};

// --- Passkeys -------------------------------------------------------------------------------------------------------

const fromBase64 = (text) =>
  Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
const toBase64 = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

function credentialJson(credential) {
  const response = {};
  for (const name of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"]) {
    if (credential.response[name]) response[name] = toBase64(credential.response[name]);
  }
  if (credential.response.getTransports) response.transports = credential.response.getTransports();
  return {
    id: credential.id,
    rawId: toBase64(credential.rawId),
    type: credential.type,
    response,
    clientExtensionResults: credential.getClientExtensionResults(),
    authenticatorAttachment: credential.authenticatorAttachment ?? undefined,
  };
}

const withIds = (list) => (list ?? []).map((one) => ({ ...one, id: fromBase64(one.id) }));

async function passkeySignIn() {
  const { data } = await ask("POST", "/auth/passkeys/login/options", {});
  const { options } = data;
  const publicKey = { ...options, challenge: fromBase64(options.challenge), allowCredentials: withIds(options.allowCredentials) };
  const credential = await navigator.credentials.get({ publicKey });
  const answer = await ask("POST", "/auth/passkeys/login/verify", { flow_id: data.flow_id, credential: credentialJson(credential) });
  signedIn(answer.data);
}

async function passkeyRegister() {
  const { data } = await askSignedIn("POST", "/auth/passkeys/register/options", {});
  const { options } = data;
  const publicKey = {
    ...options,
    challenge: fromBase64(options.challenge),
    user: { ...options.user, id: fromBase64(options.user.id) },
    excludeCredentials: withIds(options.excludeCredentials),
  };
  const credential = await navigator.credentials.create({ publicKey });
  const body = { flow_id: data.flow_id, name: navigator.platform || "passkey", credential: credentialJson(credential) };
  await askSignedIn("POST", "/auth/passkeys/register/verify", body);
  show("status", messages.passkeyAdded);
}

for (const button of $$("button[data-passkey]")) {
  button.hidden = !window.PublicKeyCredential;
  const work = button.dataset.passkey === "register" ? passkeyRegister : passkeySignIn;
  button.addEventListener("click", () => act(button, work));
}

// --- Other providers ------------------------------------------------------------------------------------------------

// What the tab keeps while somebody is elsewhere: where to go on, and the secret that proves that the tab which comes back is
// the one that left (RFC 7636).
const LEFT = "nself.left";

for (const button of $$("button[data-provider]")) {
  button.addEventListener("click", () => act(button, async () => {
    const verifier = toBase64(crypto.getRandomValues(new Uint8Array(32)));
    const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier));
    sessionStorage.setItem(LEFT, JSON.stringify({ verifier, ...wanted() }));
    const asked = new URLSearchParams({ redirect_to: location.pathname, code_challenge: toBase64(digest) });
    location.assign(`/auth/oauth/${button.dataset.provider}/start?${asked}`);
  }));
}

// Takes what the other place has sent out of the address, so that neither a reload nor a look at the history shows it again.
function comeBack() {
  const { verifier, next } = JSON.parse(sessionStorage.getItem(LEFT) ?? "{}");
  sessionStorage.removeItem(LEFT);
  if (next) query.set("next", next);
  keepNext();
  history.replaceState(null, "", next ? `${location.pathname}?${new URLSearchParams({ next })}` : location.pathname);
  return verifier ?? "";
}

async function returned(code, code_verifier) {
  const { data } = await ask("POST", "/auth/oauth/exchange", { code, code_verifier });
  signedIn(data);
}

// --- Pages ----------------------------------------------------------------------------------------------------------

const pages = {
  "sign-in"() {
    if (!query.has("code") && !query.has("error")) return;
    const verifier = comeBack();
    if (query.has("code")) act(null, () => returned(query.get("code"), verifier));
    else show("alert", messages[query.get("error")] ?? messages.failed);
  },

  account() {
    const { user } = session.read();
    $("#who").textContent = [user?.display_name, user?.email].filter(Boolean).join(" · ");
    act(null, async () => {
      const { data } = await askSignedIn("GET", "/auth/sessions");
      for (const one of data) {
        const line = document.createElement("li");
        const words = [one.client ?? one.user_agent ?? "–", one.ip, one.is_current ? messages.thisOne : null];
        line.textContent = words.filter(Boolean).join(" · ");
        $("#sessions").append(line);
      }
    });
    const button = $("[data-sign-out]");
    button.addEventListener("click", () => act(button, async () => {
      await askSignedIn("POST", "/auth/logout", {});
      session.forget();
      location.assign("/auth/sign-in");
    }));
  },

  device() {
    const form = $("#device-code");
    const shown = $("#device-shown");
    const path = () => `/auth/device/${encodeURIComponent(form.elements.user_code.value.trim())}`;
    form.elements.user_code.value = query.get("user_code") ?? "";
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      act($("button", form), async () => {
        const { data } = await askSignedIn("GET", path());
        fill(shown, data);
        shown.hidden = false;
        $("button", shown).focus();
      });
    });
    for (const button of $$("[data-decide]", shown)) {
      button.addEventListener("click", () => act(button, async () => {
        const decision = button.dataset.decide;
        await askSignedIn("POST", path(), { decision });
        form.hidden = shown.hidden = true;
        show("status", messages[decision === "approve" ? "deviceApproved" : "deviceDenied"]);
      }));
    }
  },

  invitation() {
    const place = $("#invitation");
    const token = query.get("token") ?? "";
    act(null, async () => {
      const { data } = await ask("POST", "/auth/invitations/show", { token });
      fill(place, data);
      place.hidden = false;
    });
    for (const button of $$("[data-decide]", place)) {
      button.addEventListener("click", () => {
        if (!session.read()) return toSignIn();
        act(button, async () => {
          const decision = button.dataset.decide;
          await askSignedIn("POST", `/auth/invitations/${decision}`, { token });
          place.hidden = true;
          show("status", messages[decision === "accept" ? "invitationAccepted" : "invitationDeclined"]);
        });
      });
    }
  },
};

const page = document.body.dataset.page;
const needsSession = page === "account" || page === "device";
if (needsSession && !session.read()) {
  toSignIn();
} else {
  pages[page]?.();
}
