package dataplane

import "time"

// SetUDPIdle changes the idle timeout of UDP flows for listeners that are opened later.
func (p *Plane) SetUDPIdle(d time.Duration) { p.udpIdle = d }
