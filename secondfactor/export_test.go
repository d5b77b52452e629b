// This file opens what tests need to see.

package secondfactor

// What tests call directly.
var (
	HashOf    = hashOf
	CleanCode = cleanCode
)
