package admission_test

import (
	"errors"
	"fmt"
	"testing"

	"k8s.io/client-go/rest"
)

const (
	agents = "portlease-agent"
	label  = `{"metadata":{"labels":{"role":"primary"}}}`
	// Such a status would cost a pod its port: the janitor reclaims from pods that have
	// terminated.
	forgedPhase = `{"status":{"phase":"Failed"}}`
	forgedImage = `{"spec":{"containers":[{"name":"game","image":"evil"}]}}`
	notBound    = "this service account is for game servers, and the token is bound to no pod"
)

// newConfined is a place with the agents' policy in effect.
func newConfined(t *testing.T) place {
	t.Helper()
	p := newPlace(t, "", "games.yaml", "policy-agents.yaml")
	account(t, p.games, "game")
	probe := pod(t, p.games, "game", "probe")
	eventually(t, "the policy confines agents", func() error {
		if err := patch(t, probe, p.games, "probe", label); !deniedBy(err, agents, "an agent may set only annotations in a pod's metadata") {
			return errors.Join(errors.New("an agent labels its pod"), err)
		}
		return nil
	})
	return p
}

// TestPolicyLeavesStrangersAlone has accounts that are not in games write on pods with
// the token of a pod, as a Postgres operator's failover does: it may patch pods and not
// update them.
func TestPolicyLeavesStrangersAlone(t *testing.T) {
	p := newConfined(t)
	for _, stranger := range []struct{ namespace, name string }{
		{p.databases, "postgres"}, // a namespace without games
		{p.games, "postgres"},     // another account in a namespace of games
		{p.databases, "game"},     // an account of a game's name elsewhere
		{p.arena, "game"},         // of another entry's name
	} {
		t.Run(stranger.namespace+" "+stranger.name, func(t *testing.T) {
			account(t, stranger.namespace, stranger.name, "patch")
			own, other := stranger.name+"-0", stranger.name+"-1"
			token := pod(t, stranger.namespace, stranger.name, own)
			pod(t, stranger.namespace, stranger.name, other)
			eventually(t, "it may patch pods", func() error {
				for _, name := range []string{own, other} {
					if err := patch(t, token, stranger.namespace, name, label); err != nil {
						return err
					}
				}
				return patch(t, token, stranger.namespace, other, `{"status":{"message":"failover"}}`, "status")
			})
		})
	}
}

// TestPolicyConfinesEveryAccountOfGames tries the same write as each of them, in each
// namespace. More rights change nothing: an agent is who its account says.
func TestPolicyConfinesEveryAccountOfGames(t *testing.T) {
	p := newConfined(t)
	tokens := make(map[string]*rest.Config)
	for _, agent := range []struct{ namespace, name string }{{p.games, "game"}, {p.games, "lobby"}, {p.arena, "arena"}} {
		account(t, agent.namespace, agent.name, "patch", "update")
		own := agent.name + "-0"
		token := pod(t, agent.namespace, agent.name, own)
		tokens[agent.name] = token
		eventually(t, agent.name+" may write its annotations, and nothing else", func() error {
			if err := patch(t, token, agent.namespace, own, `{"metadata":{"annotations":{"portlease.dev/endpoint":"a:1"}}}`); err != nil {
				return err
			}
			if err := patch(t, token, agent.namespace, own, label); !deniedBy(err, agents, "an agent may set only annotations in a pod's metadata") {
				return errors.Join(errors.New("it labels its pod"), err)
			}
			if err := patch(t, token, agent.namespace, own, forgedPhase, "status"); !deniedBy(err, agents, "an agent may set only its condition in a pod's status") {
				return errors.Join(errors.New("it forges its phase"), err)
			}
			return nil
		})
	}
	// An account of one entry that somebody lets write in the namespace of another.
	must(t, cluster.Apply(t.Context(), fmt.Appendf(nil, `
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: across, namespace: %s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: portlease-agent}
subjects:
- {kind: ServiceAccount, name: game, namespace: %s}
`, p.arena, p.games)))
	eventually(t, "an agent is refused the pods of another namespace of games", func() error {
		if err := patch(t, tokens["game"], p.arena, "arena-0", `{"metadata":{"annotations":{"portlease.dev/endpoint":"a:1"}}}`); !deniedBy(err, agents, "an agent may change only its own pod") {
			return errors.Join(errors.New("it writes there"), err)
		}
		return nil
	})
}

// TestPolicyRefusesTokensWithoutAPod uses tokens of a game's account that no pod has:
// one of its own, and the account's name by impersonation. Nobody can tell whose pod
// such a caller is, so it may write on none.
func TestPolicyRefusesTokensWithoutAPod(t *testing.T) {
	p := newConfined(t)
	unbound, err := cluster.ServiceAccount(t.Context(), p.games, "game")
	must(t, err)
	impersonated := cluster.AdminConfig()
	impersonated.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:" + p.games + ":game", Groups: []string{"system:authenticated"}}
	for name, as := range map[string]*rest.Config{"a token of its own": unbound, "impersonation": impersonated} {
		for what, err := range map[string]error{
			"forge the phase of a pod": patch(t, as, p.games, "probe", forgedPhase, "status"),
			"forge the image of a pod": patch(t, as, p.games, "probe", forgedImage),
			"announce on a pod":        patch(t, as, p.games, "probe", `{"metadata":{"annotations":{"portlease.dev/endpoint":"a:1"}}}`),
		} {
			if !deniedBy(err, agents, notBound) {
				t.Errorf("with %s somebody tries to %s: got %v, want a refusal by the policy", name, what, err)
			}
		}
	}
}
