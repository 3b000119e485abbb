// The peer: better-auth with its own defaults, a Postgres pool, bearer sessions and JWTs. Prints its address when it is ready.
//
//   DATABASE_URL=postgres://.. node server.mjs

import { createServer } from "node:http";
import { betterAuth } from "better-auth";
import { getMigrations } from "better-auth/db/migration";
import { toNodeHandler } from "better-auth/node";
import { bearer, jwt } from "better-auth/plugins";
import pg from "pg";

const options = {
  baseURL: "http://127.0.0.1",
  secret: "0123456789abcdef0123456789abcdef",
  database: new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 4 }),
  emailAndPassword: { enabled: true },
  plugins: [bearer(), jwt()],
  rateLimit: { enabled: false },
  telemetry: { enabled: false },
  logger: { disabled: true },
  trustedOrigins: ["http://127.0.0.1"],
};

await (await getMigrations(options)).runMigrations();
const server = createServer(toNodeHandler(betterAuth(options)));
server.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ gateway: `127.0.0.1:${server.address().port}` })));
process.stdin.on("end", () => process.exit(0)).resume();
