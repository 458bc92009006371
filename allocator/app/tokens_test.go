package app_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/portlease/portlease/shared/api"
)

// TestOneTokenCostsOneReviewHoweverItIsSpelled: the API server also accepts other
// spellings of a token than its issuer's, so each of them could cost a review.
func TestOneTokenCostsOneReviewHoweverItIsSpelled(t *testing.T) {
	w := newWorld(t)
	token := w.pod("game-0", "10.0.0.10")
	path := api.ClaimPath(w.games, "game-0") + "?" + api.QueryClaimUID + "=none"
	client := w.from("127.8.0.1")
	call := func(spelled string) int {
		status, _ := w.call(client, http.MethodDelete, path, spelled)
		return status
	}
	for range 3 {
		if status := call(token); status != http.StatusNoContent {
			t.Fatalf("its own token was answered %d", status)
		}
	}
	spellings := []string{" " + token, "  " + token, token + "=", token + ".", "Bearer " + token, token + ".AA", strings.Repeat("A", 9<<10)}
	for at := 1; at < 60; at++ {
		spellings = append(spellings, token[:at]+" "+token[at:], token[:at]+"\t"+token[at:])
	}
	// The last letter of a signature has bits that stand for nothing.
	for _, last := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" {
		if other := token[:len(token)-1] + string(last); other != token {
			spellings = append(spellings, other)
		}
	}
	before := w.reviews()
	accepted := 0
	for _, spelled := range spellings {
		if call(spelled) == http.StatusNoContent {
			accepted++
		}
	}
	// Four of the last letters are spelled right: with another signature they are other tokens.
	if cost := w.reviews() - before; accepted > 0 || cost > 4 {
		t.Errorf("%d spellings cost %d reviews, %d were accepted", len(spellings), cost, accepted)
	}
	if before != 1 {
		t.Errorf("the token itself cost %d reviews", before)
	}
}
