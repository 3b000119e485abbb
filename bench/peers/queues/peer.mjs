// What the peers have in common: commands arrive as JSON lines and are answered as JSON lines, and a worker counts what it has done.

import { createInterface } from "node:readline";

const now = () => Number(process.hrtime.bigint()) / 1e3;

/** Answers commands until standard input ends. */
export async function serve(commands) {
  console.log(JSON.stringify({ ready: true }));
  for await (const line of createInterface({ input: process.stdin })) {
    const { command, ...what } = JSON.parse(line);
    try {
      console.log(JSON.stringify((await commands[command](what)) ?? {}));
    } catch (error) {
      console.log(JSON.stringify({ error: String(error.stack ?? error) }));
    }
  }
  process.exit(0);
}

/** Counts jobs, and notes how long after `payload.m` (microseconds of the monotonic clock) each began. */
export class Counter {
  #done = 0;
  #target = Infinity;
  #reached = () => {};
  #first = undefined;
  latencies = [];

  /** Called by a handler when it begins. */
  note(payload) {
    if (this.#first === undefined) {
      this.#first = now();
      console.log(JSON.stringify({ first: true }));
    }
    if (payload?.m) this.latencies.push(now() - payload.m);
    if (++this.#done === this.#target) this.#reached();
  }

  /** Expects so many jobs from now on. */
  expect(jobs) {
    this.#done = 0;
    this.#target = jobs;
    this.#first = undefined;
    return new Promise((resolve) => (this.#reached = resolve));
  }

  /** No more lines about a first job. */
  quiet() {
    this.#first = 0;
    this.#done = 0;
    this.#target = Infinity;
    this.latencies = [];
  }

  /** Seconds since the first of the expected jobs began. */
  seconds() {
    return (now() - this.#first) / 1e6;
  }
}

/** Calls `work` so many times, from as many callers at a time; the seconds that it took. */
export async function fromCallers(callers, times, work) {
  const begun = now();
  let left = times;
  const caller = async () => {
    while (left-- > 0) await work();
  };
  await Promise.all(Array.from({ length: callers }, caller));
  return (now() - begun) / 1e6;
}

/** Enqueues jobs one by one with a pause between them; how long each waited for its start. */
export async function oneByOne(counter, samples, enqueue) {
  counter.quiet();
  for (let at = 0; at < samples; at += 1) {
    await enqueue({ n: at, m: now() });
    await new Promise((resolve) => setTimeout(resolve, 60 + ((at * 37) % 50)));
  }
  return { micros: counter.latencies };
}

/** Waits until `isDone`. */
export async function until(isDone) {
  while (!(await isDone())) await new Promise((resolve) => setTimeout(resolve, 5));
}
