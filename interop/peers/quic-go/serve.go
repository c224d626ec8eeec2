package main

import (
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path"

	"github.com/quic-go/quic-go/http3"
)

// serve answers requests for the files of a folder until the process is ended.
func serve(args []string) error {
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	listen := flags.String("listen", "127.0.0.1:0", "address and port")
	cert := flags.String("cert", "", "certificate chain, PEM")
	key := flags.String("key", "", "private key, PEM")
	echo := flags.Bool("echo", false, "answer POST /echo with the body of the request")
	positional, err := parse(flags, args)
	if err != nil {
		return err
	}
	if len(positional) != 1 {
		return errors.New("serve needs one folder")
	}

	certificate, err := tls.LoadX509KeyPair(*cert, *key)
	if err != nil {
		return err
	}
	config := &tls.Config{Certificates: []tls.Certificate{certificate}}
	if log, err := keyLog(); err != nil {
		return err
	} else if log != nil {
		config.KeyLogWriter = log
	}
	socket, err := net.ListenPacket("udp", *listen)
	if err != nil {
		return err
	}
	server := http3.Server{
		Handler:   handler(positional[0], *echo),
		TLSConfig: http3.ConfigureTLSConfig(config),
	}
	fmt.Println("listening on", socket.LocalAddr())
	return server.Serve(socket)
}

func handler(dir string, echo bool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		file, err := os.Open(path.Join(dir, path.Clean("/"+r.URL.Path)))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		defer file.Close()
		info, err := file.Stat()
		if err != nil || info.IsDir() {
			http.NotFound(w, r)
			return
		}
		http.ServeContent(w, r, info.Name(), info.ModTime(), file)
	})
	if echo {
		mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				fmt.Fprintln(os.Stderr, "echo:", err)
				panic(http.ErrAbortHandler)
			}
			w.Write(body)
		})
	}
	return mux
}
