// openid-client, certified by the OpenID Foundation: it reads our discovery documents and insists on the issuer in them.
import assert from 'node:assert/strict'
import * as client from 'openid-client'

const { BASE_URL, ISSUER } = process.env

// The issuer is the address that people use; here it is this host.
const discover = (issuer, algorithm) =>
  client.discovery(new URL(issuer), 'an-app', undefined, client.None(), {
    algorithm,
    execute: [client.allowInsecureRequests],
    [client.customFetch]: (address, options) => fetch(address.replace(issuer, BASE_URL), options),
  })

for (const algorithm of ['oidc', 'oauth2']) {
  const server = (await discover(ISSUER, algorithm)).serverMetadata()
  assert.equal(server.issuer, ISSUER)
  assert.equal(server.jwks_uri, `${ISSUER}/.well-known/jwks.json`)
  assert.ok(server.token_endpoint.startsWith(ISSUER))
  assert.equal(server.revocation_endpoint, `${ISSUER}/oauth/revoke`)
  assert.equal(server.introspection_endpoint, `${ISSUER}/auth/token/introspect`)
  assert.deepEqual(server.introspection_endpoint_auth_methods_supported, ['Bearer'])
}
await assert.rejects(discover('http://somebody-else.example', 'oidc'), (error) =>
  /issuer/i.test(`${error.message} ${error.cause?.message}`))
