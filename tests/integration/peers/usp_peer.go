// A peer of the usp protocol in Go, with what lxzan/socket is made of (compress/gzip, compress/flate,
// encoding/json), at the end of a pipe: what usp_test.py drives. Like that library it sends compressed streams
// that are flushed and never finished, takes those that end early, and refuses a header that is larger than the
// payload as it was sent.
//
//	usp_peer commands                 does as it is told, with one connection at a time
//	usp_peer echo COMPRESSION MIN     a server that sends back every message, compressed from MIN bytes on; it
//	                                  prints {"event":"listening","port":N} only
//
// Commands come as lines of JSON on standard input, events leave as lines of JSON on standard output; bodies are
// in base64.
package main

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
)

const (
	text, binaryType = 0, 1
	none, gzipped    = 0, 1
	headBytes        = 10
	countedHeadBytes = 6
)

type message struct {
	Type        byte              `json:"type"`
	Compression byte              `json:"compression"`
	Header      map[string]string `json:"header"`
	Body        []byte            `json:"body"`
}

func compress(algorithm byte, plain []byte) ([]byte, error) {
	var out bytes.Buffer
	var writer interface {
		io.Writer
		Flush() error
	}
	writer, err := flate.NewWriter(&out, flate.DefaultCompression)
	if algorithm == gzipped {
		writer = gzip.NewWriter(&out)
	}
	if err != nil {
		return nil, err
	}
	if _, err := writer.Write(plain); err != nil {
		return nil, err
	}
	err = writer.Flush()
	return out.Bytes(), err
}

func decompress(algorithm byte, compressed []byte) ([]byte, error) {
	var reader io.Reader = flate.NewReader(bytes.NewReader(compressed))
	if algorithm == gzipped {
		var err error
		if reader, err = gzip.NewReader(bytes.NewReader(compressed)); err != nil {
			return nil, err
		}
	}
	plain, err := io.ReadAll(reader)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return plain, err
}

func encode(m message) ([]byte, error) {
	var payload []byte
	if len(m.Header) > 0 {
		var err error
		if payload, err = json.Marshal(m.Header); err != nil {
			return nil, err
		}
	}
	headerSize := len(payload)
	payload = append(payload, m.Body...)
	if m.Compression != none {
		var err error
		if payload, err = compress(m.Compression, payload); err != nil {
			return nil, err
		}
	}
	frame := make([]byte, headBytes, headBytes+len(payload))
	binary.LittleEndian.PutUint32(frame, uint32(countedHeadBytes+len(payload)))
	frame[5] = m.Type
	frame[6] = m.Compression
	binary.LittleEndian.PutUint16(frame[8:], uint16(headerSize))
	return append(frame, payload...), nil
}

func decode(reader io.Reader) (m message, err error) {
	head := make([]byte, headBytes)
	if _, err = io.ReadFull(reader, head); err != nil {
		return
	}
	size := binary.LittleEndian.Uint32(head)
	headerSize := int(binary.LittleEndian.Uint16(head[8:]))
	if size < countedHeadBytes || head[4] != 0 || head[7] != 0 {
		return m, fmt.Errorf("a frame begins with % x", head)
	}
	payload := make([]byte, size-countedHeadBytes)
	if _, err = io.ReadFull(reader, payload); err != nil {
		return
	}
	if headerSize > len(payload) {
		return m, fmt.Errorf("a header of %d bytes is larger than its payload of %d", headerSize, len(payload))
	}
	m.Type, m.Compression = head[5], head[6]
	if m.Compression != none {
		if payload, err = decompress(m.Compression, payload); err != nil {
			return
		}
	}
	if headerSize > len(payload) {
		return m, errors.New("a header is larger than what was compressed")
	}
	if headerSize > 0 {
		err = json.Unmarshal(payload[:headerSize], &m.Header)
	}
	m.Body = payload[headerSize:]
	return
}

func tell(event map[string]interface{}) {
	line, err := json.Marshal(event)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(line))
}

func listen() net.Listener {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	tell(map[string]interface{}{"event": "listening", "port": listener.Addr().(*net.TCPAddr).Port})
	return listener
}

// Echo.

func serveEcho(connection net.Conn, compression byte, min int) {
	defer connection.Close()
	reader := bufio.NewReader(connection)
	for {
		m, err := decode(reader)
		if err != nil {
			return
		}
		if m.Type != text && m.Type != binaryType {
			continue
		}
		m.Compression = none
		if len(m.Body) >= min {
			m.Compression = compression
		}
		frame, err := encode(m)
		if err != nil {
			panic(err)
		}
		if _, err := connection.Write(frame); err != nil {
			return
		}
	}
}

func echo(compression byte, min int) {
	listener := listen()
	for {
		connection, err := listener.Accept()
		if err != nil {
			panic(err)
		}
		go serveEcho(connection, compression, min)
	}
}

// Commands.

type command struct {
	Command string `json:"command"`
	Address string `json:"address"`
	message
}

// Sends what comes through the channel, in order, while commands go on.
func write(connection net.Conn, frames <-chan []byte) {
	for frame := range frames {
		connection.Write(frame)
	}
}

func watch(connection net.Conn) {
	tell(map[string]interface{}{"event": "open"})
	reader := bufio.NewReader(connection)
	for {
		m, err := decode(reader)
		if err != nil {
			tell(map[string]interface{}{"event": "close", "error": err.Error()})
			return
		}
		tell(map[string]interface{}{"event": "message", "type": m.Type, "compression": m.Compression,
			"header": m.Header, "body": m.Body})
	}
}

func obey() {
	const maxWaiting = 1000
	var connection net.Conn
	var frames chan []byte
	start := func() {
		frames = make(chan []byte, maxWaiting)
		go write(connection, frames)
		go watch(connection)
	}
	accepted := make(chan net.Conn, 16)
	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var c command
		if err := json.Unmarshal(line, &c); err != nil {
			panic(err)
		}
		switch c.Command {
		case "serve":
			listener := listen()
			go func() {
				for {
					next, err := listener.Accept()
					if err != nil {
						panic(err)
					}
					accepted <- next
				}
			}()
		case "accept":
			connection = <-accepted
			start()
		case "connect":
			if connection, err = net.Dial("tcp", c.Address); err != nil {
				panic(err)
			}
			start()
		case "send":
			frame, err := encode(c.message)
			if err != nil {
				panic(err)
			}
			frames <- frame
		case "raw":
			frames <- c.Body
		case "close":
			connection.Close()
		default:
			panic("no such command: " + c.Command)
		}
	}
}

func main() {
	if os.Args[1] == "commands" {
		obey()
		return
	}
	compression := map[string]byte{"none": 0, "gzip": 1, "flate": 2}[os.Args[2]]
	min, err := strconv.Atoi(os.Args[3])
	if err != nil {
		panic(err)
	}
	echo(compression, min)
}
