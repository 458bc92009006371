package sim

// manyNames is how many names a counter keeps at least.
const manyNames = 100_000

// counter counts by name. It forgets names that were not counted for long, because every
// request has one of its own.
type counter struct{ now, before map[string]int }

// next counts and returns the number.
func (c *counter) next(name string) int {
	if c.now == nil || len(c.now) >= manyNames {
		c.now, c.before = make(map[string]int), c.now
	}
	n, known := c.now[name]
	if !known {
		n = c.before[name]
	}
	c.now[name] = n + 1
	return n + 1
}
