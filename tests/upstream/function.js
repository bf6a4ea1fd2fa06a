// A function as upstream's wrapper makes it. Says where it listens, and what it is called with.
const { default: app } = require('@constructive-io/knative-job-fn');

const HEADERS = ['x-worker-id', 'x-job-id', 'x-database-id', 'x-callback-url'];

app.post('/hello', (request, response) => {
  const headers = Object.fromEntries(HEADERS.map((name) => [name, request.get(name)]));
  console.log(`called ${JSON.stringify({ ...headers, body: request.body })}`);
  response.json({});
});

app.post('/broken', () => {
  throw new Error("it's broken");
});

app.post('/refused', (_request, response) => {
  response.status(503).json({});
});

// Answers only when it is called again: meanwhile its worker waits.
let stuck = true;
app.post('/stuck', (_request, response) => {
  if (stuck) {
    stuck = false;
    console.log('stuck');
  } else {
    response.json({});
  }
});

const server = app.listen(0, '127.0.0.1', () => {
  console.log(`listening on ${server.address().port}`);
});
