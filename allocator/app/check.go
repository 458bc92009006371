package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/portlease/portlease/allocator/auth"
	"github.com/portlease/portlease/allocator/certs/kubecerts"
	"github.com/portlease/portlease/allocator/certs/pki"
	"github.com/portlease/portlease/allocator/check"
	"github.com/portlease/portlease/allocator/kubelease"
	"github.com/portlease/portlease/shared/elb"
)

// ErrCheck is what Check returns when something is wrong.
var ErrCheck = errors.New("something is wrong: see the table")

// checkTimeout bounds all looks of a check together.
const checkTimeout = 2 * time.Minute

// Check looks whether an allocator with these settings could do its work, and
// prints what it found. It changes nothing and listens nowhere. ErrCheck.
func Check(ctx context.Context, c Config, doors Doors, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	var r check.Report
	file, readable := r.Pools(c.PoolFile)
	var kube kubernetes.Interface
	err := doors.openKube(c)
	if err == nil {
		kube, err = doors.client()
	}
	c.checkTLS(ctx, &r, kube)
	id := ""
	if err != nil {
		r.Add("Kubernetes", check.Wrong, err.Error())
	} else {
		rights := check.RequiredRights(c.Namespace, c.TLSSecret, c.trusting())
		ledger := func(ctx context.Context) (string, error) { return kubelease.ID(ctx, kube, c.Namespace) }
		id = r.Kubernetes(ctx, ledger, auth.Kubernetes{Client: kube}, rights)
	}
	if err := doors.openAWS(ctx); err != nil {
		r.Add("AWS", check.Wrong, err.Error())
	} else if readable {
		r.AWS(ctx, elb.New(*doors.AWS, nil), file.Pools, id)
	} else {
		r.Add("AWS", check.NotChecked, "because the pool file cannot be used")
	}
	if err := r.Print(out); err != nil {
		return fmt.Errorf("printing the table: %w", err)
	}
	if !r.Passed() {
		return ErrCheck
	}
	return nil
}

// checkTLS looks at the key pair where these settings say that it lies; a nil kube is
// one that cannot be asked.
func (c *Config) checkTLS(ctx context.Context, r *check.Report, kube kubernetes.Interface) {
	switch {
	case c.PlainHTTP:
		r.PlainHTTP()
	case c.TLSSecret == "":
		r.TLSFiles(c.TLSCert, c.TLSKey, time.Now())
	case kube == nil:
		r.Add("TLS key pair", check.NotChecked, "because it lies in Kubernetes, in secret "+c.TLSSecret)
	default:
		r.TLSSecret(ctx, c.TLSSecret, func(ctx context.Context) (*pki.KeySet, error) {
			keys, found, err := kubecerts.NewSecret(kube, c.Namespace, c.TLSSecret).Read(ctx)
			if found == nil {
				return nil, err
			}
			return &keys, err
		}, time.Now())
	}
}
