// graphile-worker as its performance page advises for throughput: a local queue of 500, completions in batches.
//
//   DATABASE_URL=postgres://.. node graphile-worker.mjs

import { Logger, makeWorkerUtils, run } from "graphile-worker";
import pg from "pg";

import { Counter, serve, until } from "./peer.mjs";

const pgPool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 10 });
pgPool.on("error", () => {});
pgPool.on("connect", (client) => client.on("error", () => {}));
const logger = new Logger(() => () => {});
const counter = new Counter();
await (await makeWorkerUtils({ pgPool, logger })).migrate();

let runner;
const begin = async () => {
  runner = await run({
    pgPool,
    noHandleSignals: true,
    taskList: { nothing: async (payload) => counter.note(payload) },
    preset: {
      worker: { concurrentJobs: 24, localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 },
    },
    logger,
  });
};
const end = async () => runner.stop();
const isEmpty = async () => {
  const { rows } = await pgPool.query("select not exists (select from graphile_worker._private_jobs) as empty");
  return rows[0].empty;
};

await serve({
  async drain({ jobs }) {
    const done = counter.expect(jobs);
    await begin();
    await done;
    await until(isEmpty);
    const seconds = counter.seconds();
    await end();
    return { seconds };
  },
  async work() {
    counter.quiet();
    await begin();
  },
  latencies: async () => ({ micros: counter.latencies.splice(0) }),
  rest: end,
});
