// Package trace owns spans, and how those of one approval become one trace although its steps are separate requests. Where they are sent is internal/trace/export; without a tracer nothing is made.
//
// The traceparent of whoever asked for an approval is kept with its row and its jobs, and each later step continues it. A span
// carries ids, outcomes and route patterns, never what came in (INV-8).
package trace

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// scope names who made a span.
const scope = "countersign.dev"

// Header is the one of W3C Trace Context that travels; its value is what this package calls a traceparent.
const Header = "traceparent"

// Tracer makes first spans. A nil one makes none.
type Tracer struct{ provider trace.TracerProvider }

// New returns a tracer whose spans go to provider.
func New(provider trace.TracerProvider) *Tracer { return &Tracer{provider} }

// Request begins the span of a request that came in, and continues the trace of who sent it; parent "" begins one.
func (t *Tracer) Request(ctx context.Context, parent string) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	ctx, span := t.provider.Tracer(scope).Start(remote(ctx, parent), "request", trace.WithSpanKind(trace.SpanKindServer))
	return ctx, Span{span}
}

// Job begins the span of a job whose cause had that traceparent. One without makes no trace of its own.
func (t *Tracer) Job(ctx context.Context, parent, name string, facts ...attribute.KeyValue) (context.Context, Span) {
	if t == nil || parent == "" {
		return ctx, Span{}
	}
	ctx, span := t.provider.Tracer(scope).Start(remote(ctx, parent), name, trace.WithAttributes(facts...))
	return ctx, Span{span}
}

// remote returns ctx below the span that a traceparent names; one that is none changes nothing.
func remote(ctx context.Context, parent string) context.Context {
	if c, ok := parse(parent); ok {
		return trace.ContextWithRemoteSpanContext(ctx, c)
	}
	return ctx
}

// parse reads a traceparent: version, trace, span and flags in lower-case hex. Later versions may have more behind it.
func parse(s string) (trace.SpanContext, bool) {
	var none trace.SpanContext
	if len(s) < 55 || len(s) > 55 && (s[:2] == "00" || s[55] != '-') || len(s) > 512 {
		return none, false
	}
	parts := strings.Split(s[:55], "-")
	if len(parts) != 4 || len(parts[0]) != 2 || len(parts[3]) != 2 || parts[0] == "ff" || s != strings.ToLower(s) {
		return none, false
	}
	_, err := hex.DecodeString(parts[0])
	traceID, err1 := trace.TraceIDFromHex(parts[1])
	spanID, err2 := trace.SpanIDFromHex(parts[2])
	flags, err3 := hex.DecodeString(parts[3])
	if err != nil || err1 != nil || err2 != nil || err3 != nil {
		return none, false
	}
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: traceID, SpanID: spanID, TraceFlags: trace.TraceFlags(flags[0]) & trace.FlagsSampled, Remote: true}), true
}

// Span is a step that was begun; the zero value is none.
type Span struct{ span trace.Span }

// Start begins a step below the one in ctx. With none there it costs next to nothing.
func Start(ctx context.Context, name string, facts ...attribute.KeyValue) (context.Context, Span) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return ctx, Span{}
	}
	ctx, span := parent.TracerProvider().Tracer(scope).Start(ctx, name, trace.WithAttributes(facts...))
	return ctx, Span{span}
}

// Continue begins a step of another trace, the one with that traceparent, and links it with the request that takes it.
func Continue(ctx context.Context, parent, name string, options ...trace.SpanStartOption) (context.Context, Span) {
	asking := trace.SpanFromContext(ctx)
	if parent == "" || !asking.SpanContext().IsValid() {
		return ctx, Span{}
	}
	options = append(options, trace.WithLinks(trace.Link{SpanContext: asking.SpanContext()}))
	ctx, span := asking.TracerProvider().Tracer(scope).Start(remote(ctx, parent), name, options...)
	return ctx, Span{span}
}

// Parent returns the traceparent of what happens in ctx, or "" when it is not traced.
func Parent(ctx context.Context) string {
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return ""
	}
	c := span.SpanContext()
	return fmt.Sprintf("00-%s-%s-%s", c.TraceID(), c.SpanID(), c.TraceFlags()&trace.FlagsSampled)
}

// ID returns the id of the trace that ctx is part of, or "".
func ID(ctx context.Context) string {
	if c := trace.SpanContextFromContext(ctx); c.HasTraceID() {
		return c.TraceID().String()
	}
	return ""
}

// Note adds facts to the step that ctx is in.
func Note(ctx context.Context, facts ...attribute.KeyValue) {
	trace.SpanFromContext(ctx).SetAttributes(facts...)
}

// Note adds facts.
func (s Span) Note(facts ...attribute.KeyValue) {
	if s.span != nil {
		s.span.SetAttributes(facts...)
	}
}

// Name renames a step whose name was not known when it began.
func (s Span) Name(name string) {
	if s.span != nil {
		s.span.SetName(name)
	}
}

// End ends the step. What an error says may hold what somebody sent, so only that there was one is told.
func (s Span) End(err error) {
	if s.span == nil {
		return
	}
	if err != nil {
		s.span.SetStatus(codes.Error, "")
	}
	s.span.End()
}
