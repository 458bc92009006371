// Package trust decides what the allocator shows that it is the allocator by: when
// its certificates are made and renewed, and which certificates its callers trust.
//
// It is pure. Every replica may decide at any time; whoever writes the outcome by
// compare-and-swap first is right, and the others read it and decide again.
//
// A rotation breaks nobody. The next authority is trusted for Announce before it
// signs anything, and the former one until it has ended. What that does not help
// is a caller who keeps a bundle for longer than Announce.
package trust

import (
	"fmt"
	"time"
)

// How long what is made here is valid. A third before the end it is renewed.
const (
	AuthorityLife = 2 * 365 * 24 * time.Hour
	ServingLife   = 90 * 24 * time.Hour
	// Announce is how long an authority is among those to be trusted before it
	// signs. Kubelets bring a changed ConfigMap into pods within about a minute
	// (Kubernetes, "ConfigMaps", mounted ConfigMaps are updated automatically).
	Announce = 24 * time.Hour
	// backdate lets clocks be wrong by that much.
	backdate = time.Hour
)

// Pair is a certificate and its key, both PEM.
type Pair struct{ Certificate, Key []byte }

// Store is all that the replicas of one installation share. The zero value has
// nothing yet.
type Store struct {
	// Authority signs.
	Authority Pair
	// Next is trusted already and will sign; mostly there is none.
	Next Pair
	// Serving is what is shown to callers, signed by Authority.
	Serving Pair
}

// Authorities are the certificates by which callers know what Serving is and will
// be, PEM.
func (s Store) Authorities() []byte {
	return append(append([]byte(nil), s.Authority.Certificate...), s.Next.Certificate...)
}

// Renew makes what is missing, broken or near its end. names are the DNS names and
// addresses that callers may use. It also gives what was changed and why, in words
// for people: if that is empty the store is as it was.
func (s Store) Renew(names []string, now time.Time) (next Store, changes []string, err error) {
	if s, changes, err = s.renewAuthority(now); err != nil {
		return s, nil, err
	}
	why := s.staleServing(names, now)
	if why == "" {
		return s, changes, nil
	}
	if s.Serving, err = sign(s.Authority, names, now); err != nil {
		return s, nil, err
	}
	return s, append(changes, "certificate renewed: "+why), nil
}

func (s Store) renewAuthority(now time.Time) (Store, []string, error) {
	present, broken := s.Authority.authority(now)
	next, nothingNext := s.Next.authority(now)
	switch {
	case broken != nil && nothingNext == nil:
		s.Authority, s.Next = s.Next, Pair{}
		return s, []string{fmt.Sprintf("the next authority signs at once: the present one is of no use: %v", broken)}, nil
	case broken != nil:
		made, err := newAuthority(now)
		s.Authority, s.Next = made, Pair{}
		return s, []string{fmt.Sprintf("authority made: %v", broken)}, err
	case nothingNext == nil && now.After(next.NotBefore.Add(backdate+Announce)):
		s.Authority, s.Next = s.Next, Pair{}
		return s, []string{"the next authority signs from now on"}, nil
	case nothingNext != nil && due(present, now):
		made, err := newAuthority(now)
		s.Next = made
		return s, []string{fmt.Sprintf("next authority made: the present one ends %s", present.NotAfter.UTC().Format(time.DateOnly))}, err
	}
	return s, nil, nil
}

// staleServing says why the serving certificate has to be made anew; empty: it need
// not.
func (s Store) staleServing(names []string, now time.Time) string {
	leaf, err := s.Serving.read()
	if err != nil {
		return err.Error()
	}
	authority, err := s.Authority.read()
	if err != nil {
		return err.Error()
	}
	if err := leaf.CheckSignatureFrom(authority); err != nil {
		return "it is not of the present authority"
	}
	for _, name := range names {
		if err := leaf.VerifyHostname(name); err != nil {
			return "it is not for " + name
		}
	}
	if due(leaf, now) {
		return "it ends " + leaf.NotAfter.UTC().Format(time.DateOnly)
	}
	return ""
}
