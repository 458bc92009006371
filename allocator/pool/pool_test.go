package pool_test

import (
	"errors"
	"testing"

	"github.com/portlease/portlease/allocator/pool"
	"github.com/portlease/portlease/shared/api"
)

func TestObstacle(t *testing.T) {
	listeners := func(port int, forwards ...string) map[int]pool.Listener {
		return map[int]pool.Listener{port: {ARN: "listener", TargetGroupARNs: forwards}}
	}
	for _, test := range []struct {
		name           string
		found          pool.Inspection
		refused, inWay bool
	}{
		{"nothing there", pool.Inspection{Limit: 1}, false, false},
		{"our own listener", pool.Inspection{Listeners: listeners(30000, "ours"), Limit: 1}, false, false},
		{"a foreign listener", pool.Inspection{Listeners: listeners(30000, "theirs"), Limit: 50}, true, true},
		{"a foreign listener that forwards to ours as well", pool.Inspection{Listeners: listeners(30000, "ours", "theirs"), Limit: 50}, true, true},
		{"a listener that forwards nowhere", pool.Inspection{Listeners: listeners(30000), Limit: 50}, true, true},
		{"as many listeners as the quota allows", pool.Inspection{Listeners: listeners(1, "a"), Limit: 1}, true, false},
		{"the quota is not read yet", pool.Inspection{Listeners: listeners(1, "a")}, false, false},
		{"room for one more", pool.Inspection{Listeners: listeners(1, "a"), Limit: 2}, false, false},
		{"the load balancer is gone", pool.Inspection{Gone: true, Limit: 50}, true, false},
	} {
		reason, foreign := test.found.Obstacle(30000, "ours")
		if (reason != "") != test.refused || (foreign != "") != test.inWay {
			t.Errorf("%s: %q, %q", test.name, reason, foreign)
		}
		if wantsOurs := test.name == "our own listener"; test.found.Forwards(30000, "ours") != wantsOurs {
			t.Errorf("%s: forwards to our target group alone: %v", test.name, !wantsOurs)
		}
	}
}

func TestAdmit(t *testing.T) {
	tcp, udp := []api.Port{{Name: "game", Protocol: api.TCP}}, []api.Port{{Name: "game", Protocol: api.TCP}, {Name: "voice", Protocol: api.UDP}}
	open := pool.Pool{Name: "open", Terms: pool.Terms{Protocols: []api.Protocol{api.TCP}}}
	closed := pool.Pool{Name: "closed", Terms: pool.Terms{Protocols: []api.Protocol{api.TCP, api.UDP}, Namespaces: []string{"games"}}}
	for _, test := range []struct {
		name      string
		pool      pool.Pool
		namespace string
		ports     []api.Port
		want      api.Code // empty: admitted
	}{
		{"a pool without namespaces admits all", open, "anybody", tcp, ""},
		{"a listed namespace", closed, "games", udp, ""},
		{"a namespace that is not listed", closed, "game", tcp, api.Forbidden},
		{"one port of a protocol that the pool lacks", open, "games", udp, api.Invalid},
	} {
		err := test.pool.Admit(test.namespace, test.ports)
		if test.want == "" && err != nil || test.want != "" && !errors.Is(err, &api.Problem{Code: test.want}) {
			t.Errorf("%s: got %v, want %q", test.name, err, test.want)
		}
	}
}
