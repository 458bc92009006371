package api_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/portlease/portlease/shared/api"
)

func TestParsePorts(t *testing.T) {
	for _, test := range []struct {
		text string
		want []api.Port
	}{
		{"game=7777/UDP", []api.Port{{Name: "game", TargetPort: 7777, Protocol: api.UDP}}},
		{"8080", []api.Port{{Name: "8080", TargetPort: 8080, Protocol: api.TCP}}},
		{"8080/UDP", []api.Port{{Name: "8080", TargetPort: 8080, Protocol: api.UDP}}},
		{"chat=8080", []api.Port{{Name: "chat", TargetPort: 8080, Protocol: api.TCP}}},
		{"both=1/TCP_UDP", []api.Port{{Name: "both", TargetPort: 1, Protocol: api.TCPUDP}}},
		{"z=65535, a=1/UDP ", []api.Port{{Name: "z", TargetPort: 65535, Protocol: api.TCP}, {Name: "a", TargetPort: 1, Protocol: api.UDP}}},
		{"t=53/TCP,u=53/UDP", []api.Port{{Name: "t", TargetPort: 53, Protocol: api.TCP}, {Name: "u", TargetPort: 53, Protocol: api.UDP}}},
	} {
		got, err := api.ParsePorts(test.text)
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%q reads %v, %v; want %v", test.text, got, err, test.want)
		}
	}
}

func TestParsePortsErrorNamesTheRemedy(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"", "as in game=7777/UDP"},
		{"game", "as in game=7777/UDP"},
		{"game=seven/UDP", "as in game=7777/UDP"},
		{"a=1,,b=2", "as in game=7777/UDP"},
		{"a=1,", "as in game=7777/UDP"},
		{"a=99999999999999999999", "as in game=7777/UDP"},
		{"game=7777/SCTP", "use TCP, UDP or TCP_UDP"},
		{"game=7777/udp", "use TCP, UDP or TCP_UDP"},
		{"game=7777/", "use TCP, UDP or TCP_UDP"},
		{"game=0/UDP", "outside 1-65535"},
		{"game=65536/UDP", "outside 1-65535"},
		{"game=-1/UDP", "outside 1-65535"},
		{"Game=1", "lower-case letters"},
		{"-game=1", "lower-case letters"},
		{"game-=1", "lower-case letters"},
		{"=1", "lower-case letters"},
		{"a_b=1", "lower-case letters"},
		{strings.Repeat("n", 64) + "=1", "1-63"},
		{"a=1,a=2", "unique in the pod"},
		{"a=1,b=1", `"a" and "b" both use target port 1/TCP`},
		{"a=1/TCP_UDP,b=1/UDP", `"a" and "b" both use target port 1/UDP`},
		{"a=1/TCP,b=1/TCP_UDP", `"a" and "b" both use target port 1/TCP`},
	} {
		_, err := api.ParsePorts(test.text)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: got %v; want %q", test.text, err, test.want)
		}
	}
}

// somePorts returns n ports that can be claimed together.
func somePorts(n int) []api.Port {
	var ports []api.Port
	for i := range n {
		ports = append(ports, api.Port{Name: fmt.Sprintf("p%d", i), TargetPort: 1 + i, Protocol: api.TCP})
	}
	return ports
}

func TestValidatePortsLimitsTheNumberOfPorts(t *testing.T) {
	for _, test := range []struct {
		n    int
		want string // empty: accepted
	}{{0, "name at least one"}, {1, ""}, {api.MaxPorts, ""}, {api.MaxPorts + 1, "room for 50 listeners"}} {
		err := api.ValidatePorts(somePorts(test.n))
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%d ports: got %v; want %q", test.n, err, test.want)
		}
	}
	longest := []api.Port{{Name: strings.Repeat("n", 63), TargetPort: 1, Protocol: api.TCP}}
	if err := api.ValidatePorts(longest); err != nil {
		t.Errorf("a name of 63 letters: %v", err)
	}
}

func TestClaimRequestValidate(t *testing.T) {
	udp := []api.Port{{Name: "game", TargetPort: 7777, Protocol: api.UDP}}
	for _, test := range []struct {
		name   string
		change func(*api.ClaimRequest)
		want   string // empty: accepted
	}{
		{"as it is", func(*api.ClaimRequest) {}, ""},
		{"IPv6", func(r *api.ClaimRequest) { r.PodIP = "fd00::17" }, ""},
		{"no UID", func(r *api.ClaimRequest) { r.PodUID = "" }, "podUID is empty"},
		{"no pool", func(r *api.ClaimRequest) { r.Pool = "" }, "name the pool"},
		{"no IP", func(r *api.ClaimRequest) { r.PodIP = "" }, "take it from status.podIP"},
		{"IP of letters", func(r *api.ClaimRequest) { r.PodIP = "pod" }, "take it from status.podIP"},
		{"IP with a length", func(r *api.ClaimRequest) { r.PodIP = "10.0.0.1/32" }, "take it from status.podIP"},
		{"unspecified", func(r *api.ClaimRequest) { r.PodIP = "0.0.0.0" }, "cannot be a target"},
		{"unspecified IPv6", func(r *api.ClaimRequest) { r.PodIP = "::" }, "cannot be a target"},
		{"multicast", func(r *api.ClaimRequest) { r.PodIP = "224.0.0.1" }, "cannot be a target"},
		{"zone", func(r *api.ClaimRequest) { r.PodIP = "fe80::1%eth0" }, "cannot be a target"},
		{"no ports", func(r *api.ClaimRequest) { r.Ports = nil }, "name at least one"},
		{"UDP without health port", func(r *api.ClaimRequest) { r.Ports = udp }, "set a healthPort"},
		{"UDP with health port", func(r *api.ClaimRequest) { r.Ports, r.HealthPort = udp, 9901 }, ""},
		{"TCP_UDP without health port", func(r *api.ClaimRequest) { r.Ports[0].Protocol = api.TCPUDP }, ""},
		{"highest health port", func(r *api.ClaimRequest) { r.HealthPort = 65535 }, ""},
		{"health port too high", func(r *api.ClaimRequest) { r.HealthPort = 65536 }, "outside 1-65535"},
		{"health port negative", func(r *api.ClaimRequest) { r.HealthPort = -1 }, "outside 1-65535"},
		{"a failure", func(r *api.ClaimRequest) { r.Failed = api.FailedDenied }, ""},
		{"a failure of no kind", func(r *api.ClaimRequest) { r.Failed = "tired" }, "use denied, refused or credentials"},
	} {
		r := api.ClaimRequest{PodUID: "u", PodIP: "10.0.0.1", Pool: "default", Ports: somePorts(2)}
		test.change(&r)
		err := r.Validate()
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: got %v; want %q", test.name, err, test.want)
		}
	}
}

func TestRenewRequestValidate(t *testing.T) {
	for ip, good := range map[string]bool{"10.0.0.1": true, "fd00::1": true, "": false, "ff02::1": false} {
		if err := (api.RenewRequest{PodIP: ip}).Validate(); (err == nil) != good {
			t.Errorf("%q: got %v", ip, err)
		}
	}
	for kind, good := range map[api.FailureKind]bool{"": true, api.FailedCredentials: true, "tired": false} {
		if err := (api.RenewRequest{PodIP: "10.0.0.1", Failed: kind}).Validate(); (err == nil) != good {
			t.Errorf("failed %q: got %v", kind, err)
		}
	}
}

// format is the inverse of ParsePorts.
func format(ports []api.Port) string {
	var items []string
	for _, p := range ports {
		items = append(items, fmt.Sprintf("%s=%d/%s", p.Name, p.TargetPort, p.Protocol))
	}
	return strings.Join(items, ",")
}

func FuzzParsePorts(f *testing.F) {
	for _, seed := range []string{"", "8080", "game=7777/UDP", "a=1/TCP,b=1/UDP", "both=1/TCP_UDP, c=2", "a=1,", "=", "a==1//", "a=+1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ports, err := api.ParsePorts(text)
		if err != nil {
			return
		}
		if err := api.ValidatePorts(ports); err != nil {
			t.Errorf("%q parses but does not validate: %v", text, err)
		}
		again, err := api.ParsePorts(format(ports))
		if err != nil || !slices.Equal(again, ports) {
			t.Errorf("%q parses as %v, formatted it parses as %v, %v", text, ports, again, err)
		}
	})
}

func FuzzClaimRequest(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `null`, `[]`, `{"podUID":"u","podIP":"10.0.0.1","pool":"p","ports":[{"name":"a","targetPort":1,"protocol":"TCP"}]}`,
		`{"podUID":"u","podIP":"fd00::1%x","pool":"p","ports":[{}],"healthPort":-1}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var r api.ClaimRequest
		if err := json.Unmarshal(text, &r); err != nil {
			return
		}
		if r.Validate() != nil {
			return
		}
		// An accepted request is encoded and decoded again, and must stay the same.
		written, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var again api.ClaimRequest
		if err := json.Unmarshal(written, &again); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(again.Ports, r.Ports) || again.PodIP != r.PodIP {
			t.Errorf("%s becomes %s", text, written)
		}
		if err := again.Validate(); err != nil {
			t.Errorf("%s is accepted, but not when it is encoded again: %v", text, err)
		}
	})
}
