// Package poolfile reads the file that defines the pools.
//
// A file is accepted as a whole or not at all. Every mistake that can be found without
// AWS is refused, with a message that says what to change. A mistake that only AWS can
// show never stops the allocator.
package poolfile

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/portlease/portlease/allocator/budget"
	"github.com/portlease/portlease/allocator/pool"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

// Defaults of a pool.
const (
	// DefaultCooldown is how long a network load balancer keeps UDP flows (AWS,
	// "Listeners for your Network Load Balancers", idle timeout of UDP flows).
	DefaultCooldown = 2 * time.Minute
	// DefaultSticky is long enough for a StatefulSet to replace a pod.
	DefaultSticky = 10 * time.Minute
	// defaultInterval and defaultThreshold detect a dead game server in 20 s. AWS's
	// defaults are 30 s and five checks.
	defaultInterval  = 10 * time.Second
	defaultTimeout   = 5 * time.Second
	defaultThreshold = 2
)

// File is the content of a pool file.
type File struct {
	Pools []Pool
	// Limits are the account's token buckets, or portlease's share of them.
	Limits budget.Limits
	// Warnings say what works but was hardly meant, and what to change.
	Warnings []string
}

// Pool is one pool as it is configured.
type Pool struct {
	Name string
	// LoadBalancers are ARNs.
	LoadBalancers []string
	// Tags select every network load balancer that has all of them; empty selects
	// none.
	Tags map[string]string
	// VPC that the load balancers must be in; empty: that of the first usable one.
	VPC string
	// Ranges of listener ports, without the excluded ones, lowest first.
	Ranges []pool.Range
	Terms  pool.Terms
}

// file is the YAML. docs/pool-file.md documents every field, and the chart's schema has it.
type file struct {
	Pools  []written `json:"pools"`
	Budget limits    `json:"budget"`
}

type written struct {
	Name                  string            `json:"name"`
	LoadBalancers         []string          `json:"loadBalancers"`
	LoadBalancerTags      map[string]string `json:"loadBalancerTags"`
	VPC                   string            `json:"vpc"`
	ListenerPorts         []string          `json:"listenerPorts"`
	ExcludedPorts         []string          `json:"excludedPorts"`
	Protocols             []api.Protocol    `json:"protocols"`
	Placement             string            `json:"placement"`
	Cooldown              *duration         `json:"cooldown"`
	Sticky                *duration         `json:"sticky"`
	Namespaces            []string          `json:"namespaces"`
	Quota                 quota             `json:"quota"`
	HealthCheck           healthCheck       `json:"healthCheck"`
	TargetGroupAttributes map[string]string `json:"targetGroupAttributes"`
}

// Read reads and checks the whole pool file. text is the content of the file.
func Read(path string) (f File, text []byte, err error) {
	text, err = os.ReadFile(path) //nolint:gosec // the operator names this file
	if err != nil {
		return f, nil, fmt.Errorf("reading the pool file: %w", err)
	}
	f, err = Parse(text)
	if err != nil {
		return f, text, fmt.Errorf("pool file %s: %w", path, err)
	}
	return f, text, nil
}

// Unchanged reports whether a pool file still has that content. It costs much less than Read.
func Unchanged(path string, text []byte) bool {
	found, err := os.ReadFile(path) //nolint:gosec // the operator names this file
	return err == nil && bytes.Equal(found, text)
}

// Parse reads a pool file. It refuses unknown fields, and pools that could never hand
// out a port.
func Parse(text []byte) (File, error) {
	if err := oneDocument(text); err != nil {
		return File{}, err
	}
	var written file
	if err := yaml.UnmarshalStrict(text, &written); err != nil {
		return File{}, fmt.Errorf("reading YAML: %w", err)
	}
	limits, err := written.Budget.check()
	if err != nil {
		return File{}, fmt.Errorf("budget: %w", err)
	}
	pools, err := written.pools()
	return File{Pools: pools, Limits: limits, Warnings: wideRanges(pools)}, err
}

func (f file) pools() ([]Pool, error) {
	if len(f.Pools) == 0 {
		return nil, errors.New("no pools: name at least one under \"pools\"")
	}
	var pools []Pool
	names := make(map[string]bool)
	used := make(map[string][]reserved) // by load balancer
	for i, written := range f.Pools {
		if written.Name == "" {
			return nil, fmt.Errorf("pool number %d has no name: give it the one that pods claim from", i+1)
		}
		if names[written.Name] {
			return nil, fmt.Errorf("pool %q is named twice: merge the two or rename one", written.Name)
		}
		names[written.Name] = true
		p, err := written.check()
		if err != nil {
			return nil, fmt.Errorf("pool %q: %w", written.Name, err)
		}
		if err := reserve(used, p); err != nil {
			return nil, err
		}
		pools = append(pools, p)
	}
	return pools, nil
}

// oneDocument refuses further YAML documents, which the parser would silently ignore.
func oneDocument(text []byte) error {
	content, ended := false, false
	for line := range bytes.Lines(text) {
		line = bytes.TrimRight(line, " \t\r\n")
		switch {
		case len(line) == 0 || line[0] == '#':
		case bytes.Equal(line, []byte("...")):
			ended = true
		case ended || content && bytes.HasPrefix(line, []byte("---")):
			return errors.New("more than one YAML document: put all pools under one \"pools\"")
		case !bytes.Equal(line, []byte("---")):
			content = true
		}
	}
	return nil
}

func (w written) check() (Pool, error) {
	p := Pool{Name: w.Name, LoadBalancers: w.LoadBalancers, Tags: w.LoadBalancerTags, VPC: w.VPC}
	if len(p.LoadBalancers) == 0 && len(p.Tags) == 0 {
		return p, errors.New("it is empty: give it at least one load balancer, by ARN under loadBalancers or by loadBalancerTags")
	}
	for key := range p.Tags {
		if key == "" {
			return p, errors.New("loadBalancerTags has an empty key: name the tag that the load balancers have")
		}
	}
	var err error
	if p.Ranges, err = w.ranges(); err != nil {
		return p, err
	}
	p.Terms, err = w.terms()
	return p, err
}

// ranges are the listener ports without the excluded ones.
func (w written) ranges() ([]pool.Range, error) {
	parse := func(texts []string) ([]pool.Range, error) {
		var all []pool.Range
		for _, text := range texts {
			r, err := pool.ParseRange(text)
			if err != nil {
				return nil, err
			}
			all = append(all, r)
		}
		return all, nil
	}
	given, err := parse(w.ListenerPorts)
	if err != nil {
		return nil, err
	}
	if len(given) == 0 {
		return nil, errors.New("it is empty: give it at least one range of listener ports")
	}
	if a, b, overlap := pool.Overlap(given); overlap {
		return nil, fmt.Errorf("listenerPorts %v and %v overlap: list each port once", a, b)
	}
	excluded, err := parse(w.ExcludedPorts)
	if err != nil {
		return nil, fmt.Errorf("excludedPorts: %w", err)
	}
	for _, e := range excluded {
		if !slices.ContainsFunc(given, func(r pool.Range) bool { return r.Overlaps(e) }) {
			return nil, fmt.Errorf("excludedPorts %v are in none of the listenerPorts: correct or remove them", e)
		}
	}
	left := pool.Subtract(given, excluded)
	if len(left) == 0 {
		return nil, errors.New("it is empty: excludedPorts leave none of the listenerPorts")
	}
	return left, nil
}

func (w written) terms() (pool.Terms, error) {
	t := pool.Terms{
		Namespaces: w.Namespaces, Protocols: w.Protocols, Placement: pool.Spread,
		Cooldown: DefaultCooldown, Sticky: DefaultSticky, Attributes: w.TargetGroupAttributes,
	}
	switch pool.Placement(w.Placement) {
	case "", pool.Spread:
	case pool.Pack:
		t.Placement = pool.Pack
	default:
		return t, fmt.Errorf("placement %q is unknown: use spread (the load balancer with the fewest listeners) or pack (the one with the most)", w.Placement)
	}
	for _, protocol := range w.Protocols {
		if !slices.Contains(allProtocols, protocol) {
			return t, fmt.Errorf("protocol %q is unknown: use TCP, UDP or TCP_UDP", protocol)
		}
	}
	if len(t.Protocols) == 0 {
		t.Protocols = allProtocols
	}
	for _, namespace := range w.Namespaces {
		if namespace == "" || strings.ContainsAny(namespace, " /*") {
			return t, fmt.Errorf("namespace %q is not a valid name: list names of namespaces, or omit namespaces to allow all", namespace)
		}
	}
	for name, given := range map[string]struct {
		text *duration
		into *time.Duration
		most time.Duration
	}{"cooldown": {w.Cooldown, &t.Cooldown, 24 * time.Hour}, "sticky": {w.Sticky, &t.Sticky, 30 * 24 * time.Hour}} {
		if given.text == nil {
			continue
		}
		if *given.into = time.Duration(*given.text); *given.into < 0 || *given.into > given.most {
			return t, fmt.Errorf("%s %v is outside 0s-%v", name, *given.into, given.most)
		}
	}
	var err error
	if t.Quota, err = w.Quota.check(); err != nil {
		return t, fmt.Errorf("quota: %w", err)
	}
	if t.HealthCheck, err = w.HealthCheck.check(); err != nil {
		return t, fmt.Errorf("healthCheck: %w", err)
	}
	return t, checkAttributes(t.Attributes, t.Protocols)
}

var allProtocols = []api.Protocol{api.TCP, api.UDP, api.TCPUDP}

// reserve refuses a listener port that two pools, or one pool twice, would hand out.
// The load balancers that tags select are not known yet: there the first pool wins.
func reserve(used map[string][]reserved, p Pool) error {
	for _, arn := range p.LoadBalancers {
		id, err := elb.LoadBalancerID(arn)
		if err != nil {
			return fmt.Errorf("pool %q: %w", p.Name, err)
		}
		for _, r := range p.Ranges {
			for _, other := range used[id] {
				if r.Overlaps(other.Range) {
					return fmt.Errorf("pool %q: listener port %d of load balancer %s is in pool %q already: list each port once", p.Name, max(r.From, other.From), arn, other.pool)
				}
			}
			used[id] = append(used[id], reserved{r, p.Name})
		}
	}
	return nil
}

// reserved are listener ports of one load balancer that a pool hands out.
type reserved struct {
	pool.Range
	pool string
}
