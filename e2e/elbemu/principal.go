package elbemu

import (
	"fmt"
	"maps"
	"regexp"

	"github.com/portlease/portlease/e2e/elbemu/iam"
)

// Principal is the identity of an access key, with its permissions.
type Principal struct {
	// ARN names the principal in refusals. Default: an assumed-role session named after
	// the access key.
	ARN string
	// Tags are the tags of the principal or its session: ${aws:PrincipalTag/KEY}.
	Tags map[string]string
	// Policy is the JSON policy document. It is the principal's only policy.
	Policy []byte
}

// principal is a Principal with its policy parsed.
type principal struct {
	arn    string
	tags   map[string]string
	policy iam.Policy
	used   map[iam.Use]int
}

var keyPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

// Restrict assigns a principal to an access key. Unrestricted keys may make every call. If
// the policy contains something that cannot be evaluated, Restrict returns an error that
// names it and changes nothing.
func (e *Emulator) Restrict(accessKeyID string, who Principal) error {
	if !keyPattern.MatchString(accessKeyID) {
		return fmt.Errorf("access key %q must have 1 to 128 letters, digits, _ and -", accessKeyID)
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

// Used returns how often each action of each policy statement decided a call since the
// access key was restricted.
func (e *Emulator) Used(accessKeyID string) map[iam.Use]int {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := e.principals[accessKeyID]
	if p == nil {
		return nil
	}
	return maps.Clone(p.used)
}

// decide refuses a call that lacks one of its required permissions.
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

// refusal returns AWS's message, which names no resource for actions without resources.
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
