package app

import (
	"github.com/portlease/portlease/allocator/janitor"
	"github.com/portlease/portlease/allocator/pacer"
	"github.com/portlease/portlease/shared/elb"
)

// WithPrepaid marks describe calls that were reserved before.
var WithPrepaid = withPrepaid

// Paced gives the client of ELBv2 that reserves its describe calls.
func Paced(c *elb.Client, pay *pacer.Pacer) janitor.AWS { return paced{c, pay} }
