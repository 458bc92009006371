package auth

import (
	"encoding/base64"
	"strings"
)

// maxToken is several times the length of a Kubernetes token.
const maxToken = 8 << 10

// wellFormed reports whether a token is spelled as its issuer spells a JWT (RFC 7515,
// section 7.1): three parts of base64url without padding, whose unused bits are zero.
// The API server accepts other spellings, too. With them, one token would have any
// number of keys in the cache and cost a review for each.
func wellFormed(token string) bool {
	// The decoder skips line breaks even when it is strict.
	if len(token) > maxToken || strings.ContainsAny(token, "\r\n") {
		return false
	}
	parts := 0
	for part := range strings.SplitSeq(token, ".") {
		if parts++; part == "" || parts > 3 {
			return false
		}
		if _, err := base64.RawURLEncoding.Strict().DecodeString(part); err != nil {
			return false
		}
	}
	return parts == 3
}
