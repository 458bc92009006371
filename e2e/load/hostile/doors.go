package hostile

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/portlease/portlease/allocator/kubelease"
	"github.com/portlease/portlease/e2e/load/scenario"
	"github.com/portlease/portlease/shared/api"
)

// These attackers come to the allocator's door: with connections, with tokens, and with
// bodies that never end.

const (
	// probeConnections ask for readiness from a few addresses, each at an interval.
	probeConnections = 1500
	probeAddresses   = 10
	probeEvery       = 2 * time.Second
	// probeReads is how many requests to the API server a replica may make in a second
	// because of probes.
	probeReads = 2
)

// askForReadiness holds connections and asks each for the readiness probe.
func askForReadiness(ctx context.Context, w *world) (judge, error) {
	var clients []*http.Client
	for range probeAddresses {
		ip, err := w.NewAddress()
		if err != nil {
			return nil, err
		}
		client := w.httpFrom(ip)
		client.Transport.(*http.Transport).MaxIdleConnsPerHost = probeConnections
		clients = append(clients, client)
		context.AfterFunc(ctx, client.CloseIdleConnections)
	}
	// The leader reads the same Lease, at a steady rate.
	const window = 3 * time.Second
	reads := func() int { return w.kube.of(http.MethodGet, "/leases/"+kubelease.LeaderLease) }
	before := reads()
	scenario.Wait(ctx, window)
	quiet := float64(reads()-before) / window.Seconds()

	var answered atomic.Int64
	for n := range probeConnections {
		client, at := clients[n%probeAddresses], w.Replicas[n%replicas].URL()+"/readyz"
		go func() {
			scenario.Wait(ctx, time.Duration(n)*probeEvery/probeConnections)
			for ; ctx.Err() == nil; scenario.Wait(ctx, probeEvery) {
				if get(ctx, client, at) == nil {
					answered.Add(1)
				}
			}
		}()
	}
	scenario.Wait(ctx, probeEvery)
	before, began := reads(), time.Now()
	return func(context.Context) (outcome, error) {
		rate := float64(reads()-before)/time.Since(began).Seconds() - quiet
		return got(rate > replicas*probeReads, "%d answers, %.1f requests to the API server in a second", answered.Load(), max(rate, 0))
	}, nil
}

func get(ctx context.Context, client *http.Client, at string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return fmt.Errorf("making a request: %w", err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("asking: %w", err)
	}
	return resp.Body.Close()
}

const (
	// leastSpellings is how many spellings are sent: more than a cache of reviews might
	// hold. How many a token has depends on its length.
	leastSpellings = 5000
	// tokenCallers send them concurrently.
	tokenCallers = 8
	// mostReviews is how many reviews one address may cause with them.
	mostReviews = 300
)

// spellTokens sends the valid tokens of some pods in all their spellings.
func spellTokens(ctx context.Context, w *world) (judge, error) {
	pods := make(map[*attacker][]string) // with the spellings of their tokens
	for sent := 0; sent < leastSpellings; {
		a, err := w.newAttacker(ctx)
		if err != nil {
			return nil, err
		}
		pods[a] = spellings(a.token)
		sent += len(pods[a])
	}
	victim, err := w.newAttacker(ctx) // an honest pod whose calls the test makes
	if err != nil {
		return nil, err
	}
	call := func(of *attacker, token string) (answer, error) {
		return of.callAs(ctx, w.Replicas[0], http.MethodDelete, "?"+api.QueryClaimUID+"=none", token, nil)
	}
	if given, err := call(victim, victim.token); err != nil || !given.ok() {
		return nil, errors.Join(err, fmt.Errorf("a valid token was answered %v", given))
	}
	before, repeated := w.kube.tokenReviews(), w.kube.repeated()
	var passed atomic.Int64
	group := new(errgroup.Group)
	group.SetLimit(tokenCallers)
	sent := 0
	for a, tokens := range pods {
		for _, token := range tokens {
			sent++
			group.Go(func() error {
				given, err := call(a, token)
				if err == nil && given.ok() {
					passed.Add(1)
				}
				return err
			})
		}
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	reviews := w.kube.tokenReviews() - before
	if given, err := call(victim, victim.token); err != nil || !given.ok() {
		return nil, errors.Join(err, fmt.Errorf("the victim was answered %v", given))
	}
	evicted := w.kube.repeated() > repeated
	return func(context.Context) (outcome, error) {
		return got(reviews > mostReviews || evicted,
			"%d reviews for %d calls (%d spellings accepted), the victim's token forgotten: %v", reviews, sent, passed.Load(), evicted)
	}, nil
}

// spellings writes a token in all other ways that the API server accepts. The last
// character of each part may have bits that the part does not need.
func spellings(token string) (all []string) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	all = []string{""}
	for i, part := range strings.Split(token, ".") {
		same, _ := base64.RawURLEncoding.DecodeString(part)
		var longer []string
		for _, last := range alphabet {
			other := part[:len(part)-1] + string(last)
			if decoded, err := base64.RawURLEncoding.DecodeString(other); err != nil || !bytes.Equal(decoded, same) {
				continue
			}
			for _, before := range all {
				longer = append(longer, before+strings.Repeat(".", min(i, 1))+other)
			}
		}
		all = longer
	}
	return slices.DeleteFunc(all, func(other string) bool { return other == token })
}

const (
	slowConnections = 330 // to each replica
	slowPods        = 3
	// slowByteEvery is how slowly the bodies come.
	slowByteEvery = time.Second
	// witnessLimit is how long a call of another pod may take meanwhile.
	witnessLimit = 2 * time.Second
)

// sendSlowBodies begins calls whose bodies hardly come, on many connections.
func sendSlowBodies(ctx context.Context, w *world) (judge, error) {
	var open atomic.Int64
	var pods []*attacker
	for range slowPods {
		a, err := w.newAttacker(ctx)
		if err != nil {
			return nil, err
		}
		pods = append(pods, a)
	}
	witness, err := w.newAttacker(ctx) // an honest pod whose calls the test makes
	if err != nil {
		return nil, err
	}
	for n := range slowConnections * replicas {
		a := pods[n%slowPods]
		at, err := url.Parse(w.Replicas[n%replicas].URL())
		if err != nil {
			return nil, fmt.Errorf("reading a replica's address: %w", err)
		}
		go func() {
			for ; ctx.Err() == nil; scenario.Wait(ctx, slowByteEvery) {
				a.drip(ctx, at.Host, &open)
			}
		}()
	}
	scenario.Wait(ctx, 2*time.Second)
	var calls, slow atomic.Int64
	go func() {
		for n := 0; ctx.Err() == nil; n++ {
			timed, cancel := context.WithTimeout(ctx, witnessLimit)
			given, err := witness.call(timed, w.Replicas[n%replicas], http.MethodDelete, "?"+api.QueryClaimUID+"=none", nil)
			cancel()
			if ctx.Err() != nil {
				return
			}
			calls.Add(1)
			if err != nil || !given.ok() {
				slow.Add(1)
			}
			scenario.Wait(ctx, 300*time.Millisecond)
		}
	}()
	return func(ctx context.Context) (outcome, error) {
		scenario.Wait(ctx, 2*witnessLimit) // enough calls of the witness
		return got(slow.Load() > 0, "%d connections open, %d of %d calls of another pod refused or over %v", open.Load(), slow.Load(), calls.Load(), witnessLimit)
	}, nil
}

// drip sends one call until its connection breaks.
func (a *attacker) drip(ctx context.Context, host string, open *atomic.Int64) {
	dialer := tls.Dialer{NetDialer: dialerFrom(a.IP), Config: a.w.ClientTLS()}
	conn, err := dialer.DialContext(ctx, "tcp", host)
	if err != nil {
		return
	}
	defer conn.Close() //nolint:errcheck // it may be broken
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	open.Add(1)
	defer open.Add(-1)
	_, err = fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{",
		api.ClaimPath(a.w.Games, a.Name), host, a.token)
	for ; err == nil && ctx.Err() == nil; scenario.Wait(ctx, slowByteEvery) {
		_, err = conn.Write([]byte(" "))
	}
}
