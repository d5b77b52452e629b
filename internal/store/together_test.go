package store_test

import (
	"errors"
	"sync"
)

// together runs do in n goroutines at once and returns what any of them returned.
func together(n int, do func() error) error {
	var all sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		all.Go(func() { errs[i] = do() })
	}
	all.Wait()
	return errors.Join(errs...)
}
