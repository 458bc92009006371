package trust_test

import (
	"bytes"
	"crypto/tls"
	"strings"
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/trust"
)

var (
	names = []string{"portlease-allocator.portlease.svc", "10.0.0.1"}
	start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
)

func renew(t *testing.T, s trust.Store, now time.Time) (trust.Store, string) {
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

func pairOf(t *testing.T, s trust.Store) *tls.Certificate {
	t.Helper()
	pair, err := tls.X509KeyPair(s.Serving.Certificate, s.Serving.Key)
	if err != nil {
		t.Fatal(err)
	}
	return &pair
}

func bundle(t *testing.T, s trust.Store, before []byte, now time.Time) []byte {
	t.Helper()
	b, err := trust.Bundle(s.Authorities(), before, now)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestFromNothing(t *testing.T) {
	s, changes := renew(t, trust.Store{}, start)
	if !strings.Contains(changes, "authority made: there was none") || !strings.Contains(changes, "certificate renewed: there was none") {
		t.Errorf("changes are %q", changes)
	}
	pair := pairOf(t, s)
	for _, name := range names {
		if err := pair.Leaf.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
	trusted := bundle(t, s, nil, start)
	if !trust.Known(pair, trusted, start) || pair.Leaf.IsCA {
		t.Errorf("known: %v, an authority: %v", trust.Known(pair, trusted, start), pair.Leaf.IsCA)
	}
	other, _ := renew(t, trust.Store{}, start)
	if trust.Known(pairOf(t, other), trusted, start) {
		t.Error("another installation's certificate is trusted")
	}
	if trust.Known(pair, trusted, start.Add(-2*time.Hour)) || !trust.Known(pair, trusted, start.Add(-59*time.Minute)) {
		t.Error("a clock may be an hour behind, and no more")
	}
}

// TestALongLife goes through three authorities by small steps. Whoever has a bundle
// that is not older than Announce trusts what is served at each of them.
func TestALongLife(t *testing.T) {
	const step = 12 * time.Hour
	var s trust.Store
	var handed []byte   // as the ConfigMap has it
	var recent [][]byte // bundles of the last Announce
	authorities := map[string]bool{}
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
			if !trust.Known(pair, old, now) {
				t.Fatalf("%v (%s): who has the bundle of %v ago does not know the certificate", now, changes, time.Duration(len(recent)-age)*step)
			}
		}
		if left := pair.Leaf.NotAfter.Sub(now); left < 28*24*time.Hour {
			t.Fatalf("%v: %v are left", now, left)
		}
		handed = bundle(t, s, handed, now)
		if recent = append(recent, handed); len(recent) > int(trust.Announce/step) {
			recent = recent[1:]
		}
		authorities[string(s.Authority.Certificate)] = true
		signed[string(s.Serving.Certificate)] = true
		if n := bytes.Count(handed, []byte("BEGIN")); n > 3 {
			t.Fatalf("%v: %d certificates are trusted", now, n)
		}
	}
	if len(authorities) != 4 || len(signed) < 25 || renewals > 40 {
		t.Errorf("%d authorities, %d certificates, %d renewals", len(authorities), len(signed), renewals)
	}
}

func TestTheFormerAuthorityStaysUntilItHasEnded(t *testing.T) {
	first, _ := renew(t, trust.Store{}, start)
	second, _ := renew(t, trust.Store{}, start.Add(24*time.Hour))
	both := bundle(t, second, bundle(t, first, nil, start), start.Add(24*time.Hour))
	if !trust.Known(pairOf(t, first), both, start.Add(24*time.Hour)) || !trust.Known(pairOf(t, second), both, start.Add(24*time.Hour)) {
		t.Error("not both are trusted")
	}
	if again := bundle(t, second, both, start.Add(48*time.Hour)); !bytes.Equal(again, both) {
		t.Error("the bundle changes by itself")
	}
	if end := bundle(t, second, both, start.Add(trust.AuthorityLife+time.Second)); bytes.Count(end, []byte("BEGIN")) != 1 {
		t.Errorf("what has ended is trusted still:\n%s", end)
	}
	if _, err := trust.Bundle([]byte("nonsense"), both, start); err == nil || !strings.Contains(err.Error(), "no certificate") {
		t.Errorf("without an authority: %v", err)
	}
	broken := "-----BEGIN CERTIFICATE-----\nbm9uc2Vuc2U=\n-----END CERTIFICATE-----\n"
	if _, err := trust.Bundle(append([]byte(broken), first.Authorities()...), nil, start); err == nil {
		t.Error("a broken certificate among the present ones is overlooked")
	}
	if got, err := trust.Bundle(first.Authorities(), append([]byte(broken), both...), start); err != nil || bytes.Count(got, []byte("BEGIN")) != 2 {
		t.Errorf("a broken certificate among the former ones: %v\n%s", err, got)
	}
}

// TestWhatIsBrokenIsMadeAnew damages each part of a store.
func TestWhatIsBrokenIsMadeAnew(t *testing.T) {
	good, _ := renew(t, trust.Store{}, start)
	other, _ := renew(t, trust.Store{}, start)
	spare := good
	spare.Next = other.Authority
	for name, c := range map[string]struct {
		damage func(*trust.Store)
		of     trust.Store
		now    time.Duration
		want   string // empty: nothing is changed
	}{
		"nothing":                          {func(*trust.Store) {}, good, 0, ""},
		"another's certificate":            {func(s *trust.Store) { s.Serving = other.Serving }, good, 0, "it is not of the present authority"},
		"no certificate":                   {func(s *trust.Store) { s.Serving = trust.Pair{} }, good, 0, "certificate renewed: there was none"},
		"a certificate without its key":    {func(s *trust.Store) { s.Serving.Key = nil }, good, 0, "could not be read"},
		"a certificate with another's key": {func(s *trust.Store) { s.Serving.Key = other.Serving.Key }, good, 0, "could not be read"},
		"no authority":                     {func(s *trust.Store) { s.Authority = trust.Pair{} }, good, 0, "authority made: there was none; certificate renewed: it is not of"},
		"an authority without its key":     {func(s *trust.Store) { s.Authority.Key = nil }, good, 0, "authority made: what was there"},
		"an authority that is none":        {func(s *trust.Store) { s.Authority = s.Serving }, good, 0, "is no authority"},
		"no authority, but the next one":   {func(s *trust.Store) { s.Authority = trust.Pair{} }, spare, 0, "the next authority signs at once"},
		"a long sleep":                     {func(*trust.Store) {}, good, trust.AuthorityLife + time.Hour, "authority made: the former one ended"},
		"a next authority, just made":      {func(*trust.Store) {}, spare, trust.Announce - time.Minute, ""},
		"a next authority, well known":     {func(*trust.Store) {}, spare, trust.Announce + time.Minute, "the next authority signs from now on"},
		"a clock that is a day behind":     {func(*trust.Store) {}, good, -24 * time.Hour, ""},
		"two thirds of the certificate":    {func(*trust.Store) {}, good, trust.ServingLife*2/3 + time.Hour, "certificate renewed: it ends"},
		"two thirds of the authority":      {func(*trust.Store) {}, good, trust.AuthorityLife*2/3 + time.Hour, "next authority made"},
	} {
		t.Run(name, func(t *testing.T) {
			s := c.of
			c.damage(&s)
			next, changes := renew(t, s, start.Add(c.now))
			if c.want == "" && changes != "" || !strings.Contains(changes, c.want) {
				t.Errorf("changes are %q, want %q", changes, c.want)
			}
			if now := start.Add(max(c.now, 0)); !trust.Known(pairOf(t, next), bundle(t, next, nil, now), now) {
				t.Error("what is served is not trusted")
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
