package app

import (
	"bytes"
	"context"
	"time"

	"github.com/portlease/portlease/allocator/poolfile"
	"github.com/portlease/portlease/shared/daemon"
)

// poolFileInterval is how often the pool file is read. A mounted ConfigMap
// follows its object within about a minute anyway (Kubernetes, "ConfigMaps",
// mounted ConfigMaps are updated automatically).
const poolFileInterval = time.Second

// followPools calls use with every new version of the pool file, until ctx ends. A
// version with an error is refused as a whole: the pools stay as they are. It is logged
// once and sets a metric until the file is good again.
func (p *process) followPools(ctx context.Context, text []byte, use func(poolfile.File)) {
	refused := ""
	for daemon.Sleep(ctx, poolFileInterval) == nil {
		if refused == "" && poolfile.Unchanged(p.PoolFile, text) {
			continue
		}
		file, found, err := poolfile.Read(p.PoolFile)
		switch {
		case err != nil && err.Error() != refused:
			refused = err.Error()
			p.metrics.PoolFileRefused(true)
			p.log.ErrorContext(ctx, "pool file refused; the previous version stays in force", "err", err)
		case err != nil:
		case bytes.Equal(found, text):
			if refused != "" {
				p.log.InfoContext(ctx, "pool file is the previous version again")
			}
			refused = ""
			p.metrics.PoolFileRefused(false)
		default:
			text, refused = found, ""
			p.metrics.PoolFileRefused(false)
			p.log.InfoContext(ctx, "pool file reloaded", "pools", len(file.Pools))
			p.warnOfPools(ctx, file)
			use(file)
		}
	}
}

// warnOfPools logs what is doubtful in a pool file.
func (p *process) warnOfPools(ctx context.Context, file poolfile.File) {
	for _, warning := range file.Warnings {
		p.log.WarnContext(ctx, "pool file should be changed", "reason", warning)
	}
}
