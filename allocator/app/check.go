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

// ErrCheck is what Check returns after a check found an error.
var ErrCheck = errors.New("a check found an error: see the table")

// checkTimeout bounds all checks together. The check of 100 load balancers with 50 listeners
// each takes two minutes.
const checkTimeout = 5 * time.Minute

// Check checks that an allocator with these settings could work here, and prints a
// table of the results. It changes nothing and listens nowhere. It returns ErrCheck if a
// check found an error.
func Check(ctx context.Context, c Config, doors Doors, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	var r check.Report
	file, readable := r.Pools(c.PoolFile)
	var kube kubernetes.Interface
	err := doors.openKube(c)
	if err == nil {
		kube, err = doors.client(program, mainLimit)
	}
	c.checkTLS(ctx, &r, kube)
	id := ""
	if err != nil {
		r.Add("Kubernetes", check.Error, err.Error())
	} else {
		if len(c.games()) == 0 {
			r.Add("rights in namespaces of games", check.Unchecked, "trust-namespaces does not say in which namespaces game servers run")
		}
		rights := check.RequiredRights(c.Namespace, c.TLSSecret, c.trustNamespaces(), c.games())
		ledger := func(ctx context.Context) (string, error) { return kubelease.ID(ctx, kube, c.Namespace) }
		id = r.Kubernetes(ctx, ledger, auth.Kubernetes{Client: kube}, rights)
	}
	if err := doors.openAWS(ctx); err != nil {
		r.Add("AWS", check.Error, err.Error())
	} else if readable {
		r.AWS(ctx, elb.New(*doors.AWS, nil).WithBudget(check.NewPace(file.Limits)), file, c.AuditEvery, id)
	} else {
		r.Add("AWS", check.Unchecked, "the pool file cannot be used")
	}
	if err := r.Print(out); err != nil {
		return fmt.Errorf("printing the table: %w", err)
	}
	if !r.Passed() {
		return ErrCheck
	}
	return nil
}

// checkTLS checks the key pair that these settings name. A nil kube means that
// Kubernetes cannot be reached.
func (c *Config) checkTLS(ctx context.Context, r *check.Report, kube kubernetes.Interface) {
	switch {
	case c.PlainHTTP:
		r.PlainHTTP()
	case c.TLSSecret == "":
		r.TLSFiles(c.TLSCert, c.TLSKey, time.Now())
	case kube == nil:
		r.Add("TLS key pair", check.Unchecked, "it is in Kubernetes, in secret "+c.TLSSecret)
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
