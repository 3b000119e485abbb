// BullMQ on Redis: a worker with 100 jobs at a time.
//
//   REDIS_PORT=.. node bullmq.mjs

import { Queue, Worker } from "bullmq";
import { Redis } from "ioredis";

import { Counter, fromCallers, oneByOne, serve } from "./peer.mjs";

const connection = new Redis(Number(process.env.REDIS_PORT), { maxRetriesPerRequest: null });
const queue = new Queue("bench", { connection });
const counter = new Counter();
await queue.waitUntilReady();

let number = 0;
let worker;
const begin = () => {
  worker = new Worker("bench", async (job) => counter.note(job.data), { connection, concurrency: 100 });
};

await serve({
  enqueue: async ({ callers, jobs }) => ({
    seconds: await fromCallers(callers, jobs, () => queue.add("nothing", { n: (number += 1) })),
  }),
  batches: async ({ batches, size }) => ({
    seconds: await fromCallers(1, batches, () =>
      queue.addBulk(Array.from({ length: size }, () => ({ name: "nothing", data: { n: (number += 1) } }))),
    ),
  }),
  async drain({ jobs }) {
    let completed = 0;
    const done = counter.expect(jobs);
    begin();
    await new Promise((resolve) => worker.on("completed", () => ++completed === jobs && resolve()));
    const seconds = counter.seconds();
    await done;
    await worker.close();
    return { seconds };
  },
  async work() {
    counter.quiet();
    begin();
    await worker.waitUntilReady();
  },
  oneByOne: ({ samples }) => oneByOne(counter, samples, (payload) => queue.add("nothing", payload)),
  rest: () => worker.close(),
});
