package trace

import (
	"context"
	"testing"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

const good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

// A traceparent is read as W3C Trace Context says, and anything else begins a trace of its own.
func TestParse(t *testing.T) {
	for text, want := range map[string]bool{
		good: true, "cc" + good[2:] + "-more": true, "00" + good[2:] + "-more": false, "cc" + good[2:] + "more": false, "ff" + good[2:]: false, "": false,
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01": false, "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01": false,
		"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01": false, good[:54]: false, "zz" + good[2:]: false, good[:53] + "xy": false,
	} {
		if c, ok := parse(text); ok != want || ok && (!c.IsRemote() || !c.IsSampled() || c.TraceID().String() != good[3:35] || c.SpanID().String() != good[36:52]) {
			t.Errorf("%q: %v, want %v", text, ok, want)
		}
	}
}

// What is written is read again, and without a tracer nothing is written.
func TestParent(t *testing.T) {
	provider := sdk.NewTracerProvider()
	ctx, span := New(provider).Request(context.Background(), good)
	defer span.End(nil)
	c, ok := parse(Parent(ctx))
	if !ok || c.TraceID().String() != good[3:35] || c.SpanID() != trace.SpanContextFromContext(ctx).SpanID() {
		t.Errorf("wrote %q", Parent(ctx))
	}
	if ctx, _ := (*Tracer)(nil).Request(context.Background(), good); Parent(ctx) != "" || ID(ctx) != "" {
		t.Error("traced without a tracer")
	}
	unsampled, _ := New(provider).Request(context.Background(), good[:53]+"00")
	if Parent(unsampled) != "" {
		t.Error("kept the trace of who wants none")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(good)
	f.Fuzz(func(t *testing.T, s string) {
		if c, ok := parse(s); ok && !c.IsValid() {
			t.Errorf("%q is no span", s)
		}
	})
}

// BenchmarkOff is what a step costs without a tracer.
func BenchmarkOff(b *testing.B) {
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		_, span := Start(ctx, "step")
		span.End(nil)
	}
}
