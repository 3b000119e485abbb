// jose, the verifier that most services in JavaScript use: our key set is enough for it, and a foreign key is not in it.
import assert from 'node:assert/strict'
import { SignJWT, createRemoteJWKSet, generateKeyPair, jwtVerify } from 'jose'

const { BASE_URL, ACCESS_TOKEN, ALGORITHM, ISSUER } = process.env
const keys = createRemoteJWKSet(new URL(`${BASE_URL}/.well-known/jwks.json`))
const expected = { issuer: ISSUER, audience: 'hasura', algorithms: [ALGORITHM], typ: 'at+jwt' }

const { payload } = await jwtVerify(ACCESS_TOKEN, keys, expected)
assert.deepEqual(payload.aud, [ISSUER, 'hasura'])
assert.equal(payload.sub, payload['https://hasura.io/jwt/claims']['x-hasura-user-id'])

const { privateKey } = await generateKeyPair(ALGORITHM)
const foreign = await new SignJWT({ ...payload })
  .setProtectedHeader({ alg: ALGORITHM, typ: 'at+jwt', kid: 'somebody-elses' })
  .sign(privateKey)
await assert.rejects(jwtVerify(foreign, keys, expected), { code: 'ERR_JWKS_NO_MATCHING_KEY' })

const changed = ACCESS_TOKEN.split('.')
changed[1] = Buffer.from(JSON.stringify({ ...payload, sub: 'somebody-else' })).toString('base64url')
await assert.rejects(jwtVerify(changed.join('.'), keys, expected), { code: 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED' })
