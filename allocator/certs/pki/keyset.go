// Package pki decides when the allocator's CA and serving certificate are created and
// renewed, and which CAs its callers trust.
//
// It is pure. Every replica may decide at any time: the first one to write its
// decision by compare-and-swap wins, and the others read it and decide again.
//
// A rotation breaks no caller that refreshes its trust bundle within TrustLead. A new
// CA is trusted for that long before it signs, and the old one until it expires.
package pki

import (
	"fmt"
	"time"
)

// Lifetimes of certificates. Each is renewed when a third of it is left.
const (
	CALifetime      = 2 * 365 * 24 * time.Hour
	ServingLifetime = 90 * 24 * time.Hour
	// TrustLead is how long a CA is in the trust bundle before it signs. Kubelets
	// bring a changed ConfigMap into pods within about a minute (Kubernetes,
	// "ConfigMaps", mounted ConfigMaps are updated automatically).
	TrustLead = 24 * time.Hour
	// backdate tolerates clocks that are wrong by that much.
	backdate = time.Hour
)

// Pair is a certificate and its key, both PEM.
type Pair struct{ Certificate, Key []byte }

// KeySet is all that the replicas of one installation share. The zero value is that of
// a new installation.
type KeySet struct {
	// CA signs.
	CA Pair
	// NextCA is trusted already and will sign; mostly there is none.
	NextCA Pair
	// Serving is presented to callers, signed by CA.
	Serving Pair
}

// CACertificates are the certificates by which callers verify Serving, now and after
// its next renewals, PEM.
func (s KeySet) CACertificates() []byte {
	return append(append([]byte(nil), s.CA.Certificate...), s.NextCA.Certificate...)
}

// Renew creates what is missing, broken or due for renewal. names are the DNS names and
// addresses that callers may use. changes says what was changed and why; if it is
// empty, the key set is unchanged.
func (s KeySet) Renew(names []string, now time.Time) (next KeySet, changes []string, err error) {
	if s, changes, err = s.renewCA(now); err != nil {
		return s, nil, err
	}
	reason := s.renewServingReason(names, now)
	if reason == "" {
		return s, changes, nil
	}
	if s.Serving, err = sign(s.CA, names, now); err != nil {
		return s, nil, err
	}
	return s, append(changes, "serving certificate renewed: "+reason), nil
}

func (s KeySet) renewCA(now time.Time) (KeySet, []string, error) {
	ca, unusable := s.CA.readCA(now)
	next, noNext := s.NextCA.readCA(now)
	switch {
	case unusable != nil && noNext == nil:
		s.CA, s.NextCA = s.NextCA, Pair{}
		return s, []string{fmt.Sprintf("the next CA signs at once: the current one is unusable: %v", unusable)}, nil
	case unusable != nil:
		created, err := newCA(now)
		s.CA, s.NextCA = created, Pair{}
		return s, []string{fmt.Sprintf("CA created: %v", unusable)}, err
	case noNext == nil && now.After(next.NotBefore.Add(backdate+TrustLead)):
		s.CA, s.NextCA = s.NextCA, Pair{}
		return s, []string{"the next CA signs from now on"}, nil
	case noNext != nil && renewalDue(ca, now):
		created, err := newCA(now)
		s.NextCA = created
		return s, []string{fmt.Sprintf("next CA created: the current one expires %s", ca.NotAfter.UTC().Format(time.DateOnly))}, err
	}
	return s, nil, nil
}

// renewServingReason says why the serving certificate has to be renewed; empty if it
// need not.
func (s KeySet) renewServingReason(names []string, now time.Time) string {
	leaf, err := s.Serving.read()
	if err != nil {
		return err.Error()
	}
	ca, err := s.CA.read()
	if err != nil {
		return err.Error()
	}
	if err := leaf.CheckSignatureFrom(ca); err != nil {
		return "it is not signed by the current CA"
	}
	for _, name := range names {
		if err := leaf.VerifyHostname(name); err != nil {
			return "it is not for " + name
		}
	}
	if renewalDue(leaf, now) {
		return "it expires " + leaf.NotAfter.UTC().Format(time.DateOnly)
	}
	return ""
}
