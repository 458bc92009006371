package check

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/portlease/portlease/allocator/inventory"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/allocator/poolfile"
	"github.com/portlease/portlease/shared/elb"
)

// AWS has the calls of the check.
type AWS interface {
	inventory.AWS
	Limits(ctx context.Context) (elb.Limits, error)
	TargetGroups(ctx context.Context) ([]elb.TargetGroup, error)
	Targets(ctx context.Context, targetGroupARN string) ([]elb.Target, error)
}

// nothing is an empty ledger, as at the first start.
type nothing[T any] struct{ ledger.Table[T] }

func (nothing[T]) CachedAll() []*ledger.Record[T] { return nil }

func (nothing[T]) CachedBy(ledger.Key) []*ledger.Record[T] { return nil }

func (nothing[T]) Cached(string) (ledger.Record[T], bool) { return ledger.Record[T]{}, false }

// AWS makes every read call that the allocator makes, and checks the load balancers of
// the pools and the account's limits. An empty ledgerID is one that is not known.
// auditEvery is the setting of that name.
func (r *Report) AWS(ctx context.Context, client AWS, file poolfile.File, auditEvery time.Duration, ledgerID string) {
	limits, err := client.Limits(ctx)
	if !r.addResult("AWS: limits", fmt.Sprintf("%d listeners a load balancer, %d target groups", limits.Listeners, limits.TargetGroups), err) && !errors.Is(err, elb.ErrDenied) {
		r.add("AWS: everything else", Unchecked, "AWS does not answer: check region, credentials and network")
		return
	}
	groups, groupsErr := client.TargetGroups(ctx)
	r.addResult("AWS: target groups", fmt.Sprintf("%d in this region", len(groups)), groupsErr)
	stock := inventory.New(inventory.Config{
		Ledger: ledgerID, AWS: client, Ports: nothing[ledger.Port]{}, Cordons: nothing[ledger.Cordon]{}, Log: slog.New(slog.DiscardHandler),
	}, file.Pools)
	described := r.addResult("AWS: load balancers", "read", stock.Describe(ctx))
	listeners, err := stock.List(ctx)
	r.addResult("AWS: listeners", "read", err)
	if !described {
		r.add("load balancers of the pools", Unchecked, "they could not be read")
		r.deletions()
		return
	}
	states := stock.States()
	games := r.tags(ctx, client, states, listeners, ledgerID)
	r.health(ctx, client, groups, states)
	r.deletions()
	r.loadBalancers(ctx, client, states)
	free := r.capacity(stock, games, limits.Targets)
	if groupsErr == nil {
		r.targetGroups(groups, limits.TargetGroups, free)
		r.describes(states, len(groups), file.Limits, auditEvery)
	}
}

// health reads the health of any target group. A nonexistent one is good enough: AWS
// checks the right first, or answers that it does not exist.
func (r *Report) health(ctx context.Context, client AWS, groups []elb.TargetGroup, states []inventory.State) {
	const what = "AWS: target health"
	arn := ""
	switch {
	case len(groups) > 0:
		arn = groups[0].ARN
	case len(states) > 0:
		before, _, _ := strings.Cut(states[0].ARN, ":loadbalancer/")
		arn = before + ":targetgroup/portlease-check/0000000000000000"
	default:
		r.add(what, Unchecked, "there is neither a target group nor a load balancer to ask about")
		return
	}
	_, err := client.Targets(ctx, arn)
	if errors.Is(err, elb.ErrTargetGroupGone) {
		err = nil
	}
	r.addResult(what, "read", err)
}

// deletions cannot be checked: ELBv2 has no dry run, and may answer a call about a
// nonexistent resource without checking the right.
func (r *Report) deletions() {
	r.add("AWS: deletions", Unchecked, "ELBv2 has no dry run: the role needs deploy/iam/janitor.json; if a right is missing, the log says AccessDenied when the first port is released")
}

// tags checks the tag that deploy/iam needs on load balancers. By the same tag it gives
// the ports of each that have listeners of this ledger's games.
func (r *Report) tags(ctx context.Context, client AWS, states []inventory.State, listeners map[string][]elb.Listener, ledgerID string) (games map[string]map[int]bool) {
	const what = "AWS: tags"
	var arns []string
	for _, s := range states {
		arns = append(arns, s.ARN)
	}
	slices.Sort(arns)
	arns = slices.Compact(arns)
	if len(arns) == 0 {
		r.add(what, Unchecked, "there is no load balancer to ask about")
		return nil
	}
	asked := slices.Clone(arns)
	for _, of := range listeners {
		for _, l := range of {
			asked = append(asked, l.ARN)
		}
	}
	tags, err := client.Tags(ctx, asked...)
	if !r.addResult(what, "read", err) {
		return nil
	}
	for _, arn := range arns {
		what := "tags of " + short(arn)
		switch got := tags[arn][elb.TagLedger]; {
		case ledgerID == "":
			r.add(what, Unchecked, "the ledger's ID is not known")
		case tags[arn] == nil: // its own row says that it is gone
		case got == "":
			r.add(what, Warning, "it lacks %s=%s: agents with the policies of deploy/iam may create no listener there", elb.TagLedger, ledgerID)
		case got != ledgerID:
			r.add(what, Warning, "it has %s=%s and this ledger is %s: agents with the policies of deploy/iam may create no listener there, unless theirs names both", elb.TagLedger, got, ledgerID)
		default:
			r.add(what, OK, "it is tagged for this ledger")
		}
	}
	games = make(map[string]map[int]bool)
	for arn, of := range listeners {
		games[arn] = make(map[int]bool)
		for _, l := range of {
			games[arn][l.Port] = ledgerID != "" && tags[l.ARN][elb.TagLedger] == ledgerID
		}
	}
	return games
}

// short is a load balancer's name and ID.
func short(arn string) string {
	_, name, found := strings.Cut(arn, ":loadbalancer/net/")
	if !found {
		return arn
	}
	return name
}
