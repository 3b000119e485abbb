// pg-boss by its own fetch and complete, 1,000 jobs at a time in two loops: no pause of a poll is measured.
//
//   DATABASE_URL=postgres://.. node pg-boss.mjs

import { PgBoss } from "pg-boss";

import { Counter, fromCallers, oneByOne, serve } from "./peer.mjs";

const BATCH = 1000;
const counter = new Counter();
const boss = new PgBoss({
  connectionString: process.env.DATABASE_URL,
  max: 32,
  supervise: false,
  schedule: false,
  useListenNotify: true,
});
boss.on("error", () => {});
await boss.start();
await boss.createQueue("bench");
await boss.createQueue("woken", { notify: true });

let number = 0;
await serve({
  enqueue: async ({ callers, jobs }) => ({
    seconds: await fromCallers(callers, jobs, () => boss.send("bench", { n: (number += 1) })),
  }),
  batches: async ({ batches, size }) => ({
    seconds: await fromCallers(1, batches, () =>
      boss.insert("bench", Array.from({ length: size }, () => ({ data: { n: (number += 1) } }))),
    ),
  }),
  async drain({ jobs }) {
    const done = counter.expect(jobs);
    const loop = async () => {
      for (;;) {
        const batch = await boss.fetch("bench", { batchSize: BATCH });
        if (batch.length === 0) return;
        for (const job of batch) counter.note(job.data);
        await boss.complete("bench", batch.map((job) => job.id));
      }
    };
    await Promise.all([loop(), loop()]);
    const seconds = counter.seconds();
    await done;
    return { seconds };
  },
  async work() {
    counter.quiet();
    await boss.work("woken", async ([job]) => counter.note(job.data));
  },
  oneByOne: ({ samples }) => oneByOne(counter, samples, (payload) => boss.send("woken", payload)),
  rest: () => boss.offWork("woken"),
});
