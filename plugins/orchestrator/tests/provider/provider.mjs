// A server of tokens: the real `oidc-provider`, on loopback, with a page for those who bring one of its tokens.
//
// Its clients prove who they are by a signed assertion. Refresh tokens are renewed whenever they are used, and one that comes twice
// ends all of its grant. Access tokens are too short-lived to be used twice. It prints where it is, and a refresh token.
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

let provider;
const seen = [];
const server = createServer(async (request, response) => {
  if (request.url === '/page') {
    const [, value] = (request.headers.authorization ?? '').split(' ');
    const token = (await provider.AccessToken.find(value ?? '')) ?? (await provider.ClientCredentials.find(value ?? ''));
    seen.push(value);
    response.statusCode = token ? 200 : 401;
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ of: token?.accountId ?? token?.clientId, tokens: new Set(seen).size }));
  } else {
    provider.callback()(request, response);
  }
});

server.listen(0, '127.0.0.1', async () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const client = (client_id, grant_types) => ({
    client_id,
    client_secret: 'the secret of a client, which is long enough',
    grant_types,
    redirect_uris: grant_types.includes('refresh_token') ? [`${issuer}/never`] : [],
    response_types: grant_types.includes('refresh_token') ? ['code'] : [],
    token_endpoint_auth_method: 'client_secret_jwt',
  });
  provider = new Provider(issuer, {
    clientAuthMethods: ['client_secret_jwt'],
    clients: [client('renewing', ['authorization_code', 'refresh_token']), client('machine', ['client_credentials'])],
    cookies: { keys: ['of the tests'] },
    enabledJWA: { clientAuthSigningAlgValues: ['HS256'] },
    features: { clientCredentials: { enabled: true }, devInteractions: { enabled: false } },
    findAccount: (_, sub) => ({ accountId: sub, claims: () => ({ sub }) }),
    rotateRefreshToken: true,
    ttl: { AccessToken: 10, ClientCredentials: 10, Grant: 3_600, RefreshToken: 3_600 },
  });
  const grant = new provider.Grant({ clientId: 'renewing', accountId: 'ann' });
  grant.addOIDCScope('openid offline_access');
  const refresh = new provider.RefreshToken({
    accountId: 'ann',
    client: await provider.Client.find('renewing'),
    grantId: await grant.save(),
    gty: 'authorization_code',
    scope: 'openid offline_access',
  });
  console.log(JSON.stringify({ issuer, refresh: await refresh.save() }));
});
