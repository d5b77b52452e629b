package store

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
)

// BenchmarkWrites compares one writer, who waits for a flush each time, with many whose writes share one.
//
//	go test -run xxx -bench 'Writes|Reads' ./internal/store
func BenchmarkWrites(b *testing.B) {
	for _, writers := range []int{1, 8, 32, 128} {
		b.Run(fmt.Sprintf("%d-writers", writers), func(b *testing.B) {
			s := openScratch(b)
			var n atomic.Int64
			parallel(b, writers, func(ctx context.Context) error {
				return s.write(ctx, insert(fmt.Sprint(n.Add(1))))
			})
		})
	}
}

// BenchmarkReads reads one row by its key, alone and beside a writer that never pauses.
func BenchmarkReads(b *testing.B) {
	for _, beside := range []string{"alone", "beside-a-writer"} {
		b.Run(beside, func(b *testing.B) {
			s := openScratch(b)
			if err := s.write(b.Context(), insert("row")); err != nil {
				b.Fatal(err)
			}
			if beside != "alone" {
				stop, stopped := make(chan struct{}), make(chan struct{})
				defer func() { close(stop); <-stopped }()
				go func() {
					defer close(stopped)
					for i := 0; ; i++ {
						select {
						case <-stop:
							return
						default:
							_ = s.write(context.Background(), insert(fmt.Sprint(i)))
						}
					}
				}()
			}
			parallel(b, 8, func(ctx context.Context) error {
				var name string
				return s.queryRow(ctx, `SELECT name FROM scratch WHERE name = $1`, "row").Scan(&name)
			})
		})
	}
}

// parallel runs do in that many goroutines until the benchmark has enough.
func parallel(b *testing.B, goroutines int, do func(ctx context.Context) error) {
	b.Helper()
	var left atomic.Int64
	left.Store(int64(b.N))
	errs := make(chan error, goroutines)
	b.ResetTimer()
	for range goroutines {
		go func() {
			for left.Add(-1) >= 0 {
				if err := do(context.Background()); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	for range goroutines {
		if err := <-errs; err != nil {
			b.Error(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "op/s")
}
