package kubeapi

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// TokenAt returns the token that the API server would have issued that much earlier
// (later, if negative). Without it, a test would wait ten minutes for a token to expire.
func (a *API) TokenAt(token string, earlier time.Duration) (string, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", errors.New("moving a token in time: it is not a JWT")
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", fmt.Errorf("moving a token in time: %w", err)
	}
	var claims map[string]any
	if err := json.Unmarshal(text, &claims); err != nil {
		return "", fmt.Errorf("moving a token in time: %w", err)
	}
	for _, name := range []string{"iat", "nbf", "exp"} {
		seconds, ok := claims[name].(float64)
		if !ok {
			return "", fmt.Errorf("moving a token in time: its %s is %v", name, claims[name])
		}
		claims[name] = int64(seconds) - int64(earlier/time.Second)
	}
	if text, err = json.Marshal(claims); err != nil {
		return "", fmt.Errorf("moving a token in time: %w", err)
	}
	signed := parts[0] + "." + base64.RawURLEncoding.EncodeToString(text)
	signature, err := a.sign(signed)
	if err != nil {
		return "", fmt.Errorf("moving a token in time: %w", err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// sign signs with ES256 as the API server does (RFC 7518, 3.4).
func (a *API) sign(text string) ([]byte, error) {
	content, err := os.ReadFile(a.folder.file("service-account.key"))
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(content)
	if block == nil {
		return nil, errors.New("the key is not PEM")
	}
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		return nil, err
	}
	const half = 32
	return append(r.FillBytes(make([]byte, half)), s.FillBytes(make([]byte, half))...), nil
}
