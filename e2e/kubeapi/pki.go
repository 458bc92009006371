package kubeapi

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/portlease/portlease/e2e/kubeapi/pki"
)

// keyFiles are the API server's own.
type keyFiles struct {
	authority      string
	certificate    string
	key            string
	serviceAccount string
}

// writeKeys writes what the API server needs into dir: its authority's and its
// own certificate, its key, and the key that signs service-account tokens.
func writeKeys(a *pki.Authority, dir string) (keyFiles, error) {
	server, err := a.Serving("kube-apiserver", []net.IP{net.IPv4(127, 0, 0, 1)}, "localhost")
	if err != nil {
		return keyFiles{}, err
	}
	tokens, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return keyFiles{}, fmt.Errorf("generating the service-account key: %w", err)
	}
	serviceAccount, err := pki.KeyPEM(tokens)
	if err != nil {
		return keyFiles{}, fmt.Errorf("writing the service-account key: %w", err)
	}
	files := keyFiles{
		authority:      filepath.Join(dir, "authority.crt"),
		certificate:    filepath.Join(dir, "server.crt"),
		key:            filepath.Join(dir, "server.key"),
		serviceAccount: filepath.Join(dir, "service-account.key"),
	}
	for path, content := range map[string][]byte{
		files.authority:      a.PEM,
		files.certificate:    server.Certificate,
		files.key:            server.Key,
		files.serviceAccount: serviceAccount,
	} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return keyFiles{}, fmt.Errorf("writing the API server's keys: %w", err)
		}
	}
	return files, nil
}
