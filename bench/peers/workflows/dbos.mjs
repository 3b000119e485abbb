// DBOS: a workflow of so many steps, each of which makes a new value and is written down before the next one begins.
//
//   DATABASE_URL=postgres://.. node dbos.mjs

import { createInterface } from "node:readline";

import { DBOS } from "@dbos-inc/dbos-sdk";

const now = () => Number(process.hrtime.bigint()) / 1e3;

const workflow = DBOS.registerWorkflow(
  async (steps, input) => {
    let data = input;
    for (let step = 0; step < steps; step += 1) {
      const before = data;
      data = await DBOS.runStep(async () => ({ n: before.n + 1 }), { name: `step${step}` });
    }
    return data;
  },
  { name: "steps" },
);

DBOS.setConfig({
  name: "bench",
  systemDatabaseUrl: process.env.DATABASE_URL,
  systemDatabasePoolSize: 32,
  enableOTLP: false,
  logger: { debug() {}, info() {}, warn() {}, error() {} },
});
await DBOS.launch();

const commands = {
  /** So many workflows from so many callers, who wait for each: the seconds that it took, and what each waited. */
  async run({ callers, workflows, steps }) {
    const begun = now();
    const micros = [];
    let left = workflows;
    const caller = async () => {
      while (left-- > 0) {
        const asked = now();
        const output = await workflow(steps, { n: 0 });
        if (output.n !== steps) throw new Error(`${output.n} of ${steps} steps`);
        micros.push(now() - asked);
      }
    };
    await Promise.all(Array.from({ length: callers }, caller));
    return { seconds: (now() - begun) / 1e6, micros };
  },
};

console.log(JSON.stringify({ ready: true }));
for await (const line of createInterface({ input: process.stdin })) {
  const { command, ...what } = JSON.parse(line);
  try {
    console.log(JSON.stringify(await commands[command](what)));
  } catch (error) {
    console.log(JSON.stringify({ error: String(error.stack ?? error) }));
  }
}
process.exit(0);
