// quic-go as a peer to test against.
//
// The command line is that of this project's own `interop` program, so that either can stand on
// either side of a test:
//
//	quic-go-peer serve DIR --listen ADDRESS --cert FILE --key FILE [--echo]
//	quic-go-peer get URL... --cacert FILE [-o DIR] [--method M] [--body FILE] [--parallel N]
//
// `serve` prints `listening on ADDRESS`; `get` prints one line `STATUS BYTES SHA256 URL` per URL.
// (quic-go's own example programs print no hash, send only GET, and do not tell their port.)
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
)

func main() {
	if len(os.Args) < 2 {
		fail(errors.New("usage: quic-go-peer serve|get ..."))
	}
	switch os.Args[1] {
	case "serve":
		fail(serve(os.Args[2:]))
	case "get":
		fail(get(os.Args[2:]))
	default:
		fail(fmt.Errorf("unknown command %q", os.Args[1]))
	}
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// parse reads flags and positional arguments in any order, which the flag package alone does not.
func parse(flags *flag.FlagSet, args []string) ([]string, error) {
	var positional []string
	for {
		if err := flags.Parse(args); err != nil {
			return nil, err
		}
		if flags.NArg() == 0 {
			return positional, nil
		}
		positional = append(positional, flags.Arg(0))
		args = flags.Args()[1:]
	}
}

// keyLog opens the file that SSLKEYLOGFILE names, if any.
func keyLog() (*os.File, error) {
	name := os.Getenv("SSLKEYLOGFILE")
	if name == "" {
		return nil, nil
	}
	return os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
}
