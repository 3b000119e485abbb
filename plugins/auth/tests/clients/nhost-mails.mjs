// What Nhost's client of today does by mail and with a second factor, and a look at what it can do at all.
//
// BASE_URL is the host, APP an address that links may return to, TABLE the document that says which methods are served.
import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { readFile, readdir } from 'node:fs/promises'
import { createClient } from '@nhost/nhost-js'
import { generatePKCEPair } from '@nhost/nhost-js/auth'
import { MemoryStorage } from '@nhost/nhost-js/session'

const { BASE_URL: url, APP, TABLE } = process.env
const password = 'correct horse battery'

const client = () =>
  createClient({ authUrl: url, storageUrl: url, graphqlUrl: url, functionsUrl: url, storage: new MemoryStorage() })

// What is found in the newest mail to an address that has it, other than what is known.
async function mailed(email, pattern, known) {
  for (let tries = 0; tries < 200; tries += 1) {
    const found = await (await fetch(`${url}/api/v2/search?kind=to&query=${encodeURIComponent(email)}`)).json()
    for (const { Raw } of found.items) {
      const [, text] = Raw.Data.replaceAll('=\r\n', '').replaceAll('=3D', '=').match(/\r\n\r\n([^]*)/)
      const match = text.match(pattern)
      if (match && match[0] !== known) return match[0]
    }
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return assert.fail(`no mail to ${email} with ${pattern}`)
}

const linkOf = (type) => new RegExp(`http://localhost:3000/verify\\?\\S*type=${type}&[^\\s"<>]*`)

// Where the link of a mail returns to; opened as the client builds its address.
async function follow(nhost, email, type, known) {
  const link = new URL(await mailed(email, linkOf(type), known))
  const { ticket, redirectTo, codeChallenge } = Object.fromEntries(link.searchParams)
  const address = nhost.auth.verifyTicketURL({ ticket, type, redirectTo, ...(codeChallenge && { codeChallenge }) })
  const answer = await fetch(address, { redirect: 'manual' })
  const location = answer.headers.get('location')
  assert.ok(location.startsWith(APP) && !location.includes('error='), location)
  return new URL(location).searchParams
}

const arrive = async (nhost, arrived) =>
  (await nhost.auth.refreshToken({ refreshToken: arrived.get('refreshToken') })).body

// RFC 6238.
function totp(secret, now = Date.now()) {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'
  const bits = [...secret].map((c) => alphabet.indexOf(c).toString(2).padStart(5, '0')).join('')
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)))
  const counter = Buffer.alloc(8)
  counter.writeBigUInt64BE(BigInt(Math.floor(now / 30_000)))
  const hmac = createHmac('sha1', key).update(counter).digest()
  const at = hmac[19] & 15
  return String((hmac.readUInt32BE(at) & 0x7fffffff) % 1_000_000).padStart(6, '0')
}

console.log('what there is')
const nhost = client()
assert.equal((await nhost.auth.healthCheckHead()).status, 200)
assert.equal((await nhost.auth.getOpenIDConfiguration()).body.issuer, 'http://localhost:3000')
assert.equal((await nhost.auth.getOAuthAuthorizationServer()).body.issuer, 'http://localhost:3000')
const table = await readFile(TABLE, 'utf8')
const [served, refused] = ['method', 'not served'].map((head) => {
  const [, rest] = table.split(`| ${head} |`)
  return [...rest.split('\n\n')[0].matchAll(/^\| ((?:`\w+`(?:, )?)+) \|/gm)].flatMap(([, cell]) => cell.match(/\w+/g))
})
const methods = Object.keys(nhost.auth).filter((name) => typeof nhost.auth[name] === 'function' && name !== 'pushChainFunction')
assert.deepEqual([...served, ...refused].sort(), methods.sort(), 'every method has its place in the table')
const scripts = (await readdir('.')).filter((name) => name.startsWith('nhost'))
const all = await Promise.all([...scripts, process.env.BROWSER_SCRIPT].map((name) => readFile(name, 'utf8')))
for (const method of served) {
  assert.ok(all.some((text) => text.includes(`.auth.${method}(`)), `${method} is tried`)
}

console.log('an account by a link, and by a code')
const ada = client()
const redirectTo = APP
await ada.auth.signUpPasswordlessEmail({ email: 'ada@example.org', options: { displayName: 'Ada', redirectTo } })
const made = await arrive(ada, await follow(ada, 'ada@example.org', 'emailVerify'))
assert.deepEqual([made.user.displayName, made.user.emailVerified], ['Ada', true])
const { verifier, challenge } = await generatePKCEPair()
await ada.auth.signInPasswordlessEmail({ email: 'ada@example.org', codeChallenge: challenge })
const byCode = await follow(ada, 'ada@example.org', 'signinPasswordless')
assert.equal(byCode.get('refreshToken'), null)
const exchanged = await client().auth.tokenExchange({ code: byCode.get('code'), codeVerifier: verifier })
assert.equal(exchanged.body.session.user.id, made.user.id)
const bob = client()
await bob.auth.signUpOTPEmail({ email: 'bob@example.org', options: { displayName: 'Bob' } })
const otp = await mailed('bob@example.org', /\b\d{8}\b/)
const { body: signedUp } = await bob.auth.verifySignInOTPEmail({ email: 'bob@example.org', otp })
assert.equal(signedUp.session.user.displayName, 'Bob')
await bob.auth.signInOTPEmail({ email: 'carol@example.org' })
const carols = await mailed('carol@example.org', /\b\d{8}\b/)
await client().auth.verifySignInOTPEmail({ email: 'carol@example.org', otp: carols })

console.log('a forgotten password, another address, a proof once more')
await client().auth.sendPasswordResetEmail({ email: 'ada@example.org', options: { redirectTo } })
await arrive(ada, await follow(ada, 'ada@example.org', 'passwordReset'))
await ada.auth.changeUserPassword({ newPassword: password })
await ada.auth.signInEmailPassword({ email: 'ada@example.org', password })
await ada.auth.changeUserEmail({ newEmail: 'ada@example.com', options: { redirectTo } })
assert.equal((await follow(ada, 'ada@example.com', 'emailConfirmChange')).get('refreshToken'), null)
await ada.auth.signInEmailPassword({ email: 'ada@example.com', password })
const dora = client()
await dora.auth.signUpEmailPassword({ email: 'dora@example.org', password })
const first = await mailed('dora@example.org', linkOf('emailVerify'))
await dora.auth.sendVerificationEmail({ email: 'dora@example.org', options: { redirectTo } })
assert.equal((await arrive(dora, await follow(dora, 'dora@example.org', 'emailVerify', first))).user.emailVerified, true)

console.log('from nobody to somebody')
const eve = client()
const { body: nobody } = await eve.auth.signInAnonymous({ displayName: 'Eve' })
assert.equal(nobody.session.user.isAnonymous, true)
await eve.auth.deanonymizeUser({ signInMethod: 'email-password', email: 'eve@example.org', password, options: { redirectTo } })
const { body: somebody } = await client().auth.signInEmailPassword({ email: 'eve@example.org', password })
assert.equal(somebody.session.user.id, nobody.session.user.id)

console.log('a second factor')
const { body: enrolment } = await ada.auth.changeUserMfa()
assert.match(enrolment.imageUrl, /^data:image\/svg/)
await ada.auth.verifyChangeUserMfa({ code: totp(enrolment.totpSecret), activeMfaType: 'totp' })
const again = client()
const { body: asked } = await again.auth.signInEmailPassword({ email: 'ada@example.com', password })
assert.equal(asked.session, null)
const wrong = await again.auth.verifySignInMfaTotp({ ticket: asked.mfa.ticket, otp: '000000' }).catch((error) => error)
assert.deepEqual([wrong.status, wrong.body.error], [401, 'invalid-ticket'])
// A code is good once: the one of the next half minute is a new one, and early enough.
const next = totp(enrolment.totpSecret, Date.now() + 30_000)
const { body: both } = await again.auth.verifySignInMfaTotp({ ticket: asked.mfa.ticket, otp: next })
assert.equal(both.session.user.activeMfaType, 'totp')
// A mailbox is one factor: its link asks for the other one.
await client().auth.signInPasswordlessEmail({ email: 'ada@example.com', options: { redirectTo } })
const half = await follow(again, 'ada@example.com', 'signinPasswordless')
assert.match(half.get('mfaTicket'), /^mfaTotp:/)
assert.equal(half.get('refreshToken'), null)
