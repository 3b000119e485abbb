// A device that trusts nothing but a signed command: judged with jose and the key set that the host shows. Prints what it would do.
import assert from "node:assert/strict";
import { compactVerify, createRemoteJWKSet, generateKeyPair, jwtVerify, SignJWT } from "jose";

const { BASE_URL, SIGNED, DEVICE } = process.env;
const keys = createRemoteJWKSet(new URL(`${BASE_URL}/v1/device-commands/keys`));
const expected = { subject: DEVICE, algorithms: ["EdDSA"], typ: "nself-command+jws", requiredClaims: ["exp", "jti", "name"] };

await compactVerify(SIGNED, keys);
const { payload, protectedHeader } = await jwtVerify(SIGNED, keys, expected);

await assert.rejects(jwtVerify(SIGNED, keys, { ...expected, subject: crypto.randomUUID() }), { claim: "sub" });
const late = { ...expected, currentDate: new Date((payload.exp + 1) * 1000) };
await assert.rejects(jwtVerify(SIGNED, keys, late), { code: "ERR_JWT_EXPIRED" });

const changed = SIGNED.split(".");
changed[1] = Buffer.from(JSON.stringify({ ...payload, name: "door.open" })).toString("base64url");
await assert.rejects(jwtVerify(changed.join("."), keys, expected), { code: "ERR_JWS_SIGNATURE_VERIFICATION_FAILED" });

const { privateKey } = await generateKeyPair("EdDSA");
const foreign = await new SignJWT(payload).setProtectedHeader(protectedHeader).sign(privateKey);
await assert.rejects(jwtVerify(foreign, keys, expected), { code: "ERR_JWS_SIGNATURE_VERIFICATION_FAILED" });
console.log(JSON.stringify({ name: payload.name, input: payload.input }));
