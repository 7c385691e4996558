package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.39.0"
	"go.opentelemetry.io/otel/trace"
)

// tracing sends traces of joins to a collector, if the environment names one as
// OpenTelemetry has it (OTEL_EXPORTER_OTLP_ENDPOINT and the like). Its queue holds
// 2048 spans unless OTEL_BSP_MAX_QUEUE_SIZE says otherwise; more are dropped.
type tracing struct{ provider *sdktrace.TracerProvider }

// tracingFlush bounds how long the end waits for a collector.
const tracingFlush = 3 * time.Second

// tracingWanted reports whether the environment asks for traces.
func tracingWanted() (bool, error) {
	if off, _ := strconv.ParseBool(os.Getenv("OTEL_SDK_DISABLED")); off {
		return false, nil
	}
	switch exporter := os.Getenv("OTEL_TRACES_EXPORTER"); exporter {
	case "", "otlp":
	case "none":
		return false, nil
	default:
		return false, fmt.Errorf("OTEL_TRACES_EXPORTER=%s: want otlp or none", exporter)
	}
	const traces, all = "OTEL_EXPORTER_OTLP_TRACES_", "OTEL_EXPORTER_OTLP_"
	for _, prefix := range []string{traces, all} {
		if p := os.Getenv(prefix + "PROTOCOL"); p != "" {
			if p != "http/protobuf" {
				return false, fmt.Errorf("%sPROTOCOL=%s: want http/protobuf", prefix, p)
			}
			break
		}
	}
	return os.Getenv(traces+"ENDPOINT") != "" || os.Getenv(all+"ENDPOINT") != "", nil
}

// newTracing returns nil when no traces are wanted.
func newTracing(ctx context.Context, log *slog.Logger) (*tracing, error) {
	wanted, err := tracingWanted()
	if err != nil || !wanted {
		return nil, err
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	about, err := resource.New(ctx, resource.WithAttributes(semconv.ServiceName("mixdown"), semconv.ServiceVersion(Version())),
		resource.WithTelemetrySDK(), resource.WithFromEnv()) // the environment wins
	if err != nil {
		return nil, errors.Join(fmt.Errorf("traces: %w", err), exporter.Shutdown(ctx))
	}
	// The package has but one place for this.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("traces are not sent", "error", err) }))
	return &tracing{sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))}, nil
}

// tracer is for api.Config; nil traces nothing.
func (t *tracing) tracer() trace.Tracer {
	if t == nil {
		return nil
	}
	return t.provider.Tracer("mixdown")
}

// Close sends what has not been sent, for a while.
func (t *tracing) Close() error {
	if t == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), tracingFlush)
	defer cancel()
	return t.provider.Shutdown(ctx)
}
