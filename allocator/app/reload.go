package app

import (
	"bytes"
	"context"
	"time"

	"github.com/portlease/portlease/allocator/poolfile"
	"github.com/portlease/portlease/shared/daemon"
)

// poolFileEvery is how often the pool file is looked at. A mounted ConfigMap
// follows its object within about a minute anyway (Kubernetes, "ConfigMaps",
// mounted ConfigMaps are updated automatically).
const poolFileEvery = time.Second

// followPools reads the pool file again and again until ctx ends and hands on
// what is new in it. A version that cannot be used is refused whole: the pools
// stay as they are, and it is said once for each such version, and by a metric
// for as long as it lies there.
func (p *process) followPools(ctx context.Context, text []byte, use func(poolfile.File)) {
	refused := ""
	for daemon.Sleep(ctx, poolFileEvery) == nil {
		file, found, err := poolfile.Read(p.PoolFile)
		switch {
		case err != nil && err.Error() != refused:
			refused = err.Error()
			p.metrics.PoolFileRefused(true)
			p.log.ErrorContext(ctx, "pool file refused; the pools stay as they were", "err", err)
		case err != nil:
		case bytes.Equal(found, text):
			if refused != "" {
				p.log.InfoContext(ctx, "pool file is as it was before")
			}
			refused = ""
			p.metrics.PoolFileRefused(false)
		default:
			text, refused = found, ""
			p.metrics.PoolFileRefused(false)
			p.log.InfoContext(ctx, "pool file taken", "pools", len(file.Pools))
			use(file)
		}
	}
}
