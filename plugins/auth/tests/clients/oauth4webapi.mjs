// One step as the library oauth4webapi takes it: `begin`, `poll CODE` or `refresh TOKEN` of a machine's life; `revoke TOKEN`
// of whoever is done; `introspect TOKEN BEARER` of a service.
import * as oauth from 'oauth4webapi';

const [host, step, value, bearer] = process.argv.slice(2);
const issuer = new URL('http://localhost:3000');
const options = {
  [oauth.allowInsecureRequests]: true,
  // The issuer's name leads to the host of the test.
  [oauth.customFetch]: (url, init) => fetch(url.replace(issuer.origin, host), init),
};
const client = { client_id: 'living-room' };
const none = oauth.None();

const found = await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...options });
const server = await oauth.processDiscoveryResponse(issuer, found);

const steps = {
  async begin() {
    const asked = new URLSearchParams({ name: 'Television', kind: 'tv' });
    const answer = await oauth.deviceAuthorizationRequest(server, client, none, asked, options);
    return oauth.processDeviceAuthorizationResponse(server, client, answer);
  },
  async poll() {
    const answer = await oauth.deviceCodeGrantRequest(server, client, none, value, options);
    return oauth.processDeviceCodeResponse(server, client, answer);
  },
  async refresh() {
    const answer = await oauth.refreshTokenGrantRequest(server, client, none, value, options);
    return oauth.processRefreshTokenResponse(server, client, answer);
  },
  async revoke() {
    const answer = await oauth.revocationRequest(server, client, none, value, options);
    return (await oauth.processRevocationResponse(answer)) ?? 'revoked';
  },
  async introspect() {
    const service = (_server, _client, _body, headers) => headers.set('authorization', `Bearer ${bearer}`);
    const answer = await oauth.introspectionRequest(server, client, service, value, options);
    return oauth.processIntrospectionResponse(server, client, answer);
  },
};

try {
  console.log(JSON.stringify(await steps[step]()));
} catch (error) {
  if (!(error instanceof oauth.ResponseBodyError)) throw error;
  console.log(JSON.stringify({ error: error.error, status: error.status }));
}
