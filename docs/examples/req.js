// npm install zeromq && node req.js
const { Request } = require("zeromq");

async function main(endpoint = "tcp://127.0.0.1:6660") {
  const server = new Request({ receiveTimeout: 5000, linger: 0 });
  server.connect(endpoint);
  await server.send("Ahoy!");
  const [reply] = await server.receive();
  console.log(reply.toString());
}

main(...process.argv.slice(2));
