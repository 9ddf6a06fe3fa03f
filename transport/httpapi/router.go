// Package httpapi is PROTOCOL.md §4: the HTTP door of hearth, for users and app servers alike.
//
// huma describes the operations (the OpenAPI file is made of the Go types) and calls them; what a request may
// look like is decided here and in domain. huma's own validation is off: it knows no too_large, echoes rejected
// values and reads field names without case. Nothing here changes huma's globals.
package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/go-chi/chi/v5"
	"github.com/go-chi/cors"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"hearth/domain"
	"hearth/transport/auth"
	"hearth/transport/wire"
)

// Config is what the API stands on.
type Config struct {
	Auth     *auth.Verifier
	Groups   *domain.Groups
	History  *domain.History
	Sends    *domain.Sends
	Signals  *domain.Signals
	Recalls  *domain.Recalls
	Sessions *domain.Sessions
	Ranking  *domain.Ranking
	// AllowedOrigins are browsers' origins beside the server's own. None: no CORS headers at all.
	AllowedOrigins []string
	Uploads        Uploads
	Limits         wire.Limits   // zero: wire.DefaultLimits
	HeatWindow     time.Duration // what the ranking calls window_ms; zero: 5 minutes
	Log            zerolog.Logger
	Register       prometheus.Registerer // nil: no metrics
}

func (c *Config) complete() error {
	if c.Auth == nil || c.Groups == nil || c.History == nil || c.Sends == nil || c.Signals == nil || c.Recalls == nil || c.Sessions == nil || c.Ranking == nil {
		return fmt.Errorf("httpapi: Auth, Groups, History, Sends, Signals, Recalls, Sessions and Ranking are required")
	}
	if c.Limits == (wire.Limits{}) {
		c.Limits = wire.DefaultLimits
	}
	if c.HeatWindow == 0 {
		c.HeatWindow = 5 * time.Minute
	}
	if err := c.Uploads.check(); err != nil {
		return fmt.Errorf("httpapi: %w", err)
	}
	return nil
}

type api struct {
	Config
	metrics *metrics
	uploads *uploads
	huma    huma.API
}

// New builds the router that serves /v1/…. It matches whole paths: give it requests as they came (Handle
// "/v1/*"), not behind a Mount or StripPrefix. It starts nothing.
func New(cfg Config) (http.Handler, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	a := &api{Config: cfg}
	var err error
	if a.metrics, err = newMetrics(cfg.Register); err != nil {
		return nil, err
	}
	if a.uploads, err = newUploads(cfg.Uploads); err != nil {
		return nil, err
	}
	r := chi.NewMux()
	r.Use(a.observe, a.recoverPanics, plainHeaders)
	if len(cfg.AllowedOrigins) > 0 { // go-chi/cors takes an empty list for "everybody"
		r.Use(allowOrigins(cfg.AllowedOrigins))
	}
	r.NotFound(func(w http.ResponseWriter, _ *http.Request) {
		WriteError(w, domain.Errorf(domain.CodeNotFound, "there is no such route"))
	})
	r.MethodNotAllowed(methodNotAllowed(r))

	a.huma = humachi.New(r.With(bounded, a.authenticate), specification())
	a.huma.UseMiddleware(a.strict)
	a.addGroups()
	a.addMembers()
	a.addMessages()
	a.addSync()
	a.addHot()
	a.addSignals()
	a.addUsers()
	a.addUploads(r)
	if err := a.serveSpecification(r); err != nil {
		return nil, err
	}
	return r, nil
}

func allowOrigins(origins []string) func(http.Handler) http.Handler {
	return cors.Handler(cors.Options{
		AllowedOrigins: origins,
		AllowedMethods: []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete},
		AllowedHeaders: []string{"Authorization", "Content-Type"},
		ExposedHeaders: []string{"Location", "Retry-After"},
		MaxAge:         600,
	})
}

func methodNotAllowed(routes chi.Routes) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.RawPath
		if path == "" {
			path = r.URL.Path
		}
		var allowed []string
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
			if routes.Match(chi.NewRouteContext(), method, path) {
				allowed = append(allowed, method)
			}
		}
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		WriteMethodNotAllowed(w)
	}
}

// WriteMethodNotAllowed answers 405; the header Allow is the caller's.
func WriteMethodNotAllowed(w http.ResponseWriter) {
	WriteError(w, withStatus(http.StatusMethodNotAllowed, domain.Errorf(domain.CodeBadRequest, "this route does not take this method")))
}

// requestTimeout is longer than the slowest answer, a send with ack durable and the longest timeout_ms.
const requestTimeout = 15 * time.Second

// bounded ends what a request waits for: a store that hangs is answered with unavailable. What changes something is
// finished although its caller has hung up: cut off in the middle of a commit, nobody would know whether Redis has to follow.
func bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		if r.Method != http.MethodGet {
			ctx = context.WithoutCancel(ctx)
		}
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// plainHeaders keeps answers out of caches and browsers from guessing their type.
func plainHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}
