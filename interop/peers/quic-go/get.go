package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"sync"

	"github.com/quic-go/quic-go/http3"
)

// plan is what every request of one call has in common.
type plan struct {
	client *http.Client
	method string
	body   []byte
	output string
}

// get fetches all URLs; the error is set if any response did not arrive completely.
func get(args []string) error {
	flags := flag.NewFlagSet("get", flag.ContinueOnError)
	cacert := flags.String("cacert", "", "certificate authority to trust, PEM")
	output := flags.String("o", "", "folder for the bodies, each under the last segment of its URL")
	method := flags.String("method", http.MethodGet, "request method")
	bodyFile := flags.String("body", "", "file to send as the body of each request")
	parallel := flags.Int("parallel", 1, "how many requests may be under way at once")
	urls, err := parse(flags, args)
	if err != nil {
		return err
	}
	if len(urls) == 0 {
		return errors.New("get needs a URL")
	}

	transport, err := newTransport(*cacert)
	if err != nil {
		return err
	}
	defer transport.Close()
	p := plan{client: &http.Client{Transport: transport}, method: *method, output: *output}
	if *bodyFile != "" {
		if p.body, err = os.ReadFile(*bodyFile); err != nil {
			return err
		}
	}
	return p.fetchAll(urls, max(*parallel, 1))
}

func newTransport(cacert string) (*http3.Transport, error) {
	pem, err := os.ReadFile(cacert)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("no certificate in %s", cacert)
	}
	config := &tls.Config{RootCAs: roots}
	if log, err := keyLog(); err != nil {
		return nil, err
	} else if log != nil {
		config.KeyLogWriter = log
	}
	return &http3.Transport{TLSClientConfig: config, DisableCompression: true}, nil
}

func (p *plan) fetchAll(urls []string, parallel int) error {
	var tasks sync.WaitGroup
	permits := make(chan struct{}, parallel)
	failures := make(chan error, len(urls))
	for _, url := range urls {
		permits <- struct{}{}
		tasks.Go(func() {
			defer func() { <-permits }()
			if err := p.fetch(url); err != nil {
				failures <- fmt.Errorf("%s: %w", url, err)
			}
		})
	}
	tasks.Wait()
	close(failures)
	var all []error
	for err := range failures {
		all = append(all, err)
	}
	return errors.Join(all...)
}

func (p *plan) fetch(url string) error {
	var body io.Reader
	if p.body != nil {
		body = bytes.NewReader(p.body)
	}
	request, err := http.NewRequest(p.method, url, body)
	if err != nil {
		return err
	}
	response, err := p.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()

	hash := sha256.New()
	sink := io.Writer(hash)
	if p.output != "" {
		file, err := os.Create(filepath.Join(p.output, path.Base(request.URL.Path)))
		if err != nil {
			return err
		}
		defer file.Close()
		sink = io.MultiWriter(hash, file)
	}
	length, err := io.Copy(sink, response.Body)
	if err != nil {
		return err
	}
	fmt.Printf("%d %d %x %s\n", response.StatusCode, length, hash.Sum(nil), url)
	return nil
}
