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

// patience is how long a person waits for an answer.
const patience = 30 * time.Second

// person is the name that people call by.
const adminName = "alice"

// ask has a person call the allocator once; what comes of it is in the history.
func (w *World) ask(path, reason string) {
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
		req.Header.Set(api.HeaderRequestID, p.name) // a run must not depend on chance of its own
		resp, err := wire{w, p, adminName}.RoundTrip(req)
		if err != nil {
			log.WarnContext(ctx, "no answer", "path", path, "err", err)
			return
		}
		defer resp.Body.Close()
		log.InfoContext(ctx, "answered", "path", path, "status", resp.StatusCode)
	}()
}

// aBalancer is the id of one that the pool has, or had.
func (w *World) aBalancer() string {
	return ledger.LoadBalancerID(w.file.all[w.cause.IntN(len(w.file.all))])
}

func (w *World) cordon() {
	w.ask(api.LoadBalancerPath(w.aBalancer())+api.CallCordon, "it is to be emptied")
}

func (w *World) uncordon() { w.ask(api.LoadBalancerPath(w.aBalancer())+api.CallUncordon, "") }

func (w *World) block() {
	w.ask(api.PortPath(w.aBalancer(), w.file.first+w.cause.IntN(w.file.ports))+api.CallBlock, "it is needed")
}

func (w *World) unblock() {
	w.ask(api.PortPath(w.aBalancer(), w.file.first+w.cause.IntN(w.file.ports))+api.CallUnblock, "")
}

// cordoned tells whether a load balancer is.
func (w *World) cordoned(arn string) bool {
	return w.leases.Cordons.Value(ledger.CordonName(ledger.LoadBalancerID(arn))).Cordoned != ""
}

// loseClaim and losePort are a person who deletes a Lease.
func (w *World) loseClaim() {
	one, ok := pick(w.cause, w.leases.Claims.List(), func(r ledger.Record[ledger.Claim]) string { return r.Name })
	// Nobody else knows the former address of a pod that has moved.
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
