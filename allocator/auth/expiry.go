package auth

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
)

// expiryOf gives when a token that was valid at a time has to be reviewed again:
// after ttl, or at the token's own expiry if that comes first. Only reviewed tokens
// are read, so the expiry in them is the issuer's. A clock that is behind the
// issuer's makes the next review late by as much, and never by more than ttl.
func expiryOf(token string, reviewed time.Time, ttl time.Duration) time.Time {
	latest := reviewed.Add(ttl)
	_, rest, _ := strings.Cut(token, ".")
	payload, _, _ := strings.Cut(rest, ".")
	text, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return latest
	}
	var claims struct {
		Exp *float64 `json:"exp"`
	}
	if err := json.Unmarshal(text, &claims); err != nil || claims.Exp == nil {
		return latest
	}
	if left := max(*claims.Exp-float64(reviewed.Unix()), 0); left < ttl.Seconds() {
		return reviewed.Add(time.Duration(left * float64(time.Second)))
	}
	return latest
}
