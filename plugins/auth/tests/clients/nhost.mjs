// Nhost's client of today (nhost-js 4, made from hasura-auth's OpenAPI document): what its apps do, from signing up on.
import assert from 'node:assert/strict'
import { createClient } from '@nhost/nhost-js'
import { MemoryStorage } from '@nhost/nhost-js/session'

const url = process.env.BASE_URL
const email = 'ada@example.org'
const password = 'correct horse battery'

const client = () => {
  const options = { authUrl: url, storageUrl: url, graphqlUrl: url, functionsUrl: url, storage: new MemoryStorage() }
  return createClient(options)
}

// What hasura-auth answers when it refuses: status, sentence and a word in kebab case.
const refused = async (call, status, word) => {
  const error = await call.then(() => assert.fail(`${word} was expected`), (error) => error)
  assert.equal(error.status, status, error.message)
  assert.deepEqual(Object.keys(error.body).sort(), ['error', 'message', 'status'])
  assert.equal(error.body.status, status)
  assert.equal(error.body.error, word)
}

const nhost = client()
assert.deepEqual((await nhost.auth.healthCheckGet()).status, 200)
assert.match((await nhost.auth.getVersion()).body.version, /^\d+\.\d+\.\d+/)
assert.equal((await nhost.auth.getJWKs()).body.keys[0].use, 'sig')

console.log('sign up')
const options = { displayName: 'Ada', locale: 'en', metadata: { theme: 'dark' } }
const { body: signedUp } = await nhost.auth.signUpEmailPassword({ email, password, options })
const session = nhost.getUserSession()
assert.equal(session.accessToken, signedUp.session.accessToken)
assert.ok(signedUp.session.accessTokenExpiresIn > 0)
assert.match(signedUp.session.refreshTokenId, /^[0-9a-f-]{36}$/)
assert.equal(session.decodedToken['https://hasura.io/jwt/claims']['x-hasura-user-id'], signedUp.session.user.id)
const { body: user } = await nhost.auth.getUser()
assert.deepEqual(user, signedUp.session.user)
assert.deepEqual(
  { ...user, id: undefined, createdAt: undefined },
  {
    id: undefined, createdAt: undefined, displayName: 'Ada', avatarUrl: '', locale: 'en', email, isAnonymous: false,
    defaultRole: 'user', roles: ['user'], metadata: { theme: 'dark' }, emailVerified: false, phoneNumber: null,
    phoneNumberVerified: false, activeMfaType: null,
  },
)
await nhost.auth.verifyToken({ token: session.accessToken })
await refused(nhost.auth.verifyToken({ token: `${session.accessToken.slice(0, -4)}AAAA` }), 401, 'invalid-request')

console.log('refusals')
await refused(client().auth.signUpEmailPassword({ email, password }), 409, 'email-already-in-use')
await refused(client().auth.signUpEmailPassword({ email: 'bob@example.org', password: 'short' }), 400, 'password-too-short')
await refused(client().auth.signUpEmailPassword({ email: 'nobody', password }), 400, 'invalid-request')
const admin = { email: 'eve@example.org', password, options: { allowedRoles: ['user', 'admin'] } }
await refused(client().auth.signUpEmailPassword(admin), 400, 'role-not-allowed')
const evil = { email, options: { redirectTo: 'https://evil.example/' } }
await refused(client().auth.sendPasswordResetEmail(evil), 400, 'redirectTo-not-allowed')
await refused(client().auth.signInEmailPassword({ email, password: 'wrong password' }), 401, 'invalid-email-password')
await refused(client().auth.signInAnonymous(), 409, 'disabled-endpoint')

console.log('refresh, five at once with one token, as five tabs do')
const refreshed = await Promise.all(Array.from({ length: 5 }, () => nhost.refreshSession(0)))
assert.equal(new Set(refreshed.map((one) => one.refreshToken)).size, 1)
assert.notEqual(refreshed[0].refreshToken, session.refreshToken)
assert.ok(await nhost.refreshSession(0), 'the chain goes on')

console.log('personal access token')
const expiresAt = new Date(Date.now() + 24 * 3600 * 1000).toISOString()
const { body: pat } = await nhost.auth.createPAT({ expiresAt, metadata: { name: 'backup' } })
const script = client()
const { body: byPat } = await script.auth.signInPAT({ personalAccessToken: pat.personalAccessToken })
assert.equal(byPat.session.user.id, user.id)
await refused(script.auth.createPAT({ expiresAt }), 403, 'elevated-claim-required')
await refused(script.auth.changeUserEmail({ newEmail: 'eve@example.org' }), 403, 'elevated-claim-required')
await refused(script.auth.changeUserPassword({ newPassword: 'another password 7' }), 403, 'elevated-claim-required')
await refused(client().auth.signInPAT({ personalAccessToken: 'nspat_no' }), 401, 'invalid-pat')

console.log('change the password')
await nhost.auth.changeUserPassword({ newPassword: 'another password 7' })
await refused(client().auth.signInEmailPassword({ email, password }), 401, 'invalid-email-password')
await client().auth.signInEmailPassword({ email, password: 'another password 7' })

console.log('sign out')
const { refreshToken } = nhost.getUserSession()
await nhost.auth.signOut({ refreshToken })
assert.equal(nhost.getUserSession(), null)
await refused(nhost.auth.refreshToken({ refreshToken }), 401, 'invalid-refresh-token')
