// This file opens what tests need to see.

package secondfactor

// What tests call directly.
var (
	HashOf        = hashOf
	CleanCode     = cleanCode
	CleanRecovery = cleanRecovery
)

// RouteTable is every pattern that Routes mounts, the callback's aside.
func (g *Guard) RouteTable() (patterns []string) {
	for _, r := range g.routes() {
		patterns = append(patterns, r.pattern)
	}
	return patterns
}
