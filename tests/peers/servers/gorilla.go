// A WebSocket server on gorilla/websocket.
//
//	gorilla websocket [--tls=CHAIN,KEY | --deflate | --broadcast]
//
// Write buffers come from a pool, so that connections that are silent have none. A message is read into a buffer that
// its connection keeps, instead of a new one each time (ReadMessage). A broadcast is prepared once. With SAVE_MEMORY in
// the environment connections read into 4 KiB, otherwise into 32.
package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"

	"github.com/gorilla/websocket"
)

var (
	upgrader = websocket.Upgrader{
		ReadBufferSize: 32 << 10, WriteBufferSize: 32 << 10, WriteBufferPool: &sync.Pool{},
		CheckOrigin: func(*http.Request) bool { return true },
	}
	isBroadcast bool
	allMutex    sync.Mutex
	all         = map[*websocket.Conn]*sync.Mutex{}
)

func broadcast(kind int, bytes []byte) {
	message, err := websocket.NewPreparedMessage(kind, append([]byte(nil), bytes...))
	if err != nil {
		return
	}
	allMutex.Lock()
	defer allMutex.Unlock()
	for connection, mutex := range all {
		mutex.Lock()
		connection.WritePreparedMessage(message)
		mutex.Unlock()
	}
}

func serve(writer http.ResponseWriter, request *http.Request) {
	if isBroadcast {
		// The answer to the handshake may not be overtaken by a message.
		allMutex.Lock()
	}
	connection, err := upgrader.Upgrade(writer, request, nil)
	if isBroadcast {
		if err == nil {
			all[connection] = &sync.Mutex{}
		}
		allMutex.Unlock()
	}
	if err != nil {
		return
	}
	defer connection.Close()
	defer func() {
		allMutex.Lock()
		delete(all, connection)
		allMutex.Unlock()
	}()
	connection.SetCompressionLevel(1)
	var buffer []byte
	for {
		kind, reader, err := connection.NextReader()
		if err != nil {
			return
		}
		buffer = buffer[:0]
		for {
			if len(buffer) == cap(buffer) {
				buffer = append(buffer, make([]byte, len(buffer)+512)...)[:len(buffer)]
			}
			count, err := reader.Read(buffer[len(buffer):cap(buffer)])
			buffer = buffer[:len(buffer)+count]
			if err != nil {
				break
			}
		}
		if isBroadcast {
			broadcast(kind, buffer)
		} else if connection.WriteMessage(kind, buffer) != nil {
			return
		}
	}
}

func main() {
	option := ""
	if len(os.Args) > 2 {
		option = os.Args[2]
	}
	isBroadcast = option == "--broadcast"
	upgrader.EnableCompression = option == "--deflate"
	if os.Getenv("SAVE_MEMORY") != "" {
		upgrader.ReadBufferSize = 4096
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err == nil && strings.HasPrefix(option, "--tls=") {
		files := strings.Split(strings.TrimPrefix(option, "--tls="), ",")
		var pair tls.Certificate
		pair, err = tls.LoadX509KeyPair(files[0], files[1])
		if err == nil {
			fmt.Printf("listening on %s\n", listener.Addr())
			listener = tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{pair}})
		}
	} else if err == nil {
		fmt.Printf("listening on %s\n", listener.Addr())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	http.Serve(listener, http.HandlerFunc(serve))
}
