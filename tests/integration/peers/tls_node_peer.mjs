// Node's tls at the end of a pipe: what tls_node_test.py drives. Commands come as lines of JSON on standard input, events
// leave as lines of JSON on standard output; bytes are in base64. One connection at a time.

import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import tls from 'node:tls';

const tell = (event) => process.stdout.write(JSON.stringify(event) + '\n');
const toText = (bytes) => Buffer.from(bytes).toString('base64');

let socket = null;
let session = null; // the newest

function watch(connection, secureEvent) {
  socket = connection;
  const tellSecure = () => tell({
    event: 'secure',
    version: connection.getProtocol(),
    cipher: connection.getCipher().standardName,
    alpn: connection.alpnProtocol || '',
    server_name: connection.servername || '',
    resumed: connection.isSessionReused(),
    subject: connection.getPeerCertificate().subject?.CN ?? '',
  });
  if (secureEvent) connection.on(secureEvent, tellSecure); else tellSecure();
  connection.on('session', (newest) => { session = newest; });
  connection.on('data', (data) => tell({ event: 'data', data: toText(data) }));
  connection.on('end', () => tell({ event: 'end' }));
  connection.on('close', () => tell({ event: 'close' }));
  connection.on('error', (error) => tell({ event: 'error', code: error.code ?? '', message: error.message }));
}

// Files are named; what is no option of Node's is not passed on.
function options({ ca, chain, key, resume, ...others }) {
  const read = (file) => file && readFileSync(file);
  return { ca: read(ca), cert: read(chain), key: read(key), ...(resume ? { session } : {}), ...others };
}

const commands = {
  connect: (what) => watch(tls.connect(options({ host: '127.0.0.1', ...what })), 'secureConnect'),
  serve: ({ others, ...what }) => {
    const identities = (others ?? []).map(({ name, chain, key }) => [name, tls.createSecureContext(options({ chain, key }))]);
    const server = tls.createServer({
      ...options(what),
      ...(identities.length ? { SNICallback: (name, done) => done(null, new Map(identities).get(name)) } : {}),
    });
    server.on('secureConnection', (connection) => watch(connection));
    server.on('tlsClientError', (error) => tell({ event: 'error', code: error.code ?? '', message: error.message }));
    server.listen(0, '127.0.0.1', () => tell({ event: 'listening', port: server.address().port }));
  },
  send: ({ data }) => socket.write(Buffer.from(data, 'base64')),
  renegotiate: () => socket.renegotiate({ rejectUnauthorized: false }, (error) => tell({ event: 'renegotiated', error: error?.code ?? error?.message ?? '' })),
  end: () => socket.end(),
  destroy: () => socket.destroy(),
};

const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => {
  const command = JSON.parse(line);
  const { command: name, ...what } = command;
  commands[name](what);
});
lines.on('close', () => process.exit(0));
