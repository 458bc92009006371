package pool_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/portlease/portlease/allocator/pool"
)

func ports(list ...int) map[int]bool {
	m := make(map[int]bool)
	for _, p := range list {
		m[p] = true
	}
	return m
}

func stocks(candidates []pool.Candidate) []pool.Stock {
	var all []pool.Stock
	for _, c := range candidates {
		all = append(all, c.Stock())
	}
	return all
}

// request is one without placement and older claims.
func request(n int, seed string) pool.Request { return pool.Request{Ports: n, Seed: seed} }

func TestChoosePortsOnOneLoadBalancer(t *testing.T) {
	ten := []pool.Range{{From: 1, To: 10}}
	for _, test := range []struct {
		name string
		of   []pool.Candidate
		n    int
		arn  string // empty: exhausted
		want []int  // nil: whatever
	}{
		{"no load balancer", nil, 1, "", nil},
		{"the only port", []pool.Candidate{{ARN: "a", Ranges: []pool.Range{{From: 7, To: 7}}, Limit: 50}}, 1, "a", []int{7}},
		{"the only free port", []pool.Candidate{{ARN: "a", Ranges: ten, Taken: ports(1, 2, 3, 4, 5, 6, 7, 9, 10), Limit: 50}}, 1, "a", []int{8}},
		{"all taken", []pool.Candidate{{ARN: "a", Ranges: []pool.Range{{From: 1, To: 2}}, Taken: ports(1, 2), Limit: 50}}, 1, "", nil},
		{"exactly enough room", []pool.Candidate{{ARN: "a", Ranges: ten, Listeners: 48, Limit: 50}}, 2, "a", nil},
		{"one too few rooms", []pool.Candidate{{ARN: "a", Ranges: ten, Listeners: 49, Limit: 50}}, 2, "", nil},
		{"over the limit already", []pool.Candidate{{ARN: "a", Ranges: ten, Listeners: 60, Limit: 50}}, 1, "", nil},
		{"never across load balancers", []pool.Candidate{
			{ARN: "a", Ranges: []pool.Range{{From: 1, To: 1}}, Limit: 50}, {ARN: "b", Ranges: []pool.Range{{From: 1, To: 1}}, Limit: 50},
		}, 2, "", nil},
		{"one port in two ranges is one", []pool.Candidate{{ARN: "a", Ranges: []pool.Range{{From: 5, To: 5}, {From: 5, To: 5}}, Limit: 50}}, 2, "", nil},
		{"fewest listeners", []pool.Candidate{
			{ARN: "a", Ranges: ten, Listeners: 3, Limit: 50}, {ARN: "b", Ranges: ten, Listeners: 2, Limit: 50}, {ARN: "c", Ranges: ten, Listeners: 4, Limit: 50},
		}, 1, "b", nil},
		{"preferred port before others", []pool.Candidate{{ARN: "a", Ranges: ten, Preferred: ports(4), Limit: 50}}, 1, "a", []int{4}},
		{"preferred port before fewer listeners", []pool.Candidate{
			{ARN: "a", Ranges: ten, Listeners: 40, Limit: 50, Preferred: ports(9)}, {ARN: "b", Ranges: ten, Limit: 50},
		}, 1, "a", []int{9}},
		{"more preferred ports before fewer", []pool.Candidate{
			{ARN: "a", Ranges: ten, Limit: 50, Preferred: ports(9)}, {ARN: "b", Ranges: ten, Listeners: 5, Limit: 50, Preferred: ports(2, 3)},
		}, 2, "b", nil},
		{"preferred port that is taken", []pool.Candidate{
			{ARN: "a", Ranges: ten, Listeners: 9, Limit: 50, Preferred: ports(9), Taken: ports(9)}, {ARN: "b", Ranges: ten, Limit: 50},
		}, 1, "b", nil},
		{"preferred port outside the ranges", []pool.Candidate{
			{ARN: "a", Ranges: ten, Listeners: 9, Limit: 50, Preferred: ports(99)}, {ARN: "b", Ranges: ten, Limit: 50},
		}, 1, "b", nil},
		{"nothing requested, nothing chosen", []pool.Candidate{{ARN: "a", Ranges: ten, Limit: 50}}, 0, "a", []int{}},
	} {
		got, err := pool.Choose(stocks(test.of), request(test.n, "seed"))
		switch {
		case test.arn == "" && !errors.Is(err, pool.ErrExhausted):
			t.Errorf("%s: got %v, %v; want exhausted", test.name, got, err)
		case test.arn == "":
		case err != nil || got.ARN != test.arn || len(got.Ports) != test.n:
			t.Errorf("%s: got %v, %v; want %d of %s", test.name, got, err, test.n, test.arn)
		case test.want != nil && !slices.Equal(got.Ports, test.want):
			t.Errorf("%s: got %v, want %v", test.name, got.Ports, test.want)
		}
	}
}

func TestChooseByHistoryPlacementAndQueue(t *testing.T) {
	ten := []pool.Range{{From: 1, To: 10}}
	all := ports(1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
	avoided := func(except ...int) map[int]bool {
		m := ports(1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
		for _, p := range except {
			delete(m, p)
		}
		return m
	}
	for _, test := range []struct {
		name    string
		of      []pool.Candidate
		request pool.Request
		arn     string // empty: exhausted
		want    []int  // nil: whatever
	}{
		{"another pod's last port is avoided while one is free", []pool.Candidate{{ARN: "a", Ranges: ten, Avoided: avoided(6), Limit: 50}}, pool.Request{Ports: 1}, "a", []int{6}},
		{"another pod's last port rather than none", []pool.Candidate{{ARN: "a", Ranges: ten, Avoided: all, Taken: avoided(3), Limit: 50}}, pool.Request{Ports: 1}, "a", []int{3}},
		{"a fuller load balancer before another pod's last port", []pool.Candidate{
			{ARN: "a", Ranges: ten, Avoided: all, Limit: 50}, {ARN: "b", Ranges: ten, Listeners: 40, Limit: 50},
		}, pool.Request{Ports: 1}, "b", nil},
		{"the pod's last port before everything", []pool.Candidate{
			{ARN: "a", Ranges: ten, Avoided: avoided(4), Preferred: ports(4), Listeners: 40, Limit: 50}, {ARN: "b", Ranges: ten, Limit: 50},
		}, pool.Request{Ports: 1}, "a", []int{4}},
		{"a port without a lease last, if the others are known", []pool.Candidate{{ARN: "a", Ranges: ten, Avoided: ports(6), Known: ports(6), Limit: 50}}, pool.Request{Ports: 1}, "a", []int{6}},
		{"a port without a lease rather than none", []pool.Candidate{{ARN: "a", Ranges: ten, Taken: avoided(3), Known: avoided(3), Limit: 50}}, pool.Request{Ports: 1}, "a", []int{3}},
		{"packed", []pool.Candidate{
			{ARN: "a", Ranges: ten, Listeners: 3, Limit: 50}, {ARN: "b", Ranges: ten, Listeners: 40, Limit: 50}, {ARN: "c", Ranges: ten, Listeners: 50, Limit: 50},
		}, pool.Request{Ports: 1, Placement: pool.Pack}, "b", nil},
		{"packed, and none has room but the emptiest", []pool.Candidate{
			{ARN: "a", Ranges: ten, Listeners: 3, Limit: 50}, {ARN: "b", Ranges: ten, Listeners: 49, Limit: 50},
		}, pool.Request{Ports: 2, Placement: pool.Pack}, "a", nil},
		{"older claims leave one", []pool.Candidate{{ARN: "a", Ranges: ten, Limit: 50}}, pool.Request{Ports: 1, Older: slices.Values([]int{4, 3, 2})}, "a", nil},
		{"older claims leave none", []pool.Candidate{{ARN: "a", Ranges: ten, Limit: 50}}, pool.Request{Ports: 1, Older: slices.Values([]int{4, 3, 3})}, "", nil},
		{"older claims leave too few", []pool.Candidate{{ARN: "a", Ranges: ten, Limit: 50}}, pool.Request{Ports: 2, Older: slices.Values([]int{9})}, "", nil},
		{"older claims count against the limit", []pool.Candidate{{ARN: "a", Ranges: ten, Listeners: 48, Limit: 50}}, pool.Request{Ports: 1, Older: slices.Values([]int{2})}, "", nil},
		{"an older claim that needs more than there is blocks nobody", []pool.Candidate{{ARN: "a", Ranges: ten, Limit: 50}}, pool.Request{Ports: 1, Older: slices.Values([]int{11})}, "a", nil},
		{"older claims go where there is most room", []pool.Candidate{
			{ARN: "a", Ranges: ten, Listeners: 8, Limit: 10}, {ARN: "b", Ranges: ten, Listeners: 1, Limit: 10},
		}, pool.Request{Ports: 1, Older: slices.Values([]int{3, 3, 3})}, "a", nil},
	} {
		got, err := pool.Choose(stocks(test.of), test.request)
		switch {
		case test.arn == "" && !errors.Is(err, pool.ErrExhausted):
			t.Errorf("%s: got %v, %v; want exhausted", test.name, got, err)
		case test.arn == "":
		case err != nil || got.ARN != test.arn || len(got.Ports) != test.request.Ports:
			t.Errorf("%s: got %v, %v; want %d of %s", test.name, got, err, test.request.Ports, test.arn)
		case test.want != nil && !slices.Equal(got.Ports, test.want):
			t.Errorf("%s: got %v, want %v", test.name, got.Ports, test.want)
		}
	}
}
