// go mod init req && go get github.com/pebbe/zmq4 && go run req.go
package main

import (
	"fmt"
	"log"
	"os"
	"time"

	zmq "github.com/pebbe/zmq4"
)

func main() {
	endpoint := "tcp://127.0.0.1:6660"
	if len(os.Args) > 1 {
		endpoint = os.Args[1]
	}
	server, err := zmq.NewSocket(zmq.REQ)
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	server.SetRcvtimeo(5 * time.Second)
	server.SetLinger(0)
	if err := server.Connect(endpoint); err != nil {
		log.Fatal(err)
	}
	if _, err := server.Send("Ahoy!", 0); err != nil {
		log.Fatal(err)
	}
	reply, err := server.Recv(0)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(reply)
}
