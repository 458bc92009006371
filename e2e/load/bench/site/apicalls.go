package site

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// APICalls is how many requests the API server has answered since its start, by resource
// and verb, such as "leases POST". Watches count when they end.
type APICalls map[string]int

var (
	requestLine = regexp.MustCompile(`^apiserver_request_total\{(.*)\} (\S+)$`)
	labelOf     = regexp.MustCompile(`(\w+)="([^"]*)"`)
)

// APICalls reads the counters of the API server.
func (s *Site) APICalls(ctx context.Context) (APICalls, error) {
	page, err := s.Objects.Discovery().RESTClient().Get().AbsPath("/metrics").Do(ctx).Raw()
	if err != nil {
		return nil, fmt.Errorf("reading the metrics of the API server: %w", err)
	}
	return readCalls(string(page))
}

func readCalls(page string) (APICalls, error) {
	calls := make(APICalls)
	for line := range strings.Lines(page) {
		found := requestLine.FindStringSubmatch(strings.TrimSpace(line))
		if found == nil {
			continue
		}
		labels := make(map[string]string)
		for _, l := range labelOf.FindAllStringSubmatch(found[1], -1) {
			labels[l[1]] = l[2]
		}
		count, err := strconv.ParseFloat(found[2], 64)
		if err != nil {
			return nil, fmt.Errorf("reading the metrics of the API server: %w", err)
		}
		calls[labels["resource"]+" "+labels["verb"]] += int(count)
	}
	return calls, nil
}

// Since counts the calls after those of before that concern what a claim needs: reviews,
// pods and Leases.
func (c APICalls) Since(before APICalls) (calls int) {
	for _, kind := range []string{"tokenreviews POST", "pods GET", "leases GET", "leases LIST", "leases POST", "leases PUT", "leases DELETE"} {
		calls += c[kind] - before[kind]
	}
	return calls
}
