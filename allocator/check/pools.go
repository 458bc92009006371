package check

import (
	"fmt"
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
	readable := r.addResult("pool file", "pools "+strings.Join(names, ", "), err)
	for n, warning := range file.Warnings {
		r.add(fmt.Sprintf("listener ports %d", n+1), Warning, "%s", warning)
	}
	return file, readable
}
