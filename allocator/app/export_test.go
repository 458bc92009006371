package app

import (
	"github.com/portlease/portlease/allocator/janitor"
	"github.com/portlease/portlease/allocator/pacer"
	"github.com/portlease/portlease/shared/elb"
)

// WithPrepaid marks looks that were paid for.
var WithPrepaid = withPrepaid

// Paced gives the door to ELBv2 whose looks are paid for.
func Paced(c *elb.Client, pay *pacer.Pacer) janitor.AWS { return paced{c, pay} }
