package certs_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/certs"
	"github.com/portlease/portlease/allocator/certs/pki"
)

// keyPair makes a certificate of that serial number and its key, in PEM.
func keyPair(t *testing.T, serial int64) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	text, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text})
}

// pairFiles are a certificate and a key that a test rewrites. Each writing is a
// second after the one before, so that it shows on every file system.
type pairFiles struct {
	cert, key string
	at        time.Time
}

func newPairFiles(t *testing.T) *pairFiles {
	dir := t.TempDir()
	return &pairFiles{cert: filepath.Join(dir, "tls.crt"), key: filepath.Join(dir, "tls.key"), at: time.Now().Add(-time.Hour)}
}

func (p *pairFiles) write(t *testing.T, cert, key []byte) {
	t.Helper()
	p.at = p.at.Add(time.Second)
	for path, text := range map[string][]byte{p.cert: cert, p.key: key} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, p.at, p.at); err != nil {
			t.Fatal(err)
		}
	}
}

func TestKeyPairFollowsItsFiles(t *testing.T) {
	files := newPairFiles(t)
	var log bytes.Buffer
	if _, err := certs.NewFiles(files.cert, files.key, "", time.Now, slog.Default()); err == nil || !strings.Contains(err.Error(), files.cert) {
		t.Errorf("without files: %v", err)
	}
	firstCert, firstKey := keyPair(t, 1)
	files.write(t, firstCert, []byte("nonsense"))
	if _, err := certs.NewFiles(files.cert, files.key, "", time.Now, slog.Default()); err == nil || !strings.Contains(err.Error(), "TLS key pair") {
		t.Errorf("with a broken key: %v", err)
	}
	files.write(t, firstCert, firstKey)
	source, err := certs.NewFiles(files.cert, files.key, "", time.Now, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	serves := func(when string, want int64) {
		t.Helper()
		var before *tls.Certificate
		for range 3 { // every handshake asks
			pair, err := source.GetCertificate(&tls.ClientHelloInfo{})
			if err != nil || pair.Leaf == nil || pair.Leaf.SerialNumber.Int64() != want {
				t.Fatalf("%s: got %+v, %v; want serial number %d", when, pair, err, want)
			}
			if before != nil && before != pair {
				t.Errorf("%s: the files are read again although they are the same", when)
			}
			before = pair
		}
	}
	warned := func(when string, times int, about string) {
		t.Helper()
		if strings.Count(log.String(), "level=WARN") != times || !strings.Contains(log.String(), about) {
			t.Errorf("%s the log is %s; want %d about %q", when, log.String(), times, about)
		}
		log.Reset()
	}
	serves("at first", 1)
	secondCert, secondKey := keyPair(t, 2)
	files.write(t, secondCert, secondKey)
	serves("after a change", 2)
	warned("after a change", 0, "")

	files.write(t, firstCert, secondKey)
	serves("with a key that does not fit", 2)
	warned("with a key that does not fit", 1, "private key does not match")
	files.write(t, []byte("nonsense"), secondKey)
	serves("with a broken certificate", 2)
	warned("with a broken certificate", 1, "keeping the current one")
	if err := os.Remove(files.cert); err != nil {
		t.Fatal(err)
	}
	serves("without a certificate", 2)
	warned("without a certificate", 1, files.cert)

	thirdCert, thirdKey := keyPair(t, 3)
	files.write(t, thirdCert, thirdKey)
	serves("after it was put right", 3)
	warned("after it was put right", 0, "")
	// Put right again after a pair of the same time was refused.
	files.write(t, thirdCert, []byte("nonsense"))
	serves("with a broken key", 3)
	files.at = files.at.Add(-time.Second)
	files.write(t, firstCert, firstKey)
	serves("with the right key at last", 1)
}

// TestPairOfAnotherCAWaitsUntilCallersTrustIt, while a pair of a trusted CA is in force
// at once.
func TestPairOfAnotherCAWaitsUntilCallersTrustIt(t *testing.T) {
	now := time.Now()
	files := newPairFiles(t)
	ca := filepath.Join(filepath.Dir(files.cert), "ca.crt")
	keySet := func(of pki.KeySet, names ...string) pki.KeySet {
		t.Helper()
		made, _, err := of.Renew(names, now)
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	write := func(s pki.KeySet) {
		t.Helper()
		if err := os.WriteFile(ca, s.CACertificates(), 0o600); err != nil {
			t.Fatal(err)
		}
		files.write(t, s.Serving.Certificate, s.Serving.Key)
	}
	first := keySet(pki.KeySet{}, "one")
	write(first)
	source, err := certs.NewFiles(files.cert, files.key, ca, func() time.Time { return now }, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	serves := func(when string, want pki.KeySet) {
		t.Helper()
		pair, err := source.GetCertificate(&tls.ClientHelloInfo{})
		if err != nil {
			t.Fatal(err)
		}
		if got := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}); !bytes.Equal(got, want.Serving.Certificate) {
			t.Errorf("%s: it serves another certificate: %s", when, pair.Leaf.Issuer)
		}
	}
	serves("at first", first)
	renewed := keySet(first, "two")
	write(renewed)
	serves("renewed by the same CA", renewed)

	second := keySet(pki.KeySet{}, "one")
	write(second)
	serves("of another CA", renewed)
	now = now.Add(4 * time.Minute)
	serves("four minutes later", renewed)
	third := keySet(pki.KeySet{}, "one")
	write(third)
	now = now.Add(4 * time.Minute)
	serves("of a third CA", renewed)
	now = now.Add(4 * time.Minute)
	serves("before callers can trust it", renewed)
	now = now.Add(time.Minute)
	serves("five minutes after it came", third)

	fourth := keySet(pki.KeySet{}, "one")
	now = now.Add(pki.ServingLifetime + time.Hour)
	late := keySet(pki.KeySet{}, "one")
	write(late)
	serves("when the old one has expired", late)
	write(fourth)
	serves("with one that has expired", late)
}
