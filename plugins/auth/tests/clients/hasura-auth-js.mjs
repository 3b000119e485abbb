// The client of nhost-js 1 to 3, by which most apps that are out there speak to hasura-auth.
import assert from 'node:assert/strict'
import { HasuraAuthClient } from '@nhost/hasura-auth-js'

const url = process.env.BASE_URL
const email = 'ada@example.org'
const password = 'correct horse battery'

const client = () => {
  const kept = new Map()
  const clientStorage = {
    getItem: (key) => kept.get(key) ?? null,
    setItem: (key, value) => kept.set(key, value),
    removeItem: (key) => kept.delete(key),
  }
  const quiet = { autoSignIn: false, autoRefreshToken: false, clientStorageType: 'custom', clientStorage }
  return new HasuraAuthClient({ url, ...quiet })
}

const auth = client()
const signedUp = await auth.signUp({ email, password, options: { displayName: 'Ada' } })
assert.equal(signedUp.error, null)
assert.equal(auth.getUser().displayName, 'Ada')
assert.equal(auth.getHasuraClaims()['x-hasura-default-role'], 'user')

const taken = await client().signUp({ email, password })
assert.deepEqual(
  { status: taken.error.status, error: taken.error.error },
  { status: 409, error: 'email-already-in-use' },
)

const wrong = await client().signIn({ email, password: 'wrong password' })
assert.deepEqual(wrong.error, {
  status: 401, error: 'invalid-email-password', message: 'Incorrect email or password',
})

const before = auth.getSession().refreshToken
const { error: notRefreshed } = await auth.refreshSession()
assert.equal(notRefreshed, null)
assert.notEqual(auth.getSession().refreshToken, before)

const made = await auth.createPAT(new Date(Date.now() + 3600 * 1000), { name: 'backup' })
assert.equal(made.error, null)
const script = client()
const byPat = await script.signInPAT(made.data.personalAccessToken)
assert.equal(byPat.error, null)
assert.equal(script.isAuthenticated(), true)

assert.equal((await auth.changePassword({ newPassword: 'another password 7' })).error, null)
const anew = client()
assert.equal((await anew.signIn({ email, password: 'another password 7' })).error, null)
assert.equal((await anew.signOut()).error, null)
assert.equal(anew.isAuthenticated(), false)
