// A foreign OpenID provider: the real `oidc-provider`, on loopback.
//
// Who signs in is whom the request's header `x-login` names; without it somebody says no. A browser that shows pages gets one
// with a question instead. What is known of a person can be changed by PUT /people/{sub}.
//
// The arguments are addresses that it answers to: for `nself`, which has a secret, and for the product's `phone`, which has none.
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const people = new Map();
const person = (sub) => ({
  name: `${sub} of elsewhere`,
  email: `${sub.split('+')[0]}@example.org`,
  email_verified: !sub.endsWith('+unverified'),
  ...people.get(sub),
});

const question = `<!doctype html><html lang="en"><title>Elsewhere</title><h1>Elsewhere</h1>
<p>May nself know who you are?</p>
<form method="post"><input name="login" aria-label="Name"><button name="answer" value="yes">Yes</button>
<button name="answer" value="no">No</button></form>`;

const bodyOf = async (request) => {
  let text = '';
  for await (const chunk of request) text += chunk;
  return text;
};

let provider;
const server = createServer(async (request, response) => {
  if (request.url.startsWith('/interaction/')) {
    const isShown = request.headers.accept?.includes('text/html');
    if (isShown && request.method === 'GET') {
      response.setHeader('content-type', 'text/html').end(question);
      return;
    }
    const answer = new URLSearchParams(await bodyOf(request));
    const accountId = isShown ? answer.get('answer') === 'yes' && answer.get('login') : request.headers['x-login'];
    const result = accountId ? { login: { accountId } } : { error: 'access_denied', error_description: 'not me' };
    await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
  } else if (request.url.startsWith('/people/')) {
    people.set(decodeURIComponent(request.url.slice('/people/'.length)), JSON.parse(await bodyOf(request)));
    response.end();
  } else {
    provider.callback()(request, response);
  }
});

server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  provider = new Provider(issuer, {
    clients: [
      {
        client_id: 'nself',
        client_secret: 'the secret: of nself',
        redirect_uris: process.argv.slice(2),
      },
      { client_id: 'phone', token_endpoint_auth_method: 'none', redirect_uris: process.argv.slice(2) },
    ],
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'] },
    cookies: { keys: ['of the tests'] },
    features: { devInteractions: { enabled: false } },
    findAccount: (_, sub) => ({ accountId: sub, claims: () => ({ sub, ...person(sub) }) }),
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    loadExistingGrant: async (ctx) => {
      const grant = new ctx.oidc.provider.Grant({
        clientId: ctx.oidc.client.clientId,
        accountId: ctx.oidc.session.accountId,
      });
      grant.addOIDCScope('openid email profile');
      await grant.save();
      return grant;
    },
    pkce: { required: () => true },
  });
  console.log(issuer);
});
