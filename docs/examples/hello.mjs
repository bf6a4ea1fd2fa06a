import { createServer } from "node:http";
createServer(async (call, answer) => {
  const job = JSON.parse(Buffer.concat(await call.toArray()));
  answer.writeHead(202).end(); // the rest comes later, under the headers of the call
  const headers = { "content-type": "application/json" };
  for (const name of ["x-job-id", "x-worker-id"]) headers[name] = call.headers[name];
  const body = JSON.stringify({ status: "success", result: { greeting: `Hello, ${job.name}!` } });
  await fetch(call.headers["x-callback-url"], { method: "POST", headers, body });
}).listen(Number(process.argv[2]), "127.0.0.1");
