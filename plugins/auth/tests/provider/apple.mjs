// A foreign place that behaves as Sign in with Apple does, as Apple describes it in "Sign in with Apple REST API":
// - whoever asks for a name or an address is answered by a posted form, or not at all;
// - the client secret is a token of five claims, signed by ES256 with the key whose id stands in its head, for six months at most;
// - the name of a person is in the form of their first answer, and nowhere else.
//
// Arguments: callback address, client id, team id, key id; the key's public half (SPKI in PEM) stands in APPLE_KEY. Who
// signs in is whom the browser's header `x-login` names; without it somebody says no.
import { createHash, createPublicKey, generateKeyPairSync, randomUUID, sign, verify } from 'node:crypto';
import { createServer } from 'node:http';

const [callback, clientId, teamId, keyId] = process.argv.slice(2);
const clientKey = createPublicKey(process.env.APPLE_KEY);
const SIX_MONTHS = 15777000;

const signing = generateKeyPairSync('rsa', { modulusLength: 2048 });
const jwk = { ...signing.publicKey.export({ format: 'jwk' }), kid: 'apple-1', use: 'sig', alg: 'RS256' };
const base64url = (value) => Buffer.from(value).toString('base64url');
const codes = new Map();
const met = new Set();
let issuer;

/** Why a client secret is none, or nothing. */
function refusal(secret) {
  const [head, claims, signature, ...more] = secret.split('.');
  if (!signature || more.length) return 'no token';
  const { alg, kid } = JSON.parse(Buffer.from(head, 'base64url'));
  if (alg !== 'ES256' || kid !== keyId) return 'another key';
  const key = { key: clientKey, dsaEncoding: 'ieee-p1363' };
  if (!verify('sha256', Buffer.from(`${head}.${claims}`), key, Buffer.from(signature, 'base64url'))) return 'signature';
  const { iss, sub, aud, iat, exp } = JSON.parse(Buffer.from(claims, 'base64url'));
  const now = Date.now() / 1000;
  if (iss !== teamId || sub !== clientId || aud !== issuer) return 'of somebody else';
  if (!(iat <= now + 1 && exp > now && exp - iat <= SIX_MONTHS)) return 'time';
}

function authorize(query, person, response) {
  const wanted = (query.get('scope') ?? '').split(' ').filter(Boolean);
  const isKnown = query.get('client_id') === clientId && query.get('redirect_uri') === callback;
  if (!isKnown || query.get('response_type') !== 'code') return refuse(response, 'invalid_request');
  if (wanted.some((scope) => !['openid', 'name', 'email'].includes(scope))) return refuse(response, 'invalid_scope');
  if (wanted.length && query.get('response_mode') !== 'form_post') {
    return refuse(response, 'response_mode must be form_post when name or email scope is requested');
  }
  const fields = { state: query.get('state') };
  if (person) {
    fields.code = `c.${randomUUID()}`;
    codes.set(fields.code, { person, nonce: query.get('nonce'), wanted });
    if (!met.has(person) && wanted.includes('name')) {
      fields.user = JSON.stringify({ name: { firstName: person, lastName: 'Appleseed' }, email: 'of@the.form' });
    }
    met.add(person);
  } else {
    fields.error = 'user_cancelled_authorize';
  }
  const escaped = (text) => text.replaceAll('&', '&amp;').replaceAll('"', '&quot;').replaceAll('<', '&lt;');
  const inputs = Object.entries(fields).map(([name, value]) => `<input name="${name}" value="${escaped(value)}">`);
  response.setHeader('content-type', 'text/html');
  response.end(`<form method="post" action="${callback}">${inputs.join('')}</form>`);
}

function token(request, form, response) {
  if (request.headers.authorization) return refuse(response, 'invalid_client');
  const why = refusal(form.get('client_secret') ?? '');
  if (why || form.get('client_id') !== clientId) return refuse(response, 'invalid_client', why);
  const granted = codes.get(form.get('code'));
  codes.delete(form.get('code'));
  if (!granted || form.get('grant_type') !== 'authorization_code' || form.get('redirect_uri') !== callback) {
    return refuse(response, 'invalid_grant');
  }
  const accessToken = `a.${randomUUID()}`;
  const now = Math.floor(Date.now() / 1000);
  const hash = createHash('sha256').update(accessToken).digest().subarray(0, 16);
  const claims = {
    iss: issuer, aud: clientId, exp: now + 86400, iat: now, sub: `001.${granted.person}`,
    nonce: granted.nonce, nonce_supported: true, at_hash: base64url(hash), auth_time: now,
    ...(granted.wanted.includes('email') && { email: `${granted.person}@example.org`, email_verified: 'true' }),
  };
  const signed = `${base64url('{"kid":"apple-1","alg":"RS256"}')}.${base64url(JSON.stringify(claims))}`;
  const idToken = `${signed}.${base64url(sign('sha256', Buffer.from(signed), signing.privateKey))}`;
  tell(response, {
    access_token: accessToken, token_type: 'Bearer', expires_in: 3600, refresh_token: randomUUID(), id_token: idToken,
  });
}

function tell(response, body, status = 200) {
  response.writeHead(status, { 'content-type': 'application/json;charset=UTF-8' });
  response.end(JSON.stringify(body));
}

const refuse = (response, error, why) => tell(response, { error, error_description: why }, 400);

const server = createServer(async (request, response) => {
  const { pathname, searchParams } = new URL(request.url, issuer);
  let text = '';
  for await (const chunk of request) text += chunk;
  switch (pathname) {
    case '/.well-known/openid-configuration':
      return tell(response, {
        issuer, authorization_endpoint: `${issuer}/auth/authorize`, token_endpoint: `${issuer}/auth/token`,
        revocation_endpoint: `${issuer}/auth/revoke`, jwks_uri: `${issuer}/auth/keys`, response_types_supported: ['code'],
        response_modes_supported: ['query', 'fragment', 'form_post'], subject_types_supported: ['pairwise'],
        id_token_signing_alg_values_supported: ['RS256'], scopes_supported: ['openid', 'email', 'name'],
        token_endpoint_auth_methods_supported: ['client_secret_post'],
      });
    case '/auth/authorize':
      return authorize(searchParams, request.headers['x-login'], response);
    case '/auth/token':
      return token(request, new URLSearchParams(text), response);
    case '/auth/keys':
      return tell(response, { keys: [jwk] });
    default:
      return tell(response, {}, 404);
  }
});

server.listen(0, '127.0.0.1', () => {
  issuer = `http://127.0.0.1:${server.address().port}`;
  console.log(issuer);
});
