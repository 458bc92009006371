package elbemu

import (
	"fmt"
	"maps"
	"regexp"

	"github.com/portlease/portlease/e2e/elbemu/iam"
)

// Principal is who calls with an access key, and what that may do.
type Principal struct {
	// ARN is how refusals name it. Default: a session of a role, named after the
	// access key.
	ARN string
	// Tags are those of the principal or its session: ${aws:PrincipalTag/KEY}.
	Tags map[string]string
	// Policy is the document, JSON. There is no other policy beside it.
	Policy []byte
}

// principal is one with its policy read.
type principal struct {
	arn    string
	tags   map[string]string
	policy iam.Policy
	used   map[iam.Use]int
}

var keyPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

// Restrict makes calls with an access key those of a principal. A key that was
// never restricted may do everything. The error says what of the policy cannot be
// evaluated here; then nothing has changed.
func (e *Emulator) Restrict(accessKeyID string, who Principal) error {
	if !keyPattern.MatchString(accessKeyID) {
		return fmt.Errorf("access key %q: give 1 to 128 letters, digits, _ and -", accessKeyID)
	}
	policy, err := iam.Parse(who.Policy)
	if err != nil {
		return fmt.Errorf("policy of access key %s: %w", accessKeyID, err)
	}
	if who.ARN == "" {
		who.ARN = fmt.Sprintf("arn:aws:sts::%s:assumed-role/emulated/%s", e.cfg.Account, accessKeyID)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.principals[accessKeyID] = &principal{arn: who.ARN, tags: maps.Clone(who.Tags), policy: policy, used: map[iam.Use]int{}}
	return nil
}

// Used counts on what of its policy the calls with an access key relied since it
// was restricted.
func (e *Emulator) Used(accessKeyID string) map[iam.Use]int {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := e.principals[accessKeyID]
	if p == nil {
		return nil
	}
	return maps.Clone(p.used)
}

// decide refuses a call that lacks one of the permissions it needs.
func (p *principal) decide(needed []iam.Request) *APIError {
	for _, r := range needed {
		for tag, value := range p.tags {
			r.Keys.Set("aws:PrincipalTag/"+tag, value)
		}
		verdict, uses := p.policy.Decide(r)
		if verdict != iam.Allowed {
			return p.refusal(verdict, r)
		}
		for _, use := range uses {
			p.used[use]++
		}
	}
	return nil
}

// refusal is in AWS's words. They name no resource for actions without.
func (p *principal) refusal(verdict iam.Verdict, r iam.Request) *APIError {
	on := " on resource: " + r.Resource
	if r.Resource == "*" {
		on = ""
	}
	why := fmt.Sprintf("because no identity-based policy allows the %s action", r.Action)
	if verdict == iam.Denied {
		why = "with an explicit deny in an identity-based policy"
	}
	return denied("User: %s is not authorized to perform: %s%s %s", p.arn, r.Action, on, why)
}
