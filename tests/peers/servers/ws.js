// A WebSocket server on Node's ws.
//
//   node ws.js websocket [--tls=CHAIN,KEY | --deflate | --broadcast]
//
// The handlers of several messages that came together run in one turn (allowSynchronousEvents), and what they answer
// leaves in one write, as the socket is corked meanwhile. UTF-8 is validated, as everywhere.
"use strict";

const fs = require("fs");
const { WebSocketServer } = require("ws");

const option = process.argv[3] || "";

function makeServer() {
  if (!option.startsWith("--tls=")) return require("http").createServer();
  const [chain, key] = option.slice("--tls=".length).split(",");
  return require("https").createServer({ cert: fs.readFileSync(chain), key: fs.readFileSync(key) });
}

const server = makeServer();
const sockets = new WebSocketServer({
  server,
  allowSynchronousEvents: true,
  perMessageDeflate:
    option === "--deflate" ? { threshold: 0, concurrencyLimit: 1, zlibDeflateOptions: { level: 1 } } : false,
});

function cork(socket) {
  if (socket.writableCorked) return;
  socket.cork();
  setImmediate(() => socket.uncork());
}

sockets.on("connection", (connection, request) => {
  connection.on("error", () => {});
  connection.on("message", (data, isBinary) => {
    if (option === "--broadcast") {
      for (const client of sockets.clients) client.send(data, { binary: isBinary });
    } else {
      cork(request.socket);
      connection.send(data, { binary: isBinary });
    }
  });
});

server.on("connection", (socket) => socket.setNoDelay(true));
server.listen({ port: 0, host: "127.0.0.1", backlog: 4096 }, () => {
  console.log(`listening on 127.0.0.1:${server.address().port}`);
});
