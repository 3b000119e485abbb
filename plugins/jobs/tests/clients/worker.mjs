// A worker as somebody would write it, with nothing but fetch: it works the queue until it gets a job that says "stop".
const base = process.env.BASE_URL;

async function call(path, body) {
  const response = await fetch(`${base}${path}`, {
    method: "POST",
    headers: { authorization: `Bearer ${process.env.TOKEN}`, "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  return response.status === 204 ? null : (await response.json()).data;
}

for (let running = true; running; ) {
  const jobs = await call("/v1/jobs/queues/letters/fetch", {
    worker: "worker.mjs",
    jobs_max: 10,
    wait_seconds: 20,
    lease_seconds: 30,
  });
  for (const job of jobs) {
    const lease = `/v1/jobs/leases/${job.lease}`;
    if (job.payload.fails && job.attempt === 1) {
      await call(`${lease}/fail`, { code: "FIRST_TIME", message: "the first time fails", retry_after: 0 });
      continue;
    }
    const { is_wanted } = await call(`${lease}/heartbeat`, { progress: { percent: 50 } });
    await call(`${lease}/logs`, { lines: [{ message: `wanted: ${is_wanted}` }] });
    await call(`${lease}/complete`, { result: { upper: job.payload.text.toUpperCase(), attempt: job.attempt } });
    running &&= job.payload.text !== "stop";
  }
}
