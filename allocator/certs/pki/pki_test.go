package pki_test

import (
	"bytes"
	"crypto/tls"
	"strings"
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/certs/pki"
)

var (
	names = []string{"portlease-allocator.portlease.svc", "10.0.0.1"}
	start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
)

func renew(t *testing.T, s pki.KeySet, now time.Time) (pki.KeySet, string) {
	t.Helper()
	next, changes, err := s.Renew(names, now)
	if err != nil {
		t.Fatal(err)
	}
	if _, more, err := next.Renew(names, now); err != nil || len(more) > 0 {
		t.Fatalf("at the same time again: %v, %v", more, err)
	}
	return next, strings.Join(changes, "; ")
}

func pairOf(t *testing.T, s pki.KeySet) *tls.Certificate {
	t.Helper()
	pair, err := tls.X509KeyPair(s.Serving.Certificate, s.Serving.Key)
	if err != nil {
		t.Fatal(err)
	}
	return &pair
}

func bundle(t *testing.T, s pki.KeySet, before []byte, now time.Time) []byte {
	t.Helper()
	b, err := pki.TrustBundle(s.CACertificates(), before, now)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestNewInstallationCreatesCAAndServingCertificate(t *testing.T) {
	s, changes := renew(t, pki.KeySet{}, start)
	if !strings.Contains(changes, "CA created: there was none") || !strings.Contains(changes, "serving certificate renewed: there was none") {
		t.Errorf("changes are %q", changes)
	}
	pair := pairOf(t, s)
	for _, name := range names {
		if err := pair.Leaf.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
	trusted := bundle(t, s, nil, start)
	if !pki.Trusted(pair, trusted, start) || pair.Leaf.IsCA {
		t.Errorf("trusted: %v, a CA: %v", pki.Trusted(pair, trusted, start), pair.Leaf.IsCA)
	}
	other, _ := renew(t, pki.KeySet{}, start)
	if pki.Trusted(pairOf(t, other), trusted, start) {
		t.Error("another installation's certificate is trusted")
	}
	if pki.Trusted(pair, trusted, start.Add(-2*time.Hour)) || !pki.Trusted(pair, trusted, start.Add(-59*time.Minute)) {
		t.Error("a clock may be an hour behind, and no more")
	}
}

// TestCallerWithARecentBundleTrustsEveryRotation goes through three CAs in small steps. A
// bundle that is not older than TrustLead is enough at each of them.
func TestCallerWithARecentBundleTrustsEveryRotation(t *testing.T) {
	const step = 12 * time.Hour
	var s pki.KeySet
	var handed []byte   // as the ConfigMap has it
	var recent [][]byte // bundles of the last TrustLead
	cas := map[string]bool{}
	signed := map[string]bool{}
	renewals := 0
	for now := start; now.Before(start.Add(5 * 365 * 24 * time.Hour)); now = now.Add(step) {
		var changes string
		s, changes = renew(t, s, now)
		if changes != "" {
			renewals++
		}
		pair := pairOf(t, s)
		for age, old := range recent {
			if !pki.Trusted(pair, old, now) {
				t.Fatalf("%v (%s): a caller with the bundle of %v ago does not trust the certificate", now, changes, time.Duration(len(recent)-age)*step)
			}
		}
		if left := pair.Leaf.NotAfter.Sub(now); left < 28*24*time.Hour {
			t.Fatalf("%v: %v are left", now, left)
		}
		handed = bundle(t, s, handed, now)
		if recent = append(recent, handed); len(recent) > int(pki.TrustLead/step) {
			recent = recent[1:]
		}
		cas[string(s.CA.Certificate)] = true
		signed[string(s.Serving.Certificate)] = true
		if n := bytes.Count(handed, []byte("BEGIN")); n > 3 {
			t.Fatalf("%v: %d certificates are trusted", now, n)
		}
	}
	if len(cas) != 4 || len(signed) < 25 || renewals > 40 {
		t.Errorf("%d CAs, %d certificates, %d renewals", len(cas), len(signed), renewals)
	}
}

func TestPreviousCAIsTrustedUntilItExpires(t *testing.T) {
	first, _ := renew(t, pki.KeySet{}, start)
	second, _ := renew(t, pki.KeySet{}, start.Add(24*time.Hour))
	both := bundle(t, second, bundle(t, first, nil, start), start.Add(24*time.Hour))
	if !pki.Trusted(pairOf(t, first), both, start.Add(24*time.Hour)) || !pki.Trusted(pairOf(t, second), both, start.Add(24*time.Hour)) {
		t.Error("not both are trusted")
	}
	if again := bundle(t, second, both, start.Add(48*time.Hour)); !bytes.Equal(again, both) {
		t.Error("the bundle changes by itself")
	}
	if end := bundle(t, second, both, start.Add(pki.CALifetime+time.Second)); bytes.Count(end, []byte("BEGIN")) != 1 {
		t.Errorf("an expired CA is still trusted:\n%s", end)
	}
	if _, err := pki.TrustBundle([]byte("nonsense"), both, start); err == nil || !strings.Contains(err.Error(), "no CA certificate") {
		t.Errorf("without a CA: %v", err)
	}
	broken := "-----BEGIN CERTIFICATE-----\nbm9uc2Vuc2U=\n-----END CERTIFICATE-----\n"
	if _, err := pki.TrustBundle(append([]byte(broken), first.CACertificates()...), nil, start); err == nil {
		t.Error("a broken certificate among the current ones is overlooked")
	}
	if got, err := pki.TrustBundle(first.CACertificates(), append([]byte(broken), both...), start); err != nil || bytes.Count(got, []byte("BEGIN")) != 2 {
		t.Errorf("a broken certificate among the previous ones: %v\n%s", err, got)
	}
}

// TestBrokenPartsAreReplaced damages each part of a key set.
func TestBrokenPartsAreReplaced(t *testing.T) {
	good, _ := renew(t, pki.KeySet{}, start)
	other, _ := renew(t, pki.KeySet{}, start)
	spare := good
	spare.NextCA = other.CA
	for name, c := range map[string]struct {
		damage func(*pki.KeySet)
		of     pki.KeySet
		now    time.Duration
		want   string // empty: nothing is changed
	}{
		"nothing":                                  {func(*pki.KeySet) {}, good, 0, ""},
		"another installation's certificate":       {func(s *pki.KeySet) { s.Serving = other.Serving }, good, 0, "it is not signed by the current CA"},
		"no CA certificate":                        {func(s *pki.KeySet) { s.Serving = pki.Pair{} }, good, 0, "serving certificate renewed: there was none"},
		"a certificate without its key":            {func(s *pki.KeySet) { s.Serving.Key = nil }, good, 0, "could not be read"},
		"a certificate with another's key":         {func(s *pki.KeySet) { s.Serving.Key = other.Serving.Key }, good, 0, "could not be read"},
		"no CA":                                    {func(s *pki.KeySet) { s.CA = pki.Pair{} }, good, 0, "CA created: there was none; serving certificate renewed: it is not signed"},
		"a CA without its key":                     {func(s *pki.KeySet) { s.CA.Key = nil }, good, 0, "CA created: it could not be read"},
		"a CA that is a serving certificate":       {func(s *pki.KeySet) { s.CA = s.Serving }, good, 0, "it is not a CA"},
		"no CA, but the next one":                  {func(s *pki.KeySet) { s.CA = pki.Pair{} }, spare, 0, "the next CA signs at once"},
		"a long sleep":                             {func(*pki.KeySet) {}, good, pki.CALifetime + time.Hour, "CA created: the previous one expired"},
		"a next CA, just created":                  {func(*pki.KeySet) {}, spare, pki.TrustLead - time.Minute, ""},
		"a next CA, trusted for long enough":       {func(*pki.KeySet) {}, spare, pki.TrustLead + time.Minute, "the next CA signs from now on"},
		"a clock that is a day behind":             {func(*pki.KeySet) {}, good, -24 * time.Hour, ""},
		"two thirds of the certificate's lifetime": {func(*pki.KeySet) {}, good, pki.ServingLifetime*2/3 + time.Hour, "serving certificate renewed: it expires"},
		"two thirds of the CA's lifetime":          {func(*pki.KeySet) {}, good, pki.CALifetime*2/3 + time.Hour, "next CA created"},
	} {
		t.Run(name, func(t *testing.T) {
			s := c.of
			c.damage(&s)
			next, changes := renew(t, s, start.Add(c.now))
			if c.want == "" && changes != "" || !strings.Contains(changes, c.want) {
				t.Errorf("changes are %q, want %q", changes, c.want)
			}
			if now := start.Add(max(c.now, 0)); !pki.Trusted(pairOf(t, next), bundle(t, next, nil, now), now) {
				t.Error("the serving certificate is not trusted")
			}
		})
	}
	if _, changes, err := good.Renew(append(names, "portlease.example"), start); err != nil || len(changes) != 1 || !strings.Contains(changes[0], "it is not for portlease.example") {
		t.Errorf("with one more name: %v, %v", changes, err)
	}
	if _, changes, err := good.Renew(names[:1], start); err != nil || len(changes) > 0 {
		t.Errorf("with a name less: %v, %v", changes, err)
	}
}
