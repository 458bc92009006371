package rig

import (
	"strings"
	"sync"

	"github.com/portlease/portlease/e2e/elbemu"
)

// faults decides the fault of each part's AWS calls. It tells parts apart by their
// access keys.
type faults struct {
	mu sync.Mutex
	// license sees every CreateListener before its fault is applied. It is nil until
	// the ledger exists.
	license func(elbemu.Call)
	// by maps an access key to its faults.
	by map[string]func(elbemu.Call) elbemu.Fault
}

func (f *faults) of(c elbemu.Call) elbemu.Fault {
	f.mu.Lock()
	fault, license := f.by[c.AccessKeyID], f.license
	f.mu.Unlock()
	if c.Action == "CreateListener" && license != nil {
		license(c)
	}
	if fault == nil {
		return elbemu.Fault{}
	}
	return fault(c)
}

func (f *faults) set(key string, fault func(elbemu.Call) elbemu.Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.by[key] = fault
}

func (f *faults) watchListeners(license func(elbemu.Call)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.license = license
}

func (f *faults) clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.by = make(map[string]func(elbemu.Call) elbemu.Fault)
}

// Fault sets the faults of this agent's AWS calls; nil lets all calls pass.
func (p *Pod) Fault(fault func(elbemu.Call) elbemu.Fault) {
	p.rig.faults.set(accessKey(p.UID), fault)
}

// Fault sets the faults of this replica's AWS calls; nil lets all calls pass.
func (a *Replica) Fault(fault func(elbemu.Call) elbemu.Fault) {
	a.rig.faults.set(accessKey(a.name), fault)
}

// accessKey looks like a key of AWS: capital letters and digits.
func accessKey(part string) string { return strings.ToUpper(strings.ReplaceAll(part, "-", "")) }
