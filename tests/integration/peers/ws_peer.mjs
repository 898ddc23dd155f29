// The npm package `ws` at the end of a pipe: what endpoint.py drives. Commands come as lines of JSON on standard
// input, events leave as lines of JSON on standard output; bytes are in base64.
//
//   node ws_peer.mjs commands     does as it is told, with one connection at a time
//   node ws_peer.mjs echo         a server that sends back every message; it prints {"event":"listening","port":N} only

import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { createInterface } from 'node:readline';
import { WebSocket, WebSocketServer } from 'ws';

const SUBPROTOCOLS = ['chat', 'other'];

const tell = (event) => process.stdout.write(JSON.stringify(event) + '\n');
const toText = (bytes) => Buffer.from(bytes).toString('base64');
const toBytes = (text) => Buffer.from(text, 'base64');

let socket = null;

function watch(connection) {
  socket = connection;
  connection.on('message', (data, binary) => tell({ event: 'message', binary, data: toText(data) }));
  connection.on('pong', (data) => tell({ event: 'pong', data: toText(data) }));
  connection.on('close', (code, reason) => tell({ event: 'close', code, reason: reason.toString() }));
  connection.on('error', (error) => tell({ event: 'error', what: error.message }));
}

function tellOpen(connection) {
  tell({ event: 'open', subprotocol: connection.protocol, extensions: connection.extensions });
}

function connect({ url, subprotocols, ca }) {
  const connection = new WebSocket(url, subprotocols, ca ? { ca: readFileSync(ca) } : {});
  connection.on('unexpected-response', (request, response) => {
    tell({ event: 'refused', status: response.statusCode });
    request.destroy();
  });
  connection.on('open', () => tellOpen(connection));
  watch(connection);
}

function serve(onConnection, { chain, key } = {}) {
  const http = chain ? createTlsServer({ cert: readFileSync(chain), key: readFileSync(key) }) : createServer();
  const server = new WebSocketServer({
    server: http,
    perMessageDeflate: true,
    handleProtocols: (offered) => SUBPROTOCOLS.find((name) => offered.has(name)) ?? false,
    verifyClient: ({ req }, decide) => decide(req.url !== '/refused', 403),
  });
  server.on('connection', onConnection);
  http.listen(0, '127.0.0.1', () => tell({ event: 'listening', port: http.address().port }));
}

const commands = {
  connect,
  serve: (identity) => serve((connection) => { watch(connection); tellOpen(connection); }, identity),
  send: ({ data, binary }) => socket.send(toBytes(data), { binary }),
  fragments: ({ parts, binary }) => parts.forEach(
    (part, i) => socket.send(toBytes(part), { binary, fin: i === parts.length - 1 })),
  ping: ({ data }) => socket.ping(toBytes(data)),
  close: ({ code, reason }) => socket.close(code ?? undefined, reason),
  terminate: () => socket.terminate(),
};

function echo(connection) {
  connection.on('message', (data, binary) => connection.send(data, { binary }));
}

if (process.argv[2] === 'echo') {
  serve(echo);
} else {
  const lines = createInterface({ input: process.stdin });
  lines.on('line', (line) => {
    const command = JSON.parse(line);
    commands[command.command](command);
  });
  lines.on('close', () => process.exit(0));
}
