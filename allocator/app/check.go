package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/portlease/portlease/allocator/kubelease"
	"github.com/portlease/portlease/allocator/kubepod"
	"github.com/portlease/portlease/allocator/preflight"
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
	var r preflight.Report
	file, readable := r.Pools(c.PoolFile)
	r.TLS(c.TLSCert, c.TLSKey, c.PlainHTTP, time.Now())
	id := ""
	if err := doors.openKube(c); err != nil {
		r.Add("Kubernetes", preflight.Wrong, err.Error())
	} else {
		kube, err := kubernetes.NewForConfig(doors.Kube)
		if err != nil {
			return fmt.Errorf("making the Kubernetes client: %w", err)
		}
		id = r.Kubernetes(ctx, func(ctx context.Context) (string, error) { return kubelease.ID(ctx, kube, c.Namespace) }, kubepod.New(kube, c.Namespace))
	}
	if err := doors.openAWS(ctx); err != nil {
		r.Add("AWS", preflight.Wrong, err.Error())
	} else if readable {
		r.AWS(ctx, elb.New(*doors.AWS), file.Pools, id)
	} else {
		r.Add("AWS", preflight.NotChecked, "because the pool file cannot be used")
	}
	if err := r.Print(out); err != nil {
		return fmt.Errorf("printing the table: %w", err)
	}
	if !r.Passed() {
		return ErrCheck
	}
	return nil
}
