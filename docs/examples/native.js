// A client that gets errors: npm install zeromq && node native.js Ahoy!
const { Dealer } = require("zeromq");
const { randomBytes } = require("crypto");

async function call(server, ...body) {
  const id = randomBytes(16);
  const options = Buffer.from(JSON.stringify({ timeout_ms: 5000 }));
  await server.send([Buffer.concat([Buffer.from("PIR1"), id, options]), "", ...body]);
  for (;;) {
    const [header, , ...reply] = await server.receive();
    if (header.subarray(0, 4).toString() !== "PIR1" || !header.subarray(4, 20).equals(id)) continue;
    const told = header.length > 20 ? JSON.parse(header.subarray(20)) : {};
    if (told.status === "error") throw new Error(`${told.code}: ${told.message}`);
    return reply;
  }
}

async function main(endpoint, ...body) {
  const server = new Dealer({ receiveTimeout: 6000, linger: 0 });
  server.connect(endpoint);
  console.log((await call(server, ...body)).map(String).join("\n"));
}

main("tcp://127.0.0.1:6660", ...process.argv.slice(2)).catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
