package check

import (
	"strings"

	"github.com/portlease/portlease/allocator/poolfile"
)

// Pools checks the pool file.
func (r *Report) Pools(path string) (poolfile.File, bool) {
	file, _, err := poolfile.Read(path)
	var names []string
	for _, p := range file.Pools {
		names = append(names, p.Name)
	}
	return file, r.addResult("pool file", "pools "+strings.Join(names, ", "), err)
}
