//go:build !race

package serve

// raced says whether the race detector looks on.
const raced = false
