package rig

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// LeaderMetrics gives the metrics page of the replica that leads, which alone has the metrics
// of the ledger.
func (r *Rig) LeaderMetrics(ctx context.Context) (string, error) {
	var errs []error
	for _, a := range r.Replicas {
		page, err := a.Metrics(ctx)
		if err != nil {
			errs = append(errs, err)
		} else if leads, err := Sample(page, "portlease_leader"); err == nil && leads == 1 {
			return page, nil
		}
	}
	return "", errors.Join(append(errs, errors.New("no replica leads"))...)
}

// LeaderMetric reads one sample of the leader's metrics; see Sample.
func (r *Rig) LeaderMetric(ctx context.Context, sample string) (float64, error) {
	page, err := r.LeaderMetrics(ctx)
	if err != nil {
		return 0, err
	}
	return Sample(page, sample)
}

// Sample reads one sample of a metrics page, such as portlease_aws_budget_tokens{bucket="all"}.
func Sample(page, sample string) (float64, error) {
	for line := range strings.Lines(page) {
		if text, ok := strings.CutPrefix(line, sample+" "); ok {
			value, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			if err != nil {
				return 0, fmt.Errorf("reading %s: %w", sample, err)
			}
			return value, nil
		}
	}
	return 0, fmt.Errorf("there is no metric %s", sample)
}
