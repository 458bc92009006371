package auth_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/portlease/portlease/allocator/auth"
)

func TestCacheIsBoundedAndEvictsTheLeastRecentlyUsed(t *testing.T) {
	w := newWorld()
	const bound = 4096
	w.accept(t, tokenOf("first"))
	w.accept(t, tokenOf("second"))
	for i := range bound - 2 {
		w.accept(t, tokenOf(fmt.Sprintf("pod-%d", i)))
	}
	w.accept(t, tokenOf("first"))
	w.accept(t, tokenOf("one-too-many"))
	for pod, want := range map[string]int{"first": 1, "second": 2, "pod-7": 1} {
		if w.accept(t, tokenOf(pod)); w.reviews[pod] != want {
			t.Errorf("%s was reviewed %d times, want %d", pod, w.reviews[pod], want)
		}
	}
}

func TestCacheGrowsWithTheFleet(t *testing.T) {
	w := newWorld()
	w.fleet = 2000
	for round := range 2 {
		for n := range 4 * w.fleet {
			pod := fmt.Sprintf("pod-%d", n)
			if w.accept(t, tokenOf(pod)); w.reviews[pod] != 1 {
				t.Fatalf("round %d: %s was reviewed %d times", round, pod, w.reviews[pod])
			}
		}
	}
}

// TestManyTokensOfOneCallerEvictOnlyItsOwn: they do not make others' calls cost a review.
func TestManyTokensOfOneCallerEvictOnlyItsOwn(t *testing.T) {
	w := newWorld()
	w.accept(t, tokenOf("victim"))
	if _, err := w.Admin(t.Context(), tokenOf("alice"), admitAll); err != nil {
		t.Fatal(err)
	}
	token := func(n int) string { return jwt("hostile", fmt.Sprintf(`{"jti":"%d"}`, n)) }
	const many = 5000
	for n := range many {
		w.accept(t, token(n))
	}
	for range 4 {
		w.accept(t, token(many-1))
		w.accept(t, token(many-2))
	}
	if w.accept(t, tokenOf("victim")); w.reviews["victim"] != 1 {
		t.Errorf("another's tokens evicted the victim's: it was reviewed %d times", w.reviews["victim"])
	}
	if _, err := w.Admin(t.Context(), tokenOf("alice"), admitAll); err != nil || w.reviews["alice"] != 1 {
		t.Errorf("pods' tokens evicted an admin's: %v, it was reviewed %d times", err, w.reviews["alice"])
	}
	if w.reviews["hostile"] != many {
		t.Errorf("its tokens were reviewed %d times; its latest ones are cached", w.reviews["hostile"])
	}
}

// TestOnlyOneSpellingOfATokenIsReviewed, because the API server accepts many, and each
// would be another key of the cache.
func TestOnlyOneSpellingOfATokenIsReviewed(t *testing.T) {
	w := newWorld()
	token := tokenOf("game-0")
	w.accept(t, token)
	for _, spelled := range []string{
		"", ".", "..", "game-0", token[:strings.LastIndex(token, ".")+1], token[:strings.LastIndex(token, ".")], token + ".", token + ".AA", "." + token,
		" " + token, token + " ", token + "=", token + "==", strings.Replace(token, ".", " .", 1), token[:3] + "\n" + token[3:], token[:3] + "\r" + token[3:],
		token[:len(token)-1] + "+", token[:len(token)-1] + "/", token + "A", "é" + token, "\x00" + token,
		"Z2FtZS0x." + "Z2E.Z2F", strings.Repeat("A", 8<<10) + "." + token,
	} {
		if _, err := w.Pod(t.Context(), spelled, admitAll); !auth.Rejected(err) {
			t.Errorf("token %.40q: got %v", spelled, err)
		}
	}
	if w.reviews["game-0"] != 1 || len(w.reviews) != 1 {
		t.Errorf("reviewed %v", w.reviews)
	}
}
