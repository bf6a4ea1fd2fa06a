// Upstream's callback server, on the loopback alone. Says where it listens.
const { default: callbacks } = require('@constructive-io/knative-job-server');

const server = callbacks().listen(0, '127.0.0.1', () => {
  console.log(`listening on ${server.address().port}`);
});
