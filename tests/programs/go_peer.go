// Go's own HTTP and TLS as weir's peer, in both directions, each with HTTP/1.1 and HTTP/2:
//
//	go_peer get AUTHORITIES URL     a page many times at once, a body, a resumed session, big.bin
//	go_peer serve CERTIFICATE KEY ADDRESS FOLDER
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func expect(holds bool, what string) {
	if !holds {
		check(fmt.Errorf("does not hold: %s", what))
	}
}

func clientOf(authorities string, version2 bool, newest uint16, sessions tls.ClientSessionCache) *http.Client {
	pem, err := os.ReadFile(authorities)
	check(err)
	pool := x509.NewCertPool()
	expect(pool.AppendCertsFromPEM(pem), "authorities")
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{
			RootCAs:            pool,
			MaxVersion:         newest,
			ClientSessionCache: sessions,
		},
		ForceAttemptHTTP2: version2,
	}
	if !version2 {
		transport.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	}
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}
}

func get(client *http.Client, url string) (*http.Response, []byte) {
	answer, err := client.Get(url)
	check(err)
	body, err := io.ReadAll(answer.Body)
	check(err)
	check(answer.Body.Close())
	return answer, body
}

func askAll(client *http.Client, base string, major int) {
	done := make(chan bool)
	for i := 0; i < 30; i++ {
		go func() {
			answer, body := get(client, base+"/plaintext")
			expect(answer.ProtoMajor == major, "the version that was agreed on")
			done <- answer.StatusCode == 200 && string(body) == "Hello, World!"
		}()
	}
	for i := 0; i < 30; i++ {
		expect(<-done, "a page")
	}
	answer, body := get(client, base+"/big.bin")
	expect(answer.ContentLength == 3<<20 && len(body) == 3<<20, "a long file")
	part, err := http.NewRequest("GET", base+"/big.bin", nil)
	check(err)
	part.Header.Set("Range", "bytes=1000-1999")
	answer, err = client.Do(part)
	check(err)
	some, err := io.ReadAll(answer.Body)
	check(err)
	expect(answer.StatusCode == 206 && bytes.Equal(some, body[1000:2000]), "a part of it")
	answer, err = client.Post(base+"/plaintext", "text/plain", strings.NewReader("a body"))
	check(err)
	expect(answer.StatusCode == 405, "a method that is not allowed")
	answer.Body.Close()
}

func main() {
	if len(os.Args) == 6 && os.Args[1] == "serve" {
		folder := http.FileServer(http.Dir(filepath.Clean(os.Args[5])))
		check(http.ListenAndServeTLS(os.Args[4], os.Args[2], os.Args[3], folder))
	}
	expect(len(os.Args) == 4 && os.Args[1] == "get", "usage")
	authorities, base := os.Args[2], os.Args[3]
	for _, newest := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for major := 1; major <= 2; major++ {
			askAll(clientOf(authorities, major == 2, newest, nil), base, major)
			// With clients of their own, one connection each: a handshake that Go gives up, since
			// another connection was there first, forgets the session that it tried to resume.
			sessions := tls.NewLRUClientSessionCache(8)
			get(clientOf(authorities, major == 2, newest, sessions), base+"/plaintext")
			again := clientOf(authorities, major == 2, newest, sessions)
			answer, _ := get(again, base+"/plaintext")
			expect(answer.TLS.Version == newest, "the version of TLS")
			expect(answer.TLS.DidResume, "a session is resumed")
		}
	}
	fmt.Println("done")
}
