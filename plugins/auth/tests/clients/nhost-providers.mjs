// Signing in with other places and linking them, by Nhost's client of today (nhost-js 4) and that of its versions 1 to 3.
//
// BASE_URL and HOME are the host, PLACE is a foreign OpenID provider, APP an address that it may return to.
import assert from 'node:assert/strict'
import { HasuraAuthClient } from '@nhost/hasura-auth-js'
import { createClient } from '@nhost/nhost-js'
import { generatePKCEPair } from '@nhost/nhost-js/auth'
import { MemoryStorage } from '@nhost/nhost-js/session'

const { HOME, PLACE, APP } = process.env
const password = 'correct horse battery'

const client = () =>
  createClient({ authUrl: HOME, storageUrl: HOME, graphqlUrl: HOME, functionsUrl: HOME, storage: new MemoryStorage() })

const refused = async (call, status, word) => {
  const error = await call.then(() => assert.fail(`${word} was expected`), (error) => error)
  assert.deepEqual([error.status, error.body.error], [status, word], error.message)
}

// A browser: keeps cookies per site, and goes on until it comes to `until`. `person` sits before it; nobody says no.
async function browse(address, person, until = APP, referer) {
  const cookies = new Map()
  for (let steps = 0; steps < 10; steps += 1) {
    if (address.startsWith(until)) return new URL(address).searchParams
    const { origin } = new URL(address)
    const sent = [...(cookies.get(origin) ?? [])].map(([name, value]) => `${name}=${value}`).join('; ')
    const headers = { ...(sent && { cookie: sent }), ...(person && { 'x-login': person }), ...(referer && { referer }) }
    const answer = await fetch(address, { redirect: 'manual', headers })
    for (const cookie of answer.headers.getSetCookie()) {
      const [name, value] = cookie.split(';')[0].split('=')
      cookies.set(origin, (cookies.get(origin) ?? new Map()).set(name, value))
    }
    const location = answer.headers.get('location')
    if (!location) throw Object.assign(new Error(await answer.text()), { status: answer.status })
    address = new URL(location, address).href
  }
  return assert.fail(`${address} does not lead to ${until}`)
}

const arrive = async (nhost, arrived) => {
  const refreshToken = arrived.get('refreshToken')
  assert.ok(refreshToken, `a token in ${arrived}`)
  return (await nhost.auth.refreshToken({ refreshToken })).body
}

console.log('sign in, the first time and again')
const nhost = client()
const params = { redirectTo: APP, state: 'of the app', displayName: 'Alice', locale: 'de', metadata: { theme: 'dark' } }
const arrived = await browse(nhost.auth.signInProviderURL('place', params), 'alice')
assert.deepEqual([arrived.get('from'), arrived.get('state')], ['elsewhere', 'of the app'])
const session = await arrive(nhost, arrived)
const { email, displayName, locale, metadata, emailVerified } = session.user
assert.deepEqual(
  { email, displayName, locale, metadata, emailVerified },
  { email: 'alice@example.org', displayName: 'Alice', locale: 'de', metadata: { theme: 'dark' }, emailVerified: true },
)
const again = await arrive(client(), await browse(nhost.auth.signUpProviderURL('place', { redirectTo: APP }), 'alice'))
assert.equal(again.user.id, session.user.id)
const home = await browse(nhost.auth.signInProviderURL('place'), 'alice')
assert.ok(home.get('refreshToken'), 'without an address it is the first one of the list')

console.log('sign in by a code')
const { verifier, challenge } = await generatePKCEPair()
const byCode = await browse(nhost.auth.signInProviderURL('place', { redirectTo: APP, codeChallenge: challenge }), 'alice')
assert.equal(byCode.get('refreshToken'), null)
const code = byCode.get('code')
const other = await generatePKCEPair()
const exchanged = await client().auth.tokenExchange({ code, codeVerifier: verifier })
assert.equal(exchanged.body.session.user.id, session.user.id)
await refused(client().auth.tokenExchange({ code, codeVerifier: verifier }), 401, 'invalid-ticket')
await refused(client().auth.tokenExchange({ code: 'x', codeVerifier: other.verifier }), 401, 'invalid-ticket')

console.log('reasons why not')
const declined = await browse(nhost.auth.signInProviderURL('place', { redirectTo: APP, state: 's' }), '')
assert.deepEqual(
  ['error', 'errorDescription', 'provider_error', 'state', 'refreshToken'].map((name) => declined.get(name)),
  ['oauth-provider-error', 'Provider returned an error', 'access_denied', 's', null],
)
const unknown = await browse(nhost.auth.signInProviderURL('github', { redirectTo: APP }), 'alice')
assert.equal(unknown.get('error'), 'disabled-endpoint')
const admin = await browse(nhost.auth.signInProviderURL('place', { redirectTo: APP, allowedRoles: ['user', 'admin'] }), 'eve')
assert.equal(admin.get('error'), 'role-not-allowed')
for (const redirectTo of ['https://evil.example/', `${APP}&x`, 'http://app.example@evil.example/', '//evil.example']) {
  const answer = await fetch(nhost.auth.signInProviderURL('place', { redirectTo }), { redirect: 'manual' })
  assert.deepEqual([answer.status, answer.headers.get('location')], [400, null])
  assert.equal((await answer.json()).error, 'redirectTo-not-allowed')
}
// An answer that this browser has not asked for, and one that was taken already.
const callback = `${HOME}/signin/provider/place/callback`
const forged = await browse(`${callback}?code=x&state=x`, 'alice')
assert.equal(forged.get('error'), 'invalid-state')
const answered = await browse(nhost.auth.signInProviderURL('place', { redirectTo: APP }), 'alice', callback)
const stolen = await browse(`${callback}?${answered}`, 'alice')
assert.deepEqual([stolen.get('error'), stolen.get('refreshToken')], ['invalid-state', null])
// A flow of the house's own apps ends with them.
const verb = new URLSearchParams({ redirect_to: APP, code_challenge: challenge })
const house = await browse(`${HOME}/auth/oauth/place/start?${verb}`, 'alice', `${HOME}/auth/oauth/place/callback`)
const crossed = await browse(`${callback}?${house}`, 'alice')
assert.equal(crossed.get('error'), 'invalid-state')

console.log('link a place')
const ada = client()
await ada.auth.signUpEmailPassword({ email: 'ada@example.org', password })
const connect = ada.getUserSession().accessToken
const link = ada.auth.signInProviderURL('place', { redirectTo: APP, connect })
for (const referer of [undefined, 'https://evil.example/', 'http://app.example.evil.example/']) {
  const talkedInto = await browse(link, 'bob', APP, referer)
  assert.equal(talkedInto.get('error'), 'invalid-request', referer)
}
const bobs = client()
const linked = await browse(link, 'bob', APP, 'http://app.example/')
assert.deepEqual([linked.get('error'), linked.get('refreshToken')], [null, null])
const byBob = await arrive(bobs, await browse(bobs.auth.signInProviderURL('place', { redirectTo: APP }), 'bob'))
assert.equal(byBob.user.email, 'ada@example.org')
const taken = await browse(link, 'alice', APP, 'http://app.example/')
assert.equal(taken.get('error'), 'provider-account-already-linked')
const expiresAt = new Date(Date.now() + 3600 * 1000).toISOString()
const { body: pat } = await ada.auth.createPAT({ expiresAt })
const script = client()
await script.auth.signInPAT({ personalAccessToken: pat.personalAccessToken })
for (const [token, word] of [
  [script.getUserSession().accessToken, 'elevated-claim-required'],
  [`${connect.slice(0, -4)}AAAA`, 'invalid-refresh-token'],
  ['x', 'invalid-refresh-token'],
]) {
  const url = ada.auth.signInProviderURL('place', { redirectTo: APP, connect: token })
  assert.equal((await browse(url, 'carol', APP, 'http://app.example/')).get('error'), word)
}

console.log('ID tokens')
// As the system of a phone gets one for an app: by a client of its own, with a nonce.
const provider = 'place'
async function shownBy(person) {
  const [pair, { verifier: nonce }] = [await generatePKCEPair(), await generatePKCEPair()]
  const asked = new URLSearchParams({
    client_id: 'phone', response_type: 'code', redirect_uri: callback, scope: 'openid email profile', nonce,
    code_challenge: pair.challenge, code_challenge_method: 'S256',
  })
  const given = await browse(`${PLACE}/auth?${asked}`, person, callback)
  const form = { client_id: 'phone', grant_type: 'authorization_code', code: given.get('code'), redirect_uri: callback,
    code_verifier: pair.verifier }
  const answer = await fetch(`${PLACE}/token`, { method: 'POST', body: new URLSearchParams(form) })
  return { provider, idToken: (await answer.json()).id_token, nonce }
}
const doras = await shownBy('dora')
await refused(client().auth.signInIdToken({ ...doras, nonce: undefined }), 400, 'invalid-request')
await refused(client().auth.signInIdToken({ ...doras, nonce: 'another nonce' }), 400, 'invalid-request')
await refused(client().auth.signInIdToken({ ...doras, provider: 'google' }), 409, 'disabled-endpoint')
const dora = client()
const byToken = await dora.auth.signInIdToken({ ...doras, options: { displayName: 'Dora' } })
assert.equal(byToken.body.session.user.displayName, 'Dora')
await refused(client().auth.signInIdToken(doras), 400, 'invalid-request')
const signedUp = await client().auth.signUpIdToken(await shownBy('erin'))
assert.notEqual(signedUp.body.session.user.id, byToken.body.session.user.id)
assert.equal((await dora.auth.linkIdToken(await shownBy('fay'))).body, 'OK')
const fay = await client().auth.signInIdToken(await shownBy('fay'))
assert.equal(fay.body.session.user.displayName, 'Dora')
await refused(dora.auth.linkIdToken(await shownBy('erin')), 400, 'provider-account-already-linked')
await refused(script.auth.linkIdToken(await shownBy('gil')), 403, 'elevated-claim-required')

console.log('the client of versions 1 to 3')
const old = () => {
  const kept = new Map()
  const clientStorage = {
    getItem: (key) => kept.get(key) ?? null,
    setItem: (key, value) => kept.set(key, value),
    removeItem: (key) => kept.delete(key),
  }
  return new HasuraAuthClient({
    url: HOME, clientUrl: 'http://app.example', autoSignIn: false, autoRefreshToken: false, clientStorageType: 'custom', clientStorage,
  })
}
const older = old()
const { providerUrl } = await older.signIn({ provider: 'place', options: { redirectTo: '/signed-in?from=elsewhere' } })
const olderArrived = await browse(providerUrl, 'alice')
assert.equal((await older.refreshSession(olderArrived.get('refreshToken'))).error, null)
assert.equal(older.getUser().email, 'alice@example.org')
const connecting = await older.connectProvider({ provider: 'place', options: { redirectTo: APP } })
const connected = await browse(connecting.providerUrl, 'hal', APP, 'http://app.example/')
assert.equal(connected.get('error'), null)
const hal = old()
assert.equal((await hal.signInIdToken(await shownBy('hal'))).error, null)
assert.equal(hal.getUser().email, 'alice@example.org')
assert.equal((await hal.linkIdToken(await shownBy('ida'))).error, null)
