//go:build !unix

package bench

func fileLimit() int { return 0 }
