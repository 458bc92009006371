package dataplane

import "time"

// SetUDPIdle shortens the idle time of UDP flows of listeners opened later.
func (p *Plane) SetUDPIdle(d time.Duration) { p.udpIdle = d }
