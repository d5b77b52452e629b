// Package export owns where spans are sent: to an OTLP receiver by HTTP, as the usual OTEL_ variables say.
package export

import (
	"context"
	"fmt"
	"os"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"

	"countersign.dev/internal/trace"
)

// FromEnvironment returns a tracer that the OTEL_ variables describe, and what sends the last spans and ends it. The tracer is nil
// when they name no endpoint, or turn traces off.
func FromEnvironment(ctx context.Context, version string) (*trace.Tracer, func(context.Context) error, error) {
	none := func(context.Context) error { return nil }
	if os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") == "" && os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "" ||
		strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") || os.Getenv("OTEL_TRACES_EXPORTER") == "none" {
		return nil, none, nil
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"} {
		if p := os.Getenv(name); p != "" && p != "http/protobuf" {
			return nil, none, fmt.Errorf("%s is %q: traces are sent by http/protobuf only; set it to that, or leave it out", name, p)
		}
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, none, fmt.Errorf("set up traces: %w", err)
	}
	about, err := resource.New(ctx, resource.WithAttributes(
		attribute.String("service.name", "countersign"), attribute.String("service.version", version)), resource.WithFromEnv())
	if err != nil {
		return nil, none, fmt.Errorf("set up traces: %w", err)
	}
	provider := sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(about))
	return trace.New(provider), provider.Shutdown, nil
}
