package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
)

// patience is how long an admin waits for an answer.
const patience = 30 * time.Second

// adminName is the name of the admin.
const adminName = "alice"

// adminCall makes an admin call the allocator once; the outcome is in the history.
func (w *World) adminCall(path, reason string) {
	p := newProcess(w.scheduler, fmt.Sprintf("%s#%d-%d", adminName, w.cause.number, len(w.admins)))
	w.admins = append(w.admins, p)
	log := w.trace.logTo(p)
	go func() {
		ctx, cancel := context.WithTimeout(p.ctx, patience)
		defer cancel()
		body, err := json.Marshal(api.ReasonRequest{Reason: reason})
		if err != nil {
			log.ErrorContext(ctx, "request not written", "err", err)
			return
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://allocator.test"+path, bytes.NewReader(body))
		if err != nil {
			log.ErrorContext(ctx, "request not made", "err", err)
			return
		}
		req.Header.Set(api.HeaderRequestID, p.name) // a run must not depend on other randomness
		resp, err := wire{w, p, tokenOf(adminName), "127.30.255.1"}.RoundTrip(req)
		if err != nil {
			log.WarnContext(ctx, "no answer", "path", path, "err", err)
			return
		}
		defer resp.Body.Close()
		log.InfoContext(ctx, "answered", "path", path, "status", resp.StatusCode)
	}()
}

// aLoadBalancer is the id of one that the pool has, or had.
func (w *World) aLoadBalancer() string {
	return ledger.LoadBalancerID(w.file.all[w.cause.IntN(len(w.file.all))])
}

func (w *World) cordon() {
	w.adminCall(api.LoadBalancerPath(w.aLoadBalancer())+api.CallCordon, "it is to be emptied")
}

func (w *World) uncordon() { w.adminCall(api.LoadBalancerPath(w.aLoadBalancer())+api.CallUncordon, "") }

func (w *World) block() {
	w.adminCall(api.PortPath(w.aLoadBalancer(), w.file.first+w.cause.IntN(w.file.ports))+api.CallBlock, "it is needed")
}

func (w *World) unblock() {
	w.adminCall(api.PortPath(w.aLoadBalancer(), w.file.first+w.cause.IntN(w.file.ports))+api.CallUnblock, "")
}

// cordoned reports whether a load balancer is cordoned.
func (w *World) cordoned(arn string) bool {
	return w.leases.Cordons.Value(ledger.CordonName(ledger.LoadBalancerID(arn))).Cordoned != ""
}

// loseClaim and losePort delete a Lease, as an admin may by mistake.
func (w *World) loseClaim() {
	one, ok := pick(w.cause, w.leases.Claims.List(), func(r ledger.Record[ledger.Claim]) string { return r.Name })
	// Only its claim records the previous IP of a pod that has moved.
	moves := slices.ContainsFunc(w.all, func(p *pod) bool { return p.uid == one.Value.PodUID && p.ip != one.Value.ConfirmedIP })
	if ok && !moves && one.Value.PreviousIP == "" {
		w.trace.add("-- somebody deletes %s", one.Name)
		w.violate(w.leases.Claims.Delete(one))
	}
}

func (w *World) losePort() {
	if one, ok := pick(w.cause, w.leases.Ports.List(), func(r ledger.Record[ledger.Port]) string { return r.Name }); ok {
		w.trace.add("-- somebody deletes %s%s", one.Name, show(one.Value))
		w.violate(w.leases.Ports.Delete(one))
	}
}
