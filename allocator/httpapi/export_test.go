package httpapi

// Routes are all that is served, as "GET /v1/ports/:loadBalancer/:port".
func Routes(c Config) []string {
	var all []string
	for _, r := range c.router().Routes() {
		all = append(all, r.Method+" "+r.Path)
	}
	return all
}
