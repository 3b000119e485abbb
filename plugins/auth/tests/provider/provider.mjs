// A foreign OpenID provider: the real `oidc-provider`, on loopback, without anything to click.
//
// Who signs in is whom the browser's header `x-login` names; without it somebody says no. What is known of a person can be
// changed by PUT /people/{sub}.
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const people = new Map();
const person = (sub) => ({
  name: `${sub} of elsewhere`,
  email: `${sub.split('+')[0]}@example.org`,
  email_verified: !sub.endsWith('+unverified'),
  ...people.get(sub),
});

let provider;
const server = createServer(async (request, response) => {
  if (request.url.startsWith('/interaction/')) {
    const accountId = request.headers['x-login'];
    const result = accountId ? { login: { accountId } } : { error: 'access_denied', error_description: 'not me' };
    await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
  } else if (request.url.startsWith('/people/')) {
    let text = '';
    for await (const chunk of request) text += chunk;
    people.set(decodeURIComponent(request.url.slice('/people/'.length)), JSON.parse(text));
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
