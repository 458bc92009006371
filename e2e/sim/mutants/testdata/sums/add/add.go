package add

import "time"

// longest is unused by what the tests look at.
const longest = time.Hour

// Add gives the sum.
func Add(a, b int) int {
	return a + b
}
